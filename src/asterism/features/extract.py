"""The feature pass: the only place where a network runs in evaluation mode over all images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
    parts = [features.cpu() for _, features in feature_batches(network, images, runtime, forward)]
    return runtime.gather_rows(torch.cat(parts), len(images))


@torch.no_grad()
def feature_batches(
    network: nn.Module,
    images: ImageSource,
    runtime: Runtime,
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The same batch by batch, this process's share alone, for features that are not to be held all at once.

    Yields
    ------
    indices : torch.Tensor of shape (B,)
        Which images, in the order of `Runtime.share`.
    features : torch.Tensor of shape (B, D), float32
        On the device.
    """
    # A network that resizes its input says what an image costs it.
    channels, height, width = getattr(network, "input_shape", images.shape)
    batch_size = int(min(1024, max(16, PIXELS_PER_BATCH // (height * width * max(1, channels // 3)))))
    compute = forward or network
    training = network.training
    network.eval()
    try:
        for indices in runtime.share(torch.arange(len(images))).split(batch_size):
            filled = torch.cat([indices, indices.new_zeros(batch_size - len(indices))])
            with runtime.autocast():
                features = compute(images.batch(filled, runtime.device))  # (batch_size, D)
            yield indices, features[: len(indices)].float()
    finally:
        network.train(training)
