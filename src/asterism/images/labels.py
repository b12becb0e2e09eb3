"""Known classes of images, for scoring only: from the names of folders, or from a file."""

from __future__ import annotations

import csv
import numbers
import os
from collections.abc import Sequence

import numpy as np

from asterism.errors import InputError, MissingDataError
from asterism.images.listing import natural_key
from asterism.images.source import ImageSource

_HEADER_WORDS = frozenset(("path", "file", "filename", "name", "image", "id"))


def encode_labels(values: Sequence, names: Sequence[str] | None = None) -> tuple[np.ndarray, list[str] | None]:
    """Labels from 0.

    Parameters
    ----------
    values : sequence of int, integral float or str, of length N
        One label an image.
    names : sequence of str, optional
        What the classes 0, 1, … are called, where ``values`` are integers from 0.

    Returns
    -------
    labels : ndarray of shape (N,)
        int64. Integers that are 0 … K − 1 without a gap, or have names, are kept; all else is
        numbered in natural order.
    label_names : list of str or None
        None where the values were their own numbers.

    Raises
    ------
    InputError
        If a label is neither text nor a whole number, or has no name.
    """
    if all(isinstance(value, numbers.Real) and float(value).is_integer() for value in values):
        numbered = np.array([int(value) for value in values], dtype=np.int64)
        if names is not None:
            if numbered.min() < 0 or numbered.max() >= len(names):
                raise InputError(
                    f"labels lie in {numbered.min()} to {numbered.max()} but {len(names)} classes have names"
                )
            return numbered, list(names)
        distinct, labels = np.unique(numbered, return_inverse=True)
        if distinct[0] == 0 and distinct[-1] == len(distinct) - 1:
            return numbered, None
        return labels.reshape(-1).astype(np.int64), [str(value) for value in distinct]
    odd = [value for value in values if not isinstance(value, str)]
    if odd:
        raise InputError(f"label {odd[0]!r} is neither text nor a whole number")
    found = sorted(set(values), key=natural_key)
    number = {name: i for i, name in enumerate(found)}
    return np.array([number[value] for value in values], dtype=np.int64), found


def folder_labels(source: ImageSource, level: int = 0) -> tuple[np.ndarray, list[str]]:
    """Classes from the subfolders that the images lie in.

    Parameters
    ----------
    source : ImageSource
        Names are relative paths, ``CLASS/image.jpg``.
    level : int
        Which part of the path is the class; 0 is the first.

    Returns
    -------
    labels : ndarray of shape (N,)
        int64.
    label_names : list of str
        In natural order.

    Raises
    ------
    InputError
        If an image lies in no such subfolder.
    """
    parts = [name.split("/") for name in source.names]
    bare = next((i for i, part in enumerate(parts) if len(part) < level + 2), None)
    if bare is not None:
        raise InputError(
            f"image {source.names[bare]!r} lies in no class folder; labels from folders need CLASS/image.jpg"
        )
    labels, names = encode_labels([part[level] for part in parts])
    return labels, names or []


def file_labels(source: ImageSource, path: str | os.PathLike) -> tuple[np.ndarray, list[str]]:
    """Classes from a CSV file.

    Parameters
    ----------
    source : ImageSource
        Every one of its names must be in the file; the file may hold more.
    path : str or os.PathLike
        UTF-8 text with the two columns path and label, with or without a line of headings (whose first word then is
        one of path, file, filename, name, image, id).

    Returns
    -------
    labels : ndarray of shape (N,)
        int64.
    label_names : list of str
        In natural order.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If the file cannot be read as such, names an image twice with different labels, or lacks one.
    """
    shown = os.fspath(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as lines:
            rows = [(number, row) for number, row in enumerate(csv.reader(lines), 1) if row]
    except FileNotFoundError as error:
        raise MissingDataError(f"label file {shown!r} does not exist; expected a CSV file: path,label") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"label file {shown!r} cannot be read as CSV in UTF-8: {error}") from error
    if rows and rows[0][1][0].strip().lower() in _HEADER_WORDS and rows[0][1][0] not in source.names:
        rows = rows[1:]
    known: dict[str, str] = {}
    for number, row in rows:
        if len(row) != 2 or not row[1].strip():
            raise InputError(f"label file {shown!r}, row {number}: expected path,label but got {','.join(row)!r}")
        name, label = row[0].removeprefix("./"), row[1].strip()
        if known.setdefault(name, label) != label:
            raise InputError(f"label file {shown!r} gives image {name!r} two labels: {known[name]!r} and {label!r}")
    missing = [name for name in source.names if name not in known]
    if missing:
        among = f"{len(missing)} of {len(source.names)} images"
        raise InputError(f"label file {shown!r} has no label for {among}; the first is {missing[0]!r}")
    labels, names = encode_labels([known[name] for name in source.names])
    return labels, names or []
