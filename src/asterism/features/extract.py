"""The feature pass: the only place where a network runs in evaluation mode over all images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from asterism.images import ImageSource
from asterism.runtime import Runtime

# Large enough to keep the arithmetic busy, small enough that a 128×128 network's maps stay below 1 GiB.
PIXELS_PER_BATCH = 2**20


@torch.no_grad()
def extract(
    network: nn.Module,
    images: ImageSource,
    runtime: Runtime,
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Features of all images, in evaluation mode (batch norm uses its running statistics).

    Parameters
    ----------
    network : nn.Module
        On the runtime's device; its mode is put back afterwards.
    images : ImageSource
        N images.
    runtime : Runtime
        Under several processes each computes its share, and all get all features.
    forward : callable, optional
        What to call instead of ``network``: images (B, C, H, W) → (B, D).

    Returns
    -------
    torch.Tensor of shape (N, D), float32, on the CPU

    Notes
    -----
    Cost: one forward pass over N images; memory: the features and one batch. Every batch has the same number of
    rows (the last is filled up), so a row does not depend on how many images were asked for.
    """
    # A network that resizes its input says what an image costs it.
    channels, height, width = getattr(network, "input_shape", images.shape)
    batch_size = int(min(1024, max(16, PIXELS_PER_BATCH // (height * width * max(1, channels // 3)))))
    mine = runtime.share(torch.arange(len(images)))
    compute = forward or network
    training = network.training
    network.eval()
    parts: list[torch.Tensor] = []
    try:
        with runtime.autocast():
            for indices in mine.split(batch_size):
                filled = torch.cat([indices, indices.new_zeros(batch_size - len(indices))])
                features = compute(images.batch(filled, runtime.device))  # (batch_size, D)
                parts.append(features[: len(indices)].float().cpu())
    finally:
        network.train(training)
    return runtime.gather_rows(torch.cat(parts), len(images))
