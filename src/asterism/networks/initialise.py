"""Weights drawn from a generator of our own: torch's constructors draw from the global one, which we leave alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from asterism.errors import InputError

Net = TypeVar("Net", bound=nn.Module)
_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)  # they begin with scale 1 and shift 0


@torch.no_grad()
def uniform_weights(layer: nn.Module, generator: torch.Generator) -> None:
    """Weights and biases U(−1/√f, 1/√f) with f the fan-in: torch's own default, Kaiming with a = √5."""
    # A transposed convolution's fan-in is counted as torch does: over its second axis.
    bound = 1 / math.sqrt(layer.weight[0].numel())  # type: ignore[index]
    for values in (layer.weight, layer.bias):
        if values is not None:
            values.uniform_(-bound, bound, generator=generator)  # type: ignore[operator]


@torch.no_grad()
def normal_weights(layer: nn.Module, generator: torch.Generator, std: float) -> None:
    """Weights N(0, std²), biases 0."""
    layer.weight.normal_(0, std, generator=generator)  # type: ignore[operator]
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


@torch.no_grad()
def gaussian_weights(layer: nn.Module, generator: torch.Generator) -> None:
    """Convolutions N(0, √(2 / (kernel area · filters))), linear layers N(0, 0.01), biases 0
    (docs/papers/deepcluster.md).

    0.01 is meant for layers of 4096 inputs. Ours: narrower ones get 0.64 / √inputs, the same gain, without which the
    signal of a network for a laptop fades in its classifier.
    """
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    if weight.ndim == 4:
        std = math.sqrt(2 / (weight[0, 0].numel() * len(weight)))
    else:
        std = max(0.01, 0.64 / math.sqrt(weight.shape[1]))
    normal_weights(layer, generator, std)


def build(
    construct: Callable[[], Net],
    generator: torch.Generator,
    draw: Callable[[nn.Module, torch.Generator], None] = uniform_weights,
) -> Net:
    """Construct a network without touching torch's global random state, then draw its weights.

    Parameters
    ----------
    construct : callable
        Makes the module; called on the meta device, so nothing is drawn or allocated.
    generator : torch.Generator
        On the CPU; the same generator state gives the same weights on every device.
    draw : callable, default=uniform_weights
        Fills weight and bias of a convolution or linear layer.

    Returns
    -------
    nn.Module
        On the CPU; batch norm has scale 1, shift 0; a layer with buffers of its own sets them in ``reset_buffers()``.

    Raises
    ------
    InputError
        If a layer has weights or buffers that none of these rules speaks of.
    """
    with torch.device("meta"):
        module = construct()
    module = module.to_empty(device="cpu")
    for layer in module.modules():
        reset = getattr(layer, "reset_buffers", None)
        if callable(reset):
            reset()
        if isinstance(layer, _WEIGHTED):
            draw(layer, generator)
        elif isinstance(layer, _NORMS):
            layer.reset_parameters()
        elif list(layer.parameters(recurse=False)) and type(layer).__module__.startswith(("torch.", "torchvision.")):
            raise InputError(f"no rule draws the weights of a {type(layer).__name__}: choose another network")
        elif list(layer.buffers(recurse=False)) and not callable(reset):
            raise InputError(f"nothing sets the buffers of a {type(layer).__name__}: give it `reset_buffers()`")
    return module
