"""The rows that FCN's tables compare with (§4.2): a pre-trained network's features, plain or reduced."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import normalize

from asterism.images import ImageSource
from asterism.methods.pretrained import Linear, Representation, RepresentationClusterer, principal, width_for
from asterism.parameters import parameter
from asterism.parameters.constraints import POSITIVE_INT
from asterism.training import Run


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
    """L; by default as in `FCN` (the paper's 1 024 for VGG-16)."""

    def _reduced(self, X: torch.Tensor, run: Run) -> Representation:
        return principal(X, width_for(self.n_components, *X.shape), run)
