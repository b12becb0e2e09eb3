"""What the papers compare with: k-means on pixels, and k-means on an auto-encoder's features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from asterism.clustering.kmeans import assign, kmeans
from asterism.clustering.soft import soft_scores
from asterism.estimator import Fitted, ImageClusterer
from asterism.features.extract import extract, extract_store
from asterism.features.store import IN_MEMORY, gathered
from asterism.images import ImageSource
from asterism.images.pack import from_numpy
from asterism.methods.autoencoders import FCAE, AutoEncoder, reconstruction_examples
from asterism.methods.pixel_baselines import pixels_of
from asterism.networks import AutoEncoderNetwork
from asterism.networks.body import Apply
from asterism.networks.pixels import Pixels
from asterism.parameters import attribute, parameter
from asterism.parameters.constraints import POSITIVE_INT
from asterism.training import Run

SCORED = 4096  # rows whose scores are held at once
LEAST_SPREAD = 1e-6  # of the centers' variance, where every image lies on its center


class CentroidClusterer(ImageClusterer):
    """Base of the methods that end in k-means: an image goes to the nearest center.

    Attributes
    ----------
    spread_ : ndarray of shape (1,), float64
        Mean squared distance of an image to its own center. Distances are divided by it before they become scores, so
        that the unit of the features does not matter.
    """

    n_init: int = parameter(POSITIVE_INT, default=20)
    """Restarts of k-means."""
    spread_: np.ndarray = attribute(np.ones(1))  # of runs that were saved before there was one

    def _cluster(self, encoder: nn.Module, images: ImageSource, run: Run) -> Fitted:
        """k-means on an encoder's features."""
        features = extract_store(encoder, images, run.runtime)

        def compute() -> dict[str, torch.Tensor]:
            random_state = run.random_state("k-means")
            found = kmeans(features.rows(), self.n_clusters, n_init=self.n_init, random_state=random_state)
            return {"centers": torch.as_tensor(found.centers).float().cpu()}

        centers = run.cached("k-means", compute)["centers"]
        labels, distances = assign(features.rows(), centers)
        middle = centers.double() - centers.mean(0, dtype=torch.float64)
        least = LEAST_SPREAD * float(middle.square().sum(1).mean())
        spread = max(float(distances.double().mean()), least) or 1.0
        self.cluster_centers_, self.spread_ = centers.numpy(), np.array([spread])
        scored = zip(features.blocks(SCORED), labels.split(SCORED), strict=True)
        confidence = gathered((self._scores(block).gather(1, own[:, None])[:, 0] for block, own in scored), len(labels))
        return Fitted(encoder, labels.numpy(), centers.numpy(), confidence.numpy(), attributes={"spread": self.spread_})

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        """Student-t scores of the distances to the centers, in units of `spread_`."""
        centers, scale = from_numpy(self.cluster_centers_), float(self.spread_[0]) ** -0.5
        offset = centers.mean(0)
        return soft_scores((features - offset) * scale, (centers - offset) * scale)

    def _best(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        labels, _ = assign(features, self.cluster_centers_)
        return labels, self._scores(features).gather(1, labels[:, None])[:, 0]


class KMeans(CentroidClusterer):
    """k-means on pixels ("KMS" in DBC's tables)."""

    normalise: bool = parameter(bool, default=False)
    """Scale each image to length 1 first."""
    center: bool = parameter(bool, default=False)
    """Take the mean image off first, before the scaling."""
    _minimum_images = 1

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Module:
        return Pixels(self.normalise, torch.zeros(shape) if self.center else None)

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        encoder = run.runtime.place(pixels_of(images, self.center, self.normalise))
        return self._cluster(encoder, images, run)

    def _memory_needed(self, n: int, n_numbers: int) -> int:
        """With the pixels as floats, which are mapped where they are many."""
        return super()._memory_needed(n, n_numbers) + min(4 * n * n_numbers, IN_MEMORY)

    def _early_rows(self, images: ImageSource, run: Run) -> torch.Tensor:
        return extract(run.runtime.place(pixels_of(images, self.center, self.normalise)), images, run.runtime)

    def score(self, X: Any, y: Any = None, *, layout: str | None = None) -> float:
        """Minus the sum of the squared distances to the nearest center, as scikit-learn's ``KMeans.score``.

        Parameters
        ----------
        X : see `predict`
        y : ignored
        layout : optional
            See `fit`.
        """
        self._check_fitted()
        centers = from_numpy(self.cluster_centers_).double()
        nearest = self._by_blocks(X, lambda features: torch.cdist(features.double(), centers).amin(1).square(), layout)
        return -float(nearest.sum(dtype=np.float64))


class FCAEKMeans(CentroidClusterer):
    """A fully convolutional auto-encoder, then k-means on its features: the paper's FCAE-KMS."""

    autoencoder: AutoEncoder | None = parameter(AutoEncoder, default=None, when_none=FCAE())
    """Whose features are grouped; its own device, run_dir, random_state and verbose are not used."""
    normalise: bool = parameter(bool, default=True)
    """Scale each feature vector to length 1 first. The paper is silent; trials did not decide (docs/methods/dbc.md)."""

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Module:
        return self._features_of(self.resolved("autoencoder").drawn(shape))

    def _features_of(self, network: AutoEncoderNetwork) -> nn.Module:
        return nn.Sequential(network.encoder, Apply(nn.functional.normalize)) if self.normalise else network.encoder

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        network = self.resolved("autoencoder").train_network(images, run)
        fitted = self._cluster(self._features_of(network), images, run)
        fitted.examples = reconstruction_examples(network, images, run)
        return fitted
