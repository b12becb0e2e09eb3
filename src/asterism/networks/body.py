"""What every network that is trained from scratch has: features, and the maps of its layers by their names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn

from asterism.networks.sobel import Front


class Pieces(NamedTuple):
    """A body taken to pieces that share its weights.

    Attributes
    ----------
    convolutions : nn.Module
        Images (B, C, H, W) of any size → the last layer's maps (B, filters, h, w).
    pool : nn.Module
        What stands between those maps and fc6; the identity where there is no fc6.
    fully_connected : tuple of nn.Linear or None
        fc6 and fc7.
    """

    convolutions: nn.Module
    pool: nn.Module
    fully_connected: tuple[nn.Linear, nn.Linear] | None = None


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

    def pieces(self) -> Pieces | None:
        """Its convolutions and what stands behind them, to be trained on; None where it cannot say."""
        return None
