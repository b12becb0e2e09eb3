"""Known classes of images, for scoring only: from the names of folders, or from a file."""

from __future__ import annotations

import numbers
import os
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from asterism.errors import InputError
from asterism.images.label_files import read_labels
from asterism.images.listing import natural_key

SHOWN = 200  # letters of a name in a message
LARGEST = 2**63  # of a whole number that is a label


class Named(Protocol):
    """Images of which the names are known."""

    @property
    def names(self) -> list[str]:
        """One an image."""


def encode_labels(values: Sequence, names: Sequence[str] | None = None) -> tuple[np.ndarray, list[str] | None]:
    """Labels from 0.

    Parameters
    ----------
    values : sequence of int, integral float or str, of length N
        One label an image.
    names : sequence of str, optional
        What the classes 0, 1, … are called, where ``values`` are integers from 0; −1 is then an image without a class.

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
    if all(isinstance(value, numbers.Real) and _is_whole(value) for value in values):
        numbered = np.array([int(value) for value in values], dtype=np.int64)
        if names is not None:
            if numbered.min() < -1 or not 0 <= numbered.max() < len(names):
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
        worst = next((one for one in odd if not (isinstance(one, numbers.Real) and _is_whole(one))), odd[0])
        raise InputError(f"label {_shown(worst)} is neither text nor a whole number of 64 bits")
    found = sorted(set(values), key=natural_key)
    number = {name: i for i, name in enumerate(found)}
    return np.array([number[value] for value in values], dtype=np.int64), found


def _shown(value: object) -> str:
    """A label in a message: numbers of thousands of digits cannot even be written."""
    try:
        return repr(value)[:SHOWN]
    except ValueError:
        return "of thousands of digits"


def _is_whole(value: numbers.Real) -> bool:
    """Whether a number has no fraction and 64 bits hold it."""
    if isinstance(value, numbers.Integral):
        return -LARGEST <= int(value) < LARGEST
    number = float(value)
    return number.is_integer() and -LARGEST <= number < LARGEST


def folder_labels(source: Named, level: int = 0) -> tuple[np.ndarray, list[str]]:
    """Classes from the subfolders that the images lie in.

    Parameters
    ----------
    source : ImageSource, or what else has ``names``
        Names are relative paths, ``CLASS/image.jpg``.
    level : int
        Which part of the path is the class; 0 is the first.

    Returns
    -------
    labels : ndarray of shape (N,)
        int64; −1 for an image that lies in no such subfolder.
    label_names : list of str
        In natural order.

    Warns
    -----
    UserWarning
        If some images lie in no such subfolder.

    Raises
    ------
    InputError
        If none lies in one.
    """
    parts = [name.split("/") for name in source.names]
    classes = [part[level] if len(part) > level + 1 else None for part in parts]
    if not any(classes):
        raise InputError(f"image {source.names[0]!r} lies in no class folder; labels from folders need CLASS/image.jpg")
    if None in classes:
        n = len(classes) - classes.count(None)
        bare = source.names[classes.index(None)]
        _warn(f"{n} of {len(classes)} images lie in a class folder: scores are of those; in none: {bare[:SHOWN]!r}")
    return encode_known(classes)


def file_labels(source: Named, path: str | os.PathLike) -> tuple[np.ndarray, list[str]]:
    """Classes from a table of paths and labels.

    Parameters
    ----------
    source : ImageSource, or what else has ``names``
        Its images are looked up by their names. The file may hold more, and may lack some.
    path : str or os.PathLike
        Text with the two columns path and label, and perhaps more of them and a line of headings; separated by commas,
        semicolons, tabs or bars. Paths may be absolute, begin with the name of the folder, have backslashes or other
        capitals, or be file names alone, as long as it is clear which image is meant.

    Returns
    -------
    labels : ndarray of shape (N,)
        int64; −1 for an image without a label.
    label_names : list of str
        In natural order.

    Warns
    -----
    UserWarning
        If some images have no label, file names alone agree, or it is not plain which column holds the labels.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If the file cannot be read as such, gives an image two labels, or names none of the images.
    """
    shown, names = os.fspath(path), source.names
    if not names:
        return np.zeros(0, dtype=np.int64), []
    found = read_labels(path, names)
    sides = "" if found.example is None else f"; labels: {found.example[:SHOWN]!r}"
    if not found.n:
        raise InputError(
            f"label file {shown!r} names none of the {len(names)} images; images: {names[0][:SHOWN]!r}{sides}"
        )
    if found.how is not None:
        _warn(f"label file {shown!r} has other paths than the images: {found.how}")
    if found.column is not None:
        _warn(
            f"label file {shown!r} has several columns that may be labels: {found.column[:SHOWN]} is taken; "
            "write 'label' above the one that is meant"
        )
    if found.n < len(names):
        lacking = names[found.labels.index(None)]
        _warn(
            f"{found.n} of {len(names)} images have a label in {shown!r}: scores are of those; "
            f"without one: {lacking[:SHOWN]!r}{sides}"
        )
    return encode_known(found.labels)


def _warn(text: str) -> None:
    """Warn whoever called the function that is told of."""
    warnings.warn(text, UserWarning, stacklevel=3)


def encode_known(values: Sequence[Any]) -> tuple[np.ndarray, list[str]]:
    """Labels from 0, −1 for None, and the names of the classes in natural order, none where they are their numbers."""
    encoded, label_names = encode_labels([value for value in values if value is not None])
    labels = np.full(len(values), -1, dtype=np.int64)
    labels[[value is not None for value in values]] = encoded
    return labels, label_names or []
