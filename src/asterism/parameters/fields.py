"""A class's parameters, each stated once as a field: what makes constructor and help of them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from asterism.parameters.constraints import Constraint, as_type
from asterism.parameters.stated import meaning_of

T = TypeVar("T")
_HEADING = re.compile(r"^\w[\w ]*\n-{3,}$", re.MULTILINE)  # of a section of a numpydoc text
_WIDTH = 112  # of the texts in a docstring


def parameter(
    allowed: Constraint | list[Constraint],
    text: str = "",
    *,
    default: T,
    when_none: Any = None,
    kw_only: bool | None = None,
) -> T:
    """State a parameter; a string below says what it means, for people::

        tol: float = parameter(FRACTION, default=0.0)
        '''Stop when at most this share changed.'''

    Parameters
    ----------
    allowed : constraint, or list of such
        What it may be: `Interval`, `Each`, a type, a set of words, None, which it may be by itself where that is the
        default.
    text : str
        What it means, for a class whose source is not in a file, or where a text is made.
    default : value
    when_none : object, optional
        What None stands for (`Parameters.resolved`).
    kw_only : bool, optional
        Whether the constructor takes it by name alone; by default as the class says, and that says yes by default.
    """
    options = [*allowed] if isinstance(allowed, list) else [allowed]
    if default is None and None not in options:
        options.append(None)
    about = {"allowed": options, "text": " ".join(text.split()), "when_none": when_none}
    by_name: Any = dataclasses.MISSING if kw_only is None else kw_only
    return dataclasses.field(default=default, kw_only=by_name, metadata=about)


def attribute(default: Any = dataclasses.MISSING, *, init: Literal[False] = False) -> Any:
    """Mark an annotated attribute that is no parameter, so that type checkers keep it out of the constructor."""
    return default


def make_constructor(cls: Any, kw_only: bool) -> None:
    """Give a class the fields that it states and inherits, and the constructor that dataclasses make of them.

    Dataclasses put inherited fields first; here, of those that go by name, a class's own come first: what all
    estimators share is then last.
    """
    own = {name: value for name, value in vars(cls).items() if isinstance(value, dataclasses.Field)}
    types = inspect.get_annotations(cls)
    for name in own.keys() - types.keys():
        raise TypeError(f"parameter {name!r} of {cls.__name__} has no type: write it as {name}: float = parameter(…)")
    for name, one in own.items():
        one.name, one.type, one.metadata = name, types[name], MappingProxyType({**one.metadata, "home": cls})
        one.kw_only = kw_only if one.kw_only is dataclasses.MISSING else one.kw_only
    inherited: dict[str, Any] = {}
    for base in cls.__mro__[1:]:
        for name, one in vars(base).get("__dataclass_fields__", {}).items():
            inherited.setdefault(name, one)
    by_place = [one for one in (inherited | own).values() if not one.kw_only]
    by_name = [one for one in (own | inherited | own).values() if one.kw_only]
    fields = [(one.name, one.type, one) for one in (*by_place, *by_name)]
    about = {"__doc__": cls.__name__, "__module__": cls.__module__}
    made: Any = dataclasses.make_dataclass(cls.__name__, fields, namespace=about, repr=False, eq=False)
    cls.__init__, cls.__dataclass_fields__ = made.__init__, made.__dataclass_fields__
    for name, _, one in fields:
        setattr(cls, name, one.default)


class Documented:
    """A class's docstring with numpydoc's section on its parameters, made when it is read."""

    def __init__(self, doc: str | None, fields: Iterable[dataclasses.Field]) -> None:
        self._doc, self._fields = doc, fields

    def __get__(self, _instance: object, _owner: type) -> str:
        text, entries = inspect.cleandoc(self._doc or ""), [line for one in self._fields for line in _entry(one)]
        if not entries:
            return text
        found = _HEADING.search(text)
        start = found.start() if found else len(text)  # before the other sections
        parts = [text[:start].rstrip(), "\n".join(["Parameters", "----------", *entries]), text[start:].rstrip()]
        return "\n\n".join(part for part in parts if part) + "\n"


def _entry(one: dataclasses.Field) -> list[str]:
    text, stand_in = meaning_of(one), one.metadata["when_none"]
    if stand_in is not None:
        text = f"{text} None is ``{spelled(stand_in)}``.".strip()
    kinds = " or ".join(map(as_type, one.metadata["allowed"]))
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"{one.name} : {kinds}, default={one.default!r}", *(f"    {line}" for line in lines)]


def spelled(value: Any, broken: bool = False) -> str:
    """A parameter object as Python spells it, what is at its default left out; one argument a line if ``broken``."""
    from asterism.parameters.contract import BaseEstimator  # not above: to state a parameter needs no scikit-learn

    if not isinstance(value, BaseEstimator):
        return repr(value)
    usual = inspect.signature(type(value).__init__).parameters
    given = [
        f"{name}={spelled(one)}"
        for name, one in value.get_params(deep=False).items()
        if isinstance(one, BaseEstimator) or one != usual[name].default
    ]
    given.sort(key=lambda one: not one.startswith("n_clusters="))  # it comes first everywhere
    if not broken or len(given) < 3:
        return f"{type(value).__name__}({', '.join(given)})"
    return f"{type(value).__name__}(\n" + "".join(f"    {one},\n" for one in given) + ")"
