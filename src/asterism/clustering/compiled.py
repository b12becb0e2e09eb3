"""The one place where numba is asked to compile: the machine code is kept on disk where that is possible.

A container's user without a home, or a read-only installation: it is kept in a folder of the user's among temporary
files. Where that does not go either, or the disk is full, it is compiled anew in each process, and no run fails by it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from asterism.machine import drop_thread_numbers, private_folder

drop_thread_numbers("NUMBA_NUM_THREADS")  # with 0, numba cannot be imported; our kernels take threads of ours
import numba  # noqa: E402
from numba.core.caching import FunctionCache  # noqa: E402


class _LenientCache(FunctionCache):
    """numba's files of machine code; one that is damaged, or cannot be written, costs a compilation and no more.

    numba compiles anew where a function's own file is newer. Machine code holds what the function calls, too, and the
    numbers that it names, from whatever file: these are part of the key.
    """

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return *super()._index_key(sig, codegen), _digest(self._py_func)

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


def _digest(function: Callable) -> str:
    """What a kernel computes: its code, that of the kernels that it calls, and the numbers that it names."""
    waiting, seen, digest = [function], {function}, hashlib.blake2b(digest_size=16)
    for one in waiting:
        code = one.__code__
        plain = [value for value in code.co_consts if not hasattr(value, "co_code")]
        digest.update(code.co_code + repr((code.co_names, plain)).encode())
        for name in code.co_names:
            value = one.__globals__.get(name)
            if isinstance(value, (int, float, np.generic)):
                digest.update(repr((name, value)).encode())
            called = getattr(value, "py_func", None)
            if called is not None and called not in seen:
                seen.add(called)
                waiting.append(called)
    return digest.hexdigest()


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
