"""AlexNet and VGG as one class: a front, convolutions with batch norm, fully connected layers, in sizes from a list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import nn

from asterism.networks.body import Body
from asterism.networks.sobel import Front

SMALLEST_POOLED = 6  # a map of a smaller side is not pooled any more


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


def unstarved(layers: Iterable[Convolution], height: int, width: int) -> tuple[list[Convolution], int, int]:
    """The rule for small images: a pooling whose map has a side below 6 is left out.

    Returns
    -------
    layers : list of Convolution
    height, width : int
        Of the last map. At 224² nothing changes (6² in AlexNet, 7² in VGG); at 32² both end with 3² or 4².
    """
    kept = []
    for layer in layers:
        if layer.pool is not None and min(layer.sides(height, width)) < SMALLEST_POOLED:
            layer = replace(layer, pool=None)
        height, width = layer.pooled(height, width)
        kept.append(layer)
    return kept, height, width


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
    (`PseudoLabelModel`).

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
