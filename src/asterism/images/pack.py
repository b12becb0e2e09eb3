"""Packing: blocks of decoded images become one tensor, in memory or, where it does not fit, in a file of the cache.

Cost: one pass over the N images, the memory of one block besides the result.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch

from asterism.errors import AsterismError, StorageError
from asterism.files import exclusive
from asterism.images.locations import cache_root
from asterism.machine import available_cores, available_memory, launch

# The share of the available memory that packed images may take; networks and features need the rest.
MEMORY_SHARE = 0.25
BLOCK_BYTES = 2**26  # 64 MiB of pixels are decoded between two writes
QUICK = 0.4e-3  # seconds a call, below which threads do not pay: 100 000 32x32 JPEGs 30 s without, 60 s with them
TRIED = 32  # calls that are timed to tell
KEPT_DAYS = 30  # packed images that nobody opened for so long are removed when others are packed

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
    try:
        for start in range(0, n, length):
            first, stop = start + len(done), min(start + length, n)
            if quick:
                parts: Iterable[list[T]] = [[function(i) for i in range(first, stop)]]
            else:
                parts = pool.map(task, range(first, stop, run), repeat(stop))
            yield done + [result for part in parts for result in part]
            done = []
    finally:
        pool.shutdown(cancel_futures=True)


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """`torch.from_numpy` without its warning about read-only memory: a source's pixels are never written to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(array)


def pack(
    blocks: Iterable[np.ndarray],
    n: int,
    shape: tuple[int, int, int],
    dtype: np.dtype | type = np.uint8,
    key: str | None = None,
    meta: Callable[[], dict[str, Any]] = dict,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Gather blocks of images.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (b, H, W, C)
        Together at most n images, fewer where some could not be read, and at least one.
    n : int
        Upper bound of the number of images.
    shape : (int, int, int)
        (H, W, C).
    dtype : dtype
        uint8 or float32.
    key : str, optional
        Names the file in the cache, so that `load_packed` finds it again. Without a key the file is nameless and
        vanishes with the process.
    meta : callable
        Asked after the last block for what else to remember beside the pixels (plain JSON).

    Returns
    -------
    pixels : torch.Tensor of shape (at most n, H, W, C)
    meta : dict
        What ``meta()`` said; what it said elsewhere, if another process packed the same key in the meantime.

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
        return from_numpy(pixels[:filled]), meta()
    with _storage_errors(n, shape, dtype):
        folder = cache_root() / "packed"
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < n * int(np.prod(shape)) * dtype.itemsize:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if key is None:
            return _map_nameless(blocks, shape, dtype, folder), meta()
        with exclusive(folder / f"{key}.lock", wait=True):  # the other ranks of a machine wait, then find the file
            found = load_packed(key)
            if found is None:
                _prune(folder)
                shutil.rmtree(folder / key, ignore_errors=True)  # a damaged one would be in the way
                _write(blocks, shape, dtype, folder / key, meta)
                found = load_packed(key)
    if found is None:
        raise StorageError(f"packed images {folder / key} vanished while they were opened")
    return found


def load_packed(key: str) -> tuple[torch.Tensor, dict[str, Any]] | None:
    """Pixels and meta that `pack` wrote under the key, or None.

    Returns
    -------
    pixels : torch.Tensor of shape (N, H, W, C)
        Memory-mapped, read-only.
    meta : dict
    """
    folder = cache_root() / "packed" / key
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        pixels = np.memmap(folder / "pixels.bin", dtype=meta["dtype"], mode="r", shape=tuple(meta["shape"]))
    except (OSError, ValueError, KeyError):  # absent, or not whole: it is written again
        return None
    with suppress(OSError):  # a cache that may only be read serves as well
        os.utime(folder / "meta.json")  # opened today, see KEPT_DAYS
    return from_numpy(pixels), meta


def _prune(folder: Path) -> None:
    """Remove packed images that were not opened for long; what is mapped now lives on until its process ends."""
    for meta in folder.glob("*/meta.json"):
        with suppress(OSError):
            if time.time() - meta.stat().st_mtime > KEPT_DAYS * 86400:
                shutil.rmtree(meta.parent, ignore_errors=True)
                (folder / f"{meta.parent.name}.lock").unlink(missing_ok=True)


def _write(
    blocks: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    target: Path,
    meta: Callable[[], dict[str, Any]],
) -> None:
    """Write a folder under another name and rename it: what bears the name is complete."""
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as temporary:
        draft = Path(temporary) / "draft"
        draft.mkdir()
        with open(draft / "pixels.bin", "wb") as file:
            n = _append(blocks, file)
        about = {**meta(), "shape": [n, *shape], "dtype": dtype.name}
        (draft / "meta.json").write_text(json.dumps(about), encoding="utf-8")
        draft.rename(target)


def _map_nameless(
    blocks: Iterable[np.ndarray], shape: tuple[int, int, int], dtype: np.dtype, folder: Path
) -> torch.Tensor:
    with tempfile.TemporaryFile(dir=folder) as file:  # the mapping keeps the bytes after the file is closed
        n = _append(blocks, file)
        file.flush()
        return from_numpy(np.memmap(file, dtype=dtype, mode="r", shape=(n, *shape)))


def _append(blocks: Iterable[np.ndarray], file: BinaryIO | Any) -> int:
    n = 0
    for block in blocks:  # written, not mapped: a full disk is then an error and no bus fault
        file.write(np.ascontiguousarray(block).data)
        n += len(block)
    return n


@contextmanager
def _storage_errors(n: int, shape: tuple[int, int, int], dtype: np.dtype) -> Iterator[None]:
    try:
        yield
    except AsterismError:
        raise
    except OSError as error:
        what = f"{n} images of {'x'.join(map(str, shape))}, {n * int(np.prod(shape)) * dtype.itemsize / 2**30:.1f} GiB"
        raise StorageError(
            f"{what}, do not fit in memory and cannot be packed in {cache_root()}: {error.strerror or error}; "
            "set ASTERISM_CACHE to a folder with room or give a smaller size"
        ) from error
