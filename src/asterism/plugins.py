"""What other distributions add to this one: methods, their parameter objects, commands, told by entry points of theirs.

An entry point is a name and ``module:object``; the names cost no import. Groups:

``asterism.methods``
    ``nmf-lp = "asterism_papers.methods.factorisation:GraphNMF"``, a subclass of `ImageClusterer`.
``asterism.parameters``
    ``whitening = "my_package.mine:Whitening"``, a subclass of `Parameters` that a method of theirs is made of.
``asterism.commands``
    ``bench = "asterism_papers.cli.commands_bench:bench"``, a function for typer; ``transfer.verify`` is one below
    ``asterism transfer``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from asterism.errors import MissingDependencyError

METHODS, PARAMETERS, COMMANDS = "asterism.methods", "asterism.parameters", "asterism.commands"
PAPERS = "asterism-papers"


@cache
def added(group: str) -> dict[str, str]:
    """Name and place of what others add to a group; without those whose package is not there (any more)."""
    from importlib.metadata import entry_points  # loads what only a list of all methods or commands needs

    return {one.name: one.value for one in entry_points(group=group) if find_spec(_package_of(one.value))}


def load(place: str) -> Any:
    """The object at ``module:object``.

    Raises
    ------
    MissingDependencyError
        If it cannot be imported.
    """
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except (Exception, SystemExit) as error:  # whatever another's module does when it is imported
        package = _package_of(place)
        said = str(error) if isinstance(error, (ImportError, AttributeError)) else f"{type(error).__name__}: {error}"
        raise MissingDependencyError(f"{place} cannot be loaded: {said}; install {package} again") from error


def _package_of(place: str) -> str:
    return place.partition(":")[0].partition(".")[0]


def without_papers() -> str:
    """``asterism-papers, which is not installed: pip install asterism-papers``; empty where it is installed."""
    return "" if find_spec("asterism_papers") else f"{PAPERS}, which is not installed: pip install {PAPERS}"
