"""A learned encoder taken to pieces: its convolutions, for images of any size, and what stands behind them.

What is measured on PASCAL VOC is a network whose convolutions were learnt without labels and whose last layers are
new: fc6, fc7 and fc8 of AlexNet and VGG, one layer where a network ends otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from asterism.errors import InputError
from asterism.networks.backbones import PASSING, Preparation, PretrainedNetwork
from asterism.networks.body import Body
from asterism.networks.fcae import Encoder
from asterism.networks.jule_net import ConvNetwork
from asterism.networks.torchvision_net import TorchvisionBody


@dataclass
class Parts:
    """The pieces of a convolutional encoder, copies of its own.

    Attributes
    ----------
    convolutions : nn.Module
        Images (B, C, H, W) of any size, pixels as the encoder takes them → maps (B, filters, h, w).
    pool : nn.Module
        What stands between the last maps and fc6; the identity where there is no fc6.
    n_filters : int
        Of the last maps.
    grid : (int, int)
        Height and width of what ``pool`` gives for images of the run's own size.
    fully_connected : tuple of nn.Linear or None
        fc6 and fc7 as they were learnt.
    """

    convolutions: nn.Module
    pool: nn.Module
    n_filters: int
    grid: tuple[int, int]
    fully_connected: tuple[nn.Linear, nn.Linear] | None = None


def network_of(encoder: nn.Module) -> nn.Module:
    """The network in an encoder, without the reduction, embedding or factorisation that a method puts behind it."""
    inner = encoder[0] if isinstance(encoder, nn.Sequential) else encoder
    body = getattr(inner, "body", inner)
    return inner if isinstance(inner, PretrainedNetwork) else body


def input_shape(encoder: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(C, H, W) of the crops that the network is shown: the run's own, or what pre-trained weights are for."""
    network = network_of(encoder)
    return (shape[0], *network.input_shape[1:]) if isinstance(network, PretrainedNetwork) else shape


def parts_of(encoder: nn.Module, shape: tuple[int, int, int]) -> Parts:
    """Take an encoder to pieces.

    Parameters
    ----------
    encoder : nn.Module
        Of a fitted estimator; stays as it is.
    shape : tuple of int
        (C, H, W) of the run's images.

    Raises
    ------
    InputError
        If it has no convolutions.
    """
    network = copy.deepcopy(network_of(encoder)).cpu().eval()
    if isinstance(network, Body) and (pieces := network.pieces()) is not None:
        return _measured(Parts(pieces.convolutions, pieces.pool, 0, (0, 0), pieces.fully_connected), shape)
    if isinstance(network, TorchvisionBody):
        return _of_torchvision(network.front, network.network, shape)
    if isinstance(network, PretrainedNetwork):
        prepare = network.prepare
        found = _of_torchvision(Normalise(prepare), network.body, input_shape(encoder, shape))
        found.convolutions = Turned(found.convolutions) if prepare.turned else found.convolutions
        return found
    if isinstance(network, ConvNetwork):
        mean = network.mean.mean((1, 2), keepdim=True)  # the mean image has one size only; its mean colour has none
        return _of_blocks(Shift(mean), network, len(network.blocks), shape, ceil_mode=True)
    if isinstance(network, Encoder) and len(network.blocks) > 1:
        return _of_blocks(network.seen, network, len(network.blocks) - 1, shape, ceil_mode=False)
    raise InputError(
        f"the run's network, a {type(network).__name__}, has no convolutions whose maps could be used: "
        "take a run of deepcluster, jule, dbc or fcn on images"
    )


class LastMaps(Body):
    """The convolutions of any encoder as a body of one layer, ``last``, for images of any size.

    Parameters
    ----------
    parts : Parts
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.layer_names, self.n_features = ("last",), parts.n_filters
        self.convolutions = parts.convolutions

    def maps(self, images: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Its maps (B, filters, h, w), by the layer's name."""
        return {"last": self.convolutions(images)}


def searchable(encoder: nn.Module, shape: tuple[int, int, int]) -> Body:
    """What images of any size can be searched by: an encoder's body with all its layers, or its last maps alone.

    Raises
    ------
    InputError
        If it has no convolutions.
    """
    body = network_of(encoder)
    return body if isinstance(body, Body) and body.layer_names else LastMaps(parts_of(encoder, shape))


class Shift(nn.Module):
    """Pixels (B, C, H, W) less a colour (C, 1, 1)."""

    mean: torch.Tensor

    def __init__(self, mean: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Shifted pixels."""
        return images - self.mean


class Normalise(nn.Module):
    """`Preparation` without its change of size: images (B, 1 or 3, H, W) → (B, 3, H, W) in the weights' units."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, prepare: Preparation) -> None:
        super().__init__()
        self.register_buffer("mean", prepare.mean)
        self.register_buffer("std", prepare.std)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Standardised images."""
        return (images.expand(-1, 3, -1, -1) - self.mean) / self.std


class Turned(nn.Module):
    """For weights that want their input upside down (`Preparation`): turns images, and turns the maps back."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps, upright."""
        return self.inner(images.flip(-1, -2)).flip(-1, -2)


class OneOutput(nn.Module):
    """A feature extractor of torchvision that gives a tensor instead of a dict of one."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        try:
            self.extractor = create_feature_extractor(network, {layer: "maps"})
        except Exception as error:  # tracing raises whatever the model's Python raises on symbols
            raise InputError(f"a {type(network).__name__} cannot be cut at {layer}: choose another backbone") from error

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps (B, filters, h, w)."""
        return self.extractor(images)["maps"]


def _of_torchvision(front: nn.Module, network: nn.Module, shape: tuple[int, int, int]) -> Parts:
    if isinstance(network, (torchvision.models.AlexNet, torchvision.models.VGG)):
        linear = [layer for layer in network.classifier if isinstance(layer, nn.Linear)]
        pool = nn.Sequential(network.features[-1], network.avgpool)
        return _measured(
            Parts(nn.Sequential(front, *network.features[:-1]), pool, 0, (0, 0), (linear[0], linear[1])), shape
        )
    layer = _last_maps(front, network, shape)
    return _measured(Parts(nn.Sequential(front, OneOutput(network, layer)), nn.Identity(), 0, (0, 0)), shape)


@torch.no_grad()
def _last_maps(front: nn.Module, network: nn.Module, shape: tuple[int, int, int]) -> str:
    """The last part of a network, of those that it directly consists of, that gives maps and not a single number each.

    ``layer4`` of a ResNet, ``features`` of a MobileNet.
    """
    found: list[str] = []

    def watch(name: str, part: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def note(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
                found.append(name)

        return part.register_forward_hook(note)

    hooks = [watch(name, part) for name, part in network.named_children() if not isinstance(part, PASSING)]
    network(front(torch.zeros(1, *shape)))
    for hook in hooks:
        hook.remove()
    if not found:
        raise InputError(f"a {type(network).__name__} gives no maps: transfer to PASCAL VOC needs convolutions")
    return found[-1]


def _of_blocks(
    front: nn.Module, network: ConvNetwork | Encoder, n_blocks: int, shape: tuple[int, int, int], ceil_mode: bool
) -> Parts:
    """The first blocks of JULE's or DBC's network.

    Ours: their convolutions have no padding, which would move the maps of larger images away from what they show; here
    they get as much as keeps the size.
    """
    layers: list[nn.Module] = [front]
    for block, convolve, normalise in zip(network.blocks[:n_blocks], network.convolutions, network.norms, strict=False):
        convolve.padding = tuple(side // 2 for side in block.kernel)  # type: ignore[assignment]
        layers += [convolve, normalise]
        layers += [nn.MaxPool2d(2, ceil_mode=ceil_mode)] if block.pool else []
        layers += [nn.ReLU()]
    return _measured(Parts(nn.Sequential(*layers), nn.Identity(), 0, (0, 0)), shape)


@torch.no_grad()
def _measured(parts: Parts, shape: tuple[int, int, int]) -> Parts:
    parts.convolutions.eval()
    _, parts.n_filters, *grid = parts.pool(parts.convolutions(torch.zeros(1, *shape))).shape
    parts.grid = (grid[0], grid[1])
    return parts


LEARN = ("fc6-8", "fc6-8+norm", "all")


def free(convolutions: nn.Module, learn: str) -> Iterable[nn.Parameter]:
    """Decide what of the convolutions is learnt on, and give it.

    Parameters
    ----------
    convolutions : nn.Module
    learn : {"fc6-8", "fc6-8+norm", "all"}
        Nothing; scale and shift of batch norm; everything (a Sobel front has nothing to learn).

    Returns
    -------
    list of nn.Parameter
    """
    norms = [one for one in convolutions.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    convolutions.requires_grad_(learn == "all")
    for norm in norms if learn == "fc6-8+norm" else ():
        norm.requires_grad_(True)
    return [one for one in convolutions.parameters() if one.requires_grad]
