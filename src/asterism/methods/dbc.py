"""DBC: Li, Qiao, Zhang and Xi, "Discriminatively boosted image clustering with fully convolutional auto-encoders",
Pattern Recognition 2018 (arXiv 1703.07980, 2017).

A fully convolutional auto-encoder gives first features; groups of these give first centers. Then encoder and centers
learn together: soft scores s (eq. 1), a *boosted* target r ∝ s^α (eq. 2) that trusts the easy images first, and the
divergence KL(R‖S) between them (eq. 3). The target is computed anew after each epoch, and harder images follow.
"""

from __future__ import annotations

from typing import Any

import torch
from sklearn.base import clone

from asterism.clustering.soft import boosted_targets
from asterism.images import ImageSource, RandomTransform
from asterism.images.augment import AUGMENTATIONS
from asterism.methods.autoencoders import FCAE, AutoEncoder
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.methods.joint_training import JointTraining
from asterism.methods.jule_steps import by_group_size, few_images
from asterism.methods.soft_clusterer import SoftClusterer
from asterism.parameters import Interval, parameter
from asterism.runtime import Runtime
from asterism.training import Training

# Optimiser, rate, epochs T and batch m_b are silent in the paper; docs/methods/dbc.md has what was tried. B = 128 is a
# pass over 33 000 images: of MNIST's 70 000, whole passes cost twice the time for the same scores.
DBC_TRAINING = JointTraining(
    n_epochs=20, batch_size=256, optimizer="sgd", lr=0.2, momentum=0.9, schedule="cosine", max_steps=128
)


class DBC(SoftClusterer):
    """Discriminatively boosted clustering on a fully convolutional auto-encoder.

    An auto-encoder learns features, which are grouped. Then its encoder learns to be surer of each image's group,
    beginning with those that it is sure of already.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`.

    Notes
    -----
    Scores S are computed with batch norm in evaluation mode, mini-batches run in training mode (the paper is silent,
    docs/papers/dbc.md). Cost of an epoch: one feature pass and one training pass of the encoder; memory O(N·k).

    Examples
    --------
    >>> from asterism import DBC
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits().images / 16
    >>> labels = DBC(n_clusters=10, random_state=0).fit_predict(digits)  # doctest: +SKIP
    """

    _goes_by_neighbors = True
    boost: float = parameter(Interval(float, 1, None, closed="neither"), default=2.0)
    """α of eq. (2), > 1. The paper varies 1.5, 2, 4 (Fig. 9a); it chose 2 with labels at hand."""
    balance: str = parameter({"boosted", "soft", "none"}, default="boosted")
    """n_j of Algorithm 2, line 8: Σ_i s_ij^α, DEC's Σ_i s_ij, or 1 (Fig. 9b)."""
    autoencoder: AutoEncoder | None = parameter(AutoEncoder, default=None, when_none=FCAE())
    """Stage I; its own device, run_dir, random_state and verbose are not used."""
    training: Training | None = parameter(Training, default=None, when_none=DBC_TRAINING)
    """Stage II; ``n_epochs`` is T, ``max_steps`` is B. A `JointTraining` also says the unit of the distances
    (``distance_scale``) and has soft resets (``reset_interval``)."""
    augmentation: RandomTransform | str | None = parameter(AUGMENTATIONS, default=None, when_none="none")
    """Of stage II: the network would see changed images, while scores and targets come from the unchanged ones. The
    paper has none: after groups that were learnt it costs, from k-means it wins (docs/methods/dbc.md). ``autoencoder``
    and ``cluster_initialisation`` have their own. Where that is left to them and a group has fewer than 100 images on
    average, it is ``"none"``: it takes away by what views of one object differ."""
    cluster_initialisation: ClusterInitialisation | None = parameter(
        ClusterInitialisation, default=None, when_none=ClusterInitialisation()
    )
    """How the auto-encoder's features are grouped (Algorithm 1, line 3), and how often the network learns such groups
    before its own scores are the target. The default is ours: linkage, learnt three times; the paper is
    ``ClusterInitialisation("k-means", rounds=0)``."""

    def _recipe(self, n_images: int) -> tuple[AutoEncoder, ClusterInitialisation]:
        autoencoder, first = super()._recipe(n_images)
        if not few_images(n_images, self.n_clusters):
            return autoencoder, first
        return _unchanged(autoencoder), _unchanged(first)

    def _choices(self, images: ImageSource, runtime: Runtime) -> list[str]:
        n, found = len(images), dict[str, Any]()
        parts = {"autoencoder": self.resolved("autoencoder"), "cluster_initialisation": self._first_groups()}
        for name, part in parts.items():
            usual = part.resolved("augmentation")
            if part.augmentation is None and usual != "none":
                found[f"{name}.augmentation"] = "none" if few_images(n, self.n_clusters) else type(usual).__name__
        first = self._first_groups().choices(n, self.n_clusters)
        found |= {f"cluster_initialisation.{name}": value for name, value in first.items()}
        return [*by_group_size(n, self.n_clusters, found), *super()._choices(images, runtime)]

    def _first_groups(self) -> ClusterInitialisation:
        return self.resolved("cluster_initialisation")

    def _targets(self, scores: torch.Tensor) -> torch.Tensor:
        return boosted_targets(scores, self.boost, self.balance)


def _unchanged(part: Any) -> Any:
    """An auto-encoder's or a grouping's copy without augmentation, unless it names its own."""
    return clone(part).set_params(augmentation="none") if part.augmentation is None else part
