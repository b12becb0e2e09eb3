"""What every network of the library is: a chain of named steps from images to features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import nn

from asterism.errors import InputError
from asterism.networks.sobel import Front

POOLINGS = (nn.Identity, nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


class Pieces(NamedTuple):
    """A network taken to pieces that share its weights.

    Attributes
    ----------
    convolutions : nn.Module
        Images (B, C, H, W) → the last layer's maps (B, filters, h, w).
    pool : nn.Module
        What stands between those maps and fc6; the identity where there is no fc6.
    n_filters : int
        Of the last maps.
    grid : (int, int)
        Height and width of what ``pool`` gives for images of the size that was learnt from.
    fully_connected : tuple of nn.Linear or None
        fc6 and fc7, of AlexNet and VGG.
    """

    convolutions: nn.Module
    pool: nn.Module
    n_filters: int
    grid: tuple[int, int]
    fully_connected: tuple[nn.Linear, nn.Linear] | None


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

    def __init__(self) -> None:
        super().__init__()
        self.register_module("front", None)

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) that images are brought to, or None."""
        return None

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

    @torch.no_grad()
    def pieces(self, shape: tuple[int, int, int]) -> Pieces:
        """The convolutions of a network that has layers, and what stands behind them.

        Parameters
        ----------
        shape : tuple of int
            (C, H, W) of the images that were learnt from.

        Raises
        ------
        InputError
            If a network of another library cannot be cut behind its last layer.
        """
        steps = self.steps()
        if self.layer_names[-1] not in steps:
            raise InputError(f"a {type(self).__name__} cannot be cut at {self.layer_names[-1]}: choose another network")
        end = list(steps).index(self.layer_names[-1]) + 1
        before, behind = list(steps.values())[:end], list(steps.values())[end:]
        linear = [step for step in behind if isinstance(step, nn.Linear)]
        fully_connected = (linear[0], linear[1]) if len(linear) == 2 else None
        between = takewhile(lambda step: isinstance(step, POOLINGS), behind if fully_connected else ())
        convolutions, pool = nn.Sequential(*before), nn.Sequential(*between)
        _, n_filters, height, width = pool(convolutions(torch.zeros(1, *shape))).shape
        return Pieces(convolutions, pool, n_filters, (height, width), fully_connected)


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
