"""Pixels as features: what the classical methods cluster, and JULE's first over-clustering."""

from __future__ import annotations

import torch
from torch import nn


class Pixels(nn.Module):
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
        return nn.functional.normalize(flat) if self.normalise else flat
