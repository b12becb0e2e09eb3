"""What a row of FCN's tables is: a representation learnt on a training part, and the test part grouped by it (§4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import LinearSVC

from asterism.errors import InputError
from asterism.evaluation.metrics import scores
from asterism.images import ImageSource
from asterism.methods import load
from asterism.methods.pretrained import PretrainedClusterer
from asterism.runtime import derived_seed

Parts = tuple[np.ndarray, np.ndarray]  # indices of the images to learn from, and of those to group
CS, FOLDS = (0.1, 1.0, 10.0, 100.0), 3  # of the SVM
MORE = "train + val"  # in the name of a variant: the validation part is learnt from too


def in_folders(images: ImageSource, seed: int, variant: str) -> Parts:
    """``train/`` and ``test/``, with ``val/`` where the variant says so."""
    parts = np.array([name.partition("/")[0] for name in images.names])
    learnt = ("train", "val") if MORE in variant else ("train",)
    return np.flatnonzero(np.isin(parts, learnt)), np.flatnonzero(parts == "test")


def mnist(images: ImageSource, seed: int, variant: str) -> Parts:
    """Every 30th training image and every 4th test image: 2 000 and 2 500."""
    return np.arange(0, 60_000, 30), np.arange(60_000, 70_000, 4)


def halves(images: ImageSource, seed: int, variant: str) -> Parts:
    """Two halves, drawn by the seed."""
    order = np.random.default_rng(derived_seed(seed, ("halves",))).permutation(len(images))
    return np.sort(order[: len(images) // 2]), np.sort(order[len(images) // 2 :])


def whole(images: ImageSource, seed: int, variant: str) -> Parts:
    """All images for both: COIL-20 has no split, and the paper names none."""
    return np.arange(len(images)), np.arange(len(images))


SPLITS: Mapping[str, Callable[[ImageSource, int, str], Parts]] = {
    "flowers102": in_folders,
    "mnist": mnist,
    "scene15": halves,
    "coil20": whole,
}


def linear_svm(codes: np.ndarray, labels: np.ndarray) -> GridSearchCV:
    """A linear SVM of unit-length vectors (N, D), its C chosen on the same vectors by three folds.

    The paper is silent on C. One C for all would favour a representation: sparse codes and plain features differ in
    how far apart their classes lie.
    """
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return GridSearchCV(LinearSVC(random_state=0), {"C": CS}, cv=folds).fit(codes, labels)


class SplitRuns:
    """``perform`` of a table: fit on one part without labels, group the other, score that.

    Parameters
    ----------
    svm : bool, default=False
        Learn a linear SVM on the representation of the training part, with its labels, and score its predictions on
        the test part as ``svm`` (Table 5).
    """

    def __init__(self, svm: bool = False) -> None:
        self.svm = svm

    def __call__(self, task: Any, images: ImageSource, folder: Path, setting: Any) -> dict[str, Any]:
        """Fit, group, and give the row of ``benchmarks/results``."""
        from asterism.evaluation import protocol  # which knows every table, and so this file

        split = SPLITS[task.dataset]
        train, test = (images.subset(part) for part in split(images, task.seed, task.entry.variant))
        row = protocol.perform(task, train, folder, setting)
        began = time.monotonic()
        model = load(folder)
        if not isinstance(model, PretrainedClusterer):
            raise InputError(f"{task.entry.method} gives no representation that a test part could be grouped by")
        model.device = setting.device
        codes = model.transform(test)
        row["scores"] = scores(np.asarray(test.labels), model.group(codes))
        if self.svm:
            classifier = linear_svm(model.transform(train), np.asarray(train.labels))
            row["scores"]["svm"] = round(float(classifier.score(codes, test.labels)), 6)
            row["protocol"]["svm"] = (
                f"liblinear, unit-length vectors, C = {classifier.best_params_['C']:g} by {FOLDS} folds"
            )
        row["seconds"] = round(row["seconds"] + time.monotonic() - began, 3)
        row["protocol"] |= {
            "images": protocol.describe(task.dataset, images),
            "fingerprint": images.fingerprint,
            "split": " ".join((split.__doc__ or "").split()),
            "learnt from": f"{len(train)} images without labels",
            "grouped": f"{len(test)} images",
        }
        return row
