"""Boxes in which an object may lie, made elsewhere (selective search): read from files."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from asterism.errors import InputError, MissingDataError, StorageError
from asterism.images.io_errors import retry

Proposals = dict[str, np.ndarray]
_PIXELS = np.array([1, 1, 0, 0], np.float32)  # VOC's first and last pixel, from 1 → edges


def read_proposals(paths: Iterable[str | Path]) -> Proposals:
    """Read files of proposals; each may hold those of some images.

    Parameters
    ----------
    paths : iterable of path
        ``.mat`` as the authors of Fast R-CNN distribute selective search's boxes (``images``, names, and ``boxes``, for
        each image rows of ymin, xmin, ymax, xmax); ``.npz`` with an array of rows xmin, ymin, xmax, ymax under each
        image's name; ``.csv`` with lines image,xmin,ymin,xmax,ymax. All in VOC's way: pixels counted from 1, the last
        one in.

    Returns
    -------
    dict of str to ndarray of shape (n, 4), float32
        For each image left, top, right and bottom edges.

    Raises
    ------
    MissingDataError, InputError
        If a file does not exist or is none of these.
    StorageError
        If the machine, not the file, is in trouble.
    """
    found: Proposals = {}
    for path in map(Path, paths):
        reader = {".mat": _from_mat, ".npz": _from_npz, ".csv": _from_csv}.get(path.suffix.lower())
        if reader is None:
            raise InputError(f"{path} cannot be read as proposals: expected a file ending in .mat, .npz or .csv")
        if not path.is_file():
            raise MissingDataError(f"{path} does not exist; expected a file of proposals")
        try:
            pixels = retry(partial(reader, path), str(path))
        except StorageError:
            raise
        except NotImplementedError as error:
            raise InputError(f"{path} is a MATLAB file of version 7.3: save it with -v7") from error
        except Exception as error:  # readers of damaged files raise anything
            raise InputError(f"{path} cannot be read as proposals: {type(error).__name__}: {error}") from error
        for name, rows in pixels.items():
            if rows.ndim != 2 or rows.shape[1] != 4 or not (rows[:, 2:] >= rows[:, :2]).all():  # nan is none either
                raise InputError(f"{path}: the boxes of image {name} are no rows xmin, ymin, xmax, ymax")
            found[name] = rows.astype(np.float32) - _PIXELS
    return found


def proposals_of(proposals: Proposals, ids: Iterable[str]) -> list[np.ndarray]:
    """The boxes of images, in their order.

    Raises
    ------
    InputError
        If an image has none.
    """
    missing = [one for one in ids if len(proposals.get(one, ())) == 0]
    if missing:
        raise InputError(f"there are no proposals for image {missing[0]}, nor for {len(missing) - 1} more")
    return [proposals[one] for one in ids]


def _from_mat(path: Path) -> Proposals:
    content = loadmat(path)
    names = [str(np.squeeze(one)) for one in content["images"].ravel()]
    boxes = [np.asarray(one, np.float32).reshape(-1, 4)[:, [1, 0, 3, 2]] for one in content["boxes"].ravel()]
    return dict(zip(names, boxes, strict=True))


def _from_npz(path: Path) -> Proposals:
    with np.load(path, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name], np.float32) for name in archive.files}


def _from_csv(path: Path) -> Proposals:
    rows: dict[str, array] = {}
    with open(path, newline="", encoding="utf-8-sig") as lines:
        for number, row in enumerate(csv.reader(lines)):
            if len(row) != 5:
                raise ValueError(f"line {number + 1} has {len(row)} fields instead of image,xmin,ymin,xmax,ymax")
            if number > 0 or row[1].strip() != "xmin":
                rows.setdefault(row[0].strip(), array("f")).extend(map(float, row[1:]))
    return {name: np.frombuffer(values, np.float32).reshape(-1, 4) for name, values in rows.items()}
