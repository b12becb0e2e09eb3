"""Training the last layers only: the network is cut below them, and what lies below is computed once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from asterism.errors import InputError
from asterism.networks.body import Body
from asterism.networks.foreign import weighted_layers


class Bottom(Body):
    """Images (B, C, H, W) → activations (B, P), flat."""

    def __init__(self, network: Body, below: list[nn.Module]) -> None:
        super().__init__()
        self.below = nn.Sequential(*below)
        self.input_shape = network.input_shape

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Activations (B, P)."""
        return self.below(images).flatten(1)


class Top(nn.Module):
    """Activations (B, P, 1, 1), as a batch of `ImageSource` holds them → features (B, M)."""

    def __init__(self, above: list[nn.Module], shape: torch.Size) -> None:
        super().__init__()
        self.above, self.shape = nn.Sequential(*above), shape

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        """Features (B, M)."""
        return self.above(activations.reshape(-1, *self.shape))


class Cut(NamedTuple):
    """A network in two parts that share its weights, and those of the layers that are trained."""

    bottom: Bottom
    top: Top
    tuned: list[nn.Parameter]


@torch.no_grad()
def cut(network: Body, n_layers: int, shape: tuple[int, int, int]) -> Cut:
    """Cut a network below its last layers with weights.

    Parameters
    ----------
    network : Body
    n_layers : int
        How many linear or convolutional layers are to be trained; batch norm keeps its weights and statistics (where it
        was folded into the convolutions, nothing else would do).
    shape : tuple of int
        (C, H, W) of the images.

    Returns
    -------
    Cut
        Cut before the step that holds the first of these layers: in a residual network below a whole block. A network
        that cannot be traced is one step, cut at its input; then no time is saved.

    Raises
    ------
    InputError
        If the network has fewer layers, or none.
    """
    steps = list(network.eval().steps().values())
    layers = [(i, layer) for i, step in enumerate(steps) for layer in weighted_layers(step)]
    if not layers:
        raise InputError(f"fine_tune={n_layers} needs a backbone: pixels and vectors have no layers to train")
    if n_layers > len(layers):
        raise InputError(f"fine_tune={n_layers} is more than the {len(layers)} layers of the backbone; give fewer")
    tuned = layers[-n_layers:]
    at = tuned[0][0]
    bottom = Bottom(network, steps[:at])
    activations = bottom.below(torch.zeros(1, *shape, device=next(network.parameters()).device))
    weights = [one for _, layer in tuned for one in layer.parameters()]
    return Cut(bottom, Top(steps[at:], activations.shape[1:]), weights)
