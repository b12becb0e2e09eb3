"""Vectors of pictures: features that were computed elsewhere, joined with the images that they are of."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from asterism.errors import AsterismError, InputError, MissingDataError, reason_of
from asterism.files import csv_plain
from asterism.images.array_files import read_archive, read_array
from asterism.images.arrays import as_numpy, open_array
from asterism.images.label_files import PATH_WORDS, match_paths
from asterism.images.labels import encode_known
from asterism.images.listing import told_apart
from asterism.images.npz import FEATURE_KEYS, as_texts
from asterism.images.options import Options
from asterism.images.source import ImageSource
from asterism.images.text_tables import n_indices, named_columns, read_text_table
from asterism.machine import available_memory

ENDINGS = (".npz", ".npy", ".csv", ".tsv", ".txt", ".parquet")
CELL_BYTES = 16  # of memory that a number of a .parquet takes on its way
VECTOR_KEYS = (*FEATURE_KEYS, "X", "x", "data", "arr_0")
AT_ONCE = 4096  # rows of a .parquet file that are Python's own values together

Table = tuple[np.ndarray, list[str] | None, list[Any] | None]  # (M, D), and name and class of each row


def with_features(pictures: ImageSource, features: Any) -> ImageSource:
    """Vectors to be grouped, and the pictures that they are of, for the eye.

    Parameters
    ----------
    pictures : ImageSource
        N images.
    features : path or array of shape (M, D)
        ``.npz`` (``features``, and ``names`` or ``paths``), ``.npy`` (with ``FILE.names.csv`` beside it, or none),
        ``.csv`` or ``.parquet`` (a column of paths, the others numbers), or an array; a pandas frame may have the paths
        as its index. Rows are joined with images by their names; where there are none, they must be as many, and in
        order.

    Returns
    -------
    ImageSource
        A table of N vectors with the names, the labels and the origin of the pictures.

    Raises
    ------
    InputError, MissingDataError
        If the features cannot be read, or an image has none.
    """
    path = os.path.abspath(os.path.expanduser(features)) if isinstance(features, (str, os.PathLike)) else None
    called = "features" if path is None else repr(os.path.basename(path))
    rows, names, _ = (as_numpy(features, called), _index_of(features), None) if path is None else read_vectors(path)
    if rows.ndim != 2:
        raise InputError(f"{called} has shape {rows.shape}; expected one vector an image, (N, D)")
    if names is not None:
        rows = rows[_rows_of(pictures.names, names, called)]
    elif len(rows) != len(pictures):
        raise InputError(
            f"{called} has {len(rows)} rows without names, and there are {len(pictures)} images: add names"
        )
    table = open_array(np.ascontiguousarray(rows), Options(layout="ND"), name=called)
    origin = {**pictures.origin, "features": path} if path is not None else {"source": None}
    return replace(
        table,
        names=pictures.names,
        labels=pictures.labels,
        label_names=pictures.label_names,
        skipped=pictures.skipped,
        origin=origin,
        pictures=pictures,
    )


def open_table(path: str, options: Options, source: str | None = None) -> ImageSource:
    """Open a table of numbers, a row a vector: ``.csv``, ``.tsv``, ``.txt`` (`read_text_table`) or ``.parquet``.

    Raises
    ------
    InputError
        If it cannot be read, or holds what is no number.
    """
    is_text = not path.lower().endswith(".parquet")
    rows, names, classes = read_text_table(path) if is_text else read_vectors(path)
    opened = open_array(rows, options, source or os.path.abspath(path), name=repr(os.path.basename(path)))
    if names is not None:
        opened = replace(opened, names=told_apart(names))
    if classes is None or not any(one not in (None, "") for one in classes):
        return opened
    labels, label_names = encode_known([None if one == "" else one for one in classes])
    return replace(opened, labels=labels, label_names=label_names or None)


def _index_of(features: Any) -> list[str] | None:
    """The names of the rows of a pandas frame, if they are texts."""
    names = list(features.index) if hasattr(features, "iloc") else []
    return names if names and all(isinstance(one, str) for one in names) else None


def _rows_of(images: Sequence[str], names: list[str], called: str) -> np.ndarray:
    """Row of each image, (N,)."""
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise InputError(f"{called} has two rows for {twice[:200]!r}: give one an image")
    found = match_paths(images, names, called)
    if (found < 0).any():
        lacking = images[int((found < 0).argmax())]
        raise InputError(
            f"{called} has no row for {int((found < 0).sum())} of {len(images)} images; without one: "
            f"{lacking[:200]!r}; rows: {names[0][:200]!r}"
        )
    return found


def read_vectors(path: str) -> Table:
    """Vectors of a file, with names and classes if it has them; raises `InputError` or `MissingDataError`."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in ENDINGS:
        raise InputError(f"features {path!r} must end in one of {', '.join(ENDINGS)}")
    if not os.path.isfile(path):
        raise MissingDataError(f"features {path!r} does not exist")
    read = {".npz": _read_npz, ".npy": _read_npy, ".parquet": _read_parquet}.get(ending, read_text_table)
    try:
        return read(path)
    except AsterismError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"features {path!r} cannot be read: {reason_of(error, 300)}") from error


def _read_npz(path: str) -> Table:
    arrays = read_archive(path)
    tables = [key for key, value in arrays.items() if value.ndim == 2 and value.dtype.kind in "fiu"]
    key = next((key for key in VECTOR_KEYS if key in tables), tables[0] if len(tables) == 1 else None)
    if key is None:
        raise InputError(f"features {path!r} needs a key 'features' of shape (N, D); it holds {', '.join(arrays)}")
    names = next((arrays[key] for key in arrays if key.lower() in PATH_WORDS), None)
    return arrays[key], None if names is None else _texts(as_texts(names), len(arrays[key]), path), None


def _read_npy(path: str) -> Table:
    rows, beside = read_array(path), os.path.splitext(path)[0] + ".names.csv"
    if not os.path.isfile(beside):
        return rows, None, None
    with open(beside, newline="", encoding="utf-8") as lines:
        names = [csv_plain(row[0]) for row in list(csv.reader(lines))[1:] if row]
    return rows, _texts(names, len(rows), beside), None


def _read_parquet(path: str) -> Table:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("a .parquet file needs pyarrow: pip install 'asterism-clustering[parquet]'") from error
    about = pyarrow.parquet.read_metadata(path)
    groups, leaves = map(about.row_group, range(about.num_row_groups)), range(about.num_columns)
    n_bytes = CELL_BYTES * sum(group.column(i).num_values for group in groups for i in leaves)
    if n_bytes > available_memory():  # of equal numbers a small file may hold any number
        raise InputError(f"{path!r} needs {n_bytes:,} bytes of memory, which are not free: save it as .npy")
    table = pyarrow.parquet.read_table(path)
    heads = table.column_names
    names, labels = named_columns([head.casefold() for head in heads])
    counts = _indices(table)  # of rows: no numbers of theirs
    first = counts[0] if counts else 0
    if names is None and labels != first and len(heads) > 1:
        texts = (isinstance(one, str) for part in _parts(table.column(first)) for one in part)
        names = first if all(texts) else None  # as in text
    at, classes = (None if i is None else table.column(i).to_pylist() for i in (names, labels))
    others = [_column(table.column(i), head) for i, head in enumerate(heads) if i not in (names, labels, *counts)]
    if not others:
        raise InputError(f"{path!r} has no column of numbers; it has {', '.join(map(repr, heads))[:200]}")
    rows = others[0] if len(others) == 1 and others[0].ndim == 2 else np.stack(others, 1)  # one column of lists
    at = None if at is None else [_place(one) for one in at]
    return rows, None if at is None or None in at else _texts(at, len(rows), path), classes


def _indices(table: Any) -> list[int]:
    """Columns in which pandas keeps the names of rows, of a table of pyarrow's."""
    heads, kept = table.column_names, (table.schema.pandas_metadata or {}).get("index_columns", [])
    found = [heads.index(one) for one in kept if one in heads]  # a plain count is no column
    return found or list(range(n_indices([head.casefold() for head in heads])))


def _place(name: Any) -> Any:
    """The path in a cell, which may hold the whole image (``{"bytes": …, "path": …}``); None where it holds none."""
    name = name.get("path") if isinstance(name, dict) else name
    if isinstance(name, bytes):
        with suppress(UnicodeDecodeError):
            return name.decode()
        return None
    return name


def _parts(column: Any) -> Iterator[list[Any]]:
    """A column of pyarrow's as Python's own values, some thousands at once: each takes eight times the room."""
    for start in range(0, max(1, len(column)), AT_ONCE):
        yield column.slice(start, AT_ONCE).to_pylist()


def _column(column: Any, head: str) -> np.ndarray:
    try:
        return np.concatenate([np.array(part, np.float32) for part in _parts(column)])
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {head[:80]!r} holds what is no number: leave it out") from error


def _texts(names: list[Any], n: int, path: str) -> list[str]:
    if len(names) != n:
        raise InputError(f"{path!r} holds {len(names)} names for {n} vectors")
    return [str(name) for name in names]
