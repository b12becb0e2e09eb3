"""What a fit has learned to see: reconstructions, maps and filters of networks, images of a factorisation's components.

Each section is None where a run has nothing of its kind.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from asterism.images import ImageSource
from asterism.images.source import stretched
from asterism.images.sprites import Sprites, make_sprites
from asterism.inspection.filters import first_layer
from asterism.networks.body import network_of
from asterism.report.material import Material
from asterism.report.section import Section, shortened

SIDE = 48  # pixels of a picture of a layer's output
MAPS_SHOWN = 16  # of a layer
FILTERS_SHOWN = 96  # of a first layer
ENLARGED = 6  # times: filters


def reconstructions(material: Material) -> Section | None:
    """Images above, what the auto-encoder makes of them below; None for methods without one, and for vectors."""
    examples = material.estimator.examples_
    if "originals" not in examples or "reconstructions" not in examples:
        return None
    originals, made = examples["originals"].float(), examples["reconstructions"].float()  # (n, C, H, W)
    if originals.shape[2:] == (1, 1):
        return None
    low, high = float(originals.min()), float(originals.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    both = ((torch.cat([originals, made]) - low) / max(high - low, 1e-12)).clamp(0, 1)
    sprites = _sprites(both.permute(0, 2, 3, 1), 96)
    return Section("reconstructions", "Reconstructions", {"n": len(originals)}, sprites=sprites)


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
    values = {
        "images": images,
        "filters": filters,
        "zeros": 100 * float((features == 0).float().mean()),
        "n_features": features.shape[1],
    }
    return Section("inside", "Inside the auto-encoder", values, sprites=_sprites(pixels, SIDE))


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


def components(material: Material) -> Section | None:
    """The busiest components, each with its images; None for methods without any, and where there are no pictures."""
    examples = material.estimator.examples_
    if "component_images" not in examples:
        return None
    chosen, weights = (examples[f"component_{name}"].numpy() for name in ("images", "weights"))  # (components, images)
    if (left := getattr(material.estimator, "fitted_images_", None)) is not None:
        chosen = left[chosen]  # they were numbered without those that were left out of the fit
    rows = [
        {
            "number": int(number),
            "pictures": [
                {
                    "name": shortened(material.names[image]),
                    "weight": f"{weight:.2f}",
                    "cluster": int(material.clusters[image]),
                    "sprite": i * chosen.shape[1] + j,
                }
                for j, (image, weight) in enumerate(zip(chosen[i], weights[i], strict=True))
                if weight > 0
            ],
        }
        for i, number in enumerate(examples["components"].tolist())
    ]
    if (sprites := material.sprites(np.asarray(chosen).reshape(-1), 64)) is None:
        return None
    total = len(dict(material.estimator.encoder_.named_buffers())["1.W"])
    return Section("components", "Components", {"rows": rows, "n_shown": len(rows), "total": total}, sprites=sprites)


def filters(material: Material) -> Section | None:
    """The first convolution's filters (DeepCluster, Fig. 3); None for other networks, and for vectors."""
    body = network_of(material.estimator.encoder_)
    if body.front is None or not body.layer_names:
        return None
    found = first_layer(body)[:FILTERS_SHOWN]
    found = found[:, :3] if found.shape[1] >= 3 else found[:, :1]
    pixels = stretched(found).permute(0, 2, 3, 1)
    pixels = pixels.repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
    values = {"n": len(pixels), "edges": body.front.edges}
    return Section(
        "filters", "First-layer filters", values, sprites=_sprites((pixels * 255).round().to(torch.uint8), 96)
    )


def _sprites(pixels: torch.Tensor, side: int) -> Sprites:
    """Sprites of pictures (n, H, W, C), of at most ``side`` pixels."""
    return make_sprites(ImageSource(pixels, names=[""] * len(pixels)), np.arange(len(pixels)), side)
