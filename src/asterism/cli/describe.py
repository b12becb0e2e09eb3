"""Methods and their parameters in words, as their sources state them."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import sys
import textwrap
from contextlib import suppress

from asterism.cli.outline import outline_of, parsed
from asterism.cli.settings import Setting, settings_of
from asterism.errors import MissingDependencyError
from asterism.methods.registry import METHODS, find_method

WIDTH = 110  # where no terminal says how wide it is
NARROWEST = 30  # columns of text


def method_lines() -> str:
    """Every method: name, one line, and its paper below."""
    lines = []
    for name in METHODS:
        try:
            texts = summary_of(name), paper_of(name) or ""
        except MissingDependencyError as error:  # of another distribution: the others are listed all the same
            texts = str(error), ""
        lines += _hung([name], max(map(len, METHODS)) + 2, *texts)
    return "\n".join([*lines, "", "Parameters of one: asterism methods NAME"])


def summary_of(name: str) -> str:
    """The first paragraph of a method's docstring."""
    return _first_paragraph(_texts(name)[1])


def paper_of(name: str) -> str | None:
    """The paper that a method's module begins with (``NAME: authors, "title", where``), if it does."""
    first = _first_paragraph(_texts(name)[0])
    match = re.fullmatch(r'[\w-]+: (.+".+".*?)\.?', first)
    return match.group(1) if match else None


def _texts(name: str) -> tuple[str | None, str | None]:
    """Docstrings of a method's module and class; where they cannot be read at its place, its class is imported."""
    module, _, wanted = METHODS.places[name].partition(":")
    with suppress(LookupError, OSError, SyntaxError, ValueError):
        tree = parsed(module)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == wanted:
                return ast.get_docstring(tree), ast.get_docstring(node)
    cls = METHODS[name]
    return sys.modules[cls.__module__].__doc__, cls.__doc__


def parameter_lines(name: str) -> str:
    """Every parameter of a method that ``--set`` reaches: dotted name, default, what it means.

    Raises
    ------
    InputError
        If there is no such method.
    """
    found = _settings(name)
    rows = [["PARAMETER", "DEFAULT", "MEANING"], *([one.path, _shown(one.default), _meaning(one)] for one in found)]
    widths = [max(len(row[column]) for row in rows) + 2 for column in (0, 1)]
    lines = [
        line
        for path, default, meaning in rows
        for line in _hung([path.ljust(widths[0] - 2), default], sum(widths), meaning)
    ]
    paper = paper_of(name)
    head = [*_hung([], 0, f"{name}: {summary_of(name)}", paper or ""), ""]
    first = next((one for one in found if isinstance(one.default, (int, float))), found[0])
    how = f"\nSet with: asterism cluster IMAGES -k N --method {name} --set {first.path}={_shown(first.default)}"
    return "\n".join([*head, *lines, how])


def _settings(name: str) -> list[Setting]:
    """Of a method: as its source states them; where that cannot be read, its class is imported, which takes seconds."""
    try:
        return list(settings_of(outline_of(METHODS.places[name])()))
    except LookupError:
        return list(settings_of(find_method(name)()))


def _first_paragraph(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def _meaning(setting: Setting) -> str:
    choices = f"{', '.join(setting.choices)}. " if len(setting.choices) > 1 else ""
    range_ = f" ({setting.range})" if setting.range else ""
    return " ".join((choices + setting.doc.replace("`", "") + range_).split())


def _hung(names: list[str], indent: int, *texts: str) -> list[str]:
    """Lines that hold names and, beside them, texts, wrapped as wide as the terminal is; none is cut.

    Where the terminal is narrow, the texts stand below the names.
    """
    columns = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout and sys.stdout.isatty() else WIDTH
    head = "  ".join(names).rstrip()
    narrow = bool(names) and columns - indent < NARROWEST
    if narrow:
        indent = 4
    wrapper = textwrap.TextWrapper(max(columns - indent, NARROWEST), break_long_words=False, break_on_hyphens=False)
    lines = [" " * indent + line for text in texts for line in wrapper.wrap(text)]
    if narrow or not lines:
        return [head, *lines]
    return [head.ljust(indent) + lines[0][indent:], *lines[1:]]


def _shown(value: object) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)
