"""Features to a file: ``.npz``, ``.npy`` or ``.csv``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from asterism.errors import InputError
from asterism.files import csv_safe, replacing, row_safe, write_csv

ENDINGS = (".npz", ".npy", ".csv")


def check_ending(path: Path) -> None:
    """See that features can be written in the format that a file's name asks for; raises `InputError`."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"--out {path} must end in one of {', '.join(ENDINGS)}: the ending chooses the format")


def names_path(path: Path) -> Path | None:
    """Where the names lie that a file of features has no place for."""
    return path.with_suffix(".names.csv") if path.suffix.lower() == ".npy" else None


def is_features(path: Path) -> bool:
    """Whether a file looks as `write_features` writes it: an array of two axes, or a table of path, f0 and so on.

    A table of paths alone is one only where it is called as names are.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(512)
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                return set(archive.namelist()) == {"features.npy", "names.npy"}
        if path.suffix.lower() == ".npy":
            beside = names_path(path)
            return start.startswith(b"\x93NUMPY") and beside is not None and is_features(beside)
        names = path.name.lower().endswith(".names.csv") and start.startswith(b"path\n")
        return names or start.startswith(b"path,f0")
    except (OSError, zipfile.BadZipFile):
        return False


def write_features(path: Path, names: list[str], features: np.ndarray) -> None:
    """Write features (N, D) and the N names of their images.

    ``.npz`` holds both as ``features`` and ``names``; ``.npy`` holds the features and ``FILE.names.csv`` beside it the
    names; ``.csv`` has the columns path, f0, f1, …

    Raises
    ------
    StorageError
    """
    ending = path.suffix.lower()
    if ending == ".csv":
        header = ["path", *(f"f{i}" for i in range(features.shape[1]))]
        rows = (
            [row_safe(name), *(f"{value:.9g}" for value in row.tolist())]
            for name, row in zip(names, features, strict=True)
        )
        write_csv(path, header, rows)
        return
    with replacing(path) as temporary, open(temporary, "wb") as file:  # to a path numpy adds an ending of its own
        if ending == ".npz":
            np.savez(file, features=features, names=np.array(names))
        else:
            np.save(file, features)
    beside = names_path(path)
    if beside is not None:
        write_csv(beside, ["path"], ([csv_safe(name)] for name in names))
