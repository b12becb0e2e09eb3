"""How PASCAL VOC scores classification, detection and segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_OVERLAP = 0.5  # a box that overlaps less with the object has not found it
VOID = 255


def eleven_point(relevant: np.ndarray, n_relevant: int) -> float:
    """Average precision of VOC 2007: the mean over recalls 0, .1 … 1 of the best precision at that recall or beyond.

    Parameters
    ----------
    relevant : bool ndarray of shape (n,)
        Whether what was found is right, best first.
    n_relevant : int
        How many there are to be found.

    Returns
    -------
    float
        No number where there is nothing to be found.
    """
    if n_relevant == 0:
        return float("nan")
    hits = np.cumsum(relevant)
    precision = hits / np.arange(1, len(relevant) + 1)
    reached = 10 * hits[None] >= np.arange(11)[:, None] * n_relevant  # recall ≥ t, in whole numbers: exact
    return float(np.where(reached, precision[None], 0).max(1, initial=0).mean())


def area(relevant: np.ndarray, n_relevant: int) -> float:
    """Average precision as the area below the steps of precision over recall (the later VOCs', scikit-learn's)."""
    if n_relevant == 0:
        return float("nan")
    hits = np.cumsum(relevant)
    return float((hits / np.arange(1, len(relevant) + 1))[np.asarray(relevant, bool)].sum() / n_relevant)


def ranked(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether images show the class, by falling score.

    Parameters
    ----------
    scores : ndarray of shape (N,)
    labels : ndarray of shape (N,)
        1, 0, or −1 for those that are left out. Of equal scores those without the class come first, as in the released
        code, so that ties gain nothing.

    Returns
    -------
    bool ndarray of shape (n,)
    """
    kept = labels >= 0
    order = np.lexsort((labels[kept], -scores[kept]))
    return labels[kept][order] > 0


@dataclass(frozen=True)
class Detections:
    """What a detector says of an image.

    Attributes
    ----------
    boxes : ndarray of shape (n, 4)
        Left, top, right, bottom edge, pixels.
    labels : ndarray of shape (n,)
        Classes from 0.
    scores : ndarray of shape (n,)
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Truth:
    """The objects of an image: boxes (m, 4), labels (m,), and whether each is difficult (m,)."""

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (m,) of a box (4,) with others (m, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.clip(high - low, 0, None).prod(1)
    return both / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - both)


def detection_precisions(found: Sequence[Detections], truth: Sequence[Truth], n_classes: int) -> list[float]:
    """11-point average precision of each class (VOC 2007).

    A detection is right if the object of its class that it overlaps most, by at least a half, was not found before by
    one of higher score. One that overlaps a difficult object so counts neither way, and difficult objects need not be
    found.
    """
    return [_detection_precision(found, truth, label) for label in range(n_classes)]


def _detection_precision(found: Sequence[Detections], truth: Sequence[Truth], label: int) -> float:
    mine = [(float(one.scores[j]), i, j) for i, one in enumerate(found) for j in np.flatnonzero(one.labels == label)]
    there = [one.labels == label for one in truth]
    taken = [np.zeros(int(some.sum()), bool) for some in there]
    verdicts = []
    for _, i, j in sorted(mine, key=lambda one: -one[0]):
        boxes, difficult = truth[i].boxes[there[i]], truth[i].difficult[there[i]]
        share = overlaps(found[i].boxes[j], boxes) if len(boxes) else np.zeros(0)
        best = int(share.argmax()) if len(boxes) else -1
        if best < 0 or share[best] < MIN_OVERLAP:
            verdicts.append(False)
        elif not difficult[best]:
            verdicts.append(not taken[i][best])
            taken[i][best] = True
    n_relevant = sum(int((some & ~one.difficult).sum()) for some, one in zip(there, truth, strict=True))
    return eleven_point(np.array(verdicts, bool), n_relevant)


class Confusion:
    """Counts of pixels by their class and by what they were taken for.

    Parameters
    ----------
    n_classes : int
        The background counted.
    """

    def __init__(self, n_classes: int) -> None:
        self.counts = np.zeros((n_classes, n_classes), np.int64)

    def add(self, truth: np.ndarray, taken_for: np.ndarray) -> None:
        """Count an image: classes (H, W) of its pixels, `VOID` where none counts, and what they were taken for."""
        n = len(self.counts)
        kept = truth != VOID
        pairs = truth[kept].astype(np.int64) * n + taken_for[kept]
        self.counts += np.bincount(pairs, minlength=n * n).reshape(n, n)

    def overlaps(self) -> np.ndarray:
        """Intersection over union (classes,); no number for a class that neither occurs nor was seen."""
        right = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - right
        return np.where(union > 0, right / np.maximum(union, 1), np.nan)

    @property
    def accuracy(self) -> float:
        """Share of the pixels that are right."""
        return float(np.diag(self.counts).sum() / max(1, self.counts.sum()))
