"""The convolutional network of JULE: Yang, Parikh and Batra, "Joint unsupervised learning of deep representations and
image clusters", CVPR 2016, §4.1.2, with the layers of each image size from the authors' files (docs/papers/jule.md).

(5×5 convolution with 50 channels, batch norm, ReLU, 2×2 max-pooling) × n, one linear layer of 160 units, and its output
scaled to length 1.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from asterism.networks.body import Apply, Body
from asterism.networks.fcae import Block, keep_sizes
from asterism.networks.initialise import build

CHANNELS, N_FEATURES = 50, 160
UNIT_LENGTH = "unit length"  # name of the last step
SMALLEST_POOLED = 13  # side from which the rule pools: 128 → 62 → 29 → 13 → 5 and 32 → 14 → 5, as the authors' files

# Sizes of the paper's sets: kernel, padding, and for each convolution whether a pooling follows. The paper says padding
# 0 everywhere; the authors' UMist file has 2, and YTF's linear layer only fits 2 (docs/papers/jule.md).
_BY_SIZE: dict[tuple[int, int], tuple[int, int, tuple[bool, ...]]] = {
    (28, 28): (5, 0, (True, False)),  # MNIST
    (16, 16): (5, 0, (True,)),  # USPS
    (128, 128): (5, 0, (True,) * 4),  # COIL-20, COIL-100
    (112, 92): (5, 2, (True,) * 3),  # UMist
    (32, 32): (5, 0, (True,) * 2),  # FRGC, CMU-PIE
    (55, 55): (5, 2, (True,) * 2),  # YTF
    (6, 6): (3, 1, (True,) * 2),  # patches of CIFAR-10, §4.3; batch norm is ours there
}


def conv_blocks(height: int, width: int) -> list[Block]:
    """The convolutions for an image size: the authors' where they had the size, else a rule that continues them.

    Parameters
    ----------
    height, width : int
        Image size in pixels.

    Returns
    -------
    list of Block
        In order, without the linear layer.

    Notes
    -----
    The rule (ours; the paper only says "the output feature map is about 10×10", and its own maps are 5×5 to 14×12):
    5×5 without padding and a pooling while the smaller side is 13 or more. Smaller images get one convolution without
    pooling: 5×5, with padding 2 below a side of 8, 3×3 with padding 1 below 5, and 1×1 below 3, so that vectors (1×1
    images) get a one-hidden-layer perceptron.
    """
    if (height, width) in _BY_SIZE:
        kernel, padding, pools = _BY_SIZE[height, width]
        return [Block((kernel, kernel), padding, CHANNELS, pool) for pool in pools]
    side, blocks = min(height, width), []
    while side >= SMALLEST_POOLED:
        blocks.append(Block((5, 5), 0, CHANNELS, pool=True))
        side = -(-(side - 4) // 2)
    if not blocks:
        kernel, padding = (5, 0) if side >= 8 else (5, 2) if side >= 5 else (3, 1) if side >= 3 else (1, 0)
        blocks.append(Block((kernel, kernel), padding, CHANNELS, pool=False))
    return blocks


class ConvNetwork(Body):
    """Images (B, C, H, W) → features (B, 160) of length 1.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) of the images.
    n_features : int, default=160
        D, units of the linear layer.

    Attributes
    ----------
    mean : torch.Tensor of shape (C, H, W)
        Taken off every image first; 0 unless set.
    """

    mean: torch.Tensor

    def __init__(self, shape: tuple[int, int, int], n_features: int = N_FEATURES) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        channels, height, width = shape
        self.blocks = conv_blocks(height, width)
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for block in self.blocks:
            self.convolutions.append(nn.Conv2d(channels, block.channels, block.kernel, padding=block.padding))
            self.norms.append(nn.BatchNorm2d(block.channels))
            channels = block.channels
            height, width = (block.after(side, i, ceil_mode=True) for i, side in enumerate((height, width)))
        if shape[1:] != (1, 1):
            self.layer_names = tuple(f"conv{i}" for i in range(1, len(self.blocks) + 1))
        self.n_features = n_features
        self.linear = nn.Linear(channels * height * width, n_features)

    def reset_buffers(self) -> None:
        """Pixels as they are."""
        self.mean.zero_()

    def steps(self) -> dict[str, nn.Module]:
        """The mean image taken off, the blocks ("top-1" of the paper's Tables 5 and 6 is the last), the linear layer,
        and the step to length 1."""
        found: dict[str, nn.Module] = {"centre": Centre(self.mean)}
        layers = zip(self.blocks, self.convolutions, self.norms, strict=True)
        for i, (block, convolve, normalise) in enumerate(layers, 1):
            found[f"conv{i}"] = block.step(convolve, normalise, ceil_mode=True, rectify=True)
        return {**found, "flatten": nn.Flatten(), "linear": self.linear, UNIT_LENGTH: Apply(F.normalize)}

    def open_to_any_size(self) -> None:
        """See `keep_sizes`. The mean image has one size only; its mean colour has none."""
        keep_sizes(self.convolutions, self.blocks)
        self.mean = self.mean.mean((1, 2), keepdim=True)


class Centre(nn.Module):
    """Pixels (B, C, H, W) less a mean image, or a mean colour (C, 1, 1)."""

    mean: torch.Tensor

    def __init__(self, mean: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Centred pixels."""
        return images - self.mean


def build_conv(
    shape: tuple[int, int, int],
    generator: torch.Generator,
    n_features: int = N_FEATURES,
    norm_scale: str = "one",
) -> ConvNetwork:
    """A network with the authors' first weights (docs/papers/jule.md).

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) of the images.
    generator : torch.Generator
        On the CPU.
    n_features : int, default=160
    norm_scale : {"one", "uniform"}, default="one"
        First scale of batch norm: 1 as in the paper's Caffe code, or U(0, 1), Torch7's default in the later code.

    Returns
    -------
    ConvNetwork
        On the CPU. Weights of convolutions and the linear layer are N(0, 0.01), biases and shifts 0.
    """
    network = build(lambda: ConvNetwork(shape, n_features), generator)
    with torch.no_grad():
        for layer in (*network.convolutions, network.linear):
            layer.weight.normal_(0, 0.01, generator=generator)
            layer.bias.zero_()
        for norm in network.norms if norm_scale == "uniform" else ():
            nn.init.uniform_(cast(torch.Tensor, norm.weight), 0, 1, generator=generator)
    return network
