"""Classes of other libraries in a table: what ``bench --method`` asks for, and what rows of them are recorded."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from asterism.errors import InputError, MissingDependencyError
from asterism.external import external, external_class, look_here
from asterism.features import extract
from asterism.images import ImageSource
from asterism.networks.pixels import Pixels
from asterism.runtime import Runtime
from asterism_papers.evaluation.table import Entry

DEFAULTS = "its defaults"
_DECIDES_NOTHING = {"random_state", "verbose", "n_jobs", "device", "copy_x"}


def is_external(class_name: str) -> bool:
    """Whether a name is a path to a class; names of methods have no dots."""
    return "." in class_name


def missing_external(class_name: str) -> str:
    """Why a class cannot run here, with the pip command; empty where it can, or is one of our own."""
    if is_external(class_name):
        try:
            external_class(class_name)
        except MissingDependencyError as error:
            return str(error)
    return ""


def external_entry(path: str, settings: Sequence[str] = ()) -> Entry:
    """An entry for a class of another library, as ``bench --method PATH --set NAME=VALUE`` asks for it.

    Parameters
    ----------
    path : str
        ``"sklearn.cluster.Birch"``.
    settings : sequence of str
        ``"threshold=0.1"``; values are Python's literals, everything else is text.

    Returns
    -------
    Entry
        Its variant names the settings.

    Raises
    ------
    InputError
        If there is no such class, it has no ``fit_predict``, or it has no such parameter.
    MissingDependencyError
        If its package is not installed.
    """
    path = path.replace(":", ".")
    look_here(path)
    cls = external_class(path)
    if not hasattr(cls, "fit_predict"):
        raise InputError(f"{path} has no fit_predict, which a clusterer in a table needs")
    params = {}
    for one in settings:
        name, equals, text = one.partition("=")
        if not equals or name not in inspect.signature(cls).parameters:
            known = ", ".join(inspect.signature(cls).parameters)
            raise InputError(f"settings: {one} cannot be used: {path} takes NAME=VALUE of {known}")
        try:
            params[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            params[name] = text
    return Entry(path, path, _variant_of(params), params)


def _variant_of(params: Mapping[str, Any]) -> str:
    words = [f"{name} {value}" for name, value in params.items()]
    return re.sub("[,=]", ";", " ".join(words)) or DEFAULTS  # --only splits at , and =


def recorded_external(entries: Iterable[Entry], rows: Iterable[Mapping[str, Any]]) -> tuple[Entry, ...]:
    """Entries for rows of classes that were put into a table by hand.

    Parameters
    ----------
    entries : iterable of Entry
        Those that the table has.
    rows : iterable of dict
    """
    there = {(entry.method, entry.variant) for entry in entries}
    found = {}
    for row in rows:
        key = (row["method"], row["protocol"]["variant"])
        if is_external(row["method"]) and key not in there:
            found[key] = Entry(*key[:1], *key)
    return tuple(found.values())


def external_estimator(entry: Entry, dataset: str, n_clusters: int, seed: int) -> Any:
    """The unfitted class of an entry, with its settings, the number of clusters and the seed where it takes them."""
    return external(entry.class_name, entry.params_on(dataset), n_clusters, seed)


def external_params(estimator: Any, n_clusters: int | str) -> dict[str, Any]:
    """Its parameters as plain JSON, defaults filled in, without those that decide nothing; classes by their names."""
    given = {name: value for name, value in estimator.get_params(deep=False).items() if name not in _DECIDES_NOTHING}
    return {**{name: plain(value) for name, value in given.items()}, "n_clusters": n_clusters}


def plain(value: Any) -> Any:
    """A parameter as plain JSON: classes and functions by their names, other objects as they print themselves."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    return getattr(value, "__qualname__", None) or repr(value)


def pixel_vectors(images: ImageSource) -> np.ndarray:
    """Pixels (N, C·H·W) in [0, 1], float32: what a class that knows no images is given."""
    return extract(Pixels(normalise=False), images, Runtime("cpu")).numpy()
