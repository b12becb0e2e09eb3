"""Weights drawn from a generator of our own: torch's constructors draw from the global one, which we leave alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def build(construct: Callable[[], Net], generator: torch.Generator) -> Net:
    """Construct a network without touching torch's global random state, then draw its weights.

    Parameters
    ----------
    construct : callable
        Makes the module; called on the meta device, so nothing is drawn or allocated.
    generator : torch.Generator
        On the CPU; the same generator state gives the same weights on every device.

    Returns
    -------
    nn.Module
        On the CPU. Convolutions and linear layers have weights U(−1/√f, 1/√f) with f the fan-in (torch's own
        default, Kaiming with a = √5) and biases of the same range; batch norm has scale 1, shift 0.
    """
    with torch.device("meta"):
        module = construct()
    module = module.to_empty(device="cpu")
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            # A transposed convolution's fan-in is counted as torch does: over its second axis.
            bound = 1 / math.sqrt(layer.weight[0].numel())
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                if layer.bias is not None:
                    layer.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
    return module
