"""Images that do not count in a fit: copies of others, if these are dropped, and images that belong nowhere.

The same for every method. What is kept of a fit tells of new images, too, whether they belong
(`asterism.clustering.outliers`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from asterism.clustering.outliers import conformal_p_values, neighbor_distance, p_values, typical
from asterism.errors import InputError
from asterism.features.store import picked
from asterism.images import ImageSource
from asterism.images.duplicates import duplicates
from asterism.images.pack import from_numpy
from asterism.parameters import Interval, shown
from asterism.training.run import Run

SMALLEST_PICTURE, MOST_PICTURES = 64, 20_000  # pixels a side from which, and number up to which, copies are looked for
REFERENCE, FEWEST = 2**22, 256  # numbers of the features that are kept to tell what belongs nowhere; rows at least
AT_ONCE = 2**24  # numbers of the features that are compared with these together
SHARE = Interval(float, 0, 0.5, closed="neither")
Rows = Callable[[torch.Tensor], torch.Tensor]


def _as_they_are(features: torch.Tensor) -> torch.Tensor:
    return features


@dataclass(frozen=True)
class Screening:
    """What is asked of a fit.

    Attributes
    ----------
    outliers : float or None
        p-value below which an image belongs nowhere.
    drop_duplicates : bool
    """

    outliers: float | None = None
    drop_duplicates: bool = False

    @classmethod
    def checked(cls, outliers: Any, drop_duplicates: Any = False) -> Screening:
        """What is asked, in type and range; raises `InputError`."""
        if outliers is not None and not SHARE.accepts(outliers):
            raise InputError(f"outliers={shown(outliers)} cannot be used: outliers must be {SHARE} or None")
        if not isinstance(drop_duplicates, (bool, np.bool_)):
            raise InputError(f"drop_duplicates={shown(drop_duplicates)} cannot be used: it must be True or False")
        return cls(None if outliers is None else float(outliers), bool(drop_duplicates))

    def written(self) -> dict[str, Any]:
        """What is asked for, as plain JSON; empty where nothing is."""
        asked = {"outliers": self.outliers, "drop_duplicates": self.drop_duplicates}
        return {name: value for name, value in asked.items() if value not in (None, False)}


class Screen:
    """The images of a fit, and which of them count.

    Parameters
    ----------
    asked : Screening
    images : ImageSource
        N.
    n_clusters : int
        So many images must count at least.
    run : Run

    Attributes
    ----------
    counted : ndarray of shape (C,), int64
        Those that count, in order.
    duplicate_of : ndarray of shape (N,), int64, or None
        Where copies were looked for.
    """

    def __init__(self, asked: Screening, images: ImageSource, n_clusters: int, run: Run) -> None:
        self.asked, self.n, self.n_clusters, self.run = asked, len(images), n_clusters, run
        self.counted = np.arange(self.n)
        self.duplicate_of = self._copies(images)
        self._p = np.ones(self.n)
        self._reference: dict[str, np.ndarray] = {}
        if asked.drop_duplicates and self.duplicate_of is not None:
            self.counted = np.flatnonzero(self.duplicate_of == np.arange(self.n))
            self._check("are no copies of others", "leave drop_duplicates out")

    def _copies(self, images: ImageSource) -> np.ndarray | None:
        are_few = not images.is_table and min(images.shape[1:]) >= SMALLEST_PICTURE and self.n <= MOST_PICTURES
        if not (self.asked.drop_duplicates or are_few):
            return None
        return self.run.cached("copies", lambda: {"of": torch.from_numpy(duplicates(images))})["of"].numpy()

    def _check(self, what: str, how: str) -> None:
        n = len(self.counted)
        if n < self.n_clusters:
            raise InputError(
                f"n_clusters={self.n_clusters} is more than the {n} images that {what}; choose at most {n} clusters, "
                f"or {how}"
            )

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        """Those of N rows whose images count."""
        return rows if len(self.counted) == len(rows) else picked(rows, self.counted)

    def images(self, images: ImageSource) -> ImageSource:
        """The images that count."""
        return images if len(self.counted) == len(images) else images.subset(self.counted)

    def judge(self, features: torch.Tensor, compared: Rows = _as_they_are) -> np.ndarray:
        """Find which images belong nowhere, if that is asked for; from then on they do not count.

        Parameters
        ----------
        features : torch.Tensor of shape (C, M)
            Of the images that count.
        compared : callable
            Makes of features the rows (C, D) whose distances tell.

        Returns
        -------
        ndarray of shape (C,), bool
            Whether each belongs.
        """
        alpha = self.asked.outliers
        if alpha is None:
            return np.ones(len(features), bool)
        chosen = self._chosen(*features.shape)
        own = np.full(len(features), -1)
        own[chosen] = np.arange(len(chosen))
        reference, step = compared(features[torch.from_numpy(chosen)]), max(1, AT_ONCE // max(features.shape[1], 1))
        parts = (slice(start, start + step) for start in range(0, len(features), step))
        distances = np.concatenate([neighbor_distance(compared(features[i]), reference, own[i]) for i in parts])
        self._p[self.counted] = p_values(distances, *typical(distances[chosen]).tolist())
        inside = self._p[self.counted] >= alpha
        self.counted = self.counted[inside]
        self._check("belong somewhere", "leave outliers out")
        return inside

    def keep(self, features: torch.Tensor, compared: Rows = _as_they_are, inside: np.ndarray | None = None) -> None:
        """Keep what tells of new images whether they belong; see `judge`, which gives ``inside``, for the parameters.

        The distances where this fit has asked; else they are found when a prediction asks.
        """
        places = np.arange(len(features)) if inside is None else np.flatnonzero(inside)
        chosen = torch.from_numpy(places[self._chosen(len(places), features.shape[1])])

        def compute() -> dict[str, torch.Tensor]:
            reference = compared(features[chosen])
            found = {"reference": reference}
            if self.asked.outliers is not None:
                found["reference_distances"] = torch.from_numpy(own_distances(reference))
            return found

        self._reference = {name: value.numpy() for name, value in self.run.cached("belonging", compute).items()}

    def _chosen(self, n: int, width: int) -> np.ndarray:
        order = torch.randperm(n, generator=self.run.generator("reference")).numpy()
        return np.sort(order[: max(REFERENCE // max(width, 1), FEWEST)])

    def whole(self, labels: np.ndarray, confidence: np.ndarray, fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels and confidences (N,) of all images, from those (F,) of the images that were fitted.

        Images that belong nowhere have the label −1 and the confidence 1 − p; copies that were dropped have what the
        kept ones have.
        """
        all_labels, all_confidence = np.full(self.n, -1, np.int64), (1 - self._p).astype(np.float32)
        all_labels[fitted], all_confidence[fitted] = labels, confidence
        outside = np.setdiff1d(fitted, self.counted, assume_unique=True)
        all_labels[outside], all_confidence[outside] = -1, 1 - self._p[outside]
        if self.asked.drop_duplicates and self.duplicate_of is not None:
            all_labels, all_confidence = all_labels[self.duplicate_of], all_confidence[self.duplicate_of]
        return all_labels, all_confidence

    def attributes(self, fitted: np.ndarray) -> dict[str, np.ndarray]:
        """What the fit keeps of this: see `asterism.estimator.ImageClusterer`."""
        found = dict(self._reference)
        if self.duplicate_of is not None:
            found["duplicate_of"] = self.duplicate_of
        if self.asked.outliers is not None:
            found["significance"] = np.array(self.asked.outliers)
        if len(fitted) < self.n:
            found["fitted_images"] = fitted
        return found


def own_distances(reference: torch.Tensor) -> np.ndarray:
    """How far each of the rows (R, D) lies from its fifth-nearest other, in increasing order."""
    return np.sort(neighbor_distance(reference, reference))


def chance_to_belong(rows: torch.Tensor, reference: np.ndarray, known: np.ndarray) -> np.ndarray:
    """p-value (B,) of new images' rows (B, D), by the rows (R, D) that a fit has kept and their `own_distances`."""
    return conformal_p_values(neighbor_distance(rows, from_numpy(reference)), known)


def check_screened(found: dict[str, Any], n: int) -> None:
    """See that what a run of n images keeps of copies and outliers is what `Screen.attributes` gives.

    Raises
    ------
    ValueError
    """
    copies, fitted = found.get("duplicate_of", np.arange(n)), found.get("fitted_images", np.arange(n))
    for numbers in (copies, fitted):
        if numbers.dtype != np.int64 or numbers.ndim != 1 or not ((numbers >= 0) & (numbers < n)).all():
            raise ValueError("its copies, or the images that were fitted, are no images of it")
    if len(copies) != n or (np.diff(fitted) <= 0).any():
        raise ValueError("its copies are not one an image, or the images that were fitted are not in order")
    if not 0 <= float(found.get("significance", 0)) < 0.5:
        raise ValueError("its share of outliers is none")
    reference = found.get("reference", np.zeros((1, 1), np.float32))
    distances = found.get("reference_distances", np.zeros(len(reference)))
    if reference.dtype != np.float32 or reference.ndim != 2 or distances.shape != (len(reference),):
        raise ValueError("what tells outliers is not one distance a row")
