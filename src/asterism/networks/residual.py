"""A small residual network that a processor trains in minutes: a first layer with a stride, and one block a stage.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, cut down. Sizes are ours: at 32² an
image costs 12 million multiplications, a fiftieth of ResNet-18's there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from asterism.networks.body import Apply, Body
from asterism.networks.sobel import Front

FILTERS = (32, 64, 128)  # of the stages
SMALL = 64  # side up to which the first layer halves the image; above it takes a quarter


def spatial_mean(maps: torch.Tensor) -> torch.Tensor:
    """Maps (B, filters, h, w) → (B, filters), averaged over their places."""
    return maps.mean((2, 3))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm beside a shortcut: maps (B, in, h, w) → (B, out, ⌈h/stride⌉, ⌈w/stride⌉).

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    stride : int
        Of the first convolution, and of the shortcut's 1×1 convolution where it has one.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps after the last ReLU."""
        changed = F.relu(self.norm1(self.conv1(maps)), inplace=True)
        return F.relu(self.norm2(self.conv2(changed)) + self.shortcut(maps))


class ResidualBody(Body):
    """Front, a first convolution, stages of one residual block each, and the mean of the last maps.

    Layers are the stages, ``layer1`` … ``layer3``; each has half the side of the one before. Images may have any size:
    at 8² the last map has a side of 1, at 32² of 4, at 224² of 14.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) of the images.
    edges : bool
        Sobel front.
    width : float
        Of the numbers of filters, 32, 64 and 128.
    """

    def __init__(self, shape: tuple[int, int, int], *, edges: bool, width: float = 1.0) -> None:
        super().__init__()
        self.front: Front = Front(shape[0], edges)
        filters = [max(1, round(width * n)) for n in FILTERS]
        kernel, stride = (5, 2) if min(shape[1:]) <= SMALL else (7, 4)
        self.stem = nn.Sequential(
            nn.Conv2d(self.front.out_channels, filters[0], kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(filters[0]),
            nn.ReLU(inplace=True),
        )
        inputs = (filters[0], *filters)
        self.stages = nn.ModuleList(
            ResidualBlock(inputs[i], n, stride=1 if i == 0 else 2) for i, n in enumerate(filters)
        )
        self.layer_names = tuple(f"layer{i + 1}" for i in range(len(filters)))
        self.n_features = filters[-1]
        self.mean = Apply(spatial_mean)

    def steps(self) -> dict[str, nn.Module]:
        """Front, first convolution, stages, and the mean of the last maps over their places."""
        stages = dict(zip(self.layer_names, self.stages, strict=True))
        return {"front": self.front, "stem": self.stem, **stages, "mean": self.mean}
