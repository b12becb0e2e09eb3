"""What every network of the library is: a chain of named steps from images to features."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from asterism.networks.sobel import Front

POOLINGS = (nn.Identity, nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


class Body(nn.Module):
    """f_θ: images (B, C, H, W) → features (B, D), a chain of named steps.

    A subclass defines `steps`, or ``forward`` where it is one step that nobody needs to look into.

    Attributes
    ----------
    layer_names : tuple of str
        The steps that give maps (B, filters, h, w), in order; none where there are no convolutions.
    n_features : int
        D, of networks that are trained from scratch.
    front : Front or None
        What brings pixels to standard units, of the networks that DeepCluster trains.
    input_shape : tuple of int or None
        (C, H, W) that images of any size are brought to; None where they are taken as they are.
    """

    layer_names: tuple[str, ...] = ()
    n_features: int
    front: Front | None
    input_shape: tuple[int, int, int] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.register_module("front", None)

    def steps(self) -> dict[str, nn.Module]:
        """The parts that images go through, by name and in order; they share the network's weights.

        In evaluation mode, all steps one after the other give what ``forward`` gives.
        """
        return {"features": self}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, D)."""
        for step in self.steps().values():
            images = step(images)
        return images

    def maps(self, images: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Maps (B, filters, h, w) of the layers that are named, after their ReLU and before their pooling."""
        wanted, found = set(names), {}
        for name, step in self.steps().items():
            images = step(images)
            if name in wanted:
                found[name] = images
            if len(found) == len(wanted):
                break
        return found

    def open_to_any_size(self) -> None:
        """Prepare the network, in place, for images of any size: each place of a map then lies over what it shows."""


def network_of(encoder: nn.Module) -> Body:
    """The network in an encoder, without the reduction, embedding or factorisation that a method puts behind it.

    Where there is no `Body`, an empty one, which has no layers.
    """
    return next((part for part in encoder.modules() if isinstance(part, Body)), Body())


class Apply(nn.Module):
    """A step that is a function without weights."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The function's value."""
        return self.function(values)
