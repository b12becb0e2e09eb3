"""Packing: blocks of decoded images become one tensor, in memory or, where it does not fit, in a file of the cache.

Cost: one pass over the N images, the memory of one block besides the result.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from asterism.errors import AsterismError, StorageError
from asterism.images.locations import cache_root
from asterism.machine import available_cores, available_memory, launch

# The share of the available memory that packed images may take; networks and features need the rest.
MEMORY_SHARE = 0.25
BLOCK_BYTES = 2**26  # 64 MiB of pixels are decoded between two writes
QUICK = 0.4e-3  # seconds a call, below which threads do not pay: 100 000 32x32 JPEGs 30 s without, 60 s with them
TRIED = 32  # calls that are timed to tell

T = TypeVar("T")


def memory_budget() -> int:
    """Bytes that packed images may take in this process: a share of what is free, divided among ranks."""
    return int(available_memory() * MEMORY_SHARE) // launch().local_world_size


def block_length(shape: tuple[int, ...], itemsize: int = 1) -> int:
    """How many images of shape (H, W, C) make a block; always enough for all cores."""
    return max(2 * available_cores(), min(4096, BLOCK_BYTES // (int(np.prod(shape)) * itemsize)))


def in_blocks(function: Callable[[int], T], n: int, length: int) -> Iterator[list[T]]:
    """``function(0) … function(n - 1)``, a block at a time, in order, by as many threads as there are cores.

    Parameters
    ----------
    function : callable
        Decoders and resampling release the GIL.
    n, length : int
        Number of calls, and of calls a block.

    Notes
    -----
    The first calls are made from this thread, and where one takes less than `QUICK` all are: handing the GIL over then
    costs more than a second core brings (32x32 JPEGs: 120 µs each here, 260 µs with 4 threads).
    The first exception of a block is raised, and what has not begun by then never begins.
    """
    done, seconds = [], [0.0]
    for i in range(min(n, length, TRIED)):
        began = time.perf_counter()
        done.append(function(i))
        seconds.append(time.perf_counter() - began)
    quick = float(np.median(seconds)) < QUICK  # the first call may load a decoder
    cores = available_cores()
    run = max(1, min(16, length // (4 * cores)))  # calls a task: fewer tasks, fewer hand-overs

    def task(first: int, stop: int) -> list[T]:
        return [function(i) for i in range(first, min(first + run, stop))]

    pool = ThreadPoolExecutor(cores)
    each: Any = map if quick else pool.map
    try:
        for start in range(0, n, length):
            first, stop = start + len(done), min(start + length, n)
            parts = each(task, range(first, stop, run), repeat(stop))
            yield done + [result for part in parts for result in part]
            done = []
    finally:
        pool.shutdown(cancel_futures=True)


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """`torch.from_numpy` without its warning about read-only memory: a source's pixels are never written to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = torch.from_numpy(array)
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    if isinstance(base, np.memmap) and base.mode in ("r", "r+"):  # its pages hold nothing that the file does not
        _MAPPED[pixels.untyped_storage().data_ptr()] = weakref.ref(base._mmap)  # type: ignore[attr-defined]
    return pixels


_MAPPED: dict[int, weakref.ref[mmap.mmap]] = {}  # the mapping of a file, by where its pixels begin in memory


def let_go(pixels: torch.Tensor) -> None:
    """Let go of the memory that pixels take, or those that they are a part of, if they are mapped from a file.

    They can still be read. The system keeps what it has room for; what counts as this process's is small.
    """
    mapping = _MAPPED.get(pixels.untyped_storage().data_ptr(), lambda: None)()
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def pack(
    blocks: Iterable[np.ndarray], n: int, shape: tuple[int, int, int], dtype: np.dtype | type = np.uint8
) -> torch.Tensor:
    """Gather blocks of images in memory, or in a nameless file of the cache that vanishes with the process.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (b, H, W, C)
        Together at most n images, and at least one.
    n : int
        Upper bound of the number of images.
    shape : (int, int, int)
        (H, W, C).
    dtype : dtype
        Of the pixels.

    Returns
    -------
    torch.Tensor of shape (at most n, H, W, C)

    Raises
    ------
    StorageError
        If they fit neither into the memory budget nor into the cache folder.
    """
    dtype = np.dtype(dtype)
    if n * int(np.prod(shape)) * dtype.itemsize <= memory_budget():
        pixels = np.empty((n, *shape), dtype)
        filled = 0
        for block in blocks:
            pixels[filled : filled + len(block)] = block
            filled += len(block)
        return from_numpy(pixels[:filled])
    with storage_errors(n, shape, dtype):
        folder = cache_root() / "packed"
        folder.mkdir(parents=True, exist_ok=True)
        check_room(folder, n * int(np.prod(shape)) * dtype.itemsize)
        return from_numpy(map_blocks(blocks, shape, dtype))


def map_blocks(blocks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of blocks of images, mapped from a file without a name in the cache, which goes with the process.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (b, …)
    shape : tuple of int
        Of an image.
    dtype : dtype

    Returns
    -------
    ndarray of shape (N, …), read-only
    """
    folder = cache_root() / "packed"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:  # the mapping keeps the bytes after the file is closed
        n = 0
        for block in blocks:  # written, not mapped: a full disk is then an error and no bus fault
            file.write(np.ascontiguousarray(block).data)
            n += len(block)
        file.flush()
        return np.memmap(file, dtype=dtype, mode="r", shape=(n, *shape))


@contextmanager
def storage_errors(n: int, shape: tuple[int, int, int], dtype: np.dtype) -> Iterator[None]:
    """Errors of the disk as one line that says what to do."""
    n_bytes = n * int(np.prod(shape)) * dtype.itemsize
    try:
        yield
    except AsterismError:
        raise
    except OSError as error:
        what = f"{n} images of {'x'.join(map(str, shape))}, {n_bytes / 2**30:.1f} GiB"
        raise StorageError(
            f"{what}, do not fit in memory and cannot be packed in {cache_root()}: {error.strerror or error}; "
            "set ASTERISM_CACHE to a folder with room or give a smaller size"
        ) from error


def check_room(folder: Path, n_bytes: int) -> None:
    """Raise an OSError where a disk has less room than that, before hours are spent on filling it."""
    if shutil.disk_usage(folder).free < n_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
