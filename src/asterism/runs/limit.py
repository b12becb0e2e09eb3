"""A bound on the memory that a network built by a stranger's settings may take."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class limited(TorchFunctionMode):
    """Within the block, tensors of at most so many bytes are made, all together.

    Parameters
    ----------
    n_bytes : int

    Raises
    ------
    MemoryError
        By the operation that goes beyond.
    """

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self._left = n_bytes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what was called and count what it made: a view of what is there already is nothing new."""
        made = func(*args, **(kwargs or {}))
        given = {one.data_ptr() for one in args if isinstance(one, torch.Tensor)}
        for one in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(one, torch.Tensor) and one.data_ptr() not in given:
                self._left -= one.numel() * one.element_size()
        if self._left < 0:
            raise MemoryError("the network is much larger than the file")
        return made
