"""Parameters, each stated once as a field of its class: constructors, checks, plain JSON, dotted names, help."""

from asterism.parameters.base import Parameters, allowed_values, honours, shown, text_of
from asterism.parameters.constraints import Constraint, Each, HasMethod, Interval
from asterism.parameters.fields import attribute, parameter, spelled
from asterism.parameters.plain import DEEPEST, EARLIER_NAMES, MOVED, from_json, set_dotted, to_json

__all__ = [
    "DEEPEST",
    "EARLIER_NAMES",
    "Constraint",
    "Each",
    "HasMethod",
    "Interval",
    "MOVED",
    "Parameters",
    "allowed_values",
    "attribute",
    "from_json",
    "honours",
    "parameter",
    "set_dotted",
    "shown",
    "spelled",
    "text_of",
    "to_json",
]
