"""The rows that FCN's tables compare with (§4.2): a pre-trained network's features, plain or reduced."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import normalize

from asterism.images import ImageSource
from asterism.methods.pretrained import Linear, Representation, RepresentationClusterer, principal
from asterism.parameters import parameter
from asterism.parameters.constraints import POSITIVE_INT
from asterism.training import Run, Training
from asterism_papers.methods.representations import (
    AE_TRAINING,
    Ensemble,
    LocallyLinear,
    ensemble_projection,
    linear_autoencoder,
    locally_linear,
    width_for,
)


class CNN(RepresentationClusterer):
    """A pre-trained network's features as they are, grouped: the paper's "CNN"."""

    def _memory_to_learn(self, n: int, n_numbers: int) -> int:
        """Features of length 1, and for what reduces them a centred copy of them."""
        return 3 * 4 * n * n_numbers

    def _learn(self, features: torch.Tensor, network: nn.Module, images: ImageSource, run: Run) -> Representation:
        found = run.cached("representation", lambda: dict(self._reduced(normalize(features), run).named_buffers()))
        return self.REPRESENTATION(**found)

    def _reduced(self, X: torch.Tensor, run: Run) -> Representation:
        """From features (N, M) of length 1."""
        return Representation()


class PCACNN(CNN):
    """Principal components of a pre-trained network's features: the paper's "PCA-CNN"."""

    REPRESENTATION: ClassVar[type[Representation]] = Linear
    n_components: int | None = parameter(POSITIVE_INT, default=None)
    """L; by default a quarter of the features (the paper's 1 024 for VGG-16), at least 256, but at most all of them
    and half as many as images."""

    def _reduced(self, X: torch.Tensor, run: Run) -> Representation:
        return principal(X, width_for(self.n_components, *X.shape), run)


class EPCNN(CNN):
    """Ensemble projection of a pre-trained network's features: the paper's "EP-CNN"."""

    REPRESENTATION = Ensemble
    n_sets: int = parameter(POSITIVE_INT, default=100)
    """T, sets of 30 prototypes: together the paper's 3 000 dimensions."""

    def _reduced(self, X: torch.Tensor, run: Run) -> Representation:
        return ensemble_projection(X, self.n_sets, run)


class LLECNN(PCACNN):
    """Locally linear embedding of a pre-trained network's features, 12 neighbours: the paper's "LLE-CNN".

    At most 10 000 images to fit.
    """

    REPRESENTATION = LocallyLinear

    def _reduced(self, X: torch.Tensor, run: Run) -> Representation:
        return locally_linear(X, width_for(self.n_components, *X.shape), run)


class AECNN(PCACNN):
    """A linear auto-encoder on a pre-trained network's features: the paper's "AE-CNN"."""

    training: Training | None = parameter(Training, default=None, when_none=AE_TRAINING)
    """Of the auto-encoder: batches of 128 and 200 epochs are the paper's (§4.2)."""
    _positive: ClassVar[bool] = False

    def _learn(self, features: torch.Tensor, network: nn.Module, images: ImageSource, run: Run) -> Representation:
        X = normalize(features)
        width = width_for(self.n_components, *X.shape)
        return linear_autoencoder(X, width, run, self.resolved("training"), self._positive)


class NNAECNN(AECNN):
    """A linear auto-encoder whose weights are kept non-negative: the paper's "NNAE-CNN"."""

    _positive = True
