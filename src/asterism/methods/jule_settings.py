"""What JULE's parameters hold together: how it merges, how it trains, which network. Each variant of the paper's two
codes that changes a number is an option here, with its source (docs/papers/jule.md)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from asterism.clustering.linkage import UPDATES
from asterism.parameters import Interval, Parameters
from asterism.training import Training


class MergeRule(Parameters):
    """Where clusters start from, and how they merge.

    Parameters
    ----------
    initial : {"neighbors", "k-means"}, default="neighbors"
        Initial clusters: each image with its nearest neighbour, or k-means with a center for four images, which is
        what the paper's initial clusters have on average ("other kind of initializations can also be used").
    merge_first : bool, default=False
        Each period merges and then trains, as Alg. 1 reads: the first on pixels; and the last clusters are trained on.
        Both codes train first and end with a merge.
    scale : float, default=1.0
        a of eq. 4, σ² = a · mean of d² (Table 2).
    local_weight : float, default=1.0
        λ of eq. 7 (Table 2).
    n_local : int, default=5
        K_c of eq. 7 (Table 2; chosen with labels on MNIST-test, as the paper says).
    update : {"exact", "fast", "paper"}, default="exact"
        Affinities of a merged cluster: exactly, as the Caffe code; without cross terms, the Torch code's default; by
        the paper's approximation, which is much worse.
    half_matrix : bool, default=False
        Only clusters of lower number count as neighbours (Torch code; with ``update="fast"`` a number is a place in its
        matrix, as there, see `asterism.clustering.linkage_merge.merge`).
    min_clusters_for_local : int, default=0
        Merge by affinity alone while there are no more clusters than this: 100 in the Torch code.
    isolated : {"many", "always", "never"}, default="many"
        When clusters with no affinity to any other are first attached to the nearest centroid: at the beginning of a
        period with more than 20·n_clusters clusters (Torch code), of every period, or only when nothing else is left.
    smallest : float, default=0.05
        Ours: a cluster of less than this share of the mean size N / n_c at a period's end is not counted, and goes to
        its strongest neighbour (`merge_without_small_clusters`). Without it (0, as in the paper) three odd images can
        hold out as one of MNIST's ten clusters while 4 and 9 are merged; shares from 0.02 to 0.2 gave the same.
    """

    _parameter_constraints: ClassVar[dict] = {
        "initial": [{"neighbors", "k-means"}],
        "merge_first": [bool],
        "scale": [Interval(float, 0, None, closed="neither")],
        "local_weight": [Interval(float, 0, None)],
        "n_local": [Interval(int, 1, None)],
        "update": [set(UPDATES)],
        "half_matrix": [bool],
        "min_clusters_for_local": [Interval(int, 0, None)],
        "isolated": [{"many", "always", "never"}],
        "smallest": [Interval(float, 0, 1, closed="left")],
    }

    def __init__(
        self,
        initial: str = "neighbors",
        merge_first: bool = False,
        scale: float = 1.0,
        local_weight: float = 1.0,
        n_local: int = 5,
        update: str = "exact",
        half_matrix: bool = False,
        min_clusters_for_local: int = 0,
        isolated: str = "many",
        smallest: float = 0.05,
    ) -> None:
        self.initial = initial
        self.merge_first = merge_first
        self.scale = scale
        self.local_weight = local_weight
        self.n_local = n_local
        self.update = update
        self.half_matrix = half_matrix
        self.min_clusters_for_local = min_clusters_for_local
        self.isolated = isolated
        self.smallest = smallest

    def options(self, n_now: int, n_clusters: int) -> dict[str, Any]:
        """Arguments of `merge_without_small_clusters`: a period from ``n_now`` clusters, a fit to ``n_clusters``."""
        others = ("initial", "merge_first", "scale")
        found = {name: value for name, value in self.get_params(deep=False).items() if name not in others}
        if self.isolated == "many":  # `merge` would compare with the period's own target
            found["isolated"] = "always" if n_now > 20 * n_clusters else "never"
        return found


class TripletTraining(Training):
    """How the network is trained in each period: SGD with the inverse learning rate policy (§4.1.2).

    Parameters
    ----------
    n_epochs : int, default=20
        Passes over the images a period ("about 20", §3.6; 20 in the Torch code).
    batch_size : int, default=100
        Of the Torch code. Small sets keep it, unlike in `Training`: fewer images would share fewer clusters.
    lr : float, default=0.01
    momentum : float, default=0.9
    dampening : float, default=0.9
        Share of the gradient that the momentum leaves out: 0.9 in the Torch code, whose steps are ten times shorter by
        that, 0 in the Caffe code (docs/papers/jule.md).
    weight_decay : float, default=5e-5
        Of all parameters, those of batch norm too.
    decay : float, default=1e-4
        "Gamma" of lr·(1 + Gamma·t)^(−Power) at step t.
    power : float, default=0.75
    restart : bool, default=False
        Count t from 0 in each period; both codes go on counting. Our rate changes from epoch to epoch, not with each
        step.
    n_passes : int, default=1
        How often all periods are run; each further pass starts from the network of the one before and from initial
        clusters of its features ("we can go back and retrain the model, but it improves slightly", say the slides).
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_epochs": [Interval(int, 1, None)],
        "batch_size": [Interval(int, 2, None)],
        "lr": [Interval(float, 0, None, closed="neither")],
        "momentum": [Interval(float, 0, 1, closed="left")],
        "dampening": [Interval(float, 0, 1, closed="left")],
        "weight_decay": [Interval(float, 0, None)],
        "decay": [Interval(float, 0, None)],
        "power": [Interval(float, 0, None)],
        "restart": [bool],
        "n_passes": [Interval(int, 1, None)],
    }

    def __init__(
        self,
        n_epochs: int = 20,
        batch_size: int = 100,
        lr: float = 0.01,
        momentum: float = 0.9,
        dampening: float = 0.9,
        weight_decay: float = 5e-5,
        decay: float = 1e-4,
        power: float = 0.75,
        restart: bool = False,
        n_passes: int = 1,
    ) -> None:
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.momentum = momentum
        self.dampening = dampening
        self.weight_decay = weight_decay
        self.decay = decay
        self.power = power
        self.restart = restart
        self.n_passes = n_passes

    max_steps: int | None = None  # an epoch is a whole pass, as in both codes
    max_grad_norm: float | None = None

    def batch_size_for(self, n: int) -> int:
        """Images a step for a set of n."""
        return self.batch_size

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


class ConvSettings(Parameters):
    """The network and its features.

    Parameters
    ----------
    n_features : int, default=160
        Units of the last layer.
    norm_scale : {"one", "uniform"}, default="one"
        First scale of batch norm: 1 (Caffe code), or U(0, 1) (Torch7's default).
    batch_statistics : bool, default=False
        Cluster on features made with the batch norm of batches of 100 images, as the Torch code does while it merges
        (and not for OURS-RC). There the batches are neighbours in the data set, and sets lie sorted by class: batch
        norm then sees what class it has. Ours are drawn at random.
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_features": [Interval(int, 1, None)],
        "norm_scale": [{"one", "uniform"}],
        "batch_statistics": [bool],
    }

    def __init__(self, n_features: int = 160, norm_scale: str = "one", batch_statistics: bool = False) -> None:
        self.n_features = n_features
        self.norm_scale = norm_scale
        self.batch_statistics = batch_statistics
