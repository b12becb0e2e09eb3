"""A learned encoder taken to pieces: its convolutions, for images of any size, and what stands behind them.

What is measured on PASCAL VOC is a network whose convolutions were learnt without labels and whose last layers are
new: fc6, fc7 and fc8 of AlexNet and VGG, one layer where a network ends otherwise.
"""

from __future__ import annotations

import copy

from torch import nn

from asterism.errors import InputError
from asterism.networks.body import Body, Pieces, network_of


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
    return searchable(encoder).pieces(input_shape(encoder, shape))


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
