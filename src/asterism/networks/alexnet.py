"""AlexNet as DeepCluster has it (§3.4): 96, 256, 384, 384 and 256 filters, batch norm, no groups, no LRN."""

from __future__ import annotations

from asterism.networks.alexnet_vgg import Convolution, unstarved

POOL = (3, 2)


def first_layer(side: int) -> tuple[int, int]:
    """Kernel and stride of conv1: 11 and 4 above 112 pixels, 7 and 2 above 48, else 5 and 1.

    Ours: stride 4 at 32² would leave 7² positions for all that follows. With it the maps at 32², 64² and 128² have the
    sides 32, 31 and 31 where the paper's 224² has 55.
    """
    return (11, 4) if side > 112 else (7, 2) if side > 48 else (5, 1)


def alexnet_layers(height: int, width: int, scale: float = 1.0) -> list[Convolution]:
    """The five convolutions for images of a size.

    Parameters
    ----------
    height, width : int
    scale : float
        Of the numbers of filters.

    Returns
    -------
    list of Convolution
        At 224² the maps have the sides 55, 27, 13, 13, 13, and 6 after the last pooling (docs/papers/deepcluster.md).
    """
    filters = [max(1, round(scale * n)) for n in (96, 256, 384, 384, 256)]
    kernel, stride = first_layer(min(height, width))
    layers = [
        Convolution(filters[0], kernel, stride, padding=2, pool=POOL),
        Convolution(filters[1], 5, padding=2, pool=POOL),
        Convolution(filters[2], 3, padding=1),
        Convolution(filters[3], 3, padding=1),
        Convolution(filters[4], 3, padding=1, pool=POOL),
    ]
    return unstarved(layers, height, width)[0]
