"""Features that need no weights: histograms of oriented gradients (Dalal and Triggs, CVPR 2005) beside one of colours
(Swain and Ballard, IJCV 1991).

Photographs are grouped by them where no pre-trained network can be had: far worse than one, better than pixels.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate, normalize, pad

from asterism.networks.body import Body
from asterism.networks.channels import three_channels

SIDE = 96  # pixels that images are brought to
CELL, PLACES = 8, 4  # pixels a side of a cell; places a side over which cells are averaged
ORIENTATIONS = 9  # of gradients, over half a turn
FLAT = 0.02  # length that is added to a cell's surroundings, so that noise in flat parts stays small
CLIP = 0.4  # of a cell's share, so that no edge outshines all others
CHROMA = 16  # levels of each of the two opponent colours


class HandCrafted(Body):
    """Images (B, 1 or 3, H, W) in [0, 1] → oriented gradients and colours, (B, 144 + 256), each part of length 1.

    Nothing is learnt and nothing depends on other images. Grey images have all the same colours.
    """

    input_shape = (3, SIDE, SIDE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, 400)."""
        images = three_channels(images)
        if images.shape[2:] != (SIDE, SIDE):
            images = interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
        images = images.clamp(0, 1)
        return torch.cat([normalize(gradients(images)), normalize(colors(images).sqrt())], 1)


def gradients(images: torch.Tensor) -> torch.Tensor:
    """Histograms of oriented gradients of images (B, 3, S, S), averaged over places: (B, 9·4·4).

    At each pixel the channel with the steepest gradient counts. Each cell is divided by the length of the 3×3 cells
    around it.
    """
    around = pad(images.sqrt(), (1, 1, 1, 1), mode="replicate")
    across, down = around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2], around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]
    steepest = (across.square() + down.square()).argmax(1, keepdim=True)
    across, down = across.gather(1, steepest), down.gather(1, steepest)
    length = (across.square() + down.square()).sqrt()
    turn = torch.atan2(down, across).remainder(math.pi) * (ORIENTATIONS / math.pi)
    lower = turn.floor()
    share = turn - lower
    bins = torch.zeros(len(images), ORIENTATIONS, *images.shape[2:], device=images.device)
    bins.scatter_add_(1, lower.long() % ORIENTATIONS, length * (1 - share))
    bins.scatter_add_(1, (lower.long() + 1) % ORIENTATIONS, length * share)
    cells = avg_pool2d(bins, CELL)
    energy = pad(cells.square().sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    shares = (cells / (avg_pool2d(energy, 3, 1).sqrt() + FLAT)).clamp(max=CLIP)
    return adaptive_avg_pool2d(shares, PLACES).flatten(1)


def colors(images: torch.Tensor) -> torch.Tensor:
    """Joint histogram of two opponent colours, red–green and yellow–blue, whatever the brightness: (B, 16·16)."""
    red, green, blue = avg_pool2d(images, 2).flatten(2).unbind(1)
    opponents = [(red - green) / 2 + 0.5, (red + green - 2 * blue) / 4 + 0.5]
    levels = torch.linspace(0, 1, CHROMA, device=images.device)[:, None]
    soft = [(1 - (one[:, None] - levels).abs() * (CHROMA - 1)).clamp_min(0) for one in opponents]
    return torch.einsum("bip,bjp->bij", *soft).flatten(1) / soft[0].shape[-1]
