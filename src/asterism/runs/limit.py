"""A bound on the memory that a network built by a stranger's settings may take."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode


class limited(TorchFunctionMode):
    """Within the block, tensors that were made in it hold at most so many bytes at any time.

    Parameters
    ----------
    n_bytes : int

    Raises
    ------
    MemoryError
        By the operation that goes beyond.

    Notes
    -----
    What a forward pass makes and gives back does not count, however often it does: what is still there is looked at
    where all that was made would be too much.
    """

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self._most, self._held = n_bytes, 0
        self._made: list[tuple[StorageWeakRef, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what was called and count what it made: a view of what is there already is nothing new."""
        made = func(*args, **(kwargs or {}))
        given = {one.data_ptr() for one in args if isinstance(one, torch.Tensor)}
        for one in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(one, torch.Tensor) and one.data_ptr() not in given:
                self._made.append((StorageWeakRef(one.untyped_storage()), one.numel() * one.element_size()))
                self._held += self._made[-1][1]
        if self._held > self._most:
            self._made = [(storage, size) for storage, size in self._made if not storage.expired()]
            self._held = sum(size for _, size in self._made)
        if self._held > self._most:
            raise MemoryError("the network is much larger than the file")
        return made
