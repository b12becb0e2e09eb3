"""What a row of FCN's tables is: a representation learnt on a training part, and the test part grouped by it (§4)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import LinearSVC

from asterism.errors import InputError
from asterism.images import ImageSource, named_sets
from asterism.images.catalogue import PREFIX
from asterism.images.named import listed_parts
from asterism.methods import load
from asterism.methods.pretrained import PretrainedClusterer
from asterism.metrics import scores
from asterism.runtime import derived_seed
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.protocol import Row, Setting, Task

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


def by_lists(images: ImageSource, seed: int, variant: str) -> Parts:
    """The parts that the data set's own lists name."""
    path = next(one.path for one in named_sets() if one.name == images.origin["source"].removeprefix(PREFIX))
    if path is None:
        raise InputError(f"{images.origin['source']} is no longer on this machine")
    train, test = (set(names) for names in listed_parts(path).values())
    return (
        np.flatnonzero([name in train for name in images.names]),
        np.flatnonzero([name in test for name in images.names]),
    )


SPLITS: Mapping[str, Callable[[ImageSource, int, str], Parts]] = {
    "flowers102": in_folders,
    "mnist": mnist,
    "scene15": halves,
    "coil20": whole,
    "mit67": by_lists,
    "birds200": by_lists,
}


def linear_svm(codes: np.ndarray, labels: np.ndarray) -> GridSearchCV:
    """A linear SVM of unit-length vectors (N, D), its C chosen on the same vectors by three folds.

    The paper is silent on C. One C for all would favour a representation: sparse codes and plain features differ in
    how far apart their classes lie.
    """
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return GridSearchCV(LinearSVC(random_state=0), {"C": CS}, cv=folds).fit(codes, labels)


@dataclass
class Learnt:
    """A representation of the training part, and the test part's vectors in it."""

    model: PretrainedClusterer
    codes: np.ndarray  # (N, D)
    row: Row  # of the run that learnt it
    seconds: float  # of learning and of the test part's pass


class SplitRuns:
    """``perform`` of a table: fit on one part without labels, group the other, score that.

    A representation does not depend on how its vectors are grouped: rows of k-means and of spectral clustering that one
    call runs share it, and their seconds both count it.

    Parameters
    ----------
    svm : bool, default=False
        Learn a linear SVM on the representation of the training part, with its labels, and score its predictions on
        the test part as ``svm`` (Table 5).
    """

    def __init__(self, svm: bool = False) -> None:
        self.svm = svm
        self._learnt: dict[str, Learnt] = {}  # of one set and seed

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Fit, group, and give the row of ``papers/results``."""
        split = SPLITS[task.dataset]
        train, test = (images.subset(part) for part in split(images, task.seed, task.entry.variant))
        of_all, params = [images.fingerprint, task.seed], dict(task.params)
        assign = params.pop("assign", None)
        key = json.dumps([*of_all, train.fingerprint, task.entry.class_name, params])
        if key not in self._learnt:
            self._learnt = {kept: one for kept, one in self._learnt.items() if json.loads(kept)[:2] == of_all}
            row = runs.perform(task, train, folder, setting)
            began = time.monotonic()
            model = load(folder)
            if not isinstance(model, PretrainedClusterer):
                raise InputError(f"{task.entry.method} gives no representation that a test part could be grouped by")
            model.device = setting.device
            codes = model.transform(test)
            self._learnt[key] = Learnt(model, codes, row, row["seconds"] + time.monotonic() - began)
        learnt = self._learnt[key]
        began = time.monotonic()
        grouping = learnt.model if assign is None else learnt.model.set_params(assign=assign)
        found = scores(np.asarray(test.labels), grouping.group(learnt.codes))
        about = learnt.row["protocol"] | {
            "variant": task.entry.variant,
            "images": protocol.describe(task.dataset, images),
            "fingerprint": images.fingerprint,
            "split": " ".join((split.__doc__ or "").split()),
            "learnt from": f"{len(train)} images without labels",
            "grouped": f"{len(test)} images",
        }
        if self.svm:
            classifier = linear_svm(learnt.model.transform(train), np.asarray(train.labels))
            found["svm"] = round(float(classifier.score(learnt.codes, test.labels)), 6)
            about["svm"] = f"liblinear, unit-length vectors, C = {classifier.best_params_['C']:g} by {FOLDS} folds"
            about["labels"] = "of the SVM, and scoring"
        return learnt.row | {
            "table": task.table.record,
            "method": task.entry.method,
            "scores": found,
            "seconds": round(learnt.seconds + time.monotonic() - began, 3),
            "params": learnt.row["params"] | ({} if assign is None else {"assign": assign}),
            "command": task.command,
            "protocol": about,
        }
