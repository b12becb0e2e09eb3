"""What the first layer of a network that was trained from scratch looks for."""

from __future__ import annotations

import numpy as np
import torch

from asterism.images import ImageSource
from asterism.images.sprites import make_sprites
from asterism.inspection.filters import first_layer
from asterism.networks.body import Body
from asterism.report.material import Material
from asterism.report.section import Section

SHOWN = 96
ENLARGED = 6  # times


def filters(material: Material) -> Section | None:
    """The first convolution's filters (DeepCluster, Fig. 3); None for other networks, and for vectors."""
    body = getattr(material.estimator.encoder_, "body", None)
    if not isinstance(body, Body) or not body.layer_names:
        return None
    found = first_layer(body)[:SHOWN]
    found = found[:, :3] if found.shape[1] >= 3 else found[:, :1]
    low, high = found.amin((1, 2, 3), keepdim=True), found.amax((1, 2, 3), keepdim=True)
    pixels = ((found - low) / (high - low).clamp_min(1e-12)).permute(0, 2, 3, 1)
    pixels = pixels.repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
    source = ImageSource((pixels * 255).round().to(torch.uint8), names=[""] * len(pixels))
    sprites = make_sprites(source, np.arange(len(pixels)), 96)
    values = {"n": len(pixels), "edges": body.front.edges}
    return Section("filters", "First-layer filters", values, sprites=sprites)
