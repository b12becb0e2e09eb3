"""A run of a table, unless the table says otherwise: a method, or a class of another library, fitted to a whole set.

Labels are taken off before the fit and compared with its result. A run that was killed goes on where it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from asterism.errors import AsterismError, InputError, RunError
from asterism.estimator import ImageClusterer
from asterism.files import exclusive
from asterism.images import ImageSource
from asterism.methods import load
from asterism.metrics import scores
from asterism.runs import RunFolder
from asterism.runtime import Runtime
from asterism_papers.evaluation.external_estimators import external_estimator, is_external, pixel_vectors
from asterism_papers.evaluation.protocol import Row, Setting, Task, row_of, shuffled
from asterism_papers.evaluation.table import METRIC_LABELS, Entry, Table


class BusyError(RunError):
    """A run that another process is at."""


def claimed(folder: Path) -> AbstractContextManager[bool]:
    """Hold a run's folder while it runs; gives False where another process holds it."""
    return exclusive(folder.with_name(folder.name + ".lock"))


def perform(task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
    """Run a task, or go on with it where a killed process left it, and score it.

    Parameters
    ----------
    task : Task
    images : ImageSource
        Of `open_dataset`, in their own order.
    folder : Path
        The run folder.
    setting : Setting

    Returns
    -------
    dict
        The row of ``papers/results``.
    """
    if is_external(task.entry.class_name):
        return run_external(task, images, setting)
    ordered = shuffled(images, task.seed)
    labels = np.asarray(ordered.labels)
    n_classes = len(np.unique(labels))
    unlabelled = replace(ordered, labels=None, label_names=None)
    estimator = task.estimator(n_classes)
    estimator.set_params(device=setting.device, verbose=setting.verbose, run_dir=str(folder))
    if set(task.table.curves) & set(METRIC_LABELS):
        _watch(estimator, labels, task.table.curves)
    fitted, commit, resumed = _fit(estimator, unlabelled, RunFolder(folder), setting.commit)
    found = scores(labels, fitted.labels_)
    content = RunFolder(folder).read()
    seconds = fitted.fit_seconds_ + (resumed or {"seconds": 0.0})["seconds"]
    return row_of(task, images, setting, found, seconds, estimator.n_clusters) | {
        "hardware": content["hardware"],
        "versions": content["versions"],
        "commit": commit,
        "resumed": resumed,
        "history": _summary(task.table, fitted.history_, found),
    }


def _watch(estimator: ImageClusterer, labels: np.ndarray, wanted: tuple[str, ...]) -> None:
    """Have the scores of each round written into the history; the labels stay in this closure."""
    estimator.on_round = lambda hard: {name: value for name, value in scores(labels, hard).items() if name in wanted}


def _fit(
    estimator: ImageClusterer, images: ImageSource, folder: RunFolder, commit: str | None
) -> tuple[ImageClusterer, str | None, dict[str, Any] | None]:
    """Fit, resume or load: the fitted method, the commit that ended it, and what an earlier life of the run was."""
    earlier = _earlier(folder, images)
    if earlier is None:
        return _begin(estimator, images, folder, commit), commit, None
    if folder.read()["status"] == "finished":  # killed between the fit and the row
        return cast(ImageClusterer, load(folder.path)), earlier["commit"], earlier
    folder.update(bench=earlier)
    try:
        estimator.fit(images)
    except (RuntimeError, ValueError) as error:
        if earlier["commit"] == commit and not isinstance(error, RunError):
            raise
        return _begin(estimator, images, folder, commit), commit, None  # its state does not fit: other code, or device
    return estimator, commit, earlier


def _begin(estimator: ImageClusterer, images: ImageSource, folder: RunFolder, commit: str | None) -> ImageClusterer:
    folder.clear()
    estimator._notes = {"bench": {"commit": commit, "seconds": 0.0}}
    estimator.fit(images)
    return estimator


def _earlier(folder: RunFolder, images: ImageSource) -> dict[str, Any] | None:
    """Commit and seconds of a run that lies in the folder; None if there is none, or of other images."""
    try:
        content = folder.read()
        begun = content["bench"]
        if content["images"]["fingerprint"] != images.fingerprint:
            return None
    except (AsterismError, OSError, ValueError, KeyError):
        return None
    if content["status"] == "finished":
        return begun
    stages = {entry["stage"]: entry["seconds"] for entry in folder.read_history()}  # the last round's, summed up
    return {"commit": begun["commit"], "seconds": round(sum(stages.values()), 3)}


def _summary(table: Table, history: list[dict[str, Any]], final: dict[str, Any]) -> dict[str, Any]:
    """Rounds of each stage and, for figures, what they showed; a score's curve ends with the final one."""
    curves = {
        name: [_rounded(entry[name]) for entry in history if name in entry]
        + ([_rounded(final[name])] if name in final else [])
        for name in table.curves
    }
    return {"rounds": dict(Counter(entry["stage"] for entry in history)), **({"curves": curves} if curves else {})}


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


# ---------------------------------------------------------------- classes of other libraries


def run_external(task: Task, images: ImageSource, setting: Setting) -> Row:
    """Fit a class of another library to the pixels, and give the row of ``papers/results``.

    Parameters
    ----------
    task : Task
    images : ImageSource
        With labels, in their own order.
    setting : Setting

    Notes
    -----
    It runs on the setting's device if it has a parameter of that name, and cannot be resumed. Torch's global generator,
    which some of these classes seed, is put back afterwards.
    """
    ordered = shuffled(images, task.seed)
    labels = np.asarray(ordered.labels)
    n_classes = len(np.unique(labels))
    estimator = external_estimator(task.entry, task.dataset, _number(task.entry, n_classes), task.seed)
    if "device" in estimator.get_params(deep=False):
        estimator.set_params(device=str(Runtime(setting.device).device))
    pixels = pixel_vectors(ordered)
    with torch.random.fork_rng():
        began = time.monotonic()
        try:
            found = np.asarray(estimator.fit_predict(pixels))
        except (TypeError, ValueError) as error:  # what its own checks say
            raise InputError(f"{task.entry.class_name}: {error}") from error
        seconds = time.monotonic() - began
    return guest_row(task, images, setting, scores(labels, found), seconds, _number(task.entry, n_classes))


def guest_row(
    task: Task, images: ImageSource, setting: Setting, found: Mapping[str, Any], seconds: float, n_clusters: int
) -> Row:
    """The row of a run of a class of another library, which it names with its version."""
    row = row_of(task, images, setting, found, seconds, n_clusters)
    row["versions"] |= _version(task.entry.class_name)
    row["protocol"]["class"] = task.entry.class_name
    return row


def _number(entry: Entry, n_classes: int) -> int:
    return n_classes if isinstance(entry.n_clusters, str) else entry.n_clusters


def _version(path: str) -> dict[str, str]:
    package = path.partition(".")[0]
    try:
        return {package: version(package)}
    except PackageNotFoundError:  # of another name than its module: scikit-learn, which `versions` has
        return {}
