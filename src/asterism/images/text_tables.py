"""Vectors as text (``.csv``, ``.tsv``, ``.txt``), told from lists of images by what stands in them."""

from __future__ import annotations

import csv
import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TextIO

import numpy as np

from asterism.errors import InputError
from asterism.files import csv_plain
from asterism.images import urls
from asterism.images.label_files import LABEL_WORDS, PATH_WORDS, marked_encoding
from asterism.images.listing import looks_like_image, shown_name
from asterism.machine import available_memory

_INDEX = re.compile(r"|index|level_\d+|unnamed: \d+(\.\d+)*")  # what pandas calls the columns of rows' names
LOOKED_AT, LONGEST = 20, 2**24  # lines that tell what a file holds; letters of one
FEW = 8  # columns of numbers beside paths of images are more likely about them (width, height) than vectors
BLOCK = 2**18  # cells that are text at once
ROUNDED = 0.01  # share of a table's variance that is much to lose by rounding
MEASURED = 2**22  # numbers of a table, at most, that tell whether rounding matters

# "000017" names an image. None of these looks twice at a run of like letters, which a stranger may make very long.
_NUMBER = re.compile(
    r"\s*[+-]?(?!0[0-9]+\s*$)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|inf(inity)?|nan)\s*", re.IGNORECASE
)
_COMMA_NUMBER = re.compile(r"\s*[+-]?(?!0[0-9]+\s*$)([0-9]+(,[0-9]+)?|,[0-9]+)(e[+-]?[0-9]+)?\s*", re.IGNORECASE)
_MISSING = ("", "na", "n/a", "null", "none", "?", "-")
NO_ROW = re.compile(r"(\s*(#.*|sep=.))?\s*")  # blank, a comment of numpy's, or Excel's word on what separates


@dataclass(frozen=True)
class Columns:
    """How a table of numbers is written.

    Attributes
    ----------
    separator : str or None
        Of cells; None is any blank.
    comma : bool
        Whether numbers have a decimal comma.
    headings : tuple of str
        Of all columns; empty where there are none.
    width : int
        Columns.
    names, labels : int or None
        Columns of the rows' names and classes.
    numbers : tuple of int
        All others, which are to be numbers.
    sample : tuple of list of str
        The first rows.
    """

    separator: str | None
    comma: bool
    headings: tuple[str, ...]
    width: int
    names: int | None
    labels: int | None
    numbers: tuple[int, ...]
    sample: tuple[list[str], ...]


def columns_of(path: str) -> Columns | None:
    """How the table of numbers in a text file is written, by its first lines; None where it has no column of such."""
    with suppress(OSError, UnicodeError), opened_text(path) as lines:
        sample = _sample(lines)
        if not sample or any("\0" in line for line in sample):
            return None
        met = [one for one in (";", "\t", ",") if one in sample[-1]] or [","]
        found = (_columns(sample, separator) for separator in (*met, None))
        return max((one for one in found if one is not None), key=lambda one: one[0], default=(0, None))[1]
    return None


def holds_vectors(path: str) -> bool:
    """Whether a text file is a table of numbers, not a list of images, which may have numbers too."""
    found = columns_of(path)
    if found is None:
        return False
    if found.headings and all(found.headings[column] == f"f{i}" for i, column in enumerate(found.numbers)):
        return True  # of asterism embed
    entries = [row[found.names or 0].strip() for row in found.sample]
    lines = [(found.separator or " ").join(row) for row in found.sample]
    if any(urls.is_url(one) or _is_there(one, path) for one in (*entries, *lines)):
        return False
    numeric = _number_columns(found.sample, found.numbers, found.comma)
    if found.names is None and len(numeric) == len(found.numbers):
        return len(numeric) > 1 or bool(found.headings) or not all(map(str.isdigit, entries))  # else numbers of images
    return len(numeric) >= (FEW if looks_like_image(entries[0]) else 2)  # "1,cat" is a path and its label


def _is_there(entry: str, path: str) -> bool:
    """Whether an entry of a list at a path names a file, or a folder; folders called 0, 1, … are classes beside it."""
    there = os.path.isfile if entry.isdigit() else os.path.exists
    return entry != "" and any(
        there(os.path.join(root, os.path.expanduser(entry))) for root in ("", os.path.dirname(path))
    )


def read_text_table(path: str) -> tuple[np.ndarray, list[str] | None, list[str] | None]:
    """Vectors of a text file, and the names and classes of its rows where it has such columns.

    Separated by commas, semicolons, tabs or blanks, with or without headings, with decimal points or commas; in UTF-8,
    or in UTF-16 with a mark. Names stand in a column that is called so (`PATH_WORDS`), or in the first, if it holds no
    numbers; classes in one that is called so (`LABEL_WORDS`).

    Returns
    -------
    rows : ndarray of shape (N, D)
        float32.
    names, labels : list of str or None

    Raises
    ------
    InputError
        Where a cell is no number (or beyond those of float32), or rows differ in length; names the line.
    """
    called = repr(os.path.basename(path))
    columns, n_bytes, free = columns_of(path), os.path.getsize(path), available_memory()
    if columns is None:
        raise InputError(f"{called} has no columns of numbers; expected a line such as path,f0,f1 and one an image")
    if n_bytes > free:
        raise InputError(
            f"{called} has {n_bytes:,} bytes and {free:,} of memory are free: save it as .npy, which is read in parts"
        )
    names, labels = list[str](), list[str]()
    blocks = list[np.ndarray]()
    try:
        with opened_text(path) as lines:
            cells = _body(lines, columns, called)
            while block := list(islice(cells, max(1, BLOCK // columns.width))):
                numbers = _numbers(block, columns, called)
                if not blocks:
                    tell_of_rounding(numbers, called)
                blocks.append(numbers.astype(np.float32))
                if columns.names is not None:
                    names += [shown_name(csv_plain(row[columns.names])) for _, row in block]
                if columns.labels is not None:
                    labels += [row[columns.labels].strip() for _, row in block]
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{called} cannot be read: {error}") from error
    if not blocks:
        raise InputError(f"{called} has headings and no rows; expected one an image")
    counted = names == [str(i) for i in range(len(names))]  # no more than the place of each
    return np.concatenate(blocks), None if counted else names, labels or None


def tell_of_rounding(array: np.ndarray, name: str) -> None:
    """Warn where float32 keeps little of how the rows of a table differ, as of times in seconds since 1970."""
    if array.dtype.itemsize <= 2 or array.dtype == np.float32:  # all their digits are kept
        return
    exact = array[:: -(-array.size // MEASURED) or 1].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        lost = (exact - exact.astype(np.float32)).var(0).sum()
    if lost > ROUNDED * exact.var(0).sum():
        warnings.warn(
            f"{name} has numbers so far from 0 that float32, in which all is computed, rounds away how its rows "
            "differ: take the same mean off all of them first, in float64",
            stacklevel=4,
        )


def opened_text(path: str) -> TextIO:
    """A file as text, in UTF-8 or as its mark says; bytes that are not of it become letters that stand for them."""
    with open(path, "rb") as file:
        encoding = marked_encoding(file.read(4)) or "utf-8"
    return open(path, newline="", encoding=encoding, errors="surrogateescape")


def _sample(lines: TextIO) -> list[str]:
    """The first lines that hold something, whole ones, as far as they are not too long."""
    found, room = list[str](), LONGEST
    while len(found) <= LOOKED_AT and (line := lines.readline(room)):  # of no room it is empty
        room -= len(line)
        if room <= 0 and not line.endswith(("\r", "\n")):
            break
        if not NO_ROW.fullmatch(line):
            found.append(line)
    return found


def _rows(lines: Iterable[str], separator: str | None) -> Iterator[tuple[int, list[str]]]:
    """Number of the line, and cells, of each row."""
    numbered = ((number, line) for number, line in enumerate(lines, 1) if not NO_ROW.fullmatch(line))
    if separator is None:
        yield from ((number, line.split()) for number, line in numbered)
        return
    at = [0]

    def noted() -> Iterator[str]:
        for at[0], line in numbered:
            yield line

    for row in csv.reader(noted(), delimiter=separator):
        yield at[0], row


def _columns(sample: list[str], separator: str | None) -> tuple[tuple[float, int], Columns] | None:
    """How the lines read with such a separator, and how good that is: share and number of columns of numbers."""
    try:
        rows = [row for _, row in _rows(sample, separator)]
    except csv.Error:
        return None
    width = Counter(map(len, rows[1:] or rows)).most_common(1)[0][0]
    even = [row for row in rows[1:] or rows if len(row) == width]
    comma = separator != "," and width > 1 and _has(even, ",", _COMMA_NUMBER) and not _has(even, ".", _NUMBER)
    numeric = _number_columns(even, range(width), comma)
    if not numeric or (separator is None and len(numeric) < width):  # words with blanks are names of files
        return None
    headings = _headings(rows, width, numeric, comma)
    heads = [one.strip().casefold() for one in headings] or [""] * width
    unused = [i for i in range(width) if not heads[i] and not any(row[i].strip() for row in even)]
    names, labels = named_columns(heads)
    unused += range(n_indices(heads) if headings else 0)
    if names is None and (0 in unused or 0 not in numeric) and labels != 0 and any(row[0].strip() for row in even):
        names = 0
    numbers = tuple(i for i in range(width) if i not in (names, labels, *unused))
    if not set(numbers) & set(numeric):
        return None
    found = Columns(separator, comma, headings, width, names, labels, numbers, tuple(even))
    return (len(numeric) / width, len(numeric)), found


def _has(rows: list[list[str]], mark: str, number: re.Pattern[str]) -> bool:
    return any(mark in cell and number.fullmatch(cell) for row in rows for cell in row)


def named_columns(headings: Sequence[str]) -> tuple[int | None, int | None]:
    """Which columns hold names and classes, by their headings in small letters; None where none is called so."""
    words = LABEL_WORDS - {"y"} if "x" in headings else LABEL_WORDS  # else a coordinate
    names = next((headings.index(word) for word in PATH_WORDS if word in headings), None)
    return names, next((i for i, head in enumerate(headings) if head in words and i != names), None)


def n_indices(headings: Sequence[str]) -> int:
    """How many columns at the left, of headings in small letters, are those of rows' names: more, if written again."""
    return next((i for i, head in enumerate(headings[:-1]) if not _INDEX.fullmatch(head)), len(headings) - 1)


def _number_columns(rows: Sequence[list[str]], among: Iterable[int], comma: bool) -> list[int]:
    """Columns that hold numbers, or nothing: at least half numbers."""
    number = _COMMA_NUMBER if comma else _NUMBER

    def share(column: int) -> float:
        return sum(number.fullmatch(row[column]) is not None for row in rows) / len(rows)

    return [column for column in among if share(column) >= 0.5]


def _headings(rows: list[list[str]], width: int, numeric: list[int], comma: bool) -> tuple[str, ...]:
    """The first row, if it is one of headings: words above numbers, or 0, 1, 2, …, as pandas counts."""
    head = rows[0]
    if len(head) != width:
        return ()
    numbers = [head[i].strip() for i in _number_columns([head], numeric, comma)]
    n_words = len(numeric) - len(numbers) - sum(head[i].strip().casefold() in _MISSING for i in numeric)
    is_count = len(numbers) > 1 and numbers == [str(i) for i in range(len(numbers))]
    whole = all(row[i].strip().isdigit() for row in rows[1:] if len(row) == width for i in numeric)
    names, _ = named_columns([one.strip().casefold() for one in head])
    is_head = n_words > len(numbers) or names is not None or (is_count and (n_words > 0 or not whole))
    return tuple(head) if is_head else ()


def _body(lines: TextIO, columns: Columns, called: str) -> Iterator[tuple[int, list[str]]]:
    rows = _rows(lines, columns.separator)
    if columns.headings:
        next(rows, None)
    for number, row in ((number, row) for number, row in rows if any(map(str.strip, row))):
        if len(row) != columns.width:
            cells = f"{len(row)} cell{'s' if len(row) > 1 else ''}"
            raise InputError(f"line {number} of {called} has {cells} and others have {columns.width}")
        yield number, row


def _numbers(block: list[tuple[int, list[str]]], columns: Columns, called: str) -> np.ndarray:
    """Numbers (M, D), float64, of M rows; none is beyond those of float32."""

    def number(cell: str) -> float:
        try:
            return float(cell.replace(",", ".") if columns.comma else cell)
        except ValueError:
            return math.nan

    found = np.array([[number(row[i]) for i in columns.numbers] for _, row in block], np.float64)
    with np.errstate(over="ignore"):
        wrong = np.argwhere(~np.isfinite(found.astype(np.float32)))
    if not len(wrong):
        return found
    (line, row), i = block[wrong[0, 0]], columns.numbers[wrong[0, 1]]
    column = f"column {columns.headings[i][:80]!r}" if columns.headings else f"column {i + 1}"
    where, cell = f"line {line}, {column} of {called}", row[i].strip()
    if cell.casefold() in (*_MISSING, "nan"):
        what = f"holds {cell!r}" if cell else "is empty"
        raise InputError(f"{where} {what}: fill it in, or leave the row out")
    raise InputError(
        f"{where} holds {cell[:80]!r}; expected a number: leave the column out (write label above it if it "
        "tells classes), or the row"
    )
