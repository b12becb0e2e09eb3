"""What DeepCluster-v2 nests (crops, projection, how images get their groups, what it starts from), and the sizes that
both DeepClusters take on a processor, where nobody has set them.

The papers' own networks, crops and epochs are for GPUs: DeepCluster-v2's ResNet-18 shows a core 31 crops of 32² a
second, the small residual network more than a thousand (docs/scale.md).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from asterism.images import ImageSource
from asterism.images.augment import Crops
from asterism.networks.convnet import SMALL_RESNET, ConvNet
from asterism.parameters import Interval, Parameters, attribute, from_json, parameter, to_json
from asterism.parameters.constraints import NON_NEGATIVE_INT, POSITIVE, POSITIVE_INT
from asterism.runtime import Runtime
from asterism.training import Training

SMALL_SIDE = 64  # grey images up to this side are digits, letters, faces: never mirrored, and hardly cut
IMAGES_SHOWN = 2**20  # over all epochs, each in two crops: about ten minutes of a core at 32²
MOST_EPOCHS = 100
WORTH_SHRINKING = 32  # side from which crops are shown at three quarters of it
_COLOURS: dict[str, Any] = {"jitter": 0.8, "grey": 0.2, "blur": 0.5}


class MultiCrop(Parameters, kw_only=False):
    """Which crops of an image are shown in one step: two large ones and some small ones."""

    N_LARGE: ClassVar[int] = 2
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
        return torch.cat([large(images, generator) for _ in range(self.N_LARGE)])


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
    last epoch's crops. That asks for a network that hardly changes in an epoch: else k-means groups the images by when
    they were seen. ``"pass"``, ours: a feature pass before each clustering (docs/methods/deepcluster.md)."""
    epsilon: float = parameter(Interval(float, 0.005, None), default=0.05)
    """Of Sinkhorn: how soft the groups are."""
    n_iterations: int = parameter(POSITIVE_INT, default=3)
    """Of Sinkhorn: scalings of rows and columns."""
    queue: int = parameter(NON_NEGATIVE_INT, default=0)
    """Of Sinkhorn: so many of the last vectors of each large crop, all processes together, are spread with the batch,
    which may then have fewer images than there are groups. 3840 in the paper for batches of 256."""


class ContrastiveStart(Parameters, kw_only=False):
    """Epochs before the first grouping in which two large crops of an image learn to be alike (SimCLR)."""

    n_epochs: int = parameter(NON_NEGATIVE_INT, default=0)
    """0 begins with the weights as they are drawn, as in the paper."""
    temperature: float = parameter(POSITIVE, default=0.2)
    """τ of `asterism.methods.swav.contrastive_loss`."""
    lr: float | None = parameter(POSITIVE, default=None)
    """Highest rate; by default that of ``training``. It rises over the first fortieth of the steps and falls to 0 along
    a cosine."""


def epochs_for(n: int) -> int:
    """Epochs in which n images are shown about a million times, at most 100."""
    return max(1, min(MOST_EPOCHS, IMAGES_SHOWN // max(1, n)))


def crops_for(shape: tuple[int, int, int]) -> Crops:
    """Crops for images of a shape (C, H, W): of photographs a fifth or more, of small grey images half or more."""
    channels, height, width = shape
    if channels == 1 and max(height, width) <= SMALL_SIDE:
        return Crops(0.5, flip=False)
    side = min(height, width)
    shown = side * 3 // 4 if side >= WORTH_SHRINKING else None
    return Crops(0.2, jitter=0.4, grey=0.2, side=shown)


def processor_defaults(
    shape: tuple[int, int, int], n: int, own_network: bool = False
) -> dict[str, dict[str, Parameters]]:
    """The nested parameters of both methods, by the method's class, for n images of a shape on a processor.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W).
    n : int
    own_network : bool, default=False
        Whether the network is the user's: it may take one size alone, so that crops are shown at the images' size.

    Returns
    -------
    dict
        ``{"DeepCluster": {"network": …}, "DeepClusterV2": …}``; empty for vectors, whose networks are small anyway.
    """
    if shape[1:] == (1, 1):
        return {"DeepCluster": {}, "DeepClusterV2": {}}
    network, crops, epochs = ConvNet(SMALL_RESNET, sobel=False), crops_for(shape), epochs_for(n)
    if own_network:
        crops.set_params(side=None)
    sgd: dict[str, Any] = {"batch_size": 256, "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
    first = {"network": network, "augmentation": crops, "training": Training(n_epochs=epochs, **sgd)}
    start = (epochs + 1) // 2
    second = {
        "network": network,
        "projection": Projection(hidden=512, n_dims=128),
        "crops": MultiCrop(large=crops, n_small=0),
        "contrastive_start": ContrastiveStart(n_epochs=start, lr=0.1),
        "training": Training(n_epochs=max(1, epochs - start), schedule="cosine-steps", **sgd),
    }
    return {"DeepCluster": first, "DeepClusterV2": second}


class SizedDefaults(Parameters):
    """Mixin: nested parameters that nobody has set are chosen when images and device are known.

    What was chosen is said before the fit and kept with the model.
    """

    _chosen: dict[str, Any] = attribute({})

    def resolved(self, name: str) -> Any:
        """The nested parameter ``name``; where it is None, what was chosen, or the class's default."""
        return self._chosen[name] if getattr(self, name) is None and name in self._chosen else super().resolved(name)

    def _choices(self, images: ImageSource, runtime: Runtime) -> list[str]:
        own = getattr(self, "network", None) is not None
        sized = processor_defaults(images.shape, len(images), own) if runtime.device.type == "cpu" else {}
        mine = dict(sized.get(type(self).__name__, {}))
        if getattr(self, "training", None) is not None:  # who says how long it trains means all of it
            mine.pop("contrastive_start", None)
        self._chosen = {name: one for name, one in mine.items() if getattr(self, name) is None}
        words = ", ".join(f"{name}={one!r}" for name, one in self._chosen.items())
        said = [f"no GPU, so {' '.join(words.split())}; on a GPU the paper's"] if self._chosen else []
        return [*said, *super()._choices(images, runtime)]  # type: ignore[misc]

    def _fitted_state(self) -> dict[str, Any]:
        chosen = {name: to_json(one) for name, one in self._chosen.items()}
        return {**super()._fitted_state(), "chosen": chosen}  # type: ignore[misc]

    def _restore_state(self, state: dict[str, Any]) -> None:
        from asterism.methods.registry import KNOWN_CLASSES

        self._chosen = {name: from_json(one, KNOWN_CLASSES) for name, one in state.get("chosen", {}).items()}
        super()._restore_state(state)  # type: ignore[misc]
