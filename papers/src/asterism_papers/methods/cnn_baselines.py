"""The rows that FCN's tables alone compare with (§4.2): a pre-trained network's features, reduced."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.functional import normalize

from asterism.images import ImageSource
from asterism.methods.cnn_baselines import CNN, PCACNN
from asterism.methods.pretrained import PretrainedClusterer, Representation, width_for
from asterism.networks import Backbone
from asterism.parameters import Interval
from asterism.training import Run, Training
from asterism_papers.methods.representations import (
    AE_TRAINING,
    Ensemble,
    LocallyLinear,
    ensemble_projection,
    linear_autoencoder,
    locally_linear,
)


class EPCNN(CNN):
    """Ensemble projection of a pre-trained network's features: the paper's "EP-CNN".

    Parameters
    ----------
    n_clusters, backbone, assign, device, precision, run_dir, random_state, verbose
        See `CNN`.
    n_sets : int, default=100
        T, sets of 30 prototypes: together the paper's 3 000 dimensions.
    """

    REPRESENTATION = Ensemble
    _parameter_constraints: ClassVar[dict] = {**PretrainedClusterer.SHARED, "n_sets": [Interval(int, 1, None)]}

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        backbone: Backbone | None = None,
        n_sets: int = 100,
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
        self.n_sets = n_sets

    def _reduced(self, X: torch.Tensor, run: Run) -> Representation:
        return ensemble_projection(X, self.n_sets, run)


class LLECNN(PCACNN):
    """Locally linear embedding of a pre-trained network's features, 12 neighbours: the paper's "LLE-CNN".

    Parameters are those of `PCACNN`; at most 10 000 images to fit.
    """

    REPRESENTATION = LocallyLinear

    def _reduced(self, X: torch.Tensor, run: Run) -> Representation:
        return locally_linear(X, width_for(self.n_components, *X.shape), run)


class AECNN(PCACNN):
    """A linear auto-encoder on a pre-trained network's features: the paper's "AE-CNN".

    Parameters
    ----------
    n_clusters, backbone, n_components, assign, device, precision, run_dir, random_state, verbose
        See `PCACNN`.
    training : Training, optional
        By default 200 epochs of batches of 128 (§4.2), Adam.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {**PCACNN.DEFAULTS, "training": AE_TRAINING}
    _parameter_constraints: ClassVar[dict] = {**PCACNN._parameter_constraints, "training": [Training, None]}
    _positive: ClassVar[bool] = False

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        backbone: Backbone | None = None,
        n_components: int | None = None,
        training: Training | None = None,
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
            n_components=n_components,
            assign=assign,
            device=device,
            precision=precision,
            run_dir=run_dir,
            random_state=random_state,
            verbose=verbose,
        )
        self.training = training

    def _learn(self, features: torch.Tensor, network: nn.Module, images: ImageSource, run: Run) -> Representation:
        X = normalize(features)
        width = width_for(self.n_components, *X.shape)
        return linear_autoencoder(X, width, run, self.resolved("training"), self._positive)


class NNAECNN(AECNN):
    """A linear auto-encoder whose weights are kept non-negative: the paper's "NNAE-CNN".

    Parameters are those of `AECNN`.
    """

    _positive = True
