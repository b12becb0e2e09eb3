"""The fixed front of DeepCluster's networks: pixels in standard units and, if wanted, edges instead of colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_HORIZONTAL = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))
_VERTICAL = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))


def sobel(images: torch.Tensor) -> torch.Tensor:
    """Horizontal and vertical Sobel gradients of the mean over the channels (docs/papers/deepcluster.md).

    Parameters
    ----------
    images : torch.Tensor of shape (B, C, H, W)

    Returns
    -------
    torch.Tensor of shape (B, 2, H, W)
        Zero padding: the border of an image counts as an edge, as in the released code.
    """
    grey = images.mean(1, keepdim=True)  # the released 1×1 convolution has the weights 1/3
    kernels = grey.new_tensor((_HORIZONTAL, _VERTICAL))[:, None]  # (2, 1, 3, 3)
    return F.conv2d(grey, kernels, padding=1)


class Front(nn.Module):
    """Pixels (B, C, H, W) → (B, C or 2, H, W): mean 0 and standard deviation 1 a channel, then Sobel if asked for.

    Nothing in it is learnt. The released code has ImageNet's mean and deviation; here they are those of the images at
    hand (`measure`), so that images in any unit fit.

    Parameters
    ----------
    n_channels : int
        C.
    edges : bool
        Whether Sobel gradients replace the channels.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, n_channels: int, edges: bool) -> None:
        super().__init__()
        self.edges = edges
        self.register_buffer("mean", torch.zeros(n_channels, 1, 1))
        self.register_buffer("std", torch.ones(n_channels, 1, 1))

    def reset_buffers(self) -> None:
        """Pixels as they are."""
        self.mean.zero_()
        self.std.fill_(1)

    @property
    def out_channels(self) -> int:
        """Channels that the first convolution sees."""
        return 2 if self.edges else len(self.mean)

    def measure(self, sample: torch.Tensor) -> None:
        """Take mean and deviation of each channel from a sample of images (B, C, H, W)."""
        flat = sample.double().transpose(0, 1).flatten(1)  # (C, B·H·W)
        deviation = flat.std(1, correction=0)
        # a channel of one value stays 0 instead of being divided by nothing
        self.mean.copy_(flat.mean(1)[:, None, None])
        self.std.copy_(torch.where(deviation > 1e-6 * flat.abs().amax(1), deviation, 1)[:, None, None])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Standardised images or their gradients."""
        standard = (images - self.mean) / self.std
        return sobel(standard) if self.edges else standard
