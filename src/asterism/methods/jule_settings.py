"""JULE's nested parameters: how it merges, how it trains, which network. The paper has two codes; each difference that
changes a result is an option here, with its source (docs/papers/jule.md)."""

from __future__ import annotations

from typing import Any

import torch

from asterism.clustering.linkage import UPDATES
from asterism.parameters import Interval, Parameters, parameter
from asterism.parameters.constraints import FRACTION_BELOW_1, NON_NEGATIVE, NON_NEGATIVE_INT, POSITIVE, POSITIVE_INT
from asterism.training import GradientDescent


class MergeRule(Parameters, kw_only=False):
    """Where clusters start from, and how they merge."""

    initial: str = parameter({"neighbors", "k-means"}, default="neighbors")
    """Initial clusters: each image with its nearest neighbour, or k-means with a center for four images, which is what
    the paper's initial clusters have on average ("other kind of initializations can also be used"). OURS-RC always
    begins with nearest neighbours."""
    merge_first: bool = parameter(bool, default=False)
    """Each period merges and then trains, as Alg. 1 reads: the first on pixels; and the last clusters are trained on.
    Both codes train first and end with a merge."""
    scale: float = parameter(POSITIVE, default=1.0)
    """a of eq. 4, σ² = a · mean of d² (Table 2)."""
    local_weight: float = parameter(NON_NEGATIVE, default=1.0)
    """λ of eq. 7 (Table 2)."""
    n_local: int = parameter(POSITIVE_INT, default=5)
    """K_c of eq. 7 (Table 2; chosen with labels on MNIST-test, as the paper says)."""
    update: str = parameter(set(UPDATES), default="exact")
    """Affinities of a merged cluster: exactly, as the Caffe code; without cross terms, the Torch code's default; by the
    paper's approximation, which is much worse."""
    half_matrix: bool = parameter(bool, default=False)
    """Only clusters of lower number count as neighbours (Torch code; with ``update="fast"`` a number is a place in its
    matrix, as there, see `merge`)."""
    min_clusters_for_local: int = parameter(NON_NEGATIVE_INT, default=0)
    """Merge by affinity alone while there are no more clusters than this: 100 in the Torch code."""
    isolated: str = parameter({"many", "always", "never"}, default="many")
    """When clusters with no affinity to any other are first attached to the nearest centroid: at the beginning of a
    period with more than 20·n_clusters clusters (Torch code), of every period, or only when nothing else is left."""
    smallest: float = parameter(FRACTION_BELOW_1, default=0.05)
    """Ours: a cluster of less than this share of the mean size N / n_c at a period's end is not counted, and goes to
    its strongest neighbour (`merge_without_small_clusters`). Without it (0, as in the paper) three odd images can hold
    out while two true clusters are merged; shares from 0.02 to 0.2 gave the same."""

    def options(self, n_now: int, n_clusters: int) -> dict[str, Any]:
        """Arguments of `merge_without_small_clusters`: a period from ``n_now`` clusters, a fit to ``n_clusters``."""
        others = ("initial", "merge_first", "scale")
        found = {name: value for name, value in self.get_params(deep=False).items() if name not in others}
        if self.isolated == "many":  # `merge` would compare with the period's own target
            found["isolated"] = "always" if n_now > 20 * n_clusters else "never"
        return found


class TripletTraining(GradientDescent, kw_only=False):
    """How the network is trained in each period: SGD with the inverse learning rate policy (§4.1.2)."""

    n_epochs: int = parameter(POSITIVE_INT, default=20)
    """Passes over the images a period ("about 20", §3.6; 20 in the Torch code)."""
    batch_size: int = parameter(Interval(int, 2, None), default=100)
    """Of the Torch code. Small sets keep it, unlike in `Training`: fewer images would share fewer clusters."""
    lr: float = parameter(POSITIVE, default=0.01)
    """First learning rate."""
    momentum: float = parameter(FRACTION_BELOW_1, default=0.9)
    """Of SGD."""
    dampening: float = parameter(FRACTION_BELOW_1, default=0.9)
    """Share of the gradient that the momentum leaves out: 0.9 in the Torch code, whose steps are ten times shorter by
    that, 0 in the Caffe code (docs/papers/jule.md)."""
    weight_decay: float = parameter(NON_NEGATIVE, default=5e-5)
    """Of all parameters, those of batch norm too."""
    decay: float = parameter(NON_NEGATIVE, default=1e-4)
    """"Gamma" of lr·(1 + Gamma·t)^(−Power) at step t."""
    power: float = parameter(NON_NEGATIVE, default=0.75)
    """"Power" of the same."""
    restart: bool = parameter(bool, default=False)
    """Count t from 0 in each period; both codes go on counting. Our rate changes from epoch to epoch, not with each
    step."""
    n_passes: int = parameter(POSITIVE_INT, default=1)
    """How often all periods are run; each further pass starts from the network of the one before and from initial
    clusters of its features (in the slides: "it improves slightly")."""

    def rate_at(self, step: int) -> float:
        """Learning rate at a step, lr·(1 + decay·t)^(−power)."""
        return self.lr * (1 + self.decay * step) ** -self.power

    def make_optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        """v ← momentum·v + (1 − dampening)·(gradient + weight_decay·θ); θ ← θ − lr·v."""
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            dampening=self.dampening,
            weight_decay=self.weight_decay,
            fused=True,
        )


class ConvSettings(Parameters, kw_only=False):
    """The network and its features."""

    n_features: int = parameter(POSITIVE_INT, default=160)
    """Units of the last layer."""
    norm_scale: str = parameter({"one", "uniform"}, default="one")
    """First scale of batch norm: 1 (Caffe code), or U(0, 1) (Torch7's default)."""
    batch_statistics: bool = parameter(bool, default=False)
    """Cluster on features made with the batch norm of batches of 100 images, as the Torch code does while it merges
    (and not for OURS-RC). There the batches are neighbours in the data set, and sets lie sorted by class: batch norm
    then sees what class it has. Ours are drawn at random."""
