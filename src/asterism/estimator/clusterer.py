"""`ImageClusterer`: `ImageEstimator` with labels, the contract of every method."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from asterism.clustering.linkage_tree import MANY_COPIES, check_history
from asterism.clustering.soft import soft_scores
from asterism.errors import InputError
from asterism.estimator.inputs import all_or_nothing
from asterism.estimator.keeping import keep_pictures
from asterism.estimator.regrouping import Regroups
from asterism.estimator.screening import Screen, Screening, chance_to_belong, check_screened, own_distances
from asterism.images import ImageSource
from asterism.images.pack import from_numpy
from asterism.parameters import attribute, parameter
from asterism.parameters.constraints import POSITIVE_INT
from asterism.parameters.contract import ClusterMixin
from asterism.runs import RunFolder, write_labels
from asterism.runtime import usual_torch
from asterism.training.run import Run

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_COUNTED = 2**30  # bytes of images in which copies are counted: it takes a second or two
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


class ImageClusterer(ClusterMixin, Regroups):
    """Base of the clustering methods: `ImageEstimator` with labels.

    A subclass defines ``_fit``, which returns `Fitted`.

    Attributes
    ----------
    labels_ : ndarray of shape (N,), int64
        −1 for an image that belongs nowhere, where ``fit`` was asked for such.
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
    duplicate_of_ : ndarray of shape (N,), int64
        The image that each is a copy of, its own number for one that is none. Only where copies were looked for: in up
        to 20 000 pictures of at least 64 pixels a side, or if they are dropped.
    fitted_images_ : ndarray of shape (F,), int64
        Where some images were left out of the fit: those that were not. What else the method keeps of single images
        (``embedding_``, ``linkage_matrix_``) is of these.
    significance_ : ndarray of shape ()
        ``outliers`` of the fit.
    reference_, reference_distances_ : ndarrays of shape (R, D) and (R,)
        Features of some of the images, and how far each lies from its fifth-nearest other: what tells that a new image
        belongs nowhere. The distances, where the fit did not ask, from the first prediction on that does.
    on_round : callable, optional
        Not a parameter; set it before ``fit`` to watch the learning: it is called in each round that has labels, with
        those labels (N,), and the numbers that it returns are written into ``history_``, which nothing reads back. So
        a benchmark can draw accuracy over epochs and no label comes near the fit. It may return None, too.
    """

    n_clusters: int = parameter(POSITIVE_INT, default=8, kw_only=False)
    """Number of groups, k."""
    _goes_by_neighbors = False  # so that copies, which are nearest to each other, may decide
    on_round: Callable[[np.ndarray], dict[str, float] | None] | None = attribute(None)
    _attributes: tuple[str, ...] = attribute(())  # names of what `Fitted.attributes` brought
    _screening = Screening()
    reference_: np.ndarray = attribute()
    reference_distances_: np.ndarray = attribute()
    _screen: Screen = attribute()  # of the fit that goes on
    _screens_features = False  # whether `_fit` takes features first, and leaves out itself what does not count

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        layout: str | None = None,
        outliers: float | None = None,
        drop_duplicates: bool | None = None,
    ) -> Self:
        """Fit to images.

        Parameters
        ----------
        X, y, layout
            See `ImageEstimator.fit`.
        outliers : float, optional
            Images that belong nowhere get the label −1: those whose features lie far from their fifth-nearest image's.
            Of images that do belong so large a share, .01 say, lies as far. Methods on features that are given,
            or of a pre-trained network, find their groups without them; methods that learn their features learn with
            them.
        drop_duplicates : bool, optional
            Copies of a picture (resized, stored anew, brighter, cut by up to 5 %) count once, and get the group of the
            one that is kept: `asterism.images.duplicates.duplicates`.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Also where fewer images than ``n_clusters`` are left.
        RunError, StorageError
        """
        outliers = getattr(self, "outliers", None) if outliers is None else outliers
        drop_duplicates = getattr(self, "drop_duplicates", False) if drop_duplicates is None else drop_duplicates
        with all_or_nothing(self):
            self._screening = Screening.checked(outliers, drop_duplicates)
            super().fit(X, y, layout=layout)
        return self

    def _memory_needed(self, n: int, n_numbers: int) -> int:
        """With labels, those of the round before, and confidences."""
        return super()._memory_needed(n, n_numbers) + 20 * n

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        raise NotImplementedError

    def _fit_images(self, images: ImageSource, run: Run) -> None:
        run.observer = self.on_round
        if self._goes_by_neighbors and not self._screening.drop_duplicates and run.runtime.is_main:
            self._tell_of_copies(images)
        screen = self._screen = Screen(self._screening, images, self.n_clusters, run)
        if self._screens_features:
            fitted = self._fit(images, run)
            self.encoder_, fitted_images = fitted.encoder, screen.counted
        else:
            judged = self._screening.outliers is not None
            early = self._early_rows(screen.images(images), run) if judged else None
            if early is not None:
                screen.judge(early)
            shown, fitted_images = screen.images(images), screen.counted
            fitted = self._fit(shown, run)
            self.encoder_ = fitted.encoder
            if judged:
                rows = self._features_and_rows(shown)[1]
                screen.keep(rows, inside=screen.judge(rows) if early is None else None)
        self.labels_, self.confidence_ = screen.whole(fitted.labels, fitted.confidence, fitted_images)
        self.cluster_centers_ = np.asarray(fitted.centers, dtype=np.float32)
        self.examples_ = fitted.examples
        self._set_attributes(fitted.attributes | screen.attributes(fitted_images))
        del self._screen
        if run.runtime.is_main:
            self._tell_of_empty(images)

    def _early_rows(self, images: ImageSource, run: Run) -> torch.Tensor | None:
        """Features (N, D) that are known before anything is learnt, by which outliers can be left out of the fit."""
        return None

    def _features_and_rows(self, images: ImageSource) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, D) of images, and rows (B, D') whose distances tell what belongs nowhere."""
        features = self._features(images)
        return features, features

    def _number_wanted(self) -> int | None:
        """How many groups were asked for; None where their number is an outcome."""
        return self.n_clusters

    def _tell_of_copies(self, images: ImageSource) -> None:
        """Warn of many equal images."""
        if images.pixels.numel() * images.pixels.element_size() > MOST_COUNTED:
            return
        copies = len(images) - count_distinct(images, len(images))
        if copies > MANY_COPIES * len(images):
            warnings.warn(
                f"{copies} of the {len(images)} images are equal to others: {type(self).__name__} goes by nearest "
                "neighbours, and sets of copies may become groups of their own; pass drop_duplicates=True to fit",
                stacklevel=2,
            )

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
        for name in {*self._attributes, "reference_distances"} - found.keys():
            vars(self).pop(name + "_", None)  # of the fit before
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
        return soft_scores(features, from_numpy(self.cluster_centers_))

    def _best(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cluster of each feature vector, and its score: (N,) each."""
        confidence, labels = self._scores(features).max(1)
        return labels, confidence

    def predict(self, X: Any, *, layout: str | None = None, outliers: float | None = None) -> np.ndarray:
        """Cluster of each image.

        Parameters
        ----------
        X : see `fit`
            Images of the fitted shape; files are resized to it. Pixels of other units than those of the fit are
            converted where dtype and range tell how, with a warning, else refused.
        layout : optional
            See `fit`.
        outliers : optional
            See `predict_with_confidence`.

        Returns
        -------
        ndarray of shape (N,), int64
        """
        return self.predict_with_confidence(X, layout=layout, outliers=outliers)[0]

    def predict_with_confidence(
        self, X: Any, *, layout: str | None = None, outliers: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cluster and confidence of each image.

        Parameters
        ----------
        X, layout
            See `predict`.
        outliers : float, optional
            Images that belong nowhere get the label −1, and the confidence 1 − p: so large a share, at most, of images
            that belong is refused. By default as in the fit.

        Returns
        -------
        labels : ndarray of shape (N,), int64
        confidence : ndarray of shape (N,), float32

        Raises
        ------
        InputError
            Also where outliers are asked for, and the fit kept nothing that could tell them.
        """
        self._check_fitted()
        alpha = self.significance if outliers is None else Screening.checked(outliers).outliers
        self.check_refusing(alpha)
        labels, confidence, p = self._placed(X, layout, alpha is not None)
        if alpha is None:
            return labels, confidence
        outside = p < alpha
        return np.where(outside, -1, labels), np.where(outside, 1 - p, confidence).astype(np.float32)

    def check_refusing(self, outliers: float | None) -> None:
        """See that new images can be refused.

        Raises
        ------
        InputError
            If they are to be, and the fit kept nothing that tells what belongs nowhere.
        """
        if outliers is not None and not hasattr(self, "reference_"):
            raise InputError(
                "this fit keeps nothing that could tell what belongs nowhere: pass outliers to fit, and fit anew"
            )

    @property
    def significance(self) -> float | None:
        """The p-value below which an image belongs nowhere, as in the fit; None where none did."""
        fitted = getattr(self, "significance_", getattr(self, "outliers", None))  # the parameter: of older runs
        return None if fitted is None else float(fitted)

    def _placed(self, X: Any, layout: str | None, judged: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels and confidence (N,) of images, and how likely one that belongs is as strange: 1 if not judged."""
        with usual_torch():
            images = self._open(X, False, layout)
            labels, confidence, p = (
                np.empty(len(images), np.int64),
                np.empty(len(images), np.float32),
                np.ones(len(images)),
            )
            if judged and not hasattr(self, "reference_distances_"):
                self.reference_distances_ = own_distances(from_numpy(self.reference_))
            for places, part in self._image_blocks(images):  # never N×D, nor N×k; what a block has made is let go of
                if judged:
                    features, rows = self._features_and_rows(part)
                    p[places] = chance_to_belong(rows, self.reference_, self.reference_distances_)
                else:
                    features = self._features(part)
                found, certain = self._best(features)
                labels[places], confidence[places] = found.numpy(), certain.numpy()
            return labels, confidence, p

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

    def _silhouettes(self, features: torch.Tensor) -> torch.Tensor:
        """(B,) of features (B, D)."""
        distances = torch.cdist(features.double(), from_numpy(self.cluster_centers_).double())  # (B, k)
        if distances.shape[1] == 1:
            return torch.zeros(len(features))
        own = self._best(features)[0][:, None]
        a = distances.gather(1, own)[:, 0]
        b = distances.scatter(1, own, torch.inf).amin(1)
        return (b - a) / torch.maximum(a, b).clamp_min(torch.finfo(a.dtype).tiny)

    def _fitted_state(self) -> dict[str, Any]:
        def tensors(names: Iterable[str]) -> dict[str, torch.Tensor]:
            return {name: from_numpy(np.asarray(getattr(self, name + "_"))) for name in names}

        own = tensors(("labels", "confidence", "cluster_centers"))
        return {**super()._fitted_state(), **own, "attributes": tensors(self._attributes)}

    def _restore_state(self, state: dict[str, Any]) -> None:
        super()._restore_state(state)
        for name in ("labels", "confidence", "cluster_centers"):
            setattr(self, name + "_", state[name].numpy())
        self._set_attributes({name: value.numpy() for name, value in state.get("attributes", {}).items()})

    def _check_restored(self) -> None:
        super()._check_restored()
        labels, confidence, centers = self.labels_, self.confidence_, self.cluster_centers_
        lowest = 0 if self.significance is None else -1
        if labels.dtype != np.int64 or labels.ndim != 1 or labels.min(initial=0) < lowest:
            raise ValueError(f"its labels are not integers >= {lowest}, one an image")
        n_groups = max(self.n_clusters, len(centers))
        if centers.dtype != np.float32 or centers.ndim != 2 or labels.max(initial=0) >= n_groups:
            raise ValueError("its labels and centres do not belong together")
        if confidence.dtype != np.float32 or confidence.shape != labels.shape or not np.isfinite(confidence).all():
            raise ValueError("its confidence is not one number an image")
        check_screened({name: getattr(self, f"{name}_") for name in self._attributes}, len(labels))
        if (history := getattr(self, "linkage_matrix_", None)) is not None:
            check_history(history, len(self._own_labels))
        if self._about.get("n", len(labels)) != len(labels):
            raise ValueError(f"it has {len(labels)} labels for {self._about['n']} images")
        with torch.no_grad():
            features = self.encoder_(torch.zeros(1, *self.image_shape_)).float()
            scores, best = self._scores(features), self._best(features)[0]
        if scores.shape != (1, len(centers)) or not 0 <= int(best[0]) < n_groups:
            raise ValueError("it cannot tell the group of an image")

    def _description(self, images: ImageSource) -> dict[str, Any]:
        asked = self._screening.written()
        return super()._description(images) | ({"screening": asked} if asked else {})

    def _write_results(self, folder: RunFolder, names: list[str] | None) -> None:
        if names is not None:
            copies = getattr(self, "duplicate_of_", None)
            more = copies is not None or self.significance is not None
            write_labels(folder.labels_path, names, self.labels_, self.confidence_, copies, more)
        super()._write_results(folder, names)

    def _keep_pictures(self, folder: RunFolder, images: ImageSource, alone: bool = True) -> None:
        if self._about["fingerprint"] is not None and len(images) == len(self.labels_):
            keep_pictures(self, images, folder.path, self._about["fingerprint"], alone)
