"""Commands on a run: ``predict``, ``embed``, ``evaluate``, ``report``, ``filters``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asterism.cli import arguments
from asterism.cli.arguments import Arg, Opt, Run, parse_scale
from asterism.cli.text import counted, say
from asterism.machine import launch


def predict(
    run: Run,
    images: arguments.NewImages,
    out: Annotated[Path, Opt("--out", "-o", help="CSV file: path,cluster,confidence.")],
    features: Annotated[
        str | None, Opt(metavar="FILE", help="Vectors of the images, where the run was made from such.")
    ] = None,
    layout: arguments.Layout = None,
    scale: arguments.Scale = None,
    strict: arguments.Strict = False,
    outliers: Annotated[
        bool, Opt("--outliers", help="Images that belong nowhere get no group (-1).  [default: as in the run]")
    ] = False,
    device: arguments.Device = "auto",
    overwrite: arguments.Overwrite = False,
) -> None:
    """Put new images into the groups of a run."""
    from asterism.cli.new_images import open_new_images, placed
    from asterism.cli.outputs import check_writable
    from asterism.clustering.outliers import ALPHA
    from asterism.report.fitted import open_run
    from asterism.runs import is_labels, write_labels

    fitted = open_run(run, device)
    clusterer = fitted.clusterer
    check_writable(out, is_labels, overwrite)
    alpha = clusterer.significance or (ALPHA if outliers else None)
    clusterer.check_refusing(alpha)
    source = open_new_images(fitted, images, layout, strict, features, parse_scale(scale))
    labels, confidence = placed(clusterer, source, alpha)
    more = alpha is not None
    if launch().rank == 0:
        write_labels(out, source.names, labels, confidence, more=more)
    refused = f", {counted(int((labels < 0).sum()), 'image')} in none" if more else ""
    groups = counted(len(set(labels[labels >= 0].tolist())), "group")
    say(f"{counted(len(labels), 'image')} in {groups}{refused}: {out}")


def embed(
    run: Run,
    out: Annotated[
        Path, Opt("--out", "-o", help="FILE.npz (features, names), FILE.npy and FILE.names.csv, or FILE.csv.")
    ],
    images: Annotated[str | None, Arg(metavar="IMAGES", help="Images.  [default: the run's own]")] = None,
    moved: arguments.Images = None,
    layout: arguments.Layout = None,
    scale: arguments.Scale = None,
    strict: arguments.Strict = False,
    device: arguments.Device = "auto",
    overwrite: arguments.Overwrite = False,
) -> None:
    """Compute the learned features of images."""
    from asterism.cli.feature_files import check_ending, is_features, names_path, write_features
    from asterism.cli.new_images import open_new_images
    from asterism.cli.outputs import check_writable
    from asterism.errors import InputError
    from asterism.report.fitted import open_run

    check_ending(out)
    if images is not None and moved is not None:
        raise typer.BadParameter("other images, or where the run's own are: give one of them", param_hint="--images")
    for option, given in (("--scale", scale is not None), ("--layout", layout is not None), ("--strict", strict)):
        if images is None and given:
            raise InputError(f"{option} is for other images: give them as IMAGES, or make the run anew with {option}")
    fitted = open_run(run, device, images=moved, bar=True)
    for path in (out, names_path(out)):
        if path is not None:
            check_writable(path, is_features, overwrite)
    declared = parse_scale(scale)
    source = fitted.images() if images is None else open_new_images(fitted, images, layout, strict, scale=declared)
    features = fitted.estimator.transform(source)
    if launch().rank == 0:
        write_features(out, source.names, features)
    say(f"{counted(len(features), 'image')}, {counted(features.shape[1], 'feature')}: {out}")


def evaluate(
    run: Run, labels: arguments.Labels = None, images: arguments.Images = None, json: arguments.Json = False
) -> None:
    """Score the groups of a run against known classes."""
    from json import dumps

    from asterism.cli.recorded import Unrecorded, read_recorded
    from asterism.cli.text import aligned
    from asterism.errors import InputError

    try:
        recorded = read_recorded(run, images)
        y, groups = recorded.known(labels), recorded.groups
    except Unrecorded:
        from asterism.report.fitted import open_run

        fitted = open_run(run, images=images, bar=True)
        found = fitted.labels(labels)
        if found is None:
            raise InputError(
                f"the classes of the images of {run} are not known; give --labels folders or --labels FILE.csv"
            ) from None
        y, groups = found[0], fitted.clusterer.labels_
    from asterism.cli.scoring import scored  # loads scipy

    values = scored(y, groups)
    if json:
        say(dumps(values))
        return
    say(aligned([name, f"{value:.4f}" if isinstance(value, float) else value] for name, value in values.items()))


def report(
    run: Run,
    labels: arguments.Labels = None,
    images: arguments.Images = None,
    out: Annotated[Path | None, Opt("--out", "-o", help="The page, FILE.html.  [default: RUN/report.html]")] = None,
) -> None:
    """Write the page of a run anew."""
    from asterism.cli.outputs import check_page
    from asterism.report import write_report
    from asterism.report.fitted import open_run

    fitted = open_run(run, images=images, bar=True)
    say(str(write_report(fitted, labels=labels, path=check_page(fitted.folder.path, out))))


def filters(
    run: Run,
    images: Annotated[
        str | None, Arg(metavar="IMAGES", help="For the strongest nine.  [default: the run's own]")
    ] = None,
    out: Annotated[Path | None, Opt("--out", "-o", help="Folder of the pictures.  [default: RUN/filters]")] = None,
    layers: Annotated[str | None, Opt(help="conv1,conv3,conv5.  [default: the first, a middle and the last]")] = None,
    n: Annotated[int, Opt("--n", min=1, help="Filters shown of each layer.")] = 8,
    steps: Annotated[int, Opt(min=0, help="Of gradient ascent; 0 leaves it out.")] = 300,
    device: arguments.Device = "auto",
) -> None:
    """Draw first-layer filters, images made for a filter, and the images that it answers to most.

    Writes first-layer.png, and for each layer LAYER-ascent.png and LAYER-strongest.png, a row a filter.
    """
    from asterism.cli.feature_visualisation import draw_filters

    for path in draw_filters(run, images, out or run / "filters", layers, n, steps, device):
        say(str(path))
