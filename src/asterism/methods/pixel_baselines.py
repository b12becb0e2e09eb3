"""`VectorClusterer`: what JULE's classical baselines share: pixels in, labels by `asterism.clustering`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch

from asterism.clustering.centroids import cluster_means
from asterism.clustering.graph import knn
from asterism.clustering.linkage_tree import without_many_copies
from asterism.clustering.neighbor_voting import neighbor_weights, shares, vote
from asterism.estimator import Fitted, ImageClusterer
from asterism.features import extract
from asterism.images import ImageSource
from asterism.methods.jule_steps import mean_image
from asterism.networks.pixels import Pixels
from asterism.parameters import attribute, parameter
from asterism.training import Run

N_VOTES = 20  # K_s of JULE (Table 2)


class VectorClusterer(ImageClusterer):
    """Base of the methods that find labels for vectors, here pixels.

    A subclass has parameters of its own and names the function of `asterism.clustering` that takes them, or defines
    ``_find``.

    Notes
    -----
    Most of these methods cannot group new images by themselves. Here a new image (`predict`, `predict_proba`) gets the
    cluster that has most of its affinity, JULE's exp(−d²/σ²), to its 20 nearest neighbours among the images fitted.
    Clusters of a graph can have any shape, which a nearest centroid would cut. An image that was fitted keeps its
    cluster; ``confidence_`` is the share of its affinity that its cluster has. So the images fitted are kept, as
    ``embedding_``: 4·N·D bytes.
    """

    ALGORITHM: ClassVar[Callable[..., np.ndarray]]
    center: bool = parameter(bool, default=False)
    """Take the mean image off first."""
    normalise: bool = parameter(bool, default=True)
    """Scale each image to length 1, as JULE's paper does for all methods."""
    embedding_: np.ndarray = attribute()
    sigma2_: np.ndarray = attribute()

    def _find(self, features: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Labels (N,) of features (N, D), float32."""
        return self.ALGORITHM(features, self.n_clusters, **self._own_params(), random_state=rng)

    def _own_params(self) -> dict[str, Any]:
        """The parameters that this base has not."""
        shared = VectorClusterer.__dataclass_fields__
        return {name: value for name, value in self.get_params(deep=False).items() if name not in shared}

    def _found(self, features: np.ndarray, rng: np.random.RandomState) -> dict[str, np.ndarray]:
        """``labels`` (N,) of features (N, D), and what else the method finds and keeps.

        Where many images are equal, these count once, and share a group.
        """
        kept, copies = without_many_copies(features, self.n_clusters)
        if len(kept) == self.n_clusters:  # there is nothing to find
            return {"labels": copies}
        if len(kept) == len(features):
            return {"labels": self._find(features, rng)}
        return {"labels": self._find(features[kept], rng)[copies]}

    def _memory_needed(self, n: int, n_numbers: int) -> int:
        """The pixels as floats, copies of them and of those that differ, neighbours, and what `_find` takes besides."""
        return 4 * 4 * n * n_numbers + 24 * N_VOTES * n + self._memory_to_find(n, n_numbers)

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        """Bytes that `_find` takes for n rows of so many numbers: for the graph of a row's nearest neighbours."""
        return 1000 * n

    def _encoder_for(self, shape: tuple[int, int, int]) -> Pixels:
        return Pixels(self.normalise, torch.zeros(shape) if self.center else None)

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        encoder = pixels_of(images, self.center, self.normalise)
        features = extract(run.runtime.place(encoder), images, run.runtime)  # (N, D)

        def find() -> dict[str, torch.Tensor]:
            found = self._found(features.numpy(), run.random_state("clusters"))
            labels = np.unique(found["labels"], return_inverse=True)[1]  # a cluster may be empty
            return {name: torch.from_numpy(value) for name, value in {**found, "labels": labels}.items()}

        kept = run.cached("clusters", find)
        labels = kept.pop("labels")
        centers = cluster_means(features, labels)
        indices, distances = knn(features, N_VOTES)
        sigma2 = float(distances.mean()) if distances.size else 0.0
        found = shares(labels.numpy()[indices], neighbor_weights(distances, sigma2), len(centers))
        confidence = found.gather(1, labels[:, None])[:, 0]
        attributes = {name: value.numpy() for name, value in kept.items()}
        attributes |= {"embedding": features.numpy(), "sigma2": np.array([sigma2])}
        return Fitted(encoder, labels.numpy(), centers.numpy(), confidence.numpy(), attributes=attributes)

    def _early_rows(self, images: ImageSource, run: Run) -> torch.Tensor:
        return extract(run.runtime.place(pixels_of(images, self.center, self.normalise)), images, run.runtime)

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        """Share (N, k) of each cluster in the affinity of features (N, D) to their nearest fitted images."""
        sigma2 = float(self.sigma2_[0])
        return vote(features, *self._members(self.embedding_), N_VOTES, sigma2, len(self.cluster_centers_))


def pixels_of(images: ImageSource, center: bool, normalise: bool) -> Pixels:
    """The encoder of pixels, with the mean of these images."""
    return Pixels(normalise, mean_image(images) if center else None)
