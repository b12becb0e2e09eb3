"""Packed images that are kept: found again by what they are, and gone on with where a packing was ended half-way.

In the cache, ``packed/KEY/`` holds ``pixels.bin`` and ``meta.json``. While it is made it is ``packed/KEY.draft/``,
whose ``state.json`` says how far it is: what a kill, an interrupt or a failing disk leaves, the next try goes on with.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from asterism.errors import StorageError
from asterism.files import exclusive, write_text
from asterism.images import pack
from asterism.images.locations import KEY, cache_root, is_stale, opened_now
from asterism.machine import launch

KEEP_SECONDS = 1.0  # what took no longer to decode is not kept, as long as it fits into memory
SAVE_SECONDS = 2.0  # so much of the work a kill may cost
Shape = tuple[int, int, int]
State = dict[str, Any]  # plain JSON
# Blocks of images from the file at an index on, each with the index at which the next one begins.
Blocks = Callable[[int], Iterator[tuple[int, np.ndarray]]]


def load_packed(key: str) -> tuple[torch.Tensor, dict[str, Any]] | None:
    """Pixels and meta that were kept under the key, or None.

    Returns
    -------
    pixels : torch.Tensor of shape (N, H, W, C)
        uint8, memory-mapped, read-only.
    meta : dict
    """
    folder = _folder() / key
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        shape = tuple(meta["shape"])
        if os.path.getsize(folder / "pixels.bin") != int(np.prod(shape)):
            return None
        pixels = np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="r", shape=shape)
    except (OSError, ValueError, KeyError, TypeError):  # absent, or not whole: it is written again
        return None
    opened_now(folder / "meta.json")
    return pack.from_numpy(pixels), meta


def is_kept(key: str) -> bool:
    """Whether images are kept under the key."""
    return (_folder() / key / "meta.json").is_file()


def remember(key: str, about: dict[str, Any]) -> None:
    """Keep a few words (plain JSON) under a key, where the cache can be written to."""
    with suppress(OSError):
        write_text(_folder() / f"{key}.json", json.dumps(about))


def recall(key: str) -> dict[str, Any] | None:
    """What `remember` kept under the key, or None."""
    path = _folder() / f"{key}.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    opened_now(path)
    return about if isinstance(about, dict) else None


def noted(key: str, name: str, n_bytes: int, make: Callable[[], bytes]) -> bytes:
    """So many bytes that say something of packed images: made once, then kept with them as long as they are.

    Parameters
    ----------
    key : str
        Of the images.
    name : str
        Of what is said.
    n_bytes : int
    make : callable
        Makes it.
    """
    place = f"{key}/{name}"
    with suppress(KeyError, TypeError, ValueError):  # not what is kept below: made again
        if (known := recall(place)) is not None and len(found := bytes.fromhex(known["bytes"])) == n_bytes:
            return found
    found = make()
    if is_kept(key):
        remember(place, {"bytes": found.hex()})
    return found


def pack_kept(
    key: str, n: int, shape: Shape, blocks: Blocks, state: Callable[[], State], restore: Callable[[State, int], None]
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Gather images, and keep them where that took long or where they do not fit into memory.

    Parameters
    ----------
    key : str
        Names them in the cache.
    n : int
        Upper bound of the number of images.
    shape : (int, int, int)
        (H, W, C).
    blocks : callable
        ``blocks(first)`` decodes the files from an index on, in order: yields ``(next, images (b, H, W, C) uint8)``.
    state : callable
        What else to remember, of the files decoded by now: plain JSON.
    restore : callable
        Where an earlier try is gone on with: given what ``state`` said then, and the index to go on from.

    Returns
    -------
    pixels : torch.Tensor of shape (at most n, H, W, C)
    meta : dict
        What ``state()`` said in the end.

    Raises
    ------
    StorageError
        If they fit neither into the memory budget nor into the cache folder.
    """
    fits = n * int(np.prod(shape)) <= pack.memory_budget()
    needed = not fits or launch().local_world_size > 1  # by this process, or by the others of this machine
    with pack.storage_errors(n, shape, np.dtype(np.uint8)), ExitStack() as held:
        pixels = np.empty((n, *shape), np.uint8) if fits else None
        gathering = _Gathering(key, n, shape, pixels, lambda: _locked(held, key, needed, fits))
        if needed and gathering.may_keep:
            found = load_packed(key)  # made by another process in the meantime
            if found is not None:
                return found
        return gathering.run(blocks, state, restore, needed)


class _Gathering:
    """Images on their way into memory, into a draft on disk, or into both.

    Parameters
    ----------
    key, n, shape
        See `pack_kept`.
    pixels : ndarray of shape (n, H, W, C), optional
        Filled as images come; None where they do not fit into memory.
    lock : callable
        Locks the key, if it can; so late, because what is quick is not kept.
    """

    def __init__(self, key: str, n: int, shape: Shape, pixels: np.ndarray | None, lock: Callable[[], bool]) -> None:
        self.key, self.shape, self.pixels, self._lock = key, shape, pixels, lock
        self.n_bytes = n * int(np.prod(shape))
        self.draft = _folder() / f"{key}.draft"
        self.n_done = self.n_rows = 0
        self._file: Any = None
        self._began = self._saved = time.monotonic()

    @cached_property
    def may_keep(self) -> bool:
        """Whether this process may write under the key."""
        return self._lock()

    def run(
        self, blocks: Blocks, state: Callable[[], State], restore: Callable[[State, int], None], needed: bool
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Go on with the draft if there is one, to the end."""
        if (needed or self.draft.is_dir()) and self.may_keep:
            with self._storing():
                self._begin()
                self._resume(restore)
        try:
            for n_done, block in blocks(self.n_done):
                self._take(block)
                self.n_done = n_done
                if time.monotonic() - self._saved > SAVE_SECONDS:
                    self._save(state())
        except BaseException:
            with suppress(OSError):  # what is noted by now stays
                self._save(state())
                self._close()
            raise
        self._finish(state())
        if self.pixels is not None:
            return pack.from_numpy(self.pixels[: self.n_rows]), state()
        found = load_packed(self.key)
        if found is None:
            raise StorageError(f"packed images {_folder() / self.key} vanished while they were opened")
        return found

    def _take(self, block: np.ndarray) -> None:
        """Add images (b, H, W, C); begin a draft where it turns out to take long."""
        if self.pixels is not None:
            self.pixels[self.n_rows : self.n_rows + len(block)] = block
        with self._storing():
            if self._file is not None:
                self._file.write(np.ascontiguousarray(block).data)
            elif self.pixels is not None and time.monotonic() - self._began > KEEP_SECONDS and self.may_keep:
                self._begin().write(self.pixels[: self.n_rows + len(block)].data)
        self.n_rows += len(block)

    def _begin(self) -> BinaryIO:
        _prune()
        self.draft.mkdir(parents=True, exist_ok=True)
        (self.draft / "pixels.bin").touch()
        pack.check_room(self.draft, self.n_bytes - os.path.getsize(self.draft / "pixels.bin"))
        self._file = open(self.draft / "pixels.bin", "r+b")  # noqa: SIM115  (open as long as the draft)
        return self._file

    def _resume(self, restore: Callable[[State, int], None]) -> None:
        """Take over what an earlier try left; nothing of it where it is not whole."""
        size = int(np.prod(self.shape))
        try:
            left = json.loads((self.draft / "state.json").read_text(encoding="utf-8"))
            n_done, n_rows = int(left["n_done"]), int(left["n_rows"])
            if not 0 <= n_rows <= n_done or os.path.getsize(self._file.name) < n_rows * size:
                raise ValueError("more is promised than is there")
            if self.pixels is not None:
                rows = np.fromfile(self._file, np.uint8, n_rows * size)
                self.pixels[:n_rows] = rows.reshape(n_rows, *self.shape)
            restore(left["state"], n_done)
            self.n_done, self.n_rows = n_done, n_rows
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.n_done = self.n_rows = 0
        self._file.seek(self.n_rows * size)
        self._file.truncate()

    def _save(self, state: dict[str, Any]) -> None:
        """Note in the draft how far it is: first the pixels, then what says that they are there."""
        self._saved = time.monotonic()
        if self._file is None:
            return
        with self._storing():
            self._file.flush()
            os.fsync(self._file.fileno())
            about = {"n_done": self.n_done, "n_rows": self.n_rows, "state": state}
            write_text(self.draft / "state.json", json.dumps(about))

    def _finish(self, state: dict[str, Any]) -> None:
        """Give the draft its name: what bears it is whole."""
        if self._file is None:
            return
        with self._storing():
            self._save(state)
            about = {**state, "shape": [self.n_rows, *self.shape], "dtype": "uint8"}
            write_text(self.draft / "meta.json", json.dumps(about))
            self._close()
            target = _folder() / self.key
            shutil.rmtree(target, ignore_errors=True)  # a damaged one would be in the way
            self.draft.rename(target)
            (target / "state.json").unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Where the disk fails, go on in memory if everything is there too."""
        try:
            yield
        except OSError:
            if self.pixels is None:
                raise
            self.may_keep = False
            with suppress(OSError):
                self._close()
            self._file = None
            shutil.rmtree(self.draft, ignore_errors=True)


def _folder() -> Path:
    return cache_root() / "packed"


def _prune() -> None:
    """Remove what was not opened for long, whole or half; what is mapped now lives on until its process ends."""
    patterns = (f"{KEY}/meta.json", f"{KEY}.draft/state.json", f"*{KEY}.json")
    for about in filter(is_stale, (one for pattern in patterns for one in _folder().glob(pattern))):
        with suppress(OSError):
            if about.parent == _folder():
                about.unlink()
            else:
                shutil.rmtree(about.parent, ignore_errors=True)


def _locked(held: ExitStack, key: str, wait: bool, optional: bool) -> bool:
    """One process at a time; False where that cannot be had. The system lets go of the lock if its holder dies.

    Parameters
    ----------
    held : ExitStack
        Lets go of it.
    key : str
    wait : bool
        For the process that holds it.
    optional : bool
        Whether a cache that cannot be written to is no error.
    """
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        return held.enter_context(exclusive(_folder() / f"{key}.lock", wait))
    except OSError:
        if not optional:
            raise
        return False
