"""Splits that a data set's own lists tell: MIT-67's and Birds-200's, laid out as their archives unpack."""

from __future__ import annotations

from pathlib import Path

from asterism.errors import MissingDataError

IMAGES = {"mit67": "Images", "CUB_200_2011": "images"}  # file of the catalogue -> folder of CLASS/*.jpg in it


def listed_parts(path: Path) -> dict[str, list[str]]:
    """Images of each part of such a set.

    Parameters
    ----------
    path : Path
        The set's folder. MIT-67 has ``TrainImages.txt`` and ``TestImages.txt``, an image a line; Birds-200 has
        ``images.txt``, a number and an image a line, and ``train_test_split.txt``, a number and 1 for training.

    Returns
    -------
    dict
        ``"train"`` and ``"test"`` -> names, ``CLASS/FILE``, relative to the folder of images.

    Raises
    ------
    MissingDataError
        If a list is not there.
    """
    if path.name == "mit67":
        return {part: _lines(path / f"{part.title()}Images.txt") for part in ("train", "test")}
    numbers = dict(line.split(maxsplit=1) for line in _lines(path / "images.txt"))
    learnt = dict(line.split() for line in _lines(path / "train_test_split.txt"))
    return {
        part: [numbers[i] for i in numbers if learnt.get(i) == mark] for part, mark in (("train", "1"), ("test", "0"))
    }


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        raise MissingDataError(
            f"{str(path)!r} cannot be read; it says which images are for training: put it there"
        ) from None
    return [line.strip() for line in text.splitlines() if line.strip()]
