"""What can go wrong, in one line each.

Every error that a user can cause derives from `AsterismError` and from the standard type that fits, so that
``except ValueError`` works as usual and the command line can print one line instead of a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.exceptions import NotFittedError as SklearnNotFittedError


class AsterismError(Exception):
    """Base of every error that Asterism raises on purpose."""


class InputError(AsterismError, ValueError):
    """Images or parameters that cannot be used as they are; the message says what to change."""


class ParameterError(InputError):
    """A parameter of an estimator that cannot be used; ``size`` here is its own, not the images'."""


class RunError(AsterismError, RuntimeError):
    """A run folder that is unfinished, damaged, of another version, or belongs to other images."""


class DivergenceError(AsterismError, FloatingPointError):
    """A training whose loss is no number any more; the message says what to lower."""


class MissingDataError(AsterismError, FileNotFoundError):
    """A data set or file that is not there; the message says where to put it."""


class StorageError(AsterismError, OSError):
    """A folder that cannot be written to, or a file that cannot be read now: no permission, no space, a disk gone."""


class MissingDependencyError(AsterismError, ImportError):
    """An optional package is needed; the message holds the pip command."""


def reason_of(error: BaseException, longest: int = 1000) -> str:
    """What an error says, on one line of at most so many letters; its name where it says nothing."""
    says = " ".join(str(error).split())
    if says.startswith("<urlopen error ") and says.endswith(">"):  # urllib's wrapping says nothing to a user
        says = says[len("<urlopen error ") : -1]
    return says[:longest] or type(error).__name__


if TYPE_CHECKING:

    class NotFittedError(AsterismError, SklearnNotFittedError):
        """A fitted attribute was asked of an estimator that has not been fitted."""


def __getattr__(name: str) -> Any:
    """``NotFittedError``, made when it is first asked for: it derives from scikit-learn's, which takes a second."""
    if name != "NotFittedError":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sklearn.exceptions import NotFittedError as SklearnNotFittedError

    globals()[name] = type(
        name,
        (AsterismError, SklearnNotFittedError),
        {"__doc__": "A fitted attribute was asked of an estimator that has not been fitted.", "__module__": __name__},
    )
    return globals()[name]
