"""What happens inside a convolutional auto-encoder: its layers' outputs and its filters (DBC, Figs. 4 and 5)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from asterism.images import ImageSource
from asterism.images.sprites import make_sprites
from asterism.report.material import Material
from asterism.report.section import Section

SIDE = 48  # pixels of a picture
MAPS_SHOWN = 16  # of a layer


def inside(material: Material) -> Section | None:
    """Maps of every layer for a few images, and the first and last filters; None for other networks."""
    examples = material.estimator.examples_
    names = sorted(name for name in examples if name.startswith("inner_"))
    if not names:
        return None
    tiles: list[torch.Tensor] = []
    originals, made = examples["originals"].float(), examples["reconstructions"].float()
    images = []
    for i in range(len(examples[names[0]])):
        layers = [_row("image", originals[i].mean(0)[None], tiles)]
        layers += [_row(name.split("_")[2], examples[name][i].float(), tiles) for name in names]
        images.append([*layers, _row("reconstruction", made[i].mean(0)[None], tiles)])
    features = next(examples[name] for name in names if name.endswith("_features"))
    filters = [
        _row("first convolution", examples["filters_first"].float().mean(1), tiles),
        _row("last deconvolution", examples["filters_last"].float().mean(1), tiles),
    ]
    pixels = (torch.stack(tiles) * 255).round().to(torch.uint8)[..., None]  # (tiles, SIDE, SIDE, 1)
    sprites = make_sprites(ImageSource(pixels, names=[""] * len(pixels)), np.arange(len(pixels)), SIDE)
    zeros = 100 * float((features == 0).float().mean())
    values = {"images": images, "filters": filters, "zeros": f"{zeros:.0f}", "n_features": features.shape[1]}
    return Section("inside", "Inside the auto-encoder", values, sprites=sprites)


def _row(name: str, maps: torch.Tensor, tiles: list[torch.Tensor]) -> dict:
    """A layer's pictures, added to the tiles: the maps (channels, h, w), or one picture of what has no extent."""
    total = len(maps)
    if maps.shape[1:] == (1, 1):
        width = math.ceil(math.sqrt(total))
        maps = F.pad(maps.flatten(), (0, -total % width)).view(1, -1, width)
    shown = maps[:MAPS_SHOWN]
    first = len(tiles)
    low, high = float(shown.min()), float(shown.max())
    for one in (shown - low) / max(high - low, 1e-12):  # one scale for a layer, so that dead maps look dead
        tiles.append(F.interpolate(one[None, None], (SIDE, SIDE), mode="nearest")[0, 0])
    return {"name": name, "total": total, "sprites": list(range(first, len(tiles)))}
