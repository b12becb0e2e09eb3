"""Commands on a run: ``predict``, ``embed``, ``evaluate``, ``report``, ``export``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from asterism.cli.text import counted, note, say

Arg = typer.Argument
Opt = typer.Option

Run = Annotated[Path, Arg(metavar="RUN", help="Folder of a finished run.")]
Labels = Annotated[
    str | None, Opt(help="Known classes: folders (CLASS/image.jpg), or a CSV file path,label.  [default: as known]")
]
Images = Annotated[
    str | None, Opt("--images", metavar="IMAGES", help="Where the run's images are now.  [default: where they were]")
]
Layout = Annotated[str | None, Opt(help="Of arrays: NHW, NHWC, NCHW or ND.")]
Strict = Annotated[bool, Opt("--strict", help="Stop at a damaged image instead of skipping it.")]
Device = Annotated[str, Opt(help="auto, cpu, cuda, cuda:1, mps.")]
Overwrite = Annotated[bool, Opt("--overwrite", help="Replace a file of any kind at --out.")]


def predict(
    run: Run,
    images: Annotated[
        str,
        Arg(
            metavar="IMAGES",
            help="Folder of images or .tar shards, 'pattern/*.jpg', list.txt, .npz or .npy file, or data:NAME.",
        ),
    ],
    out: Annotated[Path, Opt(help="CSV file: path,cluster,confidence.")],
    features: Annotated[
        str | None, Opt(metavar="FILE", help="Vectors of the images, where the run was made from such.")
    ] = None,
    layout: Layout = None,
    strict: Strict = False,
    outliers: Annotated[
        bool, Opt("--outliers", help="Images that belong nowhere get no group (-1).  [default: as in the run]")
    ] = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Put new images into the groups of a run."""
    from asterism.cli.outputs import check_writable
    from asterism.cli.runs import open_new_images
    from asterism.clustering.outliers import ALPHA
    from asterism.report.fitted import open_run
    from asterism.runs import is_labels, write_labels

    fitted = open_run(run, device)
    clusterer = fitted.clusterer
    check_writable(out, is_labels, overwrite)
    alpha = clusterer.significance or (ALPHA if outliers else None)
    clusterer.check_refusing(alpha)
    source = open_new_images(fitted, images, layout, strict, features)
    labels, confidence = clusterer.predict_with_confidence(source, outliers=alpha)
    more = alpha is not None
    write_labels(out, source.names, labels, confidence, more=more)
    refused = f", {counted(int((labels < 0).sum()), 'image')} in none" if more else ""
    groups = counted(len(set(labels[labels >= 0].tolist())), "group")
    say(f"{counted(len(labels), 'image')} in {groups}{refused}: {out}")


def embed(
    run: Run,
    out: Annotated[Path, Opt(help="FILE.npz (features, names), FILE.npy and FILE.names.csv, or FILE.csv.")],
    images: Annotated[str | None, Arg(metavar="IMAGES", help="Images.  [default: the run's own]")] = None,
    layout: Layout = None,
    strict: Strict = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Compute the learned features of images."""
    from asterism.cli.features import check_ending, is_features, names_path, write_features
    from asterism.cli.outputs import check_writable
    from asterism.cli.runs import open_new_images
    from asterism.report.fitted import open_run

    check_ending(out)
    fitted = open_run(run, device, bar=True)
    for path in (out, names_path(out)):
        if path is not None:
            check_writable(path, is_features, overwrite)
    source = fitted.images() if images is None else open_new_images(fitted, images, layout, strict)
    features = fitted.estimator.transform(source)
    write_features(out, source.names, features)
    say(f"{counted(len(features), 'image')}, {counted(features.shape[1], 'feature')}: {out}")


def evaluate(
    run: Run,
    labels: Labels = None,
    images: Images = None,
    json: Annotated[bool, Opt("--json", help="Print JSON.")] = False,
) -> None:
    """Score the groups of a run against known classes."""
    from json import dumps

    from asterism.cli.recorded import read_recorded
    from asterism.cli.scoring import scored
    from asterism.cli.text import aligned
    from asterism.errors import InputError

    recorded = read_recorded(run) if images is None else None
    y = None if recorded is None else recorded.known(labels)
    if recorded is not None and y is not None:
        values = scored(y, recorded.groups)
    else:
        from asterism.report.fitted import open_run

        fitted = open_run(run, images=images, bar=True)
        found = fitted.labels(labels)
        if found is None:
            raise InputError(
                f"the classes of the images of {run} are not known; give --labels folders or --labels FILE.csv"
            )
        values = scored(found[0], fitted.clusterer.labels_)
    if json:
        say(dumps(values))
        return
    say(aligned([name, f"{value:.4f}" if isinstance(value, float) else value] for name, value in values.items()))


def report(
    run: Run,
    labels: Labels = None,
    images: Images = None,
    out: Annotated[Path | None, Opt(help="The page, FILE.html.  [default: RUN/report.html]")] = None,
) -> None:
    """Write the page of a run anew."""
    from asterism.cli.outputs import check_page
    from asterism.cli.summary import write_page
    from asterism.report.fitted import open_run

    fitted = open_run(run, images=images, bar=True)
    page = check_page(fitted.folder.path, out)
    say(str(write_page(fitted, None, labels, page)))


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
    if cut is not None or levels:
        from asterism.cli.cutting import export_cut

        n_images, missing = export_cut(run, folder, cut, copy, images, overwrite)
        _say_exported(n_images, missing, folder)
        return
    from asterism.cli.export import check_export, export_groups, files_of
    from asterism.cli.recorded import read_recorded

    recorded = read_recorded(run)
    source = recorded.source if recorded is not None and images is None else images
    source = os.path.expanduser(source) if isinstance(source, str) else source
    files = None if recorded is None else files_of(source)
    if recorded is not None and files is not None:
        check_export(folder, source, overwrite)
        n_images, missing = (
            len(recorded.groups),
            export_groups(recorded.groups, recorded.names, folder, files, None, copy),
        )
    else:
        from asterism.cli.summary import export_run
        from asterism.report.fitted import open_run

        fitted = open_run(run, images=images, bar=True)
        check_export(folder, fitted.origin.get("source"), overwrite)
        n_images, missing = len(fitted.clusterer.labels_), export_run(fitted, folder, copy=copy)
    _say_exported(n_images, missing, folder)


def _say_exported(n_images: int, missing: int, folder: Path) -> None:
    if missing:
        note(f"{counted(missing, 'image')} no longer there and not exported")
    say(f"{counted(n_images - missing, 'image')}: {folder}")
