"""The feature pass: the only place where a network runs in evaluation mode over all images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from asterism.errors import StorageError
from asterism.features.store import BLOCK, FeatureStore, feature_array, release
from asterism.images import ImageSource
from asterism.images.pack import let_go
from asterism.networks.body import network_of
from asterism.networks.fusing import fused
from asterism.runtime import Runtime, capable_device

# Large enough to keep the arithmetic busy, small enough that a 128×128 network's maps stay below 1 GiB. A network with
# many weights keeps it busy with fewer images, and a batch is always computed whole, for one image too.
PIXELS_PER_BATCH = 2**20
WEIGHTS = 2**21  # of convolutions, which a batch of that size is for; a method's last layers do not count
LEAST_ROWS, MOST_ROWS = 16, 1024


class Progress(Protocol):
    """What shows how far a pass is; `asterism.training.progress.ProgressBars` is one."""

    def start(self, stage: str, total: int, done: int = 0, unit: str = "rounds") -> None:
        """Begin to show it."""

    def advance(self, stage: str, note: str = "", by: int = 1) -> None:
        """So many more are done."""

    def finish(self, stage: str, rounds: int) -> None:
        """All are done."""


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
        Mapped from a file where it is large (`feature_array`).

    Notes
    -----
    Cost: one forward pass over N images; memory: the features and one batch. Every batch has the same number of
    rows (the last is filled up), so a row does not depend on how many images were asked for.
    """
    n = len(images)
    wanted = torch.arange(n)
    if 0 < n < runtime.world_size:  # each process computes one, so that all know how long a row is
        wanted = torch.arange(runtime.world_size) % n
    n_mine, filled, rows = len(runtime.shard(wanted)), 0, np.zeros((0, 0), np.float32)
    for indices, features in feature_batches(network, images, runtime, forward, wanted):
        if not filled:
            rows = feature_array((n_mine, *features.shape[1:]))
        rows[filled : filled + len(indices)] = features.cpu().numpy()
        filled += len(indices)
        release(rows)
    if runtime.world_size == 1:
        return torch.from_numpy(rows)
    whole = feature_array((len(wanted), *rows.shape[1:]))
    for first in range(0, -(-len(wanted) // runtime.world_size), BLOCK):  # by blocks: they may pass through a GPU
        block = whole[first * runtime.world_size :][: BLOCK * runtime.world_size]
        block[:] = runtime.gather_rows(torch.from_numpy(rows[first : first + BLOCK]), len(block)).numpy()
        release(whole)
    return torch.from_numpy(whole)[:n]


def extract_store(network: nn.Module, images: ImageSource, runtime: Runtime) -> FeatureStore:
    """`extract` into a store on the CPU: the features of all images, on every process."""
    if runtime.world_size == 1:
        return store_features(network, images, runtime, device=torch.device("cpu"))
    features = extract(network, images, runtime)
    store = FeatureStore(len(features), features.shape[1], features.device)
    store.append(features)
    return store


def store_features(
    network: nn.Module,
    images: ImageSource,
    runtime: Runtime,
    folder: Path | None = None,
    device: torch.device | None = None,
) -> FeatureStore:
    """The feature pass over this process's share of the images (`Runtime.shard`), into a store.

    The store gives its blocks on the runtime's device unless another is named; `capable_device` of it, as clustering
    sums in float64.

    Cost: one forward pass over N / world_size images; memory: one batch, and the store's rows if they are few.
    """
    n_mine = len(runtime.shard(torch.arange(len(images))))
    store: FeatureStore | None = None
    for _, features in feature_batches(network, images, runtime):
        store = store or FeatureStore(n_mine, features.shape[1], device or capable_device(runtime.device), folder)
        store.append(features)
    if store is None or n_mine == 0:
        raise StorageError("a process has no image to compute: start fewer processes")
    return store


@torch.no_grad()
def feature_batches(
    network: nn.Module,
    images: ImageSource,
    runtime: Runtime,
    forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
    only: torch.Tensor | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The features of this process's share, batch by batch, where they are not to be held all at once.

    Parameters
    ----------
    network, images, runtime, forward
        As `extract` takes them.
    only : int64 torch.Tensor of shape (n,), optional
        The images that are wanted; by default all.

    Yields
    ------
    indices : torch.Tensor of shape (B,)
        Which images, in the order of `Runtime.shard`.
    features : torch.Tensor of shape (B, D), float32
        On the device.
    """
    batch_size = _rows_at_once(network, images.shape)
    training = network.training
    network.eval()
    runtime.same_buffers(network)  # one network for all images, the one that is saved
    wanted = torch.arange(len(images)) if only is None else only
    exact = runtime.precision == "32-true"  # stays as it was recorded
    compute = forward or (network if exact else fused(network))
    try:
        for indices in runtime.shard(wanted).split(batch_size) if len(wanted) else ():
            # Without a share there is one batch of no rows: the others wait for features of the same length.
            filled = torch.cat([indices, indices.new_zeros(batch_size - len(indices))])
            with runtime.autocast():
                features = compute(images.batch(filled, runtime.device))  # (batch_size, D)
            let_go(images.pixels)
            yield indices, features[: len(indices)].float()
    finally:
        network.train(training)


def _rows_at_once(network: nn.Module, shape: tuple[int, int, int]) -> int:
    channels, height, width = network_of(network).input_shape or shape
    weights = sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Conv2d))
    cost = height * width * max(1, channels // 3) * max(1, weights // WEIGHTS)
    return int(min(MOST_ROWS, max(LEAST_ROWS, PIXELS_PER_BATCH // cost)))
