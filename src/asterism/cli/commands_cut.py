"""``asterism cut``: coarser or finer groups of a finished run."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from asterism.cli.commands_run import Images, Overwrite, Run
from asterism.cli.text import counted, note, say

Opt = typer.Option


class LevelName(str, Enum):
    """How fine groups are, seen from those of the run."""

    COARSE = "coarse"
    MEDIUM = "medium"
    FINE = "fine"


def cut(
    run: Run,
    n_clusters: Annotated[int | None, Opt("-k", "--n-clusters", help="How many groups.")] = None,
    level: Annotated[LevelName | None, Opt(help="Where groups are most stable: coarse, medium or fine.")] = None,
    out: Annotated[Path | None, Opt(help="CSV file: path,group,run_group,confidence.")] = None,
    export: Annotated[Path | None, Opt(metavar="DIR", help="Put the images into folders within folders.")] = None,
    copy: Annotated[bool, Opt("--copy/--link", help="Export copies, or symbolic links.")] = False,
    images: Images = None,
    overwrite: Overwrite = False,
) -> None:
    """Merge or divide the groups of a run, without a new one.

    All levels nest: a group is a union or a part of the run's groups. Without -k and --level the levels are listed at
    which groups are most stable. The run stays as it is.
    """
    from asterism.cli.cutting import cut_run, is_cut, levels_of, shown_levels, summary, within, write_cut
    from asterism.cli.export import check_export
    from asterism.cli.outputs import check_writable
    from asterism.cli.summary import export_run
    from asterism.clustering.levels import named_level
    from asterism.files import expanded
    from asterism.report.fitted import open_run

    if n_clusters is not None and level is not None:
        raise typer.BadParameter("a number of groups or a level: give one of them", param_hint="-k, --level")
    if n_clusters is None and level is None and (out or export):
        raise typer.BadParameter("how many groups? Give -k or --level", param_hint="--out, --export")
    fitted = open_run(run, images=images)
    if out is not None:
        check_writable(out := expanded(out), is_cut, overwrite)
    if export is not None:
        check_export(export := expanded(export), fitted.origin.get("source"), overwrite)
    if level is not None:
        n_clusters = named_level(levels_of(fitted), level.value).n_clusters
    if n_clusters is None:
        say(shown_levels(fitted, levels_of(fitted)))
        return
    groups = cut_run(fitted, n_clusters)
    if out is not None:
        write_cut(out, fitted, groups)
    if export is not None:
        folders = within(groups, fitted.clusterer.labels_)
        missing = export_run(fitted, export, copy=copy, groups=groups, folders=folders)
        if missing:
            note(f"{counted(missing, 'image')} no longer there and not exported")
    say(summary(fitted, groups))
    for what, path in (("table ", out), ("groups", export)):
        if path is not None:
            say(f"{what}  {path}")
