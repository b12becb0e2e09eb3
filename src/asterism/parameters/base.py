"""`Parameters`: estimators in scikit-learn's sense that hold settings, and check them.

An estimator's constructor only stores. What would be twenty-five scalars is nested in a few objects
(``training=Training(lr=0.01)``), each a `Parameters`, so that ``get_params``, ``set_params(training__lr=…)``, ``clone``
and grid search work, and ``--set training.lr=0.01`` reaches every one.
"""

from __future__ import annotations

import dataclasses
import numbers
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from asterism.errors import ParameterError
from asterism.parameters.constraints import LARGEST, Constraint, Each, HasMethod, Interval, in_words
from asterism.parameters.contract import BaseEstimator
from asterism.parameters.fields import Documented, attribute, make_constructor, parameter
from asterism.parameters.stated import Stated, allowed_values, honours, shown, stand_ins

if sys.version_info >= (3, 11):
    from typing import dataclass_transform
else:
    from typing_extensions import dataclass_transform

if TYPE_CHECKING:
    from typing_extensions import Self


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


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(parameter, attribute))
class Parameters(BaseEstimator, Stated):
    """Base of every object with constrained parameters: fields of its class, each stated once by `parameter`.

    Constructor, checks, ``--set`` and help come from the fields. A subclass inherits them, and may state one anew.
    The constructor takes them by name; ``class Training(Parameters, kw_only=False)`` takes its own by position too. A
    class that writes a constructor of its own keeps it.
    """

    def __init_subclass__(cls, kw_only: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in [name for name, value in vars(cls).items() if value is dataclasses.MISSING]:
            delattr(cls, name)  # an `attribute` without a default
        if "__init__" in vars(cls):
            return
        make_constructor(cls, kw_only)
        cls.DEFAULTS = stand_ins(cls.__dataclass_fields__)
        cls.__doc__ = Documented(cls.__doc__, cls.__dataclass_fields__.values())  # type: ignore[assignment]

    def check(self, path: str = "") -> None:
        """Check every parameter, nested ones too.

        Raises
        ------
        ParameterError
            Names the parameter as the user spells it, what it got and what it needs.
        """
        for name, value in self.get_params(deep=False).items():
            self.check_value(name, path)
            if isinstance(value, np.integer):  # short ones overflow, and torch takes none for a number of things
                setattr(self, name, int(value))
            if isinstance(value, Parameters):
                value.check(f"{path}{name}.")

    def check_value(self, name: str, path: str = "") -> None:
        """Check one parameter, not what is nested in it; raises as `check` does."""
        allowed, value = allowed_values(self, name), getattr(self, name)
        if allowed and not any(_accepts(one, value) for one in allowed):
            wanted = " or ".join(in_words(one) for one in allowed)
            unbounded = any(isinstance(one, Interval) and one.high is None for one in allowed)
            if unbounded and isinstance(value, numbers.Integral) and abs(int(value)) > LARGEST:
                wanted += f", and at most {LARGEST}"
            raise ParameterError(f"{path}{name}={shown(value)} cannot be used: {path}{name} must be {wanted}")

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
