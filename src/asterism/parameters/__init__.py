"""Parameters, each stated once as a field of its class: constructors, checks, plain JSON, dotted names, help.

``fields`` states one, ``constraints`` say what it may be and name the usual ranges, ``base`` is the class that has
them (``stated``: without other libraries, ``contract``: scikit-learn's part), ``plain`` writes them to run.json and
sets them by dotted names.
"""

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.parameters.base import Parameters
    from asterism.parameters.constraints import Constraint, Each, HasMethod, Interval
    from asterism.parameters.fields import attribute, parameter, spelled
    from asterism.parameters.plain import DEEPEST, from_json, holder_of, plain_params, set_dotted, to_json
    from asterism.parameters.stated import Stated, allowed_values, honours, shown, text_of

# Names alone: the command line reads of parameters without scikit-learn.
__getattr__, __all__ = lazy_names(
    __name__,
    {
        "base": ("Parameters",),
        "constraints": ("Constraint", "Each", "HasMethod", "Interval"),
        "fields": ("attribute", "parameter", "spelled"),
        "plain": ("DEEPEST", "from_json", "holder_of", "plain_params", "set_dotted", "to_json"),
        "stated": ("Stated", "allowed_values", "honours", "shown", "text_of"),
    },
)
