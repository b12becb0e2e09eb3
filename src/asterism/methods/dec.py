"""DEC: Xie, Girshick and Farhadi, "Unsupervised deep embedding for clustering analysis", ICML 2016.

DBC's sibling on the same engine: a stacked auto-encoder instead of a convolutional one, the target
p_ij ∝ s_ij² / Σ_i s_ij, and a stop when fewer than 0.1 % of the assignments change.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from asterism.clustering.soft import boosted_targets
from asterism.estimator import COMPUTING
from asterism.images import Augmentation
from asterism.methods.autoencoders import SAE, AutoEncoder
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.methods.joint_training import JointTraining
from asterism.methods.soft_clusterer import START_SHARE, SoftClusterer
from asterism.parameters import Interval
from asterism.training import Training


class DEC(SoftClusterer):
    """Deep embedded clustering.

    A stacked auto-encoder learns features, k-means groups them, and then encoder and centers learn together to be
    surer.

    Parameters
    ----------
    n_clusters : int, default=8
        k.
    start : {"trained", "half-trained", "random"}, default="trained"
        How far the auto-encoder is trained before.
    autoencoder : SAE or FCAE, optional
        Default ``SAE()``: d–500–500–2000–10, layer-wise pre-training, then end to end. With ``FCAE()`` this is DEC on
        a convolutional auto-encoder.
    training : Training, optional
        Default SGD, rate 0.01, momentum 0.9, batch 256 (DEC §4.3). The target is renewed once an epoch, as in DBC's
        Algorithm 2; the paper's text does not say how often.
    augmentation : Augmentation, "none" or None, default=None
        None is ``"none"``, as in the paper.
    n_init : int, default=20
        Restarts of k-means (DEC §3.1.3), which goes by the direction of the features, as DBC's does; DEC's own text
        says nothing of a scaling.
    tol : float, default=0.001
        Stop when at most this share of assignments changed (DEC §4.3).
    device, precision, run_dir, random_state, verbose
        See `DBC`.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "autoencoder": SAE(),
        "training": JointTraining(n_epochs=60, batch_size=256, optimizer="sgd", lr=0.01, momentum=0.9),
        "augmentation": "none",
    }
    _parameter_constraints: ClassVar[dict] = {
        "n_clusters": [Interval(int, 1, None)],
        "start": [set(START_SHARE)],
        "autoencoder": [AutoEncoder, None],
        "training": [Training, None],
        "augmentation": [Augmentation, {"none"}, None],
        "n_init": [Interval(int, 1, None)],
        "tol": [Interval(float, 0, 1)],
        **COMPUTING,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        start: str = "trained",
        autoencoder: AutoEncoder | None = None,
        training: Training | None = None,
        augmentation: Augmentation | str | None = None,
        n_init: int = 20,
        tol: float = 0.001,
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.start = start
        self.autoencoder = autoencoder
        self.training = training
        self.augmentation = augmentation
        self.n_init = n_init
        self.tol = tol
        self.device = device
        self.precision = precision
        self.run_dir = run_dir
        self.random_state = random_state
        self.verbose = verbose

    def _first_groups(self) -> ClusterInitialisation:
        return ClusterInitialisation("k-means", n_init=self.n_init, rounds=0)

    def _targets(self, scores: torch.Tensor) -> torch.Tensor:
        return boosted_targets(scores, boost=2.0, balance="soft")
