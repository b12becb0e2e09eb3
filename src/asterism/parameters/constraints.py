"""What a parameter may be, as data: intervals of numbers, tuples of such, types, words, None."""

from __future__ import annotations

import math
import numbers
from typing import Any

LARGEST = 2**31 - 1  # integer that a parameter without an upper bound may be: more of anything fits no machine


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
        self.kind, self.low, self.high = kind, low, high
        self.above_low, self.below_high = closed in ("right", "neither"), closed in ("left", "neither")

    def accepts(self, value: Any) -> bool:
        """Whether the value is of the kind and lies in the range."""
        type_ = numbers.Integral if self.kind is int else numbers.Real
        if not isinstance(value, type_) or isinstance(value, bool):
            return False
        if isinstance(value, numbers.Integral):
            value = int(value)  # of any length
            if self.high is None and abs(value) > LARGEST:
                return False
        elif not math.isfinite(value):
            return False
        if self.low is not None and (value < self.low or (self.above_low and value == self.low)):
            return False
        return self.high is None or value < self.high or (value == self.high and not self.below_high)

    @property
    def range(self) -> str:
        """``"in (0, 1]"`` or ``">= 1"``; nothing where there are no bounds."""
        if self.low is not None and self.high is not None:
            left, right = "(" if self.above_low else "[", ")" if self.below_high else "]"
            return f"in {left}{self.low}, {self.high}{right}"
        if self.low is not None:
            return f"{'>' if self.above_low else '>='} {self.low}"
        return ""

    def __str__(self) -> str:
        return f"{'an integer' if self.kind is int else 'a number'} {self.range}".strip()


POSITIVE_INT, NON_NEGATIVE_INT = Interval(int, 1, None), Interval(int, 0, None)
POSITIVE, NON_NEGATIVE = Interval(float, 0, None, closed="neither"), Interval(float, 0, None)
FRACTION, OPEN_FRACTION = Interval(float, 0, 1), Interval(float, 0, 1, closed="neither")
FRACTION_ABOVE_0, FRACTION_BELOW_1 = Interval(float, 0, 1, closed="right"), Interval(float, 0, 1, closed="left")


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


def in_words(constraint: Constraint) -> str:
    """A constraint in a message: ``a number >= 1``, ``one of 'rc', 'sf'``."""
    if isinstance(constraint, set):
        return "one of " + ", ".join(repr(choice) for choice in sorted(constraint))
    if isinstance(constraint, type):
        return f"{'an' if constraint.__name__[0] in 'AEIOU' else 'a'} {constraint.__name__}"
    return str(constraint)


def as_type(constraint: Constraint) -> str:
    """A constraint as numpydoc writes types: ``int >= 1``, ``{"rc", "sf"}``."""
    if isinstance(constraint, Interval):
        return f"{constraint.kind.__name__} {constraint.range}".strip()
    if isinstance(constraint, Each):
        return f"tuple of {as_type(constraint.part)}"
    if isinstance(constraint, set):
        return "{" + ", ".join(f'"{choice}"' for choice in sorted(constraint)) + "}"
    if isinstance(constraint, HasMethod):
        return str(constraint)
    return "None" if constraint is None else constraint.__name__
