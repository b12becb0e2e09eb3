"""What every network that is trained from scratch has: features, and the maps of its layers by their names."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from asterism.networks.sobel import Front


class Body(nn.Module):
    """f_θ: images (B, C, H, W) → features (B, D), with the maps of its layers within reach.

    A subclass sets ``front``, ``layer_names`` and ``n_features`` and defines `maps` and ``forward``.
    """

    front: Front
    layer_names: tuple[str, ...] = ()
    n_features: int

    def maps(self, images: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Activations (B, filters, h, w) of the named layers, after ReLU and before pooling."""
        raise NotImplementedError
