"""Images of any number of channels for networks that take three."""

from __future__ import annotations

import warnings

import numpy as np
import torch


def three_channels(images: torch.Tensor) -> torch.Tensor:
    """Images (B, C, H, W) → (B, 3, H, W).

    Grey ones three times; of two channels these and their mean; of more the means of three runs of neighbours, which
    for bands in the order of their wavelengths is what a film would have seen.
    """
    n = images.shape[1]
    if n == 3:
        return images
    if n == 1:
        return images.expand(-1, 3, -1, -1)
    if n == 2:
        return torch.cat([images, images.mean(1, keepdim=True)], 1)
    return torch.cat([images[:, run].mean(1, keepdim=True) for run in _runs(n)], 1)


def tell_of_channels(network: str, n: int) -> None:
    """Say in a warning what a network of three channels sees of others."""
    if n in (1, 3):
        return
    runs = [f"{run[0] + 1}–{run[-1] + 1}" if len(run) > 1 else str(run[0] + 1) for run in _runs(n)] if n > 3 else []
    seen = f"the means of channels {', '.join(runs)}" if runs else "both and their mean"
    warnings.warn(
        f"{network} takes 3 channels and the images have {n}: it sees {seen}; bands=(3, 2, 1) picks others by number",
        UserWarning,
        stacklevel=2,
    )


def _runs(n: int) -> list[list[int]]:
    return [part.tolist() for part in np.array_split(np.arange(n), 3)]
