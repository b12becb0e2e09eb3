"""`Parameters`: estimators in scikit-learn's sense that hold settings, and check them.

An estimator's constructor only stores. What would be twenty-five scalars is nested in a few objects
(``training=Training(lr=0.01)``), each a `Parameters`, so that ``get_params``, ``set_params(training__lr=…)``, ``clone``
and grid search work, and ``--set training.lr=0.01`` reaches every one.
"""

from __future__ import annotations

import dataclasses
import numbers
import reprlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import clone

from asterism.errors import InputError
from asterism.parameters.constraints import LARGEST, Constraint, Each, HasMethod, Interval, in_words
from asterism.parameters.contract import BaseEstimator
from asterism.parameters.fields import attribute, make_constructor, parameter, with_parameters

if sys.version_info >= (3, 11):
    from typing import dataclass_transform
else:
    from typing_extensions import dataclass_transform

if TYPE_CHECKING:
    from typing_extensions import Self

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


def honours(cls: type, kind: type) -> bool:
    """Whether objects of a class can stand where a kind is asked for: its own, or a subclass with all its parameters.

    A subclass that writes its own constructor may lack some, and what reads them would fail late.
    """
    if not (issubclass(kind, Parameters) and issubclass(cls, Parameters)):
        return issubclass(cls, kind)
    return issubclass(cls, kind) and set(kind._get_param_names()) <= set(cls._get_param_names())


def _accepts(constraint: Constraint, value: Any) -> bool:
    if constraint is None:
        return value is None
    if isinstance(constraint, (Interval, Each, HasMethod)):
        return constraint.accepts(value)
    if isinstance(constraint, set):
        return isinstance(value, str) and value in constraint
    if constraint is bool:
        return isinstance(value, (bool, np.bool_))
    return honours(type(value), constraint)


def shown(value: Any) -> str:
    """A value in a message: one line of at most some hundred letters, however long or deep it is."""
    if isinstance(value, numbers.Integral) and abs(int(value)) > 10**40:
        return "an integer of more than 40 digits"
    if isinstance(value, Parameters):
        return type(value).__name__
    text = repr(value) if isinstance(value, (str, float, int, type(None))) else _short.repr(value)
    return " ".join((text if len(text) <= 120 else f"{text[:100]}…").split())


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(parameter, attribute))
class Parameters(BaseEstimator):
    """Base of every object with constrained parameters: fields of its class, each stated once by `parameter`.

    Constructor, checks, ``--set`` and help come from the fields. A subclass inherits them, and may state one anew.
    The constructor takes them by name; ``class Training(Parameters, kw_only=False)`` takes its own by position too. A
    class that writes a constructor of its own keeps it.

    Class attributes
    ----------------
    DEFAULTS : dict of str to object
        What a parameter is when it is None (`parameter`'s ``when_none``).
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {}
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field]] = {}

    def __init_subclass__(cls, kw_only: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in [name for name, value in vars(cls).items() if value is dataclasses.MISSING]:
            delattr(cls, name)  # an `attribute` without a default
        if "__init__" in vars(cls):
            return
        make_constructor(cls, kw_only)
        fields = cls.__dataclass_fields__.values()
        stand_ins = {one.name: one.metadata["when_none"] for one in fields}
        cls.DEFAULTS = {name: value for name, value in stand_ins.items() if value is not None}
        cls.__doc__ = with_parameters(cls.__doc__, fields)

    def check(self, path: str = "") -> None:
        """Check every parameter, nested ones too.

        Raises
        ------
        InputError
            Names the parameter as the user spells it, what it got and what it needs.
        """
        for name, value in self.get_params(deep=False).items():
            allowed = allowed_values(self, name)
            if allowed and not any(_accepts(one, value) for one in allowed):
                wanted = " or ".join(in_words(one) for one in allowed)
                if isinstance(value, numbers.Integral) and abs(int(value)) > LARGEST:
                    wanted += f", and at most {LARGEST}"
                raise InputError(f"{path}{name}={shown(value)} cannot be used: {path}{name} must be {wanted}")
            if isinstance(value, Parameters):
                value.check(f"{path}{name}.")

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``training__lr=0.1`` of one that is None changes a copy of the class's default.

        Raises
        ------
        ValueError
            scikit-learn's, for a name that is none.
        """
        for name in {key.partition("__")[0] for key in params if "__" in key} - set(params):
            if getattr(self, name, self) is None and isinstance(self.DEFAULTS.get(name), Parameters):
                setattr(self, name, clone(self.DEFAULTS[name]))
        return super().set_params(**params)

    def resolved(self, name: str) -> Any:
        """The nested parameter ``name``, or the class's default for it where it is None."""
        value = getattr(self, name)
        return self.DEFAULTS[name] if value is None and name in self.DEFAULTS else value


def allowed_values(owner: Parameters | type[Parameters], name: str) -> Sequence[Constraint]:
    """What a parameter may be; nothing is said of one that is no field."""
    found = owner.__dataclass_fields__.get(name)
    return found.metadata["allowed"] if found else ()


def text_of(owner: Parameters | type[Parameters], name: str) -> str:
    """What a parameter means, for people."""
    found = owner.__dataclass_fields__.get(name)
    return found.metadata["text"] if found else ""
