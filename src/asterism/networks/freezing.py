"""Where a network is cut for the training of its last layers only: what lies below is computed once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import fx, nn
from torch.fx.passes.split_module import split_module

from asterism.errors import InputError
from asterism.networks.backbones import Preparation, PretrainedNetwork

WEIGHTED = (nn.Conv2d, nn.Linear)


class Bottom(nn.Module):
    """Images (B, C, H, W) → activations (B, P), flat."""

    def __init__(self, prepare: Preparation, below: nn.Module) -> None:
        super().__init__()
        self.prepare, self.below = prepare, below
        self.input_shape = prepare.input_shape

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Activations (B, P)."""
        return self.below(self.prepare(images)).flatten(1)


class Top(nn.Module):
    """Activations (B, P, 1, 1), as a batch of `ImageSource` holds them → features (B, M)."""

    def __init__(self, above: nn.Module, shape: torch.Size) -> None:
        super().__init__()
        self.above, self.shape = above, shape

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        """Features (B, M)."""
        return self.above(activations.reshape(-1, *self.shape)).flatten(1)


class Cut(NamedTuple):
    """A network in two parts that share its weights."""

    bottom: Bottom
    top: Top
    tuned: list[nn.Parameter]
    names: list[str]  # of the tuned layers


@torch.no_grad()
def cut(network: nn.Module, n_layers: int) -> Cut:
    """Cut a network below its last layers with weights.

    Parameters
    ----------
    network : PretrainedNetwork
    n_layers : int
        How many linear or convolutional layers are to be trained; batch norm keeps its weights and statistics (where it
        was folded into the convolutions, nothing else would do).

    Returns
    -------
    Cut
        At the last place before them where a single tensor passes: below a whole block of a residual network, and at
        the input where a network cannot be traced (then nothing is saved).

    Raises
    ------
    InputError
        If there is no network, or it has fewer layers.
    """
    if not isinstance(network, PretrainedNetwork):
        raise InputError(f"fine_tune={n_layers} needs a backbone: pixels and vectors have no layers to train")
    body = network.body.eval()
    try:
        traced = fx.symbolic_trace(body)
        nodes = list(traced.graph.nodes)
        order = [str(node.target) for node in nodes if node.op == "call_module"]
    except Exception:  # fx raises whatever the model's Python raises on symbols
        traced, nodes, order = None, [], [name for name, _ in body.named_modules()]
    layers = [name for name in dict.fromkeys(order) if isinstance(body.get_submodule(name), WEIGHTED)]
    if n_layers > len(layers):
        raise InputError(f"fine_tune={n_layers} is more than the {len(layers)} layers of the backbone; give fewer")
    names = layers[-n_layers:]
    below: nn.Module = nn.Identity()
    above: nn.Module = body
    if traced is not None and (at := _narrow_place(nodes, names[0])) > 1:
        position = {node.name: i for i, node in enumerate(nodes)}
        parts = split_module(traced, body, lambda node: int(position[node.name] >= at))
        below, above = parts.get_submodule("submod_0"), parts.get_submodule("submod_1")
    shape = below(network.prepare(torch.zeros(1, *network.input_shape, device=network.prepare.mean.device))).shape[1:]
    tuned = [one for name in names for one in body.get_submodule(name).parameters()]
    return Cut(Bottom(network.prepare, below), Top(above, shape), tuned, names)


def _narrow_place(nodes: list[fx.Node], first: str) -> int:
    """The last index at or before the first tuned layer where one tensor alone passes from below to above."""
    position = {node: i for i, node in enumerate(nodes)}
    limit = next(i for i, node in enumerate(nodes) if str(node.target) == first)
    for at in range(limit, 0, -1):
        passing = [node for node in nodes[:at] if any(position[user] >= at for user in node.users)]
        if len(passing) == 1 and passing[0].op != "get_attr":
            return at
    return 0
