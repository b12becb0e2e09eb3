"""Pixels as features: what the classical methods cluster, and JULE's first over-clustering."""

from __future__ import annotations

import torch
from torch import nn

from asterism.networks.body import Body
from asterism.runtime import capable_device


class Pixels(Body):
    """Images (B, C, H, W) → their pixels (B, C·H·W), minus the mean image and scaled to length 1 if asked.

    Parameters
    ----------
    normalise : bool
        Scale each image to length 1; black images stay 0.
    mean : torch.Tensor of shape (C, H, W), optional
        The mean image, taken off first.
    """

    mean: torch.Tensor | None

    def __init__(self, normalise: bool, mean: torch.Tensor | None = None) -> None:
        super().__init__()
        self.normalise = normalise
        self.register_buffer("mean", mean)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Pixel vectors (B, C·H·W)."""
        if self.mean is not None:
            images = images - self.mean
        flat = images.flatten(1)
        return unit_length(flat) if self.normalise else flat


def unit_length(rows: torch.Tensor) -> torch.Tensor:
    """Rows (B, D) scaled to length 1, in whatever unit they are; rows of zeros stay.

    The largest number of a row is brought near 1 first, by a power of two: this changes no digit, and the squares of
    float32 end at 1e±38.
    """
    largest = rows.detach().abs().amax(1, keepdim=True)
    exponents = torch.frexp(largest.to(capable_device(rows.device)))[1].to(rows.device)
    return nn.functional.normalize(torch.ldexp(rows, -exponents.clamp(-126, 126)))
