"""Features to a file: ``.npz``, ``.npy`` or ``.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from asterism.cli.runs import write_whole
from asterism.errors import InputError
from asterism.training.checkpoint import write_text
from asterism.training.folder import csv_safe

ENDINGS = (".npz", ".npy", ".csv")


def check_ending(path: Path) -> None:
    """See that features can be written in the format that a file's name asks for.

    Raises
    ------
    InputError
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"--out {path} must end in one of {', '.join(ENDINGS)}: the ending chooses the format")


def write_features(path: Path, names: list[str], features: np.ndarray) -> None:
    """Write features (N, D) and the N names of their images.

    ``.npz`` holds both as ``features`` and ``names``; ``.npy`` holds the features and ``FILE.names.csv`` beside it the
    names; ``.csv`` has the columns path, f0, f1, …

    Raises
    ------
    StorageError
    """
    ending = path.suffix.lower()
    if ending == ".npz":
        write_whole(path, lambda whole: _saved(whole, np.savez, features=features, names=np.array(names)))
    elif ending == ".npy":
        write_whole(path, lambda whole: _saved(whole, np.save, arr=features))
        write_text(path.with_suffix(".names.csv"), _table(["path"], names, None))
    else:
        head = ["path", *(f"f{i}" for i in range(features.shape[1]))]
        write_text(path, _table(head, names, features))


def _saved(path: Path, save: Callable[..., None], **arrays: np.ndarray) -> None:
    with open(path, "wb") as file:  # to a path numpy adds an ending of its own
        save(file, **arrays)


def _table(head: list[str], names: list[str], features: np.ndarray | None) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for index, name in enumerate(names):
        values = [] if features is None else [f"{value:.9g}" for value in features[index].tolist()]
        writer.writerow([csv_safe(name), *values])
    return text.getvalue()
