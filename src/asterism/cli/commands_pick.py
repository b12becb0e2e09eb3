"""``asterism pick``: a few images that stand for all of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asterism.cli.commands_run import Images, Overwrite, Run
from asterism.cli.text import counted, note, say

Opt = typer.Option


def pick(
    run: Run,
    n_images: Annotated[int, Opt("-n", "--n-images", help="How many images.")],
    typical: Annotated[
        bool, Opt("--typical/--diverse", help="As many of each group, or a subset that stands for all images.")
    ] = False,
    out: Annotated[Path | None, Opt(help="CSV file: path,group,confidence, the most telling image first.")] = None,
    export: Annotated[Path | None, Opt(metavar="DIR", help="Put them into a folder of each group.")] = None,
    copy: Annotated[bool, Opt("--copy/--link", help="Export copies, or symbolic links.")] = False,
    images: Images = None,
    overwrite: Overwrite = False,
) -> None:
    """Pick a few images that stand for all: to look at, to label, to show.

    Copies of other images, and images in no group, are left out. The run stays as it is.
    """
    from asterism.cli.cutting import is_picks, picked, write_picks
    from asterism.cli.export import check_export
    from asterism.cli.outputs import check_writable
    from asterism.cli.summary import export_run
    from asterism.files import expanded
    from asterism.report.fitted import open_run

    if out is None and export is None:
        raise typer.BadParameter("where to? Give --out FILE.csv, --export DIR, or both", param_hint="--out, --export")
    fitted = open_run(run, images=images)
    if out is not None:
        check_writable(out := expanded(out), is_picks, overwrite)
    if export is not None:
        check_export(export := expanded(export), fitted.origin.get("source"), overwrite)
    found = picked(fitted, n_images, typical)
    if out is not None:
        write_picks(out, fitted, found)
    if export is not None and (missing := export_run(fitted, export, copy=copy, only=found)):
        note(f"{counted(missing, 'image')} no longer there and not exported")
    n_groups = len(set(fitted.clusterer.labels_[found].tolist()))
    say(f"{counted(len(found), 'image')} of {counted(n_groups, 'group')}")
    for what, path in (("table ", out), ("images", export)):
        if path is not None:
            say(f"{what}  {path}")
