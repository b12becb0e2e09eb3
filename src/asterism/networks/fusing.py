"""Batch normalisation that became part of the convolution before it: in evaluation mode both are one affine map.

On a processor batch norm is memory traffic, and takes a third of MobileNetV2's time in half precision.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from itertools import pairwise

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval


def fused(network: nn.Module) -> nn.Module:
    """A copy in which each batch norm that follows a convolution in an ``nn.Sequential`` is part of it.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.

    Returns
    -------
    nn.Module
        The network itself where it has no such pair. Numbers differ by rounding.
    """
    if not any(_pairs(module) for module in network.modules()):
        return network
    copy = deepcopy(network)
    for module in copy.modules():
        for first, second in _pairs(module):
            setattr(module, first, fuse_conv_bn_eval(getattr(module, first), getattr(module, second)))
            setattr(module, second, nn.Identity())
    return copy


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Names of a convolution and the batch norm after it."""
    if not isinstance(module, nn.Sequential):
        return []
    children = list(module._modules.items())  # named_children leaves out an activation that stands at two places
    times = Counter(id(one) for _, one in children)
    return [
        (first, second)
        for (first, conv), (second, norm) in pairwise(children)
        if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.track_running_stats
        if times[id(conv)] == times[id(norm)] == 1
    ]
