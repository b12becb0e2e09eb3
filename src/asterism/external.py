"""External estimators: clusterers of other libraries, by their path, ``sklearn.cluster.Birch``, ``clustpy.deep.DCN``.

Whatever has scikit-learn's ``fit_predict`` can stand beside the methods; nothing of it is imported before it runs.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from asterism.errors import InputError, MissingDependencyError, reason_of

EXTRAS = {"clustpy": "peers"}  # package -> our optional extra
_NUMBER_OF_CLUSTERS = ("n_clusters", "n_components")  # of a clusterer, of a mixture


def look_here(path: str) -> None:
    """Let a class that a person has typed lie in the working folder, where the installed command does not look.

    Not one that a file names, ``run.json`` say: who sent it may have sent code along.
    """
    package, dot, _ = path.partition(".")
    if dot and _lies_here(package) and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _lies_here(package: str) -> bool:
    return package.isidentifier() and (Path(package).is_dir() or Path(f"{package}.py").is_file())


def external_class(path: str) -> type:
    """The class at a path.

    Raises
    ------
    InputError
        If there is none, or it lies in the working folder and nobody has typed its path (`look_here`).
    MissingDependencyError
        If its package is not installed; holds the pip command.
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise InputError(f"there is no class {path}; give its path, as in sklearn.cluster.Birch")
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
        cls = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        lacking = error.name or package
        if lacking == package and _lies_here(package):
            typed = "code in the working folder is run only where it is typed: give it again"
            raise InputError(f"{path} stands in a file, and {typed}") from error
        if lacking == package:
            wanted = f"'asterism-clustering[{EXTRAS[package]}]'" if package in EXTRAS else package
            raise MissingDependencyError(f"{path} is not installed: pip install {wanted}") from error
        if lacking.partition(".")[0] != package:
            raise MissingDependencyError(f"{path} needs {lacking}, which is not installed") from error
        cls = None
    if not inspect.isclass(cls):
        raise InputError(f"there is no class {path}; give its path, as in sklearn.cluster.Birch")
    return cls


def read_call(text: str) -> tuple[str, dict[str, Any]]:
    """``sklearn.cluster.Birch(threshold=0.1)`` → the path and the settings; nothing is run, values are literals.

    Raises
    ------
    InputError
        For anything else than a path with settings by name.
    """
    try:
        call = ast.parse(text if text.endswith(")") else f"{text}()", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or None in [one.arg for one in call.keywords]:
            raise ValueError(text)
        return ast.unparse(call.func), {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(
            f"{text[:100]!r} is no class with settings; give its path, as in sklearn.cluster.Birch(threshold=0.1)"
        ) from error


def external(path: str, params: Mapping[str, Any], n_clusters: int, seed: int) -> Any:
    """The unfitted object of a class, with its settings, the number of clusters and the seed where it takes them.

    Raises
    ------
    InputError
        If there is no such class, or it does not take the settings.
    MissingDependencyError
        See `external_class`.
    """
    cls = external_class(path)
    takes: Mapping[str, Any] = {}
    with suppress(ValueError):  # of a class that is written in C
        takes = inspect.signature(cls).parameters
    given = dict(params)
    for_number = next((name for name in _NUMBER_OF_CLUSTERS if name in takes and hasattr(cls, "fit_predict")), None)
    if for_number is not None:
        given.setdefault(for_number, n_clusters)
    if "random_state" in takes:
        given.setdefault("random_state", seed)
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} does not take these settings: {reason_of(error, 160)}") from error
