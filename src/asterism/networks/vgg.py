"""VGG-16 with batch norm, as DeepCluster has it (§3.4, docs/papers/deepcluster.md)."""

from __future__ import annotations

from asterism.networks.alexnet_vgg import Convolution, unstarved

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # filters and convolutions of each stage


def vgg16_layers(height: int, width: int, scale: float = 1.0) -> list[Convolution]:
    """The thirteen 3×3 convolutions for images of a size, each stage ended by a 2×2 pooling where the map allows.

    Parameters
    ----------
    height, width : int
    scale : float
        Of the numbers of filters.

    Returns
    -------
    list of Convolution
    """
    layers = []
    for filters, depth in STAGES:
        for i in range(depth):
            pool = (2, 2) if i == depth - 1 else None
            layers.append(Convolution(max(1, round(scale * filters)), 3, padding=1, pool=pool))
    return unstarved(layers, height, width)[0]
