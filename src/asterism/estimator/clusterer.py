"""`ImageClusterer`: `ImageEstimator` with labels, the contract of every method."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.base import ClusterMixin
from torch import nn

from asterism.clustering.nested import nested_groups
from asterism.clustering.soft import soft_scores
from asterism.errors import InputError
from asterism.estimator.base import ImageEstimator
from asterism.estimator.keeping import keep_pictures
from asterism.images import ImageSource
from asterism.runs import RunFolder, write_labels
from asterism.training.run import Run

LOOKED_AT = 64  # images read at once to count those that differ
SCORE_ROWS = 65536  # rows whose scores for every cluster are held at once


@dataclass
class Fitted:
    """What a method's ``_fit`` hands back.

    Attributes
    ----------
    encoder : nn.Module
        Images (B, C, H, W) → features (B, D).
    labels : ndarray of shape (N,), int64
    centers : ndarray of shape (k, D)
    confidence : ndarray of shape (N,)
        How certain each label is, in [0, 1].
    examples : dict of str to torch.Tensor
        Small tensors for the page (reconstructions …).
    attributes : dict of str to ndarray
        What else the method found: ``{"rc_labels": …}`` becomes the fitted attribute ``rc_labels_``, saved and loaded.
    """

    encoder: nn.Module
    labels: np.ndarray
    centers: np.ndarray
    confidence: np.ndarray
    examples: dict[str, torch.Tensor] = field(default_factory=dict)
    attributes: dict[str, np.ndarray] = field(default_factory=dict)


def count_distinct(images: ImageSource, most: int) -> int:
    """How many images differ from all before them; counting ends beyond ``most``, as a rule among the first images."""
    seen: set[bytes] = set()
    for start in range(0, len(images), LOOKED_AT):
        for image in images.batch(slice(start, start + LOOKED_AT)).cpu().numpy():
            seen.add(hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest())
            if len(seen) > most:
                return len(seen)
    return len(seen)


class ImageClusterer(ClusterMixin, ImageEstimator):
    """Base of the clustering methods: `ImageEstimator` with labels.

    A subclass defines ``_fit``, which returns `Fitted`.

    Attributes
    ----------
    labels_ : ndarray of shape (N,), int64
    confidence_ : ndarray of shape (N,), float32
        How certain each label is, in [0, 1].
    cluster_centers_ : ndarray of shape (k, D), float32
    history_ : list of dict
        One entry a round.
    encoder_ : nn.Module
        The learned network, on the CPU.
    image_shape_ : tuple
        (C, H, W) of the images.
    n_features_in_ : int
        C·H·W.
    on_round : callable, optional
        Not a parameter; set it before ``fit`` to watch the learning: it is called in each round that has labels, with
        those labels (N,), and the numbers that it returns are written into ``history_``, which nothing reads back. So
        a benchmark can draw accuracy over epochs and no label comes near the fit.
    """

    n_clusters: int
    on_round: Callable[[np.ndarray], dict[str, float]] | None = None
    _attributes: tuple[str, ...] = ()  # names of what `Fitted.attributes` brought

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        raise NotImplementedError

    def _fit_images(self, images: ImageSource, run: Run) -> None:
        run.observer = self.on_round
        fitted = self._fit(images, run)
        self.encoder_ = fitted.encoder
        self.labels_ = np.asarray(fitted.labels, dtype=np.int64)
        self.confidence_ = np.asarray(fitted.confidence, dtype=np.float32)
        self.cluster_centers_ = np.asarray(fitted.centers, dtype=np.float32)
        self.examples_ = fitted.examples
        self._set_attributes(fitted.attributes)
        if run.runtime.is_main:
            self._tell_of_empty(images)

    def _number_wanted(self) -> int | None:
        """How many groups were asked for; None where their number is an outcome."""
        return self.n_clusters

    def _tell_of_empty(self, images: ImageSource) -> None:
        """Warn of groups that are empty, or that copies of one image had to fill."""
        wanted, found = self._number_wanted(), len(np.unique(self.labels_[self.labels_ >= 0]))
        if wanted is None:
            return
        distinct, empty = count_distinct(images, wanted), wanted - found
        left = f"{empty} of the groups {'is' if empty == 1 else 'are'} empty"
        if distinct < wanted:
            left = left if empty > 0 else "copies of one image lie in several groups"
            only = f"only {distinct} of the {len(images)} images differ"
            warnings.warn(f"n_clusters={wanted}, but {only}: {left}", stacklevel=2)
        elif empty > 0:
            warnings.warn(f"n_clusters={wanted}, and {found} came out: {left}", stacklevel=2)

    def _set_attributes(self, found: dict[str, np.ndarray]) -> None:
        self._attributes = tuple(found)
        for name, value in found.items():
            setattr(self, name + "_", np.asarray(value))

    def _check_number(self, n: int) -> None:
        super()._check_number(n)
        if self.n_clusters > n:
            raise InputError(
                f"n_clusters={self.n_clusters} is more than the number of images (n_samples={n}); "
                f"choose at most {n} clusters"
            )

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        """How well each feature vector (N, D) fits each cluster: (N, k), rows sum to 1."""
        return soft_scores(features, torch.from_numpy(self.cluster_centers_))

    def _best(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cluster of each feature vector, and its score: (N,) each."""
        confidence, labels = self._scores(features).max(1)
        return labels, confidence

    def predict(self, X: Any, *, layout: str | None = None) -> np.ndarray:
        """Cluster of each image.

        Parameters
        ----------
        X : see `fit`
            Images of the fitted shape; files are resized to it. Pixels of other units than those of the fit are
            converted where dtype and range tell how, with a warning, else refused.
        layout : optional
            See `fit`.

        Returns
        -------
        ndarray of shape (N,), int64
        """
        return self.predict_with_confidence(X, layout=layout)[0]

    def predict_with_confidence(self, X: Any, *, layout: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Cluster and confidence of each image.

        Returns
        -------
        labels : ndarray of shape (N,), int64
        confidence : ndarray of shape (N,), float32
        """
        self._check_fitted()
        images = self._open(X, False, layout)
        best = [self._best(features) for _, features in self._feature_blocks(images)]  # never N×D, nor N×k
        labels, confidence = (torch.cat(parts) for parts in zip(*best, strict=True))
        return labels.numpy(), confidence.numpy()

    def predict_proba(self, X: Any, *, layout: str | None = None) -> np.ndarray:
        """Soft score of each image for each cluster.

        Returns
        -------
        ndarray of shape (N, k), float32
            Rows sum to 1; a score is how certain the method is, not a calibrated probability.
        """
        self._check_fitted()
        return self._by_blocks(X, self._scores, layout)

    def score(self, X: Any, y: Any = None, *, layout: str | None = None) -> float:
        """How far apart the groups are, for a grid search without labels: the mean simplified silhouette.

        Parameters
        ----------
        X : see `predict`
        y : ignored
            Known classes are scored by ``scoring="adjusted_rand_score"``.
        layout : optional
            See `fit`.

        Returns
        -------
        float
            Mean over the images of (b − a) / max(a, b), in [−1, 1]: a is the distance of an image's features to the
            center of its group, b to the nearest other one; 0 for one group. It compares numbers of groups and
            settings on the same features; features that a network learnt otherwise have another scale of their own.

        References
        ----------
        Hruschka, de Castro and Campello: Evolutionary algorithms for clustering gene-expression data, ICDM 2004.
        """
        self._check_fitted()
        return float(self._by_blocks(X, self._silhouettes, layout).mean(dtype=np.float64))

    def cut(self, n_clusters: int, X: Any = None, *, layout: str | None = None) -> np.ndarray:
        """Fewer or more groups of the images fitted, without a new fit: those found, merged or divided in themselves.

        Parameters
        ----------
        n_clusters : int
            How many.
        X : optional
            The images fitted, in their order; see `fit`. Needed only where there are to be more groups, by methods that
            keep no features (`Diffusion`, `JULE` and the baselines on vectors do).
        layout : optional
            See `fit`.

        Returns
        -------
        ndarray of shape (N,), int64
            Groups that are unions or parts of those in ``labels_``, and so at every ``n_clusters``: all levels nest.

        Raises
        ------
        NotFittedError
        InputError
            If so many groups cannot be had, or ``X`` is needed and missing, or of another number of images.

        Notes
        -----
        Methods that merge are cut along their own merge history, ``linkage_matrix_``; see `asterism.clustering.nested`.
        """
        self._check_fitted()
        return self._cut(n_clusters, lambda: self._rows(X, layout))

    def _cut(self, n_clusters: int, rows: Callable[[], np.ndarray]) -> np.ndarray:
        if (self.labels_ < 0).any():
            raise InputError("images in no group cannot be cut into groups; cut a run that was made without outliers")
        history = getattr(self, "linkage_matrix_", None)
        return nested_groups(self.labels_, n_clusters, self.cluster_centers_, rows, history, self.seed_)

    def _rows(self, X: Any = None, layout: str | None = None) -> np.ndarray:
        """Features (N, D) of the images fitted: those that are kept, else of X."""
        kept = self._kept_rows()
        if kept is not None:
            return kept
        if X is None:
            raise InputError(f"this {type(self).__name__} keeps no features: pass the images that it was fitted on")
        rows, n = self.transform(X, layout=layout), len(self.labels_)
        if len(rows) != n:
            raise InputError(f"X holds {len(rows)} images, and {n} were fitted: pass those, in their order")
        return rows

    def _kept_rows(self) -> np.ndarray | None:
        """Features (N, D) of the images fitted, where they are kept with the model."""
        return getattr(self, "embedding_", None)

    def _silhouettes(self, features: torch.Tensor) -> torch.Tensor:
        """(B,) of features (B, D)."""
        distances = torch.cdist(features, torch.from_numpy(self.cluster_centers_))  # (B, k)
        if distances.shape[1] == 1:
            return torch.zeros(len(features))
        own = self._best(features)[0][:, None]
        a = distances.gather(1, own)[:, 0]
        b = distances.scatter(1, own, torch.inf).amin(1)
        return (b - a) / torch.maximum(a, b).clamp_min(torch.finfo(a.dtype).tiny)

    def _fitted_state(self) -> dict[str, Any]:
        found = {name: torch.from_numpy(getattr(self, name + "_")) for name in ("labels", "confidence")}
        centers = torch.from_numpy(self.cluster_centers_)
        more = {name: torch.from_numpy(np.asarray(getattr(self, name + "_"))) for name in self._attributes}
        return {**super()._fitted_state(), **found, "cluster_centers": centers, "attributes": more}

    def _restore_state(self, state: dict[str, Any]) -> None:
        super()._restore_state(state)
        for name in ("labels", "confidence", "cluster_centers"):
            setattr(self, name + "_", state[name].numpy())
        self._set_attributes({name: value.numpy() for name, value in state.get("attributes", {}).items()})

    def _check_restored(self) -> None:
        super()._check_restored()
        labels, confidence, centers = self.labels_, self.confidence_, self.cluster_centers_
        lowest = 0 if getattr(self, "outliers", None) is None else -1
        if labels.dtype != np.int64 or labels.ndim != 1 or labels.min(initial=0) < lowest:
            raise ValueError(f"its labels are not integers >= {lowest}, one an image")
        n_groups = max(self.n_clusters, len(centers))
        if centers.dtype != np.float32 or centers.ndim != 2 or labels.max(initial=0) >= n_groups:
            raise ValueError("its labels and centres do not belong together")
        if confidence.dtype != np.float32 or confidence.shape != labels.shape:
            raise ValueError("its confidence is not one number an image")
        copies = getattr(self, "duplicate_of_", np.arange(len(labels)))
        if (
            copies.dtype != np.int64
            or copies.shape != labels.shape
            or not ((copies >= 0) & (copies < len(copies))).all()
        ):
            raise ValueError("its copies are not one an image")
        if self._about.get("n", len(labels)) != len(labels):
            raise ValueError(f"it has {len(labels)} labels for {self._about['n']} images")
        with torch.no_grad():
            features = self.encoder_(torch.zeros(1, *self.image_shape_)).float()
            scores, best = self._scores(features), self._best(features)[0]
        if scores.shape != (1, len(centers)) or not 0 <= int(best[0]) < n_groups:
            raise ValueError("it cannot tell the group of an image")

    def _write_results(self, folder: RunFolder, names: list[str] | None) -> None:
        if names is not None:
            copies = getattr(self, "duplicate_of_", None)
            more = copies is not None or getattr(self, "outliers", None) is not None
            write_labels(folder.labels_path, names, self.labels_, self.confidence_, copies, more)
        super()._write_results(folder, names)

    def _keep_pictures(self, folder: RunFolder, images: ImageSource, alone: bool = True) -> None:
        if self._about["fingerprint"] is not None and len(images) == len(self.labels_):
            keep_pictures(self, images, folder.path, self._about["fingerprint"], alone)
