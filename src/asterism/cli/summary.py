"""What follows a fit: the page, the folders of groups, and a few lines that say what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asterism.cli.export import check_export, export_groups, files_of
from asterism.cli.scoring import scored
from asterism.cli.text import as_argument, counted, say
from asterism.clustering.stability import stability_words
from asterism.errors import AsterismError, InputError, StorageError
from asterism.images import ImageSource
from asterism.images.options import source_words
from asterism.methods.registry import method_name
from asterism.report.fitted import FittedRun, Labels

if TYPE_CHECKING:
    from asterism.cli.request import Request

LISTED_SIZES = 20  # groups; of more only smallest, median and largest are told
SCORES = ("acc", "nmi_sqrt", "nmi_max", "nmi_arith", "ari", "purity")


def finish(
    run: FittedRun,
    request: Request,
    images: ImageSource | None = None,
    labels: Labels | None = None,
    keep_report: bool = False,
) -> None:
    """Write page and groups, and sum up.

    Parameters
    ----------
    run : FittedRun
    request : Request
    images, labels : optional
        Of the fit; looked up where it was in an earlier life.
    keep_report : bool
        Leave a page that is there as it is.
    """
    if images is None:
        run.bar, labels = not request.quiet, run.labels(request.labels)
    if request.labels is not None and request.label_source != run.content.get("labels"):
        run.content["labels"] = request.label_source  # a resumed run may be told later
        run.folder.write(run.content)
    path, failure = run.folder.path, None
    if not request.no_report and not (keep_report and (path / "report.html").is_file()):
        try:
            from asterism.report import write_report  # it fails where a package is broken that only pages need

            write_report(run, images, *(labels or ()))
        except Exception as error:  # the fit is safe: sum it up, then fail
            failure = error
    if request.export is not None:
        check_export(request.export, run.origin["source"], request.overwrite)
        export_run(run, request.export, images, request.copy)
    if not request.quiet:
        sum_up(run, labels, request.export)
    if isinstance(failure, (AsterismError, OSError)):
        again = f"asterism report {as_argument(path)}"
        raise StorageError(
            f"the run is finished, its page could not be written: {failure}; try again with: {again}"
        ) from failure
    if failure is not None:
        raise failure


def export_run(
    run: FittedRun,
    target: Path,
    images: ImageSource | None = None,
    copy: bool = False,
    groups: np.ndarray | None = None,
    folders: list[str] | None = None,
    only: np.ndarray | None = None,
) -> int:
    """Write the groups of a run, or others that were cut from it, or some of its images; how many: `export_groups`.

    The images are opened again where they are needed and not given.

    Raises
    ------
    InputError, MissingDataError, RunError, StorageError
    """
    labels = run.clusterer.labels_ if groups is None else groups
    check_pictures(run.content["images"].get("is_table"), run.origin)
    names = images.names if images is not None else run.names
    files = files_of(run.origin.get("source"))
    if files is None and images is None:
        images = run.images()
    if only is not None:
        labels, names = labels[only], [names[i] for i in only]
        images = None if images is None else images.subset(only)
    return export_groups(labels, names, target, files, None if images is None else images.thumbnail, copy, folders)


def check_pictures(is_table: bool | None, origin: dict[str, Any]) -> None:
    """See that there are images to export; raises `InputError`."""
    if is_table and not origin.get("features"):
        raise InputError("there are no images to export: this run was made from vectors")


def sum_up(run: FittedRun, labels: Labels | None, export: Path | None = None) -> None:
    """Say what came out, in a few lines."""
    found, content = run.clusterer.labels_, run.content
    sizes = np.sort(np.bincount(found[found >= 0], minlength=len(run.clusterer.cluster_centers_)))[::-1]
    source = source_words(content["images"]["origin"])
    say(
        f"{method_name(content)} on {source}: {counted(len(found), 'image')} in {counted(len(sizes), 'group')}, "
        f"seed {content['seed']}, {content['seconds']:.1f} s"
    )
    if len(sizes) <= LISTED_SIZES:
        say(f"sizes   {' '.join(map(str, sizes))}")
    else:
        say(f"sizes   {sizes[-1]} to {sizes[0]}, median {np.median(sizes):g}")
    stability = getattr(run.clusterer, "stability_", None)
    if stability is not None and np.isfinite(stability):
        say(f"stable  {stability_words(float(stability))}")
    if (number := content.get("number")) is not None and number["levels"]:
        levels = ", ".join(f"{level['name']} {level['n_clusters']}" for level in number["levels"])
        say(f"levels  {levels}: asterism cut {as_argument(run.folder.path)} --level {number['levels'][-1]['name']}")
    _say_of_copies(run)
    if labels is not None:
        values = scored(labels[0], found)
        left = f"  (without {counted(values['n_outliers'], 'outlier')})" if "n_outliers" in values else ""
        say("scores  " + "  ".join(f"{name} {values[name]:.3f}" for name in SCORES) + left)
    if content.get("skipped"):
        say(f"skipped {counted(len(content['skipped']), 'file')}, listed in {run.folder.path / 'run.json'}")
    if (run.folder.path / "report.html").is_file():
        say(f"report  {run.folder.path / 'report.html'}")
    if export is not None:
        say(f"groups  {export}")


def _say_of_copies(run: FittedRun) -> None:
    """Say how many images belong nowhere, and how many are copies."""
    outliers = int((run.clusterer.labels_ < 0).sum())
    if outliers:
        say(f"none    {counted(outliers, 'image')} in no group: label -1")
    copies = getattr(run.clusterer, "duplicate_of_", np.zeros(0, dtype=np.int64))
    n = int((copies != np.arange(len(copies))).sum())
    if n:
        are = "is a copy of another" if n == 1 else "are copies of others"
        dropped = {**run.content["params"], **run.content.get("screening", {})}.get("drop_duplicates")
        left = "" if dropped else "; counted once with --drop-duplicates"
        say(f"copies  {counted(n, 'image')} {are}: duplicate_of in {run.folder.labels_path}{left}")
