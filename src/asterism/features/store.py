"""Feature vectors of one process, in memory or on disk, read block by block.

Clustering reads every vector once an iteration and never needs two blocks at once: memory is bounded by one block
whatever N is. What is mapped from a file is let go of as soon as it was written or read; the system keeps what it has
room for.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from asterism.errors import StorageError
from asterism.files import reserve
from asterism.images.pack import cache_root, memory_budget

BLOCK = 65536  # rows that are read at once
SMALL_BLOCK_BYTES = 2**27  # of rows on disk that are read at once where no result depends on it
ALIGNED = 8192  # the largest tile of k-means: its products are then those of rows in memory
IN_MEMORY = 2**30  # bytes: more rows lie on disk
FEW_BYTES = 2**24  # that are always there: to ask what is free reads a dozen files of the system's


def feature_array(shape: tuple[int, ...], folder: Path | None = None) -> np.ndarray:
    """Memory for float32 rows; where they are many, a file without a name that is mapped into memory.

    Parameters
    ----------
    shape : tuple of int
        (n, D), or with more axes.
    folder : Path, optional
        Where the file lies; by default in the cache folder. It goes with the process, even a killed one.

    Raises
    ------
    StorageError
        If the disk has no room for all of them. This is checked at once: a disk that fills up later kills the process.
    """
    n_bytes = 4 * math.prod(shape)
    if n_bytes <= min(IN_MEMORY, FEW_BYTES) or n_bytes <= min(IN_MEMORY, memory_budget()):
        return np.empty(shape, np.float32)
    folder = cache_root() / "features" if folder is None else folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:  # the mapping keeps the bytes after the file is closed
            reserve(file, n_bytes)
            return np.memmap(file, np.float32, "r+", shape=shape)
    except OSError as error:
        need = f"{n_bytes / 2**30:.2g} GiB"
        raise StorageError(f"no room for {need} of features in {folder}: {error.strerror}; make room") from error


def picked(rows: torch.Tensor, places: np.ndarray) -> torch.Tensor:
    """Some of the rows (N, D), by their places; on disk where they are many, see `feature_array`."""
    found = feature_array((len(places), *rows.shape[1:]))
    for start in range(0, len(places), BLOCK):
        part = torch.from_numpy(places[start : start + BLOCK])
        found[start : start + len(part)] = rows[part].numpy()
        release(found)
    return torch.from_numpy(found)


def release(rows: np.ndarray) -> None:
    """Let go of the memory that a mapped array takes; its content stays in the file."""
    if isinstance(rows, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        rows._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def gathered(parts: Iterable[torch.Tensor], n: int) -> torch.Tensor:
    """Small results of n rows, some thousands at once, in one tensor (n, …).

    Kept one by one, they would lie between the large tensors that a block of rows takes, whose memory could then not be
    given back.
    """
    whole, start = torch.empty(n), 0
    for part in parts:
        if start == 0:
            whole = part.new_empty(n, *part.shape[1:])
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


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
        self._rows = feature_array((n, dim), folder)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def on_disk(self) -> bool:
        """Whether the rows lie in a file."""
        return isinstance(self._rows, np.memmap)

    def append(self, rows: torch.Tensor) -> None:
        """Add rows (B, D) at the end."""
        self._rows[self._length : self._length + len(rows)] = rows.detach().float().cpu().numpy()
        self._length += len(rows)
        release(self._rows)

    def blocks(self, length: int | None = None) -> Iterator[torch.Tensor]:
        """The rows, up to ``length`` at once (by default 65 536), on the device."""
        length = length or BLOCK
        for start in range(0, self._length, length):
            rows = torch.from_numpy(self._rows[start : min(start + length, self._length)])
            yield rows.to(self.device)
            release(self._rows)

    def rows(self) -> torch.Tensor | Callable[[], Iterator[torch.Tensor]]:
        """All rows (n, D), or where they lie on disk what reads them in small blocks, as `kmeans` takes both."""
        if not self.on_disk:
            return torch.from_numpy(self._rows[: self._length]).to(self.device)
        length = max(1, SMALL_BLOCK_BYTES // (4 * self._rows.shape[1]))
        return partial(self.blocks, length - length % ALIGNED if length > ALIGNED else length)

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
