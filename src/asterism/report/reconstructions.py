"""What an auto-encoder keeps of an image."""

from __future__ import annotations

import numpy as np
import torch

from asterism.images import ImageSource
from asterism.images.sprites import make_sprites
from asterism.report.material import Material
from asterism.report.section import Section


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
    source = ImageSource(both.permute(0, 2, 3, 1), names=[""] * len(both))
    sprites = make_sprites(source, np.arange(len(both)), 96)
    return Section("reconstructions", "Reconstructions", {"n": len(originals)}, sprites=sprites)
