"""AlexNet and VGG as one class: a front, convolutions with batch norm, fully connected layers, in sizes from a list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import nn

from asterism.networks.body import Body
from asterism.networks.sobel import Front

SMALLEST_POOLED = 6  # a map of a smaller side is not pooled any more
ALEXNET_POOL = (3, 2)
VGG_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # filters and convolutions of each stage of VGG-16


@dataclass(frozen=True)
class Convolution:
    """A convolution with batch norm and ReLU, and the max-pooling after it.

    Attributes
    ----------
    filters, kernel, stride, padding : int
    pool : tuple of int or None
        Kernel and stride of the max-pooling.
    """

    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    pool: tuple[int, int] | None = None

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the convolution."""
        reach = self.kernel - 1 - 2 * self.padding
        return (height - reach - 1) // self.stride + 1, (width - reach - 1) // self.stride + 1

    def pooled(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after convolution and pooling."""
        height, width = self.sides(height, width)
        if self.pool is None:
            return height, width
        kernel, stride = self.pool
        return (height - kernel) // stride + 1, (width - kernel) // stride + 1


def unstarved(layers: Iterable[Convolution], height: int, width: int) -> list[Convolution]:
    """The rule for small images: a pooling whose map has a side below 6 is left out.

    At 224² nothing changes (the last map is 6² in AlexNet, 7² in VGG); at 32² both end with 3² or 4².
    """
    kept = []
    for layer in layers:
        if layer.pool is not None and min(layer.sides(height, width)) < SMALLEST_POOLED:
            layer = replace(layer, pool=None)
        height, width = layer.pooled(height, width)
        kept.append(layer)
    return kept


def alexnet_layers(height: int, width: int, scale: float = 1.0) -> list[Convolution]:
    """AlexNet's five convolutions, as DeepCluster has them (§3.4): batch norm, no groups, no LRN.

    Parameters
    ----------
    height, width : int
        Of the images.
    scale : float
        Of the numbers of filters.

    Returns
    -------
    list of Convolution
        At 224² the maps have the sides 55, 27, 13, 13, 13, and 6 after the last pooling (docs/papers/deepcluster.md).
        Ours: below 113 and 49 pixels conv1 is smaller, for a stride of 4 at 32² would leave 7² positions for all that
        follows. So its maps at 32², 64² and 128² have the sides 32, 31 and 31.
    """
    filters = [max(1, round(scale * n)) for n in (96, 256, 384, 384, 256)]
    side = min(height, width)
    kernel, stride = (11, 4) if side > 112 else (7, 2) if side > 48 else (5, 1)
    layers = [
        Convolution(filters[0], kernel, stride, padding=2, pool=ALEXNET_POOL),
        Convolution(filters[1], 5, padding=2, pool=ALEXNET_POOL),
        Convolution(filters[2], 3, padding=1),
        Convolution(filters[3], 3, padding=1),
        Convolution(filters[4], 3, padding=1, pool=ALEXNET_POOL),
    ]
    return unstarved(layers, height, width)


def vgg16_layers(height: int, width: int, scale: float = 1.0) -> list[Convolution]:
    """VGG-16's thirteen 3×3 convolutions (§3.4), each stage ended by a 2×2 pooling; see `alexnet_layers`."""
    layers = []
    for filters, depth in VGG_STAGES:
        for i in range(depth):
            pool = (2, 2) if i == depth - 1 else None
            layers.append(Convolution(max(1, round(scale * filters)), 3, padding=1, pool=pool))
    return unstarved(layers, height, width)


class Dropout(nn.Module):
    """Dropout that draws from a generator of the run instead of torch's global one (see `seed_dropout`).

    Parameters
    ----------
    rate : float
        Share of the values that is set to 0 in training.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Values of the same shape, kept ones scaled by 1 / (1 − rate)."""
        if not self.training or self.rate == 0:
            return values
        kept = torch.empty_like(values).bernoulli_(1 - self.rate, generator=self.generator)
        return values * kept.div_(1 - self.rate)


def seed_dropout(network: nn.Module, seed: int, device: torch.device) -> None:
    """Have every `Dropout` of a network draw from one stream that the seed decides."""
    generator = torch.Generator(device).manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, Dropout):
            layer.generator = generator


class ConvolutionalBody(Body):
    """Front, convolutions conv1 … convL, and fully connected layers without the last: features before their ReLU.

    docs/papers/deepcluster.md: what is clustered is fc7 *before* its ReLU, so the ReLU belongs to the head
    (`asterism.training.pseudolabels.classifying`).

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) of the images.
    layers : sequence of Convolution
        Empty for vectors, 1×1 images: then the fully connected layers stand alone.
    edges : bool
        Sobel front.
    n_features : int
        Units of fc6 and of fc7.
    dropout : tuple of float
        Before fc6 and before fc7.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        layers: Iterable[Convolution],
        *,
        edges: bool,
        n_features: int,
        dropout: tuple[float, float],
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.front: Front = Front(channels, edges)
        self.n_features = n_features
        channels = self.front.out_channels
        self.convolutions, self.pools = nn.ModuleList(), nn.ModuleList()
        for layer in layers:
            # the biases are without effect before batch norm, and kept as in the released networks
            convolution = nn.Conv2d(channels, layer.filters, layer.kernel, layer.stride, layer.padding)
            self.convolutions.append(nn.Sequential(convolution, nn.BatchNorm2d(layer.filters), nn.ReLU(inplace=True)))
            self.pools.append(nn.Identity() if layer.pool is None else nn.MaxPool2d(*layer.pool))
            height, width = layer.pooled(height, width)
            channels = layer.filters
        self.layer_names = tuple(f"conv{i + 1}" for i in range(len(self.convolutions)))
        self.classifier = nn.Sequential(
            nn.Flatten(),
            Dropout(dropout[0]),
            nn.Linear(channels * height * width, n_features),
            nn.ReLU(inplace=True),
            Dropout(dropout[1]),
            nn.Linear(n_features, n_features),
        )

    def steps(self) -> dict[str, nn.Module]:
        """Front, each convolution with its ReLU, each pooling, and the fully connected layers up to fc7."""
        found: dict[str, nn.Module] = {"front": self.front}
        for i, (convolve, pool) in enumerate(zip(self.convolutions, self.pools, strict=True), 1):
            found |= {f"conv{i}": convolve, f"pool{i}": pool}
        names = ("flatten", "dropout6", "fc6", "relu6", "dropout7", "fc7")
        return {**found, **dict(zip(names, self.classifier, strict=True))}
