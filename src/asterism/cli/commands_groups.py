"""Commands on the groups of a run: ``export``, ``cut``, ``pick``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from asterism.cli.arguments import Arg, Copy, Images, Opt, Overwrite, Run, check_copy
from asterism.cli.text import counted, say


def export(
    run: Run,
    folder: Annotated[Path, Arg(metavar="DIR", help="Where the folders cluster-000, cluster-001 ... are made.")],
    copy: Annotated[bool, Opt("--copy/--link", help="Copies, or symbolic links.")] = False,
    cut: Annotated[
        int | None, Opt("--cut", metavar="K", help="Merge or divide the groups into K first: folders within folders.")
    ] = None,
    levels: Annotated[bool, Opt("--levels", help="Folders within folders for coarse, own and fine groups.")] = False,
    images: Images = None,
    overwrite: Annotated[bool, Opt("--overwrite", help="Replace the groups that were exported there.")] = False,
) -> None:
    """Put the images of each group into a folder."""
    if cut is not None and levels:
        raise typer.BadParameter("a number of groups or all levels: give one of them", param_hint="--cut, --levels")
    from asterism.cli.export import export_recorded
    from asterism.cli.recorded import Unrecorded

    try:
        n = export_recorded(run, folder, cut, levels, copy, images, overwrite)
    except Unrecorded:
        from asterism.cli.cutting import export_opened

        n = export_opened(run, folder, cut, levels, copy, images, overwrite)
    say(f"{counted(n, 'image')}: {folder}")


class LevelName(str, Enum):
    """How fine groups are, seen from those of the run."""

    COARSE = "coarse"
    MEDIUM = "medium"
    FINE = "fine"


def cut(
    run: Run,
    n_clusters: Annotated[int | None, Opt("-k", "--n-clusters", help="How many groups.")] = None,
    level: Annotated[LevelName | None, Opt(help="Where groups are most stable: coarse, medium or fine.")] = None,
    out: Annotated[Path | None, Opt("--out", "-o", help="CSV file: path,group,run_group,confidence.")] = None,
    export: Annotated[Path | None, Opt(metavar="DIR", help="Put the images into folders within folders.")] = None,
    copy: Copy = False,
    images: Images = None,
    overwrite: Overwrite = False,
) -> None:
    """Merge or divide the groups of a run, without a new one.

    All levels nest: a group is a union or a part of the run's groups. Without -k and --level it lists the levels at
    which groups are most stable. The run's own groups stay as they are.
    """
    check_copy(copy, export)
    if n_clusters is not None and level is not None:
        raise typer.BadParameter("a number of groups or a level: give one of them", param_hint="-k, --level")
    if n_clusters is None and level is None and (out or export):
        raise typer.BadParameter("how many groups? Give -k or --level", param_hint="--out, --export")
    from asterism.cli.cutting import Answer, regroup

    regroup(Answer(run, images, out, export, copy, overwrite), n_clusters, level and level.value)


def pick(
    run: Run,
    n_images: Annotated[int, Opt("-n", "--n-images", help="How many images.")],
    typical: Annotated[
        bool, Opt("--typical/--diverse", help="As many of each group, or a subset that stands for all images.")
    ] = False,
    out: Annotated[
        Path | None, Opt("--out", "-o", help="CSV file: path,group,confidence, the most telling image first.")
    ] = None,
    export: Annotated[Path | None, Opt(metavar="DIR", help="Put them into a folder of each group.")] = None,
    copy: Copy = False,
    images: Images = None,
    overwrite: Overwrite = False,
) -> None:
    """Pick a few images that stand for all: to look at, to label, to show.

    Copies of other images, and images in no group, are left out. The run stays as it is.
    """
    check_copy(copy, export)
    if out is None and export is None:
        raise typer.BadParameter("where to? Give --out FILE.csv, --export DIR, or both", param_hint="--out, --export")
    from asterism.cli.cutting import Answer, pick_images

    pick_images(Answer(run, images, out, export, copy, overwrite), n_images, typical)
