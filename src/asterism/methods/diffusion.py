"""Groups of photographs, or of any vectors, by diffusion maps: no training, seconds for thousands of images.

Frozen features of a pre-trained network → `asterism.clustering.diffusion` → k-means. The graph of neighbours follows
the shape of groups, which k-means on the features themselves does not.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from sklearn.metrics import silhouette_score
from torch import nn
from torch.nn.functional import normalize

from asterism.clustering.diffusion import (
    NEIGHBORS,
    STAND_INS,
    DiffusionMaps,
    local_weights,
    placed,
    unit,
    ward_groups,
)
from asterism.clustering.graph import knn
from asterism.clustering.linkage_tree import without_many_copies
from asterism.clustering.soft import temperature_for
from asterism.clustering.stability import stability
from asterism.errors import InputError
from asterism.estimator.clusterer import SCORE_ROWS
from asterism.images import ImageSource
from asterism.methods.pretrained import FEW_NUMBERS, ROWS, PretrainedClusterer, Representation, group, principal
from asterism.parameters import Interval, attribute, parameter
from asterism.runtime import Runtime
from asterism.training import Run

COMPONENTS = 256  # principal components in which neighbours are looked for
KEPT = 2  # axes of the average of maps for each group: the inner products are nearly kept, in a tenth of the room
CALIBRATED = 4000  # images by which confidences are brought to their mean
USUAL = 0.3  # of the scale of confidences, where there are too few images for halves: what most sets have
# A map makes groups of like size, as normalised cuts do. Ward's are taken of so few images at most (the tables of
# docs/photographs.md are of more) if their mean silhouette is higher by so much, and no fewer of the nearest
# neighbours share a group.
FEW, APART, NEAREST = 200, 0.02, 3
OWN = 3  # how often an image's own group counts in its place, beside those of its neighbours
FAR = 100  # times the variance: a mean whose square is above that lies far from the features


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
    at_once = 32 * ROWS  # features: before it looks among the samples it goes over all of them

    @classmethod
    def of(cls, tensors: dict[str, torch.Tensor]) -> DiffusionMap:
        """The map that is made of these, among which there may be others."""
        return cls(**{name: tensors[name] for name in DiffusionMap.__annotations__})

    def components(self, features: torch.Tensor) -> torch.Tensor:
        """Features along the axes, (B, D)."""
        seen = features - self.origin
        return ((normalize(seen) if bool(self.angles) else seen) - self.mean) @ self.axes

    def rows(self, features: torch.Tensor) -> torch.Tensor:
        """What distances are taken of, (B, D)."""
        components = self.components(features)
        return normalize(components) if bool(self.angles) else components

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Positions (B, k)."""
        rows = torch.cat([self.rows(part) for part in features.split(ROWS)])
        return placed(rows, self.samples, self.positions)


def origin_of(features: torch.Tensor) -> torch.Tensor:
    """The point (M,) from which features (N, M) are seen: 0, or their mean where that is far from all of them."""
    mean = features.mean(0)
    variance = (features - mean).square().sum(1).mean()
    return mean if mean.square().sum() > FAR * variance else torch.zeros_like(mean)


class Diffusion(PretrainedClusterer):
    """Diffusion maps of frozen features, then k-means.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`. `transform` gives positions of length 1 in the map, k numbers an image.
    stability_ : ndarray of shape ()
        How far groups found in one half of the images alone agree with those found in the other half alone: the
        adjusted Rand index of what the two say of all images (of 4 000 drawn ones), mean of two divisions. Around 0 for
        noise; below .4 the groups may not mean anything. NaN where a half has fewer than 2·k images.
    agreement_ : ndarray of shape ()
        Share of images that both halves put into the same group. The mean confidence is brought to it: an image's
        confidence says how likely it is that other images of the same kinds would have put it into the same group.

    Notes
    -----
    Of at most 200 images the groups are those of Ward's tree of the features where these lie farther apart, as groups
    of very different sizes do; stability and agreement are then of that tree.

    Cost beside the feature pass: R² · 256 operations for the neighbours of the R ≤ ``max_samples`` images of the map,
    and the largest 4·k eigenvectors of three sparse graphs; 4·R·(256 + k) bytes are kept with the model.

    Examples
    --------
    >>> from asterism import Diffusion, Backbone
    >>> model = Diffusion(20, backbone=Backbone("mobilenet_v2")).fit("photos/")  # doctest: +SKIP
    >>> Diffusion(3).fit_predict(vectors)  # doctest: +SKIP
    """

    REPRESENTATION = DiffusionMap
    _kept = (*PretrainedClusterer._kept, "stability", "agreement")
    reference_: np.ndarray = attribute()
    metric: str = parameter({"auto", "cosine", "euclidean"}, default="auto")
    """How far apart features are: by the angle between them, first as they are, then seen from their mean; or by their
    distance. "auto" takes angles, but distances for vectors of fewer than 32 numbers."""
    max_samples: int = parameter(Interval(int, 2, None), default=20_000)
    """Of more images so many, drawn by the seed, make the map; the others are placed in it as new images are."""
    outliers: float | None = parameter(Interval(float, 0, 0.5), default=None)
    """What `fit` takes where it is told nothing else."""
    drop_duplicates: bool = parameter(bool, default=False)
    """What `fit` takes where it is told nothing else."""

    _scales_to_unit_length = False
    _has_sizes: bool = attribute(False)  # whether the groups are Ward's
    _has_all: bool = attribute()  # whether the map is made of all images of the fit, all different

    def _check_number(self, n: int) -> None:
        super()._check_number(n)
        if self.max_samples < min(self.n_clusters, n):
            raise InputError(
                f"max_samples={self.max_samples} cannot be used: the map needs at least as many images as there are to "
                f"be groups (n_clusters={self.n_clusters})"
            )

    def _memory_to_learn(self, n: int, n_numbers: int) -> int:
        """Features of the images of the map, centred and of length 1, their neighbours and eigenvectors."""
        n_map = min(n, self.max_samples)
        return 4 * 4 * n_map * n_numbers + n_map * (12 * COMPONENTS + 2000 + 200 * self.n_clusters)

    def _learn(self, features: torch.Tensor, network: nn.Module, images: ImageSource, run: Run) -> DiffusionMap:
        drawn, rows = features, torch.arange(len(features))
        if len(drawn) > self.max_samples:
            order = torch.randperm(len(drawn), generator=run.generator("samples"))
            rows = order[: self.max_samples].sort().values
            drawn = drawn[rows]
        kept, _ = without_many_copies(drawn.numpy(), self.n_clusters)
        if len(kept) < len(drawn):
            drawn, rows = drawn[torch.from_numpy(kept)], rows[torch.from_numpy(kept)]

        frozen = run.cached("maps", lambda: self._map(drawn, run))

        def measure() -> dict[str, torch.Tensor]:
            index, share = stability(frozen["samples"], self.n_clusters, run.random_state("halves"))
            return {"stability": torch.tensor(index), "agreement": torch.tensor(share)}

        # Of frozen features: a head that all images taught is no judge of halves.
        found = run.cached("agreement", measure)
        self.stability_, self.agreement_ = found["stability"].numpy(), found["agreement"].numpy()
        learnt = self._taught(frozen, drawn, network, images, rows, run)
        self._has_sizes = False
        if self.n_clusters > 1 and max(NEIGHBORS[0], self.n_clusters) < len(drawn) <= FEW and not self.fine_tune:
            learnt = self._by_sizes(learnt, frozen, drawn, run) if bool(frozen["angles"]) else learnt
        self._has_all = len(drawn) == len(features) and bool(learnt["apart"])
        return DiffusionMap.of(learnt)

    def _map(self, drawn: torch.Tensor, run: Run) -> dict[str, torch.Tensor]:
        """The tensors of the map of features (R, M), and those of `_placed_in`."""
        angles = self._by_angles(drawn.shape[1])
        origin = origin_of(drawn)
        seen = normalize(drawn - origin) if angles else drawn - origin
        found = principal(seen, COMPONENTS, run)
        scale = found.code(seen).square().mean().sqrt()
        axes = found.A / scale if scale > 0 else found.A
        made = DiffusionMap(origin=origin, mean=found.mean, axes=axes, angles=torch.tensor(angles))
        samples = made.rows(drawn)
        maps = DiffusionMaps(samples.numpy(), self.n_clusters, run.random_state("map"))
        return {**dict(made.named_buffers()), "samples": samples, **self._placed_in(maps)}

    def _placed_in(self, maps: DiffusionMaps, average: np.ndarray | None = None) -> dict[str, torch.Tensor]:
        """Where samples lie in maps, and in the average (R, A) of others: positions (R, k), of the new average's axes
        (R, KEPT·k) the first; and whether they lie apart."""
        axes = maps.average(self.n_clusters, KEPT * self.n_clusters, average)
        found = {"average": axes, "positions": unit(axes[:, : self.n_clusters]), "apart": np.array(maps.apart)}
        return {name: torch.from_numpy(one) for name, one in found.items()}

    def _by_sizes(
        self, learnt: dict[str, torch.Tensor], frozen: dict[str, torch.Tensor], drawn: torch.Tensor, run: Run
    ) -> dict[str, torch.Tensor]:
        """The map of the frozen features (R, M) with Ward's groups, where these are better; else what was learnt."""
        rows, k = frozen["samples"], self.n_clusters
        components = DiffusionMap.of(frozen).components(drawn)
        own = group(learnt["positions"], k, "kmeans", run.random_state("groups"))
        found = ward_groups(components.double().numpy(), k)
        near, squared = knn(rows, min(STAND_INS, len(rows) - 1))

        def apart(labels: np.ndarray) -> float:
            return float(silhouette_score(rows.numpy(), labels)) if 1 < len(np.unique(labels)) < len(labels) else -1.0

        def shared(labels: np.ndarray) -> float:
            return float((labels[near[:, :NEAREST]] == labels[:, None]).mean())

        if apart(found) <= apart(own) + APART or shared(found) < shared(own):
            return learnt
        self._has_sizes = True
        index, share = stability(components, k, run.random_state("halves of sizes"), ward=True)
        self.stability_, self.agreement_ = np.array(index, np.float32), np.array(share, np.float32)
        one, weights = np.eye(k, dtype=np.float32)[found], local_weights(squared)
        around = (weights[..., None] * one[near]).sum(1) / weights.sum(1, keepdims=True)
        return frozen | {"positions": torch.from_numpy(unit(OWN * one + around).astype(np.float32))}

    def _codes(self, representation: Representation, features: torch.Tensor, runtime: Runtime) -> torch.Tensor:
        if self._has_all:  # each is its own nearest sample
            return normalize(cast(DiffusionMap, representation).positions)
        return super()._codes(representation, features, runtime)

    def _taught(
        self,
        frozen: dict[str, torch.Tensor],
        drawn: torch.Tensor,
        network: nn.Module,
        images: ImageSource,
        rows: torch.Tensor,
        run: Run,
    ) -> dict[str, torch.Tensor]:
        """What the groups of the frozen features' map (R, M), which is of the images ``rows``, teach: here nothing."""
        return frozen

    def _grouped(self, codes: torch.Tensor, random_state: np.random.RandomState) -> dict[str, torch.Tensor]:
        found = super()._grouped(codes, random_state)
        if self.n_clusters == 1:
            return found
        share = float(self.agreement_)
        if not np.isfinite(share):
            return found | {"spread": USUAL * found["spread"]}
        return found | {"spread": torch.tensor(temperature_for(self._some_distances(codes, found), share))}

    def _some_distances(self, codes: torch.Tensor, found: dict[str, torch.Tensor]) -> torch.Tensor:
        """Squared distances (S, k) of some vectors of the fit to the centers."""
        return torch.cdist(codes[:: -(-len(codes) // CALIBRATED)], found["centers"]).square()

    def _by_angles(self, n_features: int) -> bool:
        return super()._by_angles(n_features) if self.metric == "auto" else self.metric == "cosine"

    def _choices(self, images: ImageSource, runtime: Runtime) -> list[str]:
        said = super()._choices(images, runtime)
        if self.metric != "auto" or not images.is_table:
            return said
        metric, size = ("cosine", "at least") if self._by_angles(images.shape[0]) else ("euclidean", "fewer than")
        return [*said, f"metric={metric}, as vectors have {size} {FEW_NUMBERS} numbers"]

    def _kept_rows(self) -> np.ndarray | None:
        rows = self.encoder_.get_submodule("1").get_buffer("samples").numpy()
        return rows if len(rows) == len(self._own_labels) else None  # of many images some make the map

    @torch.no_grad()
    def map_features(self, X: Any) -> np.ndarray:
        """The vectors (N, D) whose neighbours the map of `transform` goes by: there a group is nearly a point."""
        self._check_fitted()
        features = self._vectors(self._open(X, False, None))
        found = cast(DiffusionMap, self.encoder_.get_submodule("1"))
        return torch.cat([found.rows(part) for part in features.split(SCORE_ROWS)]).numpy()
