"""Any torchvision network by its name, without weights, as a `Body`."""

from __future__ import annotations

from torch import nn

from asterism.errors import InputError
from asterism.networks.foreign import ForeignBody
from asterism.networks.sobel import Front
from asterism.networks.zoo import WITH_SIDES, torchvision_models

SMALL = 64  # up to this side a ResNet keeps its resolution in the first layers


class TorchvisionBody(ForeignBody):
    """A torchvision network up to its last linear layer.

    ResNets see images of up to 64² as is usual for CIFAR: a first convolution of 3×3 with stride 1 and no max-pooling.

    Parameters
    ----------
    name : str
        As `torchvision.models.get_model` takes it.
    shape : tuple of int
        (C, H, W) of the images.
    edges : bool
        Sobel front.

    Raises
    ------
    InputError
        If torchvision has no such network, or it does not fit the images.
    """

    FRONT, INNER = "front", "network"

    def __init__(self, name: str, shape: tuple[int, int, int], *, edges: bool) -> None:
        super().__init__()
        models = torchvision_models()  # late: a tenth of a second of every start
        self.front: Front = Front(shape[0], edges)
        if name not in models.list_models(module=models):  # those that classify images
            raise InputError(
                f"network.architecture={name!r} is none of 'alexnet', 'vgg16', 'small-resnet' and torchvision's "
                "classifiers"
            )
        # classifiers beside the main one answer in training alone, and would make a tuple of its output
        aside = {"aux_logits": False, "init_weights": False} if name in WITH_SIDES else {}
        self.network = models.get_model(name, weights=None, **aside)
        _replace_first(self.network, self.front.out_channels)
        if isinstance(self.network, models.ResNet) and min(shape[1:]) <= SMALL:
            self.network.conv1 = nn.Conv2d(self.front.out_channels, 64, 3, padding=1, bias=False)
            self.network.maxpool = nn.Identity()
        last = [path for path, layer in self.network.named_modules() if isinstance(layer, nn.Linear)]
        if not last:
            raise InputError(f"network.architecture={name!r} has no linear layer at its end: choose another network")
        self.n_features = self.network.get_submodule(last[-1]).in_features
        self.network.set_submodule(last[-1], nn.Identity())
        self._try(name, shape)

    def _try(self, name: str, shape: tuple[int, int, int]) -> None:
        """One image, to see that it passes."""
        try:
            found = self.eval().find_layers(shape)
        except Exception as error:  # whatever a model's Python raises on a size that is not its own
            raise InputError(
                f"network.architecture={name!r} does not take images of {shape[1]}x{shape[2]}: {error}"
            ) from error
        finally:
            self.train()
        if found.shape != (1, self.n_features):
            raise InputError(f"network.architecture={name!r} gives no vector of features: choose another network")


def _replace_first(network: nn.Module, n_channels: int) -> None:
    """Let the first convolution take another number of channels."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            if layer.in_channels != n_channels:
                layer.in_channels = n_channels
                layer.weight = nn.Parameter(layer.weight.new_empty(len(layer.weight), n_channels, *layer.kernel_size))
                layer.reset_parameters()
            return
