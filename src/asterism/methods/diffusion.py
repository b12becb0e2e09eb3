"""Groups of photographs, or of any vectors, by diffusion maps: no training, seconds for thousands of images.

Frozen features of a pre-trained network → `asterism.clustering.diffusion` → k-means. What a graph of neighbours knows
of the features' shape, k-means on the features themselves does not.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from asterism.clustering.diffusion import diffusion_embedding, placed
from asterism.clustering.outliers import neighbor_distance, p_values, typical
from asterism.clustering.stability import stability
from asterism.errors import InputError
from asterism.estimator import Fitted
from asterism.estimator.clusterer import SCORE_ROWS
from asterism.images import ImageSource
from asterism.images.duplicates import duplicates
from asterism.methods.pretrained import PretrainedClusterer, Representation, represent
from asterism.methods.representations import principal
from asterism.networks import Backbone
from asterism.parameters import Interval
from asterism.runtime import Runtime
from asterism.training import Run

COMPONENTS = 256  # principal components in which neighbours are looked for
FAR = 100  # times the variance: a mean whose square is above that lies far from the features
FEW_NUMBERS = 32  # vectors of fewer have their length count
SMALLEST_PICTURE, MOST_PICTURES = 64, 20_000  # pixels a side from which, and number up to which, copies are looked for
REFERENCE = 2**22  # numbers of the features that are kept to tell what belongs nowhere: 16 MiB


class DiffusionMap(Representation):
    """Features (B, M) → positions (B, k) of length 1 in a diffusion map.

    New features are placed by their nearest samples: `asterism.clustering.diffusion.placed`.
    """

    origin: torch.Tensor  # (M,), from which angles are seen
    mean: torch.Tensor  # (M,)
    axes: torch.Tensor  # (M, D), principal axes over the features' root mean square
    angles: torch.Tensor  # (), whether only directions count
    samples: torch.Tensor  # (R, D)
    positions: torch.Tensor  # (R, k)

    def rows(self, features: torch.Tensor) -> torch.Tensor:
        """What distances are taken of, (B, D)."""
        features = features - self.origin
        if not bool(self.angles):
            return (features - self.mean) @ self.axes
        return normalize((normalize(features) - self.mean) @ self.axes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Positions (B, k)."""
        return placed(self.rows(features), self.samples, self.positions)


def origin_of(features: torch.Tensor) -> torch.Tensor:
    """The point (M,) from which features (N, M) are seen: 0, or their mean where that is far from all of them."""
    mean = features.mean(0)
    variance = (features - mean).square().sum(1).mean()
    return mean if mean.square().sum() > FAR * variance else torch.zeros_like(mean)


class Diffusion(PretrainedClusterer):
    """Diffusion maps of frozen features, then k-means: the default for photographs and for vectors.

    Parameters
    ----------
    n_clusters : int, default=8
        k.
    backbone : Backbone, optional
        The frozen network. Vectors are taken as features.
    metric : {"auto", "cosine", "euclidean"}, default="auto"
        How far apart features are: by the angle between them, first as they are, then seen from their mean; or by their
        distance. "auto" takes angles, but distances for vectors of fewer than 32 numbers.
    max_samples : int, default=20000
        Of more images so many, drawn by the seed, make the map; the others are placed in it as new images are.
    outliers : float, optional
        Images that belong nowhere get the label −1: those whose features are so far from their nearest five images'
        that of images that belong so large a share, .01 say, would be. The others' groups are what they are without.
    drop_duplicates : bool, default=False
        Copies of a picture (resized, stored anew, brighter, cut by up to 5 %) count once, and get the group of the one
        that is kept: `asterism.images.duplicates.duplicates`.
    device, precision, run_dir, random_state, verbose
        See `DBC`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`. `transform` gives positions of length 1 in the map, k numbers an image.
    stability_ : ndarray of shape ()
        How far groups found in one half of the images alone agree with those found in the other half alone: the
        adjusted Rand index of what the two say of all images (of 4 000 drawn ones), mean of two divisions. Around 0 for
        noise; below .3 the groups may not mean anything. NaN where a half has fewer than 2·k images.
    duplicate_of_ : ndarray of shape (N,)
        The image that each is a copy of, its own number for one that is none. Only where copies were looked for: in up
        to 20 000 pictures of at least 64 pixels a side, or if they are dropped.
    reference_, typical_distance_ : ndarrays of shape (R, M) and (2,)
        Features of some of the images, and median and deviation of the distances to the nearest of them: what tells
        that an image belongs nowhere.

    Notes
    -----
    Cost beside the feature pass: R² · 256 operations for the neighbours of the R ≤ ``max_samples`` images of the map,
    and the largest 4·k eigenvectors of four sparse graphs; 4·R·(256 + k) bytes are kept with the model.

    Examples
    --------
    >>> from asterism import Diffusion, Backbone
    >>> model = Diffusion(20, backbone=Backbone("mobilenet_v2")).fit("photos/")  # doctest: +SKIP
    >>> Diffusion(3).fit_predict(vectors)  # doctest: +SKIP
    """

    REPRESENTATION = DiffusionMap
    _parameter_constraints: ClassVar[dict] = {
        **{name: one for name, one in PretrainedClusterer.SHARED.items() if name != "assign"},
        "metric": [{"auto", "cosine", "euclidean"}],
        "max_samples": [Interval(int, 2, None)],
        "outliers": [Interval(float, 0, 0.5), None],
        "drop_duplicates": [bool],
    }
    assign = "kmeans"

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        backbone: Backbone | None = None,
        metric: str = "auto",
        max_samples: int = 20_000,
        outliers: float | None = None,
        drop_duplicates: bool = False,
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.backbone = backbone
        self.metric = metric
        self.max_samples = max_samples
        self.outliers = outliers
        self.drop_duplicates = drop_duplicates
        self.device = device
        self.precision = precision
        self.run_dir = run_dir
        self.random_state = random_state
        self.verbose = verbose

    def _plain_params(self) -> dict[str, Any]:
        """Without what is off: so runs of versions that had it not go on."""
        off = {name for name in ("outliers", "drop_duplicates") if not getattr(self, name)}
        return {name: value for name, value in super()._plain_params().items() if name not in off}

    def _learn(self, features: torch.Tensor, network: nn.Module, images: ImageSource, run: Run) -> DiffusionMap:
        self._found = self._copies(images, run)
        counted = self._counted(len(features))
        drawn = features if len(counted) == len(features) else features[counted]
        if len(drawn) > self.max_samples:
            order = torch.randperm(len(drawn), generator=run.generator("samples"))
            drawn = drawn[order[: self.max_samples].sort().values]

        def compute() -> dict[str, torch.Tensor]:
            few = self.metric == "auto" and drawn.shape[1] < FEW_NUMBERS
            angles = not few and self.metric != "euclidean"
            origin = origin_of(drawn)
            seen = normalize(drawn - origin) if angles else drawn - origin
            found = principal(seen, COMPONENTS, run)
            scale = found.code(seen).square().mean().sqrt()
            axes = found.A / scale if scale > 0 else found.A
            made = DiffusionMap(origin=origin, mean=found.mean, axes=axes, angles=torch.tensor(angles))
            samples = made.rows(drawn)
            positions = diffusion_embedding(samples.numpy(), self.n_clusters, run.random_state("map"))
            return {**dict(made.named_buffers()), "samples": samples, "positions": torch.from_numpy(positions)}

        learnt = DiffusionMap(**run.cached("map", compute))
        self._found |= self._distances(features, counted, learnt, run)
        return learnt

    def _copies(self, images: ImageSource, run: Run) -> dict[str, np.ndarray]:
        """Which images are copies, where that is looked for."""
        are_few = not images.is_table and min(images.shape[1:]) >= SMALLEST_PICTURE and len(images) <= MOST_PICTURES
        if not (self.drop_duplicates or are_few):
            return {}
        copies = run.cached("copies", lambda: {"of": torch.from_numpy(duplicates(images))})["of"].numpy()
        n_kept = len(np.unique(copies))
        if self.drop_duplicates and n_kept < self.n_clusters:
            raise InputError(
                f"n_clusters={self.n_clusters} is more than the {n_kept} images that are no copies of others; choose "
                f"at most {n_kept} clusters, or leave drop_duplicates out"
            )
        return {"duplicate_of": copies}

    def _counted(self, n: int) -> torch.Tensor:
        """The images that count in the fit, in order."""
        copies = self._found["duplicate_of"] if self.drop_duplicates else np.arange(n)
        return torch.from_numpy(np.flatnonzero(copies == np.arange(n)))

    def _grouped(self, codes: torch.Tensor, random_state: np.random.RandomState) -> dict[str, torch.Tensor]:
        if not self.drop_duplicates:
            return super()._grouped(codes, random_state)
        counted = self._counted(len(codes))
        found = super()._grouped(codes[counted], random_state)
        places = torch.searchsorted(counted, torch.from_numpy(self._found["duplicate_of"]))
        return found | {"labels": found["labels"][places]}

    def _distances(
        self, features: torch.Tensor, counted: torch.Tensor, learnt: DiffusionMap, run: Run
    ) -> dict[str, np.ndarray]:
        """What tells that an image belongs nowhere; with ``outliers`` also the p-value of each image of the fit."""
        order = counted[torch.randperm(len(counted), generator=run.generator("reference"))]
        chosen = order[: max(REFERENCE // features.shape[1], 2)].sort().values

        def compute() -> dict[str, torch.Tensor]:
            reference = _as_compared(features[chosen], learnt)
            own = neighbor_distance(reference, reference, np.arange(len(chosen)))
            return {"reference": reference, "typical_distance": torch.from_numpy(typical(own))}

        found = {name: value.numpy() for name, value in run.cached("reference", compute).items()}
        if self.outliers is not None:
            places = np.full(len(features), -1)
            places[chosen.numpy()] = np.arange(len(chosen))
            rows, reference = _as_compared(features, learnt), torch.from_numpy(found["reference"])
            distances = neighbor_distance(rows, reference, places)
            found["p_values"] = p_values(distances, *found["typical_distance"].tolist()).astype(np.float32)
        return found

    def _kept_rows(self) -> np.ndarray | None:
        rows = self.encoder_.get_submodule("1").get_buffer("samples").numpy()
        return rows if len(rows) == len(self.labels_) else None  # of many images some make the map

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        fitted = super()._fit(images, run)
        rows = fitted.encoder.get_submodule("1").get_buffer("samples")

        def measure() -> dict[str, torch.Tensor]:
            return {"stability": torch.tensor(stability(rows, self.n_clusters, run.random_state("halves")))}

        fitted.attributes["stability"] = run.cached("stability", measure)["stability"].numpy()
        fitted.attributes |= self._found
        del self._found
        if self.outliers is not None:
            p = fitted.attributes["p_values"]
            fitted.labels = np.where(p < self.outliers, -1, fitted.labels)
            fitted.confidence = np.where(p < self.outliers, 1 - p, fitted.confidence)
        return fitted

    @torch.no_grad()
    def map_features(self, X: Any) -> np.ndarray:
        """The vectors (N, D) whose neighbours the map of `transform` goes by: there a group is nearly a point."""
        self._check_fitted()
        network, representation = self.encoder_.children()
        found = cast(DiffusionMap, representation)
        runtime = Runtime(self.device, self.precision)
        features = self._pass(runtime.place(network), self._open(X, False, None), runtime)
        self.encoder_.to("cpu")
        return torch.cat([found.rows(part.float().cpu()) for part in features.split(SCORE_ROWS)]).numpy()

    def predict_with_confidence(
        self, X: Any, *, layout: str | None = None, outliers: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cluster and confidence of each image.

        Parameters
        ----------
        X, layout
            See `predict`.
        outliers : float, optional
            As the parameter; by default as in the fit. The confidence of an image that belongs nowhere is 1 − p.

        Returns
        -------
        labels : ndarray of shape (N,), int64
        confidence : ndarray of shape (N,), float32
        """
        self._check_fitted()
        alpha = self.outliers if outliers is None else outliers
        if alpha is None:
            return super().predict_with_confidence(X, layout=layout)
        if not hasattr(self, "reference_"):
            raise InputError("this run keeps nothing that could tell what belongs nowhere; make it anew")
        best = [self._refusing(part, alpha) for _, part in self._image_blocks(self._open(X, False, layout))]
        labels, confidence = (np.concatenate(parts) for parts in zip(*best, strict=True))
        return labels, confidence

    def _refusing(self, images: ImageSource, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """Labels, −1 for an image that belongs nowhere, and confidence: (B,) each."""
        runtime = Runtime(self.device, self.precision)
        network, learnt = self.encoder_.children()
        features = self._pass(runtime.place(network), images, runtime)
        found, certain = self._best(represent(learnt, features, runtime))
        self.encoder_.to("cpu")
        distances = neighbor_distance(_as_compared(features, learnt), torch.from_numpy(self.reference_))
        p = p_values(distances, *self.typical_distance_.tolist())
        labels, confidence = np.where(p < alpha, -1, found.numpy()), np.where(p < alpha, 1 - p, certain.numpy())
        return labels, confidence.astype(np.float32)


def _as_compared(features: torch.Tensor, learnt: nn.Module) -> torch.Tensor:
    """Features whose distances tell what belongs nowhere: of length 1 where angles count, not centred.

    What all images have in common is what others lack: of features seen from their mean it would be lost.
    """
    return normalize(features) if bool(learnt.angles) else features
