"""The one place where numba is asked to compile: the machine code is kept on disk where that is possible.

A container's user without a home, or a read-only installation: it is kept in a folder of the user's among temporary
files. Where that does not go either, or the disk is full, it is compiled anew in each process, and no run fails by it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from asterism.machine import drop_thread_numbers, private_folder

drop_thread_numbers("NUMBA_NUM_THREADS")  # with 0, numba cannot be imported; our kernels take threads of ours
import numba  # noqa: E402
from numba.core.caching import FunctionCache  # noqa: E402


class _LenientCache(FunctionCache):
    """numba's files of machine code; one that is damaged, or cannot be written, costs a compilation and no more."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception:  # no room, no permission any more, a file of another user's
            self.disable()


def _cache_of(function: Callable) -> _LenientCache | None:
    """Where numba looks by itself, or a folder of this user's among temporary files, or none."""
    with suppress(RuntimeError, OSError):  # neither the package's folder nor the user's cache can be written to
        if _has_place(function):
            return _LenientCache(function)
    folder = private_folder()
    with suppress(RuntimeError, OSError):
        if folder is not None:
            numba.config.CACHE_DIR = str(folder / "numba")  # type: ignore[attr-defined]
            return _LenientCache(function)
    return None


def _has_place(function: Callable) -> bool:
    """False where numba would make a folder called ``~``: it looks for a home, and there is none."""
    if os.path.expanduser("~") != "~" or os.environ.get("XDG_CACHE_HOME") or os.environ.get("NUMBA_CACHE_DIR"):
        return True
    return os.access(os.path.dirname(function.__code__.co_filename), os.W_OK)


def compiled(**options: Any) -> Callable[[Callable], Any]:
    """Decorate a function that numba compiles when it is first called.

    Parameters
    ----------
    **options
        Of ``numba.njit``, but ``cache``.
    """

    def decorate(function: Callable) -> Any:
        kernel = numba.njit(**options | {"no_cfunc_wrapper": True})(function)  # none is called from C
        cache = _cache_of(function)
        if cache is not None:
            kernel._cache = cache
        return kernel

    return decorate
