"""What reaches the terminal: plain lines, in which no file name can move the cursor or change the colours."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from asterism.errors import StorageError
from asterism.machine import launch


def safe(text: str) -> str:
    """Text whose control characters, direction marks and half characters are written out (``\\x1b``)."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def as_argument(path: Path) -> str:
    """A path as it is typed in a shell: quoted, and no option."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def one_line(text: str) -> str:
    """Text on one line."""
    return " ".join(text.split("\n")).strip()


def say(text: str = "") -> None:
    """A line of the command's answer, on standard output; of several processes the main one alone gives it.

    Raises
    ------
    StorageError
        If it finds no room there.
    """
    if launch().rank:
        return
    try:
        typer.echo("\n".join(safe(line) for line in text.split("\n")))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"the answer cannot be written to standard output: {error.strerror or error}") from error


def note(text: str) -> None:
    """A line beside the answer, on standard error; where that takes none, nothing fails by it."""
    with suppress(OSError):
        typer.echo("\n".join(safe(line) for line in text.split("\n")), err=True)


def counted(n: int, noun: str) -> str:
    """``1 image``, ``12 345 images``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}".replace(",", " ")


def aligned(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as text in columns; numbers stand right, the last column is as long as it likes."""
    listed = [list(row) for row in rows]
    cells = [[f"{one}" for one in row] for row in listed]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row, shown in zip(listed, cells, strict=True):
        parts = [
            text.rjust(width) if isinstance(value, (int, float)) else text.ljust(width)
            for value, text, width in zip(row, shown, widths, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)
