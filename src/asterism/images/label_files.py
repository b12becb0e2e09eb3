"""Tables of labels as people have them: any separator and encoding, paths written in other ways than the images'."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import stat
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from asterism.errors import InputError, MissingDataError

# Headings of a column of paths; where a table has several, the first of these tells.
PATH_WORDS = (
    *("path", "filepath", "file_path", "image_path", "img_path", "file", "filename", "file_name"),
    *("image", "image_name", "img", "name", "id", "paths", "files", "names", "images", "fname", "image_id", "imageid"),
    *("picture", "photo"),
)
LABEL_WORDS = frozenset(
    ("label", "labels", "class", "classes", "class_name", "classname", "category", "target", "truth", "species", "y")
)
BESIDE = (*PATH_WORDS, "run_group", "confidence", "duplicate_of", "outlier")  # in tables of runs, no labels
LARGEST_FILE = 2**30  # bytes; 10 million labels have a third of that
PATHS_ASKED = 20_000  # which folders stand in front is told by so many, evenly spaced
COLUMNS_TRIED = 3  # without headings, the paths stand in one of the first
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Row = tuple[str, str]  # path and label
Path = tuple[str, ...]


@dataclass
class Matched:
    """Labels of images, found in a table.

    Attributes
    ----------
    labels : list of str or None
        One an image; None where the table has none.
    example : str or None
        A path of the table that names no image.
    how : str or None
        What had to be left out of sight for paths to agree, if that could mislead.
    column : str or None
        The column of the labels, where others may be meant.
    """

    labels: list[str | None]
    example: str | None = None
    how: str | None = None
    column: str | None = None

    @property
    def is_sure(self) -> bool:
        """Whether paths agree, and not by what could mislead."""
        return self.n > 0 and self.how is None

    @property
    def n(self) -> int:
        """Images that have a label."""
        return len(self.labels) - self.labels.count(None)


def read_labels(path: str | os.PathLike, names: Sequence[str]) -> Matched:
    """Find the labels of images in a text file of two columns or more.

    Of every way to read the file (what separates the columns, which column holds the paths) the one that names most
    images is taken; one by which paths agree comes before those by which only a part of them does.

    Parameters
    ----------
    path : str or os.PathLike
    names : sequence of str
        Of the images.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If it cannot be read as text, has no second column, or gives an image two labels.
    """
    shown = os.fspath(path)
    known = frozenset(names)
    best: Matched | None = None
    for table in _tables(_text(path)):
        for rows, column in _columns(table, known):
            found = _match(names, _checked(rows, shown, known))
            found.column = column
            if best is None or (found.is_sure, found.n) > (best.is_sure, best.n):
                best = found
            if best.is_sure and best.n == len(names):
                return best
    if best is None:
        raise InputError(f"label file {shown!r} has no two columns; expected lines such as: {names[0]},cat")
    return best


def _text(path: str | os.PathLike) -> str:
    """The file's text: UTF-8 or, as its first bytes say, UTF-16 or -32; else what old Windows programs write."""
    shown = os.fspath(path)
    try:
        with open(os.path.expanduser(path), "rb", opener=_at_once) as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise MissingDataError(f"label file {shown!r} does not exist; expected a CSV file: path,label") from error
    except (OSError, ValueError) as error:
        raise InputError(f"label file {shown!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > LARGEST_FILE:
        raise InputError(f"label file {shown!r} is larger than {LARGEST_FILE >> 20} MiB: is it a table of labels?")
    marked = marked_encoding(content)
    for encoding in [marked] if marked else ["utf-8", "cp1252"]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _is_json(text):
            raise InputError(f"label file {shown!r} is JSON: save it as CSV in UTF-8, path,label")
        if "\0" not in text:
            return text
    raise InputError(f"label file {shown!r} is not text in UTF-8: save it as CSV in UTF-8, path,label")


def marked_encoding(start: bytes) -> str | None:
    """The encoding that a text's first bytes tell: UTF-8, -16 or -32 with a mark; None where there is none."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), None)


def _at_once(path: str, flags: int) -> int:
    """Descriptor of a file or pipe; one that nobody writes to is empty, where opening it would wait for ever."""
    if stat.S_ISCHR(os.stat(path).st_mode):  # /dev/zero, as a stranger's run may name it
        raise ValueError("it is a device")
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(handle, True)
    return handle


def _is_json(text: str) -> bool:
    """Whether a text, or its first line, is an object or a list: read as a table it would give wrong labels."""
    for part in (text.partition("\n")[0], text) if text.lstrip()[:1] in ("{", "[") else ():
        try:
            return isinstance(json.loads(part), (dict, list))
        except RecursionError:
            return True
        except ValueError:
            continue
    return False


def _tables(text: str) -> Iterator[list[list[str]]]:
    """The rows of two cells or more, for each separator that makes such rows; blank lines are left out."""
    for separator in (one for one in ",;\t| " if one in text):
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE) if '"' in text else (csv.QUOTE_MINIMAL,):
            lines = io.StringIO(text, newline="")
            try:
                rows = list(csv.reader(lines, delimiter=separator, quoting=quoting, skipinitialspace=separator != "\t"))
            except csv.Error:  # a cell that never ends
                continue
            if any(len(row) > 1 for row in rows):
                yield [row for row in rows if any(cell.strip() for cell in row)]


def _columns(table: list[list[str]], names: frozenset[str]) -> Iterator[tuple[list[Row], str | None]]:
    """Paths and labels, for each column that may hold the paths, and the labels' column where others may be meant."""
    at, heads = _headings(table, names)
    paths = sorted((i for i, head in enumerate(heads) if head in PATH_WORDS), key=lambda i: PATH_WORDS.index(heads[i]))
    labels = [i for i, head in enumerate(heads) if head in LABEL_WORDS]
    may_be = [i for i, head in enumerate(heads) if head not in BESIDE or head in ("name", "names")]
    for column in paths:
        told = [i for i in labels if i != column]
        right = [i for i in (*range(column + 1, len(heads)), *range(column)) if i in may_be]
        label = (told or right or [i for i in range(len(heads)) if i != column] or [1])[0]
        rows = _rows(table[at + 1 :], column, label)
        if "confidence" in heads and heads[label] in ("cluster", "group"):  # a run's: −1 is an image in none
            rows = [(path, "" if group == "-1" else group) for path, group in rows]
        yield rows, repr(heads[label]) if len(right) > 1 and not told else None
    if paths:
        return
    width = max(map(len, table))
    for label in labels[:1]:  # headings in words of its own, but for this one
        for column in range(min(COLUMNS_TRIED, width)):
            if column != label:
                yield _rows(table[at + 1 :], column, label), None
    for column in range(min(COLUMNS_TRIED, width)):
        yield _rows(table, column, column + 1), f"column {column + 2}" if width > column + 2 else None
    yield _rows(table, 1, 0), None


def _headings(table: list[list[str]], names: frozenset[str]) -> tuple[int, list[str]]:
    """Which row is that of the headings, and these in small letters: the first, or the first behind remarks.

    Remarks are lines that begin with ``#``, and Excel's word on what separates. No headings where there is no such row.
    """
    for at, row in enumerate(table):
        heads = [cell.strip().lstrip("#").strip().casefold() for cell in row]
        if any(head in PATH_WORDS or head in LABEL_WORDS for head in heads) and not any(cell in names for cell in row):
            return at, heads
        if not row[0].lstrip().startswith(("#", "sep=")):
            break
    return 0, []


def _rows(table: list[list[str]], path: int, label: int) -> list[Row]:
    return [(row[path], row[label].strip() if label < len(row) else "") for row in table if path < len(row)]


def _checked(rows: list[Row], shown: str, names: frozenset[str]) -> list[Row]:
    """Rows with a label, each once.

    Raises
    ------
    InputError
        If an image has two labels.
    """
    known: dict[str, str] = {}
    told = dict.fromkeys(
        (name.removeprefix("./"), label) for name, label in rows if label and name.strip().strip(" ./\\")
    )
    for name, label in told:
        if known.setdefault(name, label) != label and name in names:
            raise InputError(
                f"label file {shown!r} gives image {name[:200]!r} two labels: {known[name][:80]!r} and {label[:80]!r}"
            )
    return list(told)


# ------------------------------------------------------------------------------------------------ paths that agree


def match_paths(names: Sequence[str], listed: Sequence[str], called: str | None = None) -> np.ndarray:
    """Which of the listed paths each image is: (N,) int64, −1 for none. They may be written as those of labels are.

    Warns
    -----
    UserWarning
        If paths agree by what could mislead, where it is given what the list is ``called``.
    """
    found = _match(names, [(path, str(i)) for i, path in enumerate(listed)])
    if called is not None and found.how is not None and found.n:
        warnings.warn(f"{called} has other paths than the images: {found.how}", UserWarning, stacklevel=3)
    return np.array([-1 if one is None else int(one) for one in found.labels], np.int64)


def _match(names: Sequence[str], rows: list[Row]) -> Matched:
    """Labels of images whose path is the same, else the same but for what `_ways` leaves out of sight."""
    exact = dict(rows)
    labels = [exact.get(name) for name in names]
    known = set(names)
    best = Matched(labels, next((name for name, _ in rows if name not in known), None) if None in labels else None)
    if None not in labels or not rows:
        return best
    paths, listed = [_parts(name) for name in names], [_parts(name) for name, _ in rows]
    for how, image_keys, row_keys in _ways(paths, listed):
        if how is not None and best.n:
            break  # what could mislead is tried last, and only where nothing else agrees
        found = _join(names, image_keys, rows, row_keys, exact)
        if found.n > best.n:
            best = found
            best.how = how
        if best.n == len(names):
            break
    return best


def _parts(path: str) -> Path:
    """A path's parts, composed letters, with either slash; ``./`` and blanks around it are left out."""
    normal = path if path.isascii() else unicodedata.normalize("NFC", path)
    return tuple(part for part in normal.strip().replace("\\", "/").split("/") if part not in ("", "."))


def _folded(paths: list[Path]) -> list[Path]:
    return [tuple(part.casefold() for part in path) for path in paths]


def _ways(images: list[Path], rows: list[Path]) -> Iterator[tuple[str | None, list[Path], list[Path]]]:
    """Keys by which images and rows may agree, the safest first, and what to say of those that could mislead."""
    for fold in (list, _folded):
        one, other = fold(images), fold(rows)
        yield None, one, other
        yield None, one, _without_front(other, one)
        yield None, _without_front(one, other), other
        if all(len(path) == 1 for path in other):  # the table has file names alone
            yield None, [path[-1:] for path in one], other
    names, listed = ([path[-1:] for path in _folded(paths)] for paths in (images, rows))
    yield "file names alone are compared", names, listed
    yield "file names without their endings are compared", _stems(names), _stems(listed)


def _stems(paths: list[Path]) -> list[Path]:
    return [(os.path.splitext(path[-1])[0],) for path in paths]


def _without_front(paths: list[Path], known: list[Path]) -> list[Path]:
    """Paths without the folders in front of those that end in a known path (``/home/me/photos``), if it is the same."""
    ends = set(known)
    fronts: Counter[Path] = Counter()
    for path in paths[:: -(-len(paths) // PATHS_ASKED)]:
        at = next((i for i in range(1, len(path)) if path[i:] in ends), 0)
        if at:
            fronts[path[:at]] += 1
    front = fronts.most_common(1)[0][0] if fronts else ()
    if any(other[: len(front)] != front for other in fronts):
        return paths  # two folders that may be meant
    return [path[len(front) :] if path[: len(front)] == front else path for path in paths]


def _join(
    names: Sequence[str], image_keys: list[Path], rows: list[Row], row_keys: list[Path], exact: dict[str, str]
) -> Matched:
    """Labels by equal keys; a key that two images share, or that has two labels, tells nothing."""
    taken = {name for name in names if name in exact}
    label_of: dict[Path, str | None] = {}
    for key, (name, label) in zip(row_keys, rows, strict=True):
        if name not in taken:
            label_of[key] = label if label_of.get(key, label) == label else None
    shared = Counter(key for key, name in zip(image_keys, names, strict=True) if name not in taken)
    labels = [
        exact[name] if name in taken else label_of.get(key) if shared[key] == 1 else None
        for key, name in zip(image_keys, names, strict=True)
    ]
    used = {key for key, label in zip(image_keys, labels, strict=True) if label is not None}
    left = (name for key, (name, _) in zip(row_keys, rows, strict=True) if name not in taken and key not in used)
    return Matched(labels, next(left, None))
