"""Feature vectors of one process, in memory or on disk, read block by block.

Clustering reads every vector once an iteration and never needs two blocks at once: memory is bounded by one block
whatever N is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from asterism.errors import StorageError
from asterism.features.extract import feature_batches
from asterism.images import ImageSource
from asterism.runtime import Runtime

BLOCK = 65536  # rows that are read at once
IN_MEMORY = 2**31  # bytes: larger stores lie on disk


class FeatureStore:
    """(n, D) float32 rows of this process.

    Parameters
    ----------
    n, dim : int
    device : torch.device
        Where blocks are given.
    folder : Path, optional
        Where a store above ``IN_MEMORY`` lies; by default the system's folder for temporary files.
    """

    def __init__(self, n: int, dim: int, device: torch.device, folder: Path | None = None) -> None:
        self.device = device
        self._file = None
        self._length = 0
        if 4 * n * dim <= IN_MEMORY:
            self._rows = np.empty((n, dim), np.float32)
            return
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            # without a name: it goes with the process, even a killed one
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (held open as long as the store)
            self._rows = np.memmap(self._file, np.float32, "w+", shape=(n, dim))
        except OSError as error:
            need = f"{4 * n * dim / 2**30:.0f} GiB"
            raise StorageError(f"no room for {need} of features in {folder}: {error.strerror}; make room") from error

    def __len__(self) -> int:
        return self._length

    @property
    def on_disk(self) -> bool:
        """Whether the rows lie in a file."""
        return self._file is not None

    def append(self, rows: torch.Tensor) -> None:
        """Add rows (B, D) at the end."""
        self._rows[self._length : self._length + len(rows)] = rows.cpu().numpy()
        self._length += len(rows)

    def blocks(self) -> Iterator[torch.Tensor]:
        """The rows, up to 65 536 at once, on the device."""
        for start in range(0, self._length, BLOCK):
            rows = torch.from_numpy(self._rows[start : min(start + BLOCK, self._length)])
            yield rows.to(self.device)

    def at(self, places: torch.Tensor) -> torch.Tensor:
        """Single rows (B, D), on the device."""
        return torch.from_numpy(self._rows[places.numpy()]).to(self.device)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor], folder: Path | None = None) -> FeatureStore:
        """A store of what a function makes of the rows: (B, D) → (B, d)."""
        made: FeatureStore | None = None
        for rows in self.blocks():
            changed = function(rows)
            made = made or FeatureStore(self._length, changed.shape[1], self.device, folder)
            made.append(changed)
        return made or FeatureStore(0, self._rows.shape[1], self.device, folder)


def store_features(
    network: nn.Module, images: ImageSource, runtime: Runtime, folder: Path | None = None
) -> FeatureStore:
    """The feature pass of this process's share of the images (`Runtime.share`), into a store.

    Cost: one forward pass over N / world_size images; memory: one batch, and the store's rows if they are few.
    """
    n_mine = len(runtime.share(torch.arange(len(images))))
    store: FeatureStore | None = None
    for _, features in feature_batches(network, images, runtime):
        store = store or FeatureStore(n_mine, features.shape[1], runtime.device, folder)
        store.append(features)
    if store is None:
        raise StorageError("a process has no image to compute: start fewer processes")
    return store
