"""The feature pass: the only place where a network runs in evaluation mode over all images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from asterism.images import ImageSource
from asterism.runtime import Runtime

# Large enough to keep the arithmetic busy, small enough that a 128×128 network's maps stay below 1 GiB. A network with
# many weights keeps it busy with fewer images, and a batch is always computed whole, for one image too.
PIXELS_PER_BATCH = 2**20
WEIGHTS = 2**21  # of convolutions, which a batch of that size is for; a method's last layers do not count
LEAST_ROWS, MOST_ROWS = 16, 1024


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
    batch_size = _rows_at_once(network, images.shape)
    compute = forward or network
    training = network.training
    network.eval()
    runtime.same_buffers(network)  # one network for all images, the one that is saved
    try:
        for indices in runtime.share(torch.arange(len(images))).split(batch_size):
            filled = torch.cat([indices, indices.new_zeros(batch_size - len(indices))])
            with runtime.autocast():
                features = compute(images.batch(filled, runtime.device))  # (batch_size, D)
            yield indices, features[: len(indices)].float()
    finally:
        network.train(training)


def _rows_at_once(network: nn.Module, shape: tuple[int, int, int]) -> int:
    # A network that resizes its input says what an image costs it.
    channels, height, width = getattr(network, "input_shape", shape)
    weights = sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Conv2d))
    cost = height * width * max(1, channels // 3) * max(1, weights // WEIGHTS)
    return int(min(MOST_ROWS, max(LEAST_ROWS, PIXELS_PER_BATCH // cost)))
