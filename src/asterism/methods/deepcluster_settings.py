"""What DeepCluster-v2 nests: its crops, its projection, how images get their groups, and what it starts from."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from asterism.images.crops import Crops
from asterism.parameters import Interval, Parameters

N_LARGE = 2  # large crops of an image
_COLOURS: dict[str, Any] = {"jitter": 0.8, "grey": 0.2, "blur": 0.5}


class MultiCrop(Parameters):
    """Which crops of an image are shown in one step: two large ones and some small ones.

    Parameters
    ----------
    large : Crops, optional
        Default 8 to 100 % of the area, changed colours, blur.
    small : Crops, optional
        Default 5 to 14 % of the area.
    n_small : int, default=4
        0 for images of 32², whose twentieth part shows nothing.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {"large": Crops(**_COLOURS), "small": Crops(0.05, 0.14, **_COLOURS)}
    _parameter_constraints: ClassVar[dict] = {
        "large": [Crops, None],
        "small": [Crops, None],
        "n_small": [Interval(int, 0, None)],
    }

    def __init__(self, large: Crops | None = None, small: Crops | None = None, n_small: int = 4) -> None:
        self.large = large
        self.small = small
        self.n_small = n_small

    def cut(self, images: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        """Crops of a batch (B, C, H, W): the two large ones as one tensor (2B, …), the small ones as another."""
        cut = [self.cut_large(images, generator)]
        if self.n_small:
            small = self.resolved("small")
            cut.append(torch.cat([small(images, generator) for _ in range(self.n_small)]))
        return cut

    def cut_large(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The two large crops of a batch (B, C, H, W), as one tensor (2B, …)."""
        large = self.resolved("large")
        return torch.cat([large(images, generator) for _ in range(N_LARGE)])


class Projection(Parameters):
    """The MLP of two layers on the network, whose unit vectors z are grouped.

    Parameters
    ----------
    hidden : int, default=2048
        Units of its hidden layer.
    n_dims : int, default=128
        Length of z.
    """

    _parameter_constraints: ClassVar[dict] = {"hidden": [Interval(int, 1, None)], "n_dims": [Interval(int, 1, None)]}

    def __init__(self, hidden: int = 2048, n_dims: int = 128) -> None:
        self.hidden = hidden
        self.n_dims = n_dims


class Assignment(Parameters):
    """How images get the groups that their crops are to find.

    Parameters
    ----------
    kind : {"kmeans", "sinkhorn"}, default="kmeans"
        ``"kmeans"``: spherical k-means of all images before each epoch; its centroids are the classifier
        (DeepCluster-v2). ``"sinkhorn"``: each batch is spread evenly over prototypes that are learnt, and one crop
        is to find the groups of the other (SwAV, the same paper's §3.1).
    memory : {"pass", "crops"}, default="pass"
        Of k-means: where the vectors that are clustered come from. ``"crops"``, the paper: what the network gave for
        the last epoch's crops, so that no image goes through it again. That asks for a network that hardly changes in
        an epoch: with a few hundred steps of a usual rate, vectors from its beginning and its end are so different
        that k-means groups the images by when they were seen (CIFAR-10: NMI to the classes .08 → .02, loss back at
        ln k after two epochs). ``"pass"``, ours: a feature pass before each clustering; .08 → .11 in six epochs. What
        the pass costs: docs/scale.md.
    epsilon : float, default=0.05
        Of Sinkhorn: how soft the groups are.
    n_iterations : int, default=3
        Of Sinkhorn.
    queue : int, default=0
        Of Sinkhorn: so many of the last vectors of each large crop are spread with the batch, which may then have
        fewer images than there are groups. 3840 in the paper for batches of 256.
    """

    _parameter_constraints: ClassVar[dict] = {
        "kind": [{"kmeans", "sinkhorn"}],
        "memory": [{"pass", "crops"}],
        "epsilon": [Interval(float, 0.005, None)],
        "n_iterations": [Interval(int, 1, None)],
        "queue": [Interval(int, 0, None)],
    }

    def __init__(
        self,
        kind: str = "kmeans",
        memory: str = "pass",
        epsilon: float = 0.05,
        n_iterations: int = 3,
        queue: int = 0,
    ) -> None:
        self.kind = kind
        self.memory = memory
        self.epsilon = epsilon
        self.n_iterations = n_iterations
        self.queue = queue


class ContrastiveStart(Parameters):
    """Epochs before the first grouping in which two large crops of an image learn to be alike (SimCLR).

    Parameters
    ----------
    n_epochs : int, default=0
        0 begins with the weights as they are drawn, as in the paper.
    temperature : float, default=0.2
        τ of `asterism.training.contrastive.contrastive_loss`.
    lr : float, optional
        Highest rate; by default that of ``training``. It rises over the first fortieth of the steps and falls to 0
        along a cosine.
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_epochs": [Interval(int, 0, None)],
        "temperature": [Interval(float, 0, None, closed="neither")],
        "lr": [Interval(float, 0, None, closed="neither"), None],
    }

    def __init__(self, n_epochs: int = 0, temperature: float = 0.2, lr: float | None = None) -> None:
        self.n_epochs = n_epochs
        self.temperature = temperature
        self.lr = lr
