"""Parameter objects: estimators in scikit-learn's sense that hold settings, and their way to JSON and back.

An estimator's constructor only stores. What would be twenty-five scalars is nested in a few objects
(``training=Training(lr=0.01)``), each a `Parameters`, so that ``get_params``, ``set_params(training__lr=…)``, ``clone``
and grid search work, and ``--set training.lr=0.01`` reaches every one.
"""

from __future__ import annotations

import difflib
import inspect
import math
import numbers
import reprlib
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
from sklearn.base import BaseEstimator, clone

from asterism import plugins
from asterism.errors import InputError

LARGEST = 2**31 - 1  # integer that a parameter without an upper bound may be: more of anything fits no machine
# Words of runs that were made before these were renamed.
EARLIER_NAMES = {"FirstGroups": "ClusterInitialisation", "first_groups": "cluster_initialisation"}
# Parameters that one class called otherwise, or that stand in a nested object now.
MOVED = {
    "DeepCluster": {"clustering": "clusterer"},
    "DeepClusterV2": {"hidden": "projection.hidden", "n_dims": "projection.n_dims", "memory": "assignment.memory"},
}
DEEPEST = 20  # levels of a parameter that is read from a file; ours have four
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


class Interval:
    """A range of numbers, as data: ``Interval(int, 1, None)``, ``Interval(float, 0, 1, closed="neither")``.

    Parameters
    ----------
    kind : type
        ``int`` accepts integers only, ``float`` any real number.
    low, high : float or None
        Bounds; None leaves the side open.
    closed : {"both", "left", "right", "neither"}
        Which bounds belong to the range.
    """

    def __init__(self, kind: type, low: float | None, high: float | None, closed: str = "both") -> None:
        self.kind, self.low, self.high, self.closed = kind, low, high, closed

    def accepts(self, value: Any) -> bool:
        """Whether the value is of the kind and lies in the range."""
        type_ = numbers.Integral if self.kind is int else numbers.Real
        if not isinstance(value, type_) or isinstance(value, (bool, np.bool_)):
            return False
        if isinstance(value, numbers.Integral):
            value = int(value)  # of any length
            if self.high is None and abs(value) > LARGEST:
                return False
        elif not math.isfinite(value):
            return False
        if self.low is not None and (value < self.low or (value == self.low and self.closed in ("right", "neither"))):
            return False
        above = self.high is not None and (
            value > self.high or (value == self.high and self.closed in ("left", "neither"))
        )
        return not above

    def __str__(self) -> str:
        name = "an integer" if self.kind is int else "a number"
        if self.low is not None and self.high is not None:
            left = "(" if self.closed in ("right", "neither") else "["
            right = ")" if self.closed in ("left", "neither") else "]"
            return f"{name} in {left}{self.low}, {self.high}{right}"
        if self.low is not None:
            return f"{name} {'>' if self.closed in ('right', 'neither') else '>='} {self.low}"
        return name


class Each:
    """A tuple or list whose parts lie in an `Interval`: ``Each(Interval(int, 1, None))``.

    Parameters
    ----------
    part : Interval
    n : int, optional
        How many there must be; by default any number.
    empty : bool, default=False
        Whether there may be none.
    """

    def __init__(self, part: Interval, n: int | None = None, empty: bool = False) -> None:
        self.part, self.n, self.empty = part, n, empty

    def accepts(self, value: Any) -> bool:
        """Whether the value is such a tuple or list."""
        if not isinstance(value, (tuple, list)) or self.n not in (None, len(value)):
            return False
        return (len(value) > 0 or self.empty) and all(self.part.accepts(one) for one in value)

    def __str__(self) -> str:
        return f"{self.n or ('any number of' if self.empty else 'one or more')} values, each {self.part}, as in 2,3"


class HasMethod:
    """Any object with a method, of whatever library: ``HasMethod("fit_predict", "a clusterer with fit_predict")``.

    Parameters
    ----------
    name : str
        Of the method.
    words : str
        What it is called in messages.
    """

    def __init__(self, name: str, words: str) -> None:
        self.name, self.words = name, words

    def accepts(self, value: Any) -> bool:
        """Whether the value is such an object; a class is none."""
        return not isinstance(value, type) and callable(getattr(value, self.name, None))

    def __str__(self) -> str:
        return self.words


Constraint = Interval | Each | HasMethod | type | set | None


def honours(cls: type, kind: type) -> bool:
    """Whether objects of a class can stand where a kind is asked for: its own, or a subclass with all its parameters.

    `TripletTraining` is a `Training` that has no optimizer to choose: what reads that would fail late. Of a kind that
    is only called, as an `Augmentation` is, any subclass will do.
    """
    if not issubclass(cls, kind):
        return False
    if not issubclass(kind, Parameters) or kind.ONLY_CALLED:
        return True
    return set(kind._get_param_names()) <= set(cast("type[Parameters]", cls)._get_param_names())


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


def _describe(constraint: Constraint) -> str:
    if isinstance(constraint, set):
        return "one of " + ", ".join(repr(choice) for choice in sorted(constraint))
    if isinstance(constraint, type):
        return f"{'an' if constraint.__name__[0] in 'AEIOU' else 'a'} {constraint.__name__}"
    return str(constraint)


def shown(value: Any) -> str:
    """A value in a message: one line of at most some hundred letters, however long or deep it is."""
    if isinstance(value, numbers.Integral) and abs(int(value)) > 10**40:
        return "an integer of more than 40 digits"
    if isinstance(value, Parameters):
        return type(value).__name__
    text = repr(value) if isinstance(value, (str, float, int, type(None))) else _short.repr(value)
    return " ".join((text if len(text) <= 120 else f"{text[:100]}…").split())


class Parameters(BaseEstimator):
    """Base of every object with constrained parameters.

    Class attributes
    ----------------
    _parameter_constraints : dict of str to list
        For each parameter the values that it may take: `Interval`, a type, a set of strings, None.
    DEFAULTS : dict of str to Parameters
        What a nested parameter is when it is None.
    ONLY_CALLED : bool
        Whether users of such an object call it and read none of its parameters.
    """

    _parameter_constraints: ClassVar[dict[str, list[Constraint]]] = {}
    DEFAULTS: ClassVar[dict[str, Any]] = {}
    ONLY_CALLED: ClassVar[bool] = False

    def check(self, path: str = "") -> None:
        """Check every parameter, nested ones too.

        Raises
        ------
        InputError
            Names the parameter as the user spells it, what it got and what it needs.
        """
        for name, value in self.get_params(deep=False).items():
            allowed = self._parameter_constraints.get(name)
            if allowed is not None and not any(_accepts(one, value) for one in allowed):
                wanted = " or ".join(_describe(one) for one in allowed)
                if isinstance(value, numbers.Integral) and abs(int(value)) > LARGEST:
                    wanted += f", and at most {LARGEST}"
                raise InputError(f"{path}{name}={shown(value)} cannot be used: {path}{name} must be {wanted}")
            if isinstance(value, Parameters):
                value.check(f"{path}{name}.")

    def set_params(self, **params: Any) -> Parameters:
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


def to_json(value: Any) -> Any:
    """Plain JSON of a parameter value; nested objects become ``{"class": …, "params": …}``.

    Raises
    ------
    InputError
        If the value has no plain form (a network that the user passed in, say).
    """
    if isinstance(value, Parameters):
        params = {name: to_json(one) for name, one in value.get_params(deep=False).items()}
        return {"class": type(value).__name__, "params": params}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, BaseEstimator):  # another library's, which is never built from a file
        return f"{type(value).__module__}.{' '.join(repr(value).split())}"
    raise InputError(f"a parameter of type {type(value).__name__} cannot be written to run.json")


def from_json(value: Any, known: Mapping[str, type[Parameters]], depth: int = 0) -> Any:
    """Rebuild what `to_json` wrote, from a closed list of known classes: no import by name, no code from the file.

    Raises
    ------
    InputError
        For a class that is not among them, a parameter that it has not, or what is nested deeper than any parameter.
    """
    if depth > DEEPEST:
        raise InputError(f"a parameter is nested more than {DEEPEST} levels deep; was the file changed?")
    if isinstance(value, dict) and set(value) == {"class", "params"}:
        if not isinstance(value["class"], str) or not isinstance(value["params"], dict):
            raise InputError("a parameter object has no name of a class, or no parameters; was the file changed?")
        named = EARLIER_NAMES.get(value["class"], value["class"])
        if named not in known:
            lacking = plugins.without_papers()
            more = f", or with {lacking}" if lacking else "?"
            raise InputError(f"unknown class {shown(value['class'])}; was it written by a newer version{more}")
        cls, given = known[named], {str(EARLIER_NAMES.get(name, name)): one for name, one in value["params"].items()}
        moved = {new: given.pop(old) for old, new in MOVED.get(named, {}).items() if old in given}
        accepted = set(inspect.signature(cls.__init__).parameters) - {"self"}
        unknown = set(given) - accepted
        if unknown:
            raise InputError(f"{value['class']} has no parameter {', '.join(sorted(map(shown, unknown)))}")
        made = cls(**{name: from_json(one, known, depth + 1) for name, one in given.items()})
        set_dotted(made, moved)
        return made
    if isinstance(value, list):
        return [from_json(one, known, depth + 1) for one in value]
    return value


def set_dotted(estimator: Parameters, values: Mapping[str, Any]) -> None:
    """Set parameters by their dotted names, as ``--set training.lr=0.01`` spells them.

    Parameters
    ----------
    estimator : Parameters
        Changed in place. A nested object is copied before it is changed, so that the class's defaults, and objects
        that several estimators share, stay as they are; a nested None starts from the class's default.
    values : mapping of str to value
        ``{"boost": 1.5, "autoencoder.training.n_epochs": 10}``. `check` and ``fit`` check the values.

    Raises
    ------
    InputError
        If there is no such parameter: names the nearest, and all that there are.
    """
    for path, value in values.items():
        owner, prefix = estimator, ""
        *parents, last = path.split(".")
        for parent in parents:
            _check_name(owner, parent, prefix, path)
            nested = _nested(owner, parent, path)
            setattr(owner, parent, nested)
            owner, prefix = nested, f"{prefix}{parent}."
        _check_name(owner, last, prefix, path)
        setattr(owner, last, value)


def _check_name(owner: Parameters, name: str, prefix: str, path: str) -> None:
    names = sorted(owner.get_params(deep=False))
    if name in names:
        return
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {prefix}{close[0]}? " if close else ""
    listed = ", ".join(prefix + one for one in names)
    raise InputError(f"{path} cannot be set: {type(owner).__name__} has no parameter {name!r}; {hint}It has: {listed}")


def _nested(owner: Parameters, name: str, path: str) -> Parameters:
    """A copy of the nested object; where it is switched off ("none"), a new one of its kind."""
    value = owner.resolved(name)
    if isinstance(value, Parameters):
        return clone(value)
    for kind in owner._parameter_constraints.get(name, []):
        if isinstance(kind, type) and issubclass(kind, Parameters) and kind._get_param_names():
            return kind()
    raise InputError(f"{path} cannot be set: {name} is {value!r} and has no parameters of its own")
