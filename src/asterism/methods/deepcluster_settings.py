"""What DeepCluster-v2 nests: its crops, its projection, how images get their groups, and what it starts from."""

from __future__ import annotations

from typing import Any

import torch

from asterism.images.augment import Crops
from asterism.parameters import NON_NEGATIVE_INT, POSITIVE, POSITIVE_INT, Interval, Parameters, parameter

N_LARGE = 2  # large crops of an image
_COLOURS: dict[str, Any] = {"jitter": 0.8, "grey": 0.2, "blur": 0.5}


class MultiCrop(Parameters, kw_only=False):
    """Which crops of an image are shown in one step: two large ones and some small ones."""

    large: Crops | None = parameter(Crops, default=None, when_none=Crops(**_COLOURS))
    """8 to 100 % of the area, changed colours, blur."""
    small: Crops | None = parameter(Crops, default=None, when_none=Crops(0.05, 0.14, **_COLOURS))
    """5 to 14 % of the area."""
    n_small: int = parameter(NON_NEGATIVE_INT, default=4)
    """0 for images of 32², whose twentieth part shows nothing."""

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


class Projection(Parameters, kw_only=False):
    """The MLP of two layers on the network, whose unit vectors z are grouped."""

    hidden: int = parameter(POSITIVE_INT, default=2048)
    """Units of its hidden layer."""
    n_dims: int = parameter(POSITIVE_INT, default=128)
    """Length of z."""


class Assignment(Parameters, kw_only=False):
    """How images get the groups that their crops are to find."""

    kind: str = parameter({"kmeans", "sinkhorn"}, default="kmeans")
    """``"kmeans"``: spherical k-means of all images before each epoch; its centroids are the classifier
    (DeepCluster-v2). ``"sinkhorn"``: each batch is spread evenly over prototypes that are learnt, and one crop is to
    find the groups of the other (SwAV, the same paper's §3.1)."""
    memory: str = parameter({"pass", "crops"}, default="pass")
    """Of k-means: where the vectors that are clustered come from. ``"crops"``, the paper: what the network gave for the
    last epoch's crops, so that no image goes through it again. That asks for a network that hardly changes in an epoch:
    with a few hundred steps of a usual rate, vectors from its beginning and its end are so different that k-means
    groups the images by when they were seen (CIFAR-10: NMI to the classes .08 → .02, loss back at ln k after two
    epochs). ``"pass"``, ours: a feature pass before each clustering; .08 → .11 in six epochs. What the pass costs:
    docs/scale.md."""
    epsilon: float = parameter(Interval(float, 0.005, None), default=0.05)
    """Of Sinkhorn: how soft the groups are."""
    n_iterations: int = parameter(POSITIVE_INT, default=3)
    """Of Sinkhorn: scalings of rows and columns."""
    queue: int = parameter(NON_NEGATIVE_INT, default=0)
    """Of Sinkhorn: so many of the last vectors of each large crop are spread with the batch, which may then have fewer
    images than there are groups. 3840 in the paper for batches of 256."""


class ContrastiveStart(Parameters, kw_only=False):
    """Epochs before the first grouping in which two large crops of an image learn to be alike (SimCLR)."""

    n_epochs: int = parameter(NON_NEGATIVE_INT, default=0)
    """0 begins with the weights as they are drawn, as in the paper."""
    temperature: float = parameter(POSITIVE, default=0.2)
    """τ of `asterism.training.contrastive.contrastive_loss`."""
    lr: float | None = parameter(POSITIVE, default=None)
    """Highest rate; by default that of ``training``. It rises over the first fortieth of the steps and falls to 0 along
    a cosine."""
