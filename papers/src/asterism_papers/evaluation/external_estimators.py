"""Classes of other libraries in a table: what ``bench --method`` asks for, and what rows of them are recorded."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asterism.errors import InputError
from asterism.external import external, external_class, is_external
from asterism_papers.evaluation.table import Entry

DEFAULTS = "its defaults"


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
