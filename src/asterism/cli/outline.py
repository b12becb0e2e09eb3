"""Classes of parameters as their source states them: read, and not imported, which would load every library."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from asterism.methods.registry import KNOWN_CLASSES
from asterism.parameters import constraints
from asterism.parameters.fields import parameter
from asterism.parameters.stated import Stated, stand_ins, texts_below

_PARAMETERS = "asterism.parameters"


class Outline(Stated):
    """An object of a class of which the parameters alone are known: what `asterism.parameters.Parameters` is there."""

    def __init__(self, *by_place: Any, **by_name: Any) -> None:
        fields = self.__dataclass_fields__.values()
        given = dict(zip((one.name for one in fields if not one.kw_only), by_place, strict=False)) | by_name
        for one in fields:
            setattr(self, one.name, given.get(one.name, one.default))

    def __init_subclass__(cls) -> None:
        cls.DEFAULTS = stand_ins(cls.__dataclass_fields__)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(cls.__dataclass_fields__)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Its parameters, in the order of their names."""
        return {name: getattr(self, name) for name in self._get_param_names()}


def outline_of(place: str) -> type[Outline]:
    """The outline of a class.

    Parameters
    ----------
    place : str
        ``module:Class``.

    Raises
    ------
    LookupError
        If the source is not there, or does not state it as the house does; it has to be imported then.
    """
    module, _, name = place.partition(":")
    try:
        found = _module(module)[name]
    except Exception as error:  # whatever a line leads to that was written to be imported
        raise LookupError(f"{place} cannot be read: {error}") from error
    if not _is_outline(found):
        raise LookupError(f"{place} states no parameters")
    return found


def known_outlines() -> list[type[Outline]]:
    """Outlines of the classes that a parameter may be of; raises `LookupError`."""
    return [outline_of(place) for place in KNOWN_CLASSES.places.values()]


@cache
def parsed(module: str) -> ast.Module:
    """The source of a module; raises `LookupError`, `OSError` or `SyntaxError`."""
    package, *inner = module.split(".")
    spec = find_spec(package)
    if spec is None:
        raise LookupError(f"there is no package {package}")
    path = Path(next(iter(spec.submodule_search_locations or [str(spec.origin)]))).joinpath(*inner)
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _module(name: str) -> _Module:
    return _Module(name)


class _Elsewhere:
    """Something of another library's, or a function: no parameter needs it."""

    def __getattr__(self, name: str) -> _Elsewhere:
        return self

    def __getitem__(self, key: Any) -> _Elsewhere:
        return self

    def __call__(self, *_: Any, **__: Any) -> _Elsewhere:
        return self


class _Module(dict[str, Any]):
    """The names of a module; each is worked out when it is first asked for, and the rest of the module never."""

    def __init__(self, name: str) -> None:
        self._package = name.partition(".")[0]
        self._statements = dict(_named(parsed(name).body))

    def __missing__(self, name: str) -> Any:
        if name not in self._statements:
            raise KeyError(name)  # one of Python's own
        self[name] = found = self._worked_out(name, self._statements[name])
        return found

    def _worked_out(self, name: str, statement: ast.stmt) -> Any:
        if isinstance(statement, ast.ImportFrom):
            home = statement.module or ""
            if home.partition(".")[0] not in ("asterism", self._package) or statement.level:
                return _Elsewhere()
            original = next(one.name for one in statement.names if (one.asname or one.name) == name)
            if home.startswith(_PARAMETERS):
                return _OF_PARAMETERS.get(original, _Elsewhere())
            return _module(home)[original]
        if isinstance(statement, ast.ClassDef):
            return self._class(statement)
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            return self._value(statement.value)
        return _Elsewhere()

    def _value(self, expression: ast.expr) -> Any:
        return eval(compile(ast.Expression(expression), "<outline>", "eval"), {}, self)  # the package's own source

    def _class(self, statement: ast.ClassDef) -> Any:
        bases = tuple(one for one in map(self._value, statement.bases) if _is_outline(one))
        if not bases:
            return _Elsewhere()
        by_place = any(one.arg == "kw_only" and not self._value(one.value) for one in statement.keywords)
        own: dict[str, dataclasses.Field] = {}
        texts = texts_below(statement.body)
        for name, one in _named(statement.body):
            if name == "__init__":
                raise LookupError(f"{statement.name} writes its own constructor")
            if isinstance(one, ast.AnnAssign) and isinstance(one.value, ast.Call):
                field = self._value(one.value)
                if isinstance(field, dataclasses.Field):
                    text = field.metadata["text"] or texts.get(name, "")
                    field.name, field.metadata = name, MappingProxyType({**field.metadata, "text": text})
                    field.kw_only = not by_place if field.kw_only is dataclasses.MISSING else field.kw_only
                    own[name] = field
        fields: dict[str, dataclasses.Field] = {}
        for base in reversed(type(statement.name, bases, {}).__mro__):
            fields |= vars(base).get("__dataclass_fields__", {})
        return type(statement.name, bases, {"__dataclass_fields__": fields | own})


def _named(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Each name that statements bind, with its statement; those under an ``if`` too, as for type checkers."""
    for one in body:
        if isinstance(one, ast.If):
            yield from _named(one.body)
        elif isinstance(one, (ast.Import, ast.ImportFrom)):
            yield from (((alias.asname or alias.name).partition(".")[0], one) for alias in one.names)
        elif isinstance(one, (ast.ClassDef, ast.FunctionDef)):
            yield one.name, one
        elif isinstance(one, (ast.Assign, ast.AnnAssign)):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            yield from ((target.id, one) for target in targets if isinstance(target, ast.Name))


def _is_outline(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Outline)


_OF_PARAMETERS: Mapping[str, Any] = {**vars(constraints), "Parameters": Outline, "parameter": parameter}
