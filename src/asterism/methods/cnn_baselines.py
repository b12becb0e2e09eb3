"""The rows that FCN's tables compare with (§4.2): a pre-trained network's features, plain or reduced."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.functional import normalize

from asterism.images import ImageSource
from asterism.methods.pretrained import PretrainedClusterer, Representation, width_for
from asterism.methods.representations import (
    Linear,
    principal,
)
from asterism.networks import Backbone
from asterism.parameters import Interval
from asterism.training import Run


class CNN(PretrainedClusterer):
    """A pre-trained network's features as they are, grouped: the paper's "CNN".

    Parameters
    ----------
    n_clusters : int, default=8
    backbone : Backbone, optional
    assign : {"kmeans", "spectral"}, default="kmeans"
    device, precision, run_dir, random_state, verbose
        See `DBC`.
    """

    _parameter_constraints: ClassVar[dict] = PretrainedClusterer.SHARED

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        backbone: Backbone | None = None,
        assign: str = "kmeans",
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.backbone = backbone
        self.assign = assign
        self.device = device
        self.precision = precision
        self.run_dir = run_dir
        self.random_state = random_state
        self.verbose = verbose

    def _learn(self, features: torch.Tensor, network: nn.Module, images: ImageSource, run: Run) -> Representation:
        found = run.cached("representation", lambda: dict(self._reduced(normalize(features), run).named_buffers()))
        return self.REPRESENTATION(**found)

    def _reduced(self, X: torch.Tensor, run: Run) -> Representation:
        """From features (N, M) of length 1."""
        return Representation()


class PCACNN(CNN):
    """Principal components of a pre-trained network's features: the paper's "PCA-CNN".

    Parameters
    ----------
    n_clusters : int, default=8
    backbone : Backbone, optional
    n_components : int, optional
        L; by default as in `FCN` (the paper's 1 024 for VGG-16).
    assign : {"kmeans", "spectral"}, default="kmeans"
    device, precision, run_dir, random_state, verbose
        See `DBC`.
    """

    REPRESENTATION: ClassVar[type[Representation]] = Linear
    _parameter_constraints: ClassVar[dict] = {
        **PretrainedClusterer.SHARED,
        "n_components": [Interval(int, 1, None), None],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        backbone: Backbone | None = None,
        n_components: int | None = None,
        assign: str = "kmeans",
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_clusters,
            backbone=backbone,
            assign=assign,
            device=device,
            precision=precision,
            run_dir=run_dir,
            random_state=random_state,
            verbose=verbose,
        )
        self.n_components = n_components

    def _reduced(self, X: torch.Tensor, run: Run) -> Representation:
        return principal(X, width_for(self.n_components, *X.shape), run)
