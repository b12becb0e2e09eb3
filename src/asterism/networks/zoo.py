"""torchvision's models, without torch's compiler.

torchvision asks the compiler, in one line of its RoIAlign, what it can do: that import takes as long as torch itself,
and no classifier needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
WITH_SIDES = ("googlenet", "inception_v3")  # networks with classifiers beside the main one


class _Later(ModuleType):
    """Stands for a module that is imported when anything of it is asked for, but one function, which waits too."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return is_compile_supported if name == is_compile_supported.__name__ else _real(self.__name__, name)


def is_compile_supported(device_type: str) -> bool:
    """The compiler's own, when it is asked."""
    return _real(f"{COMPILER}.utils", "is_compile_supported")(device_type)


def _real(module: str, name: str) -> Any:
    _forget()
    return getattr(import_module(module), name)


def _forget() -> None:
    for name in (COMPILER, f"{COMPILER}.utils"):
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


@contextmanager
def without_compiler() -> Iterator[None]:
    """Import what asks torch's compiler without importing that, unless it is here already."""
    if COMPILER not in sys.modules:
        compiler, utils = _Later(COMPILER), _Later(f"{COMPILER}.utils")
        compiler.__path__ = []
        sys.modules |= {one.__name__: one for one in (compiler, utils)}
    try:
        yield
    finally:
        _forget()


def torchvision_models() -> Any:
    """The module ``torchvision.models``."""
    with without_compiler():
        return import_module("torchvision.models")
