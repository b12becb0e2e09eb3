"""DEC: Xie, Girshick and Farhadi, "Unsupervised deep embedding for clustering analysis", ICML 2016.

DBC's sibling on the same engine: a stacked auto-encoder instead of a convolutional one, the target
p_ij ∝ s_ij² / Σ_i s_ij, and a stop when fewer than 0.1 % of the assignments change.
"""

from __future__ import annotations

import torch

from asterism.clustering.soft import boosted_targets
from asterism.images import RandomTransform
from asterism.images.augment import AUGMENTATIONS
from asterism.methods.autoencoders import SAE, AutoEncoder
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.methods.joint_training import JointTraining
from asterism.methods.soft_clusterer import SoftClusterer
from asterism.parameters import parameter
from asterism.parameters.constraints import FRACTION, POSITIVE_INT
from asterism.training import Training


class DEC(SoftClusterer):
    """Deep embedded clustering.

    A stacked auto-encoder learns features, k-means groups them, and then encoder and centers learn together to be
    surer.
    """

    _goes_by_neighbors = True
    autoencoder: AutoEncoder | None = parameter(AutoEncoder, default=None, when_none=SAE())
    """d–500–500–2000–10, layer-wise pre-training, then end to end. Its own device, run_dir, random_state and verbose
    are not used. With ``FCAE()`` this is DEC on a convolutional auto-encoder."""
    training: Training | None = parameter(
        Training,
        default=None,
        when_none=JointTraining(n_epochs=60, batch_size=256, optimizer="sgd", lr=0.01, momentum=0.9),
    )
    """Of the joint stage (DEC §4.3). The target is renewed once an epoch, as in DBC's Algorithm 2; the paper's text
    does not say how often. A `JointTraining` also has soft resets, see `DBC`."""
    augmentation: RandomTransform | str | None = parameter(AUGMENTATIONS, default=None, when_none="none")
    """Of the images in the joint stage; none in the paper."""
    n_init: int = parameter(POSITIVE_INT, default=20)
    """Restarts of k-means (DEC §3.1.3), which goes by the direction of the features, as DBC's does; DEC's own text says
    nothing of a scaling."""
    tol: float = parameter(FRACTION, default=0.001)
    """Stop when at most this share of assignments changed (DEC §4.3)."""

    def _first_groups(self) -> ClusterInitialisation:
        return ClusterInitialisation("k-means", n_init=self.n_init, rounds=0)

    def _targets(self, scores: torch.Tensor) -> torch.Tensor:
        return boosted_targets(scores, boost=2.0, balance="soft")
