"""Parameters as plain JSON and back, and by their dotted names."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from asterism import plugins
from asterism.errors import InputError
from asterism.parameters.base import Parameters, allowed_values, shown
from asterism.parameters.contract import BaseEstimator

# Words of runs that were made before these were renamed.
EARLIER_NAMES = {"FirstGroups": "ClusterInitialisation", "first_groups": "cluster_initialisation"}
# Parameters that one class called otherwise, or that stand in a nested object now.
MOVED = {
    "DeepCluster": {"clustering": "clusterer"},
    "DeepClusterV2": {"hidden": "projection.hidden", "n_dims": "projection.n_dims", "memory": "assignment.memory"},
}
# What came later, and what was done before: not written where it is the same, so that earlier versions' runs go on.
LATER = {"drop_interval": None, "diagonal": True, "squared": True, "outliers": None, "drop_duplicates": False}
LATER_IN = {"DiscriminantDiffusion": {"fine_tune": 0}}  # the same of one class, where another had the name before
DEEPEST = 20  # levels of a parameter that is read from a file; ours have four


def to_json(value: Any) -> Any:
    """Plain JSON of a parameter value; nested objects become ``{"class": …, "params": …}``.

    Raises
    ------
    InputError
        If the value has no plain form (a network that the user passed in, say).
    """
    if isinstance(value, Parameters):
        return {
            "class": type(value).__name__,
            "params": plain_params(value.get_params(deep=False), type(value).__name__),
        }
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, BaseEstimator):  # another library's, which is never built from a file
        return f"{type(value).__module__}.{' '.join(repr(value).split())}"
    raise InputError(f"a parameter of type {type(value).__name__} cannot be written to run.json")


def plain_params(params: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Plain JSON of a class's parameters by their names, without those of `LATER` and `LATER_IN` that are as before."""
    later = LATER | LATER_IN.get(owner, {})
    return {name: to_json(one) for name, one in params.items() if name not in later or one != later[name]}


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
        owner, last = holder_of(estimator, path, check_name)
        setattr(owner, last, value)


def holder_of(
    estimator: Parameters, path: str, check: Callable[[Parameters, str, str], None]
) -> tuple[Parameters, str]:
    """The object that holds the last name of a dotted path, and that name.

    Nested objects on the way become copies of the estimator's own, see `set_dotted`. ``check(owner, name, path)``
    raises where an object on the way has no parameter of the name that the path to there ends in.
    """
    owner, prefix = estimator, ""
    *parents, last = path.split(".")
    for parent in parents:
        check(owner, parent, prefix + parent)
        owner.check_value(parent, prefix)
        nested = _nested(owner, parent, path)
        setattr(owner, parent, nested)
        owner, prefix = nested, f"{prefix}{parent}."
    check(owner, last, path)
    return owner, last


def check_name(owner: Parameters, name: str, path: str) -> None:
    """See that an object has a parameter; raises `InputError`, which names the nearest and all that there are."""
    names = sorted(owner.get_params(deep=False))
    if name in names:
        return
    prefix = path.removesuffix(name)
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {prefix}{close[0]}? " if close else ""
    listed = ", ".join(prefix + one for one in names)
    raise InputError(f"{path} cannot be set: {type(owner).__name__} has no parameter {name!r}; {hint}It has: {listed}")


def _nested(owner: Parameters, name: str, path: str) -> Parameters:
    """A copy of the nested object; where it is switched off ("none"), a new one of its kind."""
    value = owner.resolved(name)
    if isinstance(value, Parameters):
        return clone(value)
    for kind in allowed_values(owner, name):
        if isinstance(kind, type) and issubclass(kind, Parameters) and kind._get_param_names():
            return kind()
    raise InputError(f"{path} cannot be set: {name} is a plain value and has no parameters of its own")
