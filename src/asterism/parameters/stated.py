"""What has parameters that its class states as fields: the part of `Parameters` that needs no other library."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import numbers
import reprlib
import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

from asterism.parameters.constraints import Constraint

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


class Stated:
    """An object with parameters that its class states (`asterism.parameters.parameter`).

    Class attributes
    ----------------
    DEFAULTS : dict of str to object
        What a parameter is when it is None (`parameter`'s ``when_none``).
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {}
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field]] = {}

    @classmethod
    def _get_param_names(cls) -> list[str]:
        raise NotImplementedError

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Its parameters, in the order of their names."""
        raise NotImplementedError

    def resolved(self, name: str) -> Any:
        """The nested parameter ``name``, or the class's default for it where it is None."""
        value = getattr(self, name)
        return self.DEFAULTS[name] if value is None and name in self.DEFAULTS else value


def stand_ins(fields: dict[str, dataclasses.Field]) -> dict[str, Any]:
    """What each parameter is when it is None, where that is said."""
    found = {name: one.metadata["when_none"] for name, one in fields.items()}
    return {name: value for name, value in found.items() if value is not None}


def allowed_values(owner: Stated | type[Stated], name: str) -> Sequence[Constraint]:
    """What a parameter may be; nothing is said of one that is no field."""
    found = owner.__dataclass_fields__.get(name)
    return found.metadata["allowed"] if found else ()


def text_of(owner: Stated | type[Stated], name: str) -> str:
    """What a parameter means, for people."""
    found = owner.__dataclass_fields__.get(name)
    return meaning_of(found) if found else ""


def meaning_of(field: dataclasses.Field) -> str:
    """What a parameter means: its own text, or the string below it in the class that states it."""
    about = field.metadata
    if about["text"] or "home" not in about:  # an outline, whose text was read with it
        return about["text"]
    return _texts(about["home"].__module__).get(about["home"].__name__, {}).get(field.name, "")


@cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """`texts_below` the fields of each class of a module; nothing where its source is not there, or is being edited."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, KeyError, SyntaxError):
        return {}
    inmost_first = [*ast.walk(tree)][::-1]  # of two classes of a name, the module's own counts
    return {one.name: texts_below(one.body) for one in inmost_first if isinstance(one, ast.ClassDef)}


def texts_below(body: list[ast.stmt]) -> dict[str, str]:
    """The strings that stand below annotated names (PEP 257's attribute docstrings), each on one line."""
    found = {}
    for one, below in pairwise(body):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            found[one.target.id] = " ".join(text.split()) if isinstance(text, str) else ""
    return found


def honours(cls: type, kind: type) -> bool:
    """Whether objects of a class can stand where a kind is asked for: its own, or a subclass with all its parameters.

    A subclass that writes its own constructor may lack some, and what reads them would fail late.
    """
    if not (issubclass(kind, Stated) and issubclass(cls, Stated)):
        return issubclass(cls, kind)
    return issubclass(cls, kind) and set(kind._get_param_names()) <= set(cls._get_param_names())


def shown(value: Any) -> str:
    """A value in a message: one line of at most some hundred letters, however long or deep it is."""
    if isinstance(value, numbers.Integral) and abs(int(value)) > 10**40:
        return "an integer of more than 40 digits"
    if isinstance(value, Stated):
        return type(value).__name__
    text = repr(value) if isinstance(value, (str, float, int, type(None))) else _short.repr(value)
    return " ".join((text if len(text) <= 120 else f"{text[:100]}…").split())
