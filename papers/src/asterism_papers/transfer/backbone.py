"""A learned encoder taken to pieces: its convolutions, for images of any size, and what stands behind them.

What is measured on PASCAL VOC is a network whose convolutions were learnt without labels and whose last layers are
new: fc6, fc7 and fc8 of AlexNet and VGG, one layer where a network ends otherwise.
"""

from __future__ import annotations

import copy
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import nn

from asterism.errors import InputError
from asterism.networks.backbones import PretrainedNetwork, half_turn
from asterism.networks.body import POOLINGS, Apply, Body, network_of


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


def input_shape(encoder: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(C, H, W) of the crops that the network is shown: the run's own, or what pre-trained weights are for."""
    own = network_of(encoder).input_shape
    return shape if own is None else (shape[0], *own[1:])


def check_photos(shape: tuple[int, int, int]) -> None:
    """See that photographs can be shown to a network that learned on images (C, H, W).

    Raises
    ------
    InputError
    """
    if shape[0] not in (1, 3):
        raise InputError(f"the run's images have {shape[0]} channels; photos have 1 or 3")


def searchable(encoder: nn.Module) -> Body:
    """A copy of an encoder's network on the CPU, in evaluation mode, whose maps images of any size may be searched by.

    Raises
    ------
    InputError
        If it has no convolutions.
    """
    network = copy.deepcopy(network_of(encoder)).cpu().eval()
    if not network.layer_names:
        raise InputError(
            f"the run's network, a {type(network).__name__}, has no convolutions whose maps could be used: "
            "take a run of deepcluster, jule, dbc or fcn on images"
        )
    network.open_to_any_size()
    return network


def parts_of(encoder: nn.Module, shape: tuple[int, int, int]) -> Pieces:
    """A copy of an encoder's network, taken to pieces.

    Parameters
    ----------
    encoder : nn.Module
        Of a fitted estimator; stays as it is.
    shape : tuple of int
        (C, H, W) of the run's images.

    Raises
    ------
    InputError
        If it has no convolutions.
    """
    return pieces_of(searchable(encoder), input_shape(encoder, shape))


@torch.no_grad()
def pieces_of(network: Body, shape: tuple[int, int, int]) -> Pieces:
    """The convolutions of a network that has layers, and what stands behind them.

    Parameters
    ----------
    network : Body
    shape : tuple of int
        (C, H, W) of the images that were learnt from.

    Returns
    -------
    Pieces
        The maps are upright, as those of `Body.maps`.

    Raises
    ------
    InputError
        If a network of another library cannot be cut behind its last layer.
    """
    steps, last = network.steps(), network.layer_names[-1]
    if last not in steps:
        raise InputError(f"a {type(network).__name__} cannot be cut at {last}: choose another network")
    end = list(steps).index(last) + 1
    before, behind = list(steps.values())[:end], list(steps.values())[end:]
    linear = [step for step in behind if isinstance(step, nn.Linear)]
    fully_connected = (linear[0], linear[1]) if len(linear) == 2 else None
    between = takewhile(lambda step: isinstance(step, POOLINGS), behind if fully_connected else ())
    convolutions, pool = nn.Sequential(*before), nn.Sequential(*between)
    _, n_filters, height, width = pool(convolutions(torch.zeros(1, *shape))).shape
    if isinstance(network, PretrainedNetwork) and network.prepare.turned:
        convolutions = nn.Sequential(convolutions, Apply(half_turn))
    return Pieces(convolutions, pool, n_filters, (height, width), fully_connected)


LEARN = ("fc6-8", "fc6-8+norm", "all")


def free(convolutions: nn.Module, learn: str) -> str:
    """Decide what of the convolutions is learnt on, and give it in words, which end with "and".

    Parameters
    ----------
    convolutions : nn.Module
    learn : {"fc6-8", "fc6-8+norm", "all"}
        Nothing; scale and shift of batch norm; everything (a Sobel front has nothing to learn).
    """
    norms = [one for one in convolutions.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    convolutions.requires_grad_(learn == "all")
    for norm in norms if learn == "fc6-8+norm" else ():
        norm.requires_grad_(True)
    if not any(one.requires_grad for one in convolutions.parameters()):
        return ""
    return "all convolutions and " if learn == "all" else "scale and shift of batch norm and "
