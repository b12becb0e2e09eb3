"""``--set autoencoder.training.lr=0.01``: every parameter of a method by its dotted name."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from asterism.cli.errors import OF_ESTIMATORS, OPTION_OF
from asterism.cli.outline import Outline, known_outlines
from asterism.errors import InputError, MissingDependencyError
from asterism.external import look_here
from asterism.methods.registry import KNOWN_CLASSES
from asterism.parameters.constraints import Interval
from asterism.parameters.stated import Stated, allowed_values, honours, shown, text_of

if TYPE_CHECKING:
    from asterism.parameters import Parameters

_WORDS = {"true": True, "false": False, "none": None, "null": None, "default": None}


@dataclass(frozen=True)
class Setting:
    """A parameter that ``--set`` reaches."""

    path: str
    default: Any
    choices: list[str]
    range: str
    doc: str


def apply_settings(estimator: Parameters, settings: Sequence[str], method: str) -> None:
    """Change parameters of an estimator; nested objects that are at their defaults are copied first.

    Parameters
    ----------
    estimator : Parameters
        Changed in place.
    settings : sequence of str
        ``name=value``; values are numbers, true, false, none, lists or text.
    method : str
        What messages call the estimator.

    Raises
    ------
    InputError
        For a name that the method does not have; lists those that it has.
    """
    from asterism.parameters import holder_of

    pairs = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path.strip():
            raise InputError(f"--set {shown(setting)} is not of the form name=value, as in --set training.lr=0.01")
        pairs.append((path.strip(), text.strip()))
    for path, text in sorted(pairs, key=lambda pair: pair[0].count(".")):  # autoencoder=SAE before autoencoder.dropout
        holder, name = holder_of(estimator, path, partial(_check_known, whole=path, estimator=estimator, method=method))
        look_here(text)
        setattr(holder, name, parse_value(text, allowed_values(holder, name), _classes(holder, name)))


def parse_value(text: str, allowed: Sequence[Any] = (), classes: Sequence[type[Parameters]] = ()) -> Any:
    """The value that a text means.

    Parameters
    ----------
    text : str
    allowed : sequence
        Constraints of the parameter: a choice that is named "none" wins over the value None.
    classes : sequence of type
        Parameter objects that may be named instead of a value.
    """
    if any(isinstance(one, set) and text in one for one in allowed):
        return text
    named = next((one for one in classes if one.__name__.lower() == text.lower()), None)
    if named is not None:
        return named()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def settings_of(holder: Stated, prefix: str = "") -> Iterator[Setting]:
    """Every parameter that ``--set`` reaches in an object, or in an `Outline`: its default, and what is said of it."""
    for name in _names(holder):
        value = holder.resolved(name)
        nested = isinstance(value, Stated)
        allowed = allowed_values(holder, name)
        choices = sorted(text for one in allowed if isinstance(one, set) for text in one)
        ranges = " or ".join(one.range for one in allowed if isinstance(one, Interval) and one.range)
        yield Setting(prefix + name, type(value).__name__ if nested else value, choices, ranges, text_of(holder, name))
        # A nested one whose default is no object (``augmentation="none"``) is shown as what it may be.
        inner = value if nested else next((one() for one in _classes(holder, name)), None)
        if inner is not None:
            yield from settings_of(inner, f"{prefix}{name}.")


def _names(holder: Stated) -> list[str]:
    """Parameters of an object without those that have an option of their own."""
    return [name for name in holder.get_params(deep=False) if name not in OF_ESTIMATORS]


def _check_known(holder: Parameters, name: str, _path: str, *, whole: str, estimator: Parameters, method: str) -> None:
    if name in _names(holder):
        return
    if name in OF_ESTIMATORS and name in holder.get_params(deep=False):
        raise InputError(f"--set {whole}: give {OPTION_OF[name]} instead")
    known = [setting.path for setting in settings_of(estimator)]
    close = [OPTION_OF[whole]] if whole in OPTION_OF else difflib.get_close_matches(whole, known, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"--set {whole}: {method} has no such parameter; {hint}it has {', '.join(known)}")


def _classes(holder: Stated, name: str) -> list[type[Any]]:
    """Parameter objects that a parameter may be; their outlines, where that is asked of one."""
    kinds = [one for one in allowed_values(holder, name) if isinstance(one, type) and issubclass(one, Stated)]
    if not kinds:
        return []
    known: Iterable[type[Any]] = known_outlines() if isinstance(holder, Outline) else _loadable()
    return [cls for cls in known if any(honours(cls, kind) for kind in kinds)]


def _loadable() -> Iterator[type[Any]]:
    """The known classes, without those of other distributions that are broken."""
    for name in KNOWN_CLASSES:
        with suppress(MissingDependencyError):
            yield KNOWN_CLASSES[name]
