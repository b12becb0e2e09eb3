"""``data:NAME``: which data sets have a name, what they hold, and where they are had.

Files lie in the folder that ``ASTERISM_DATA`` names or in ``~/.cache/asterism/data``. An ``.npz`` holds ``images``
uint8 (N, H, W) or (N, H, W, 3), ``labels`` int64 from 0 and, where there is one, ``split`` (0 train, 1 test).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from asterism.files import read_table
from asterism.images.locations import data_folders

if TYPE_CHECKING:
    import numpy as np

PREFIX = "data:"


@dataclass(frozen=True)
class Stored:
    """A file or folder of the data folder, in which one or several named sets lie.

    Attributes
    ----------
    origin : str
        Where it can be had, if nothing fetches it; faces are given out on request, each under terms of its own.
    torchvision : str
        Class of ``torchvision.datasets`` that fetches it. USPS has none: torchvision has the version of 9298 images,
        the papers use that of 11 000, and results on one say nothing about the other.
    parts : tuple of str
        Of a folder, the subfolders that hold the classes' folders.
    layout : str
        Of a folder that holds more than images, annotations or lists: what lies where.
    images : str
        Where lists of its own tell the parts (`asterism.images.named.listed_parts`): the folder of CLASS/image.jpg.
    """

    origin: str = ""
    torchvision: str = ""
    parts: tuple[str, ...] = ()
    layout: str = ""
    images: str = ""


@dataclass(frozen=True)
class NamedSet:
    """A data set that ``data:NAME`` opens.

    Attributes
    ----------
    name : str
    n : int
        Number of images.
    k : int
        Number of classes.
    description : str
        One line.
    file : str or None
        File or folder in the data folder; None where scikit-learn brings it along.
    split : int or None
        In an ``.npz``: 0 for the training part, 1 for the test part.
    parts : tuple of str
        In a folder: the subfolders of classes, or what its lists name, that belong to it; empty: the classes lie
        directly in it.
    """

    name: str
    n: int
    k: int
    description: str
    file: str | None
    split: int | None = None
    parts: tuple[str, ...] = ()

    @property
    def stored(self) -> Stored:
        """What is known of its file or folder."""
        return stored_files().get(self.file or "", Stored())

    @property
    def path(self) -> Path | None:
        """Where it lies on this machine, or None."""
        found = (folder / self.file for folder in data_folders() if self.file is not None)
        return next((path for path in found if path.exists()), None)

    @property
    def available(self) -> bool:
        """Whether it can be opened without a network."""
        return self.file is None or self.path is not None

    @property
    def fetchable(self) -> bool:
        """Whether it can be fetched by itself where it is absent."""
        return bool(self.stored.torchvision)

    @property
    def here(self) -> str:
        """``"yes"``, ``"fetched on use"`` or ``"no"``."""
        return "yes" if self.available else "fetched on use" if self.fetchable else "no"

    @property
    def how_to_get(self) -> str:
        """What to put where, in one line."""
        if self.file is None:
            return "comes with scikit-learn"
        where, stored = data_folders()[0] / self.file, self.stored
        origin = f"from {stored.origin}; " if stored.origin else ""
        if not self.file.endswith(".npz"):
            classes = f"{{{','.join(stored.parts)}}}/CLASS" if stored.parts else "CLASS"
            place = f"{where}/{stored.layout or f'{classes}/*.jpg'}"
            return f"{origin}put its images at {place}, or set ASTERISM_DATA to a folder that holds them"
        parted = any(one.split is not None for one in _sets() if one.file == self.file)
        split = ", split (0 train, 1 test)" if parted else ""
        keys = f"images (uint8, N x H x W [x 3]), labels (int64 from 0){split}"
        return f"{origin}make the file {where} with the keys {keys}, or set ASTERISM_DATA to a folder that holds it"


@cache
def stored_files() -> dict[str, Stored]:
    """What is known of the files and folders of the data folder, by their names."""
    return {
        row["file"]: Stored(
            row["origin"], row["torchvision"], tuple(row["parts"].split()), row["layout"], row["images"]
        )
        for row in read_table("asterism.images", "stored.csv")
    }


@cache
def _sets() -> list[NamedSet]:
    return [
        NamedSet(
            name=row["name"],
            n=int(row["n"]),
            k=int(row["k"]),
            description=row["description"],
            file=row["file"] or None,
            split=int(row["split"]) if row["split"] else None,
            parts=tuple(row["parts"].split()),
        )
        for row in read_table("asterism.images", "sets.csv")
    ]


def named_sets() -> list[NamedSet]:
    """Every set that ``data:NAME`` knows; ``available`` says whether it is on this machine."""
    return list(_sets())


def named_set(source: str) -> NamedSet | None:
    """The set that ``data:NAME`` stands for; None where there is none, and for any other source."""
    return next((one for one in _sets() if PREFIX + one.name == source), None)


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits: uint8 (1797, 8, 8), and their classes (1797,), int64."""
    import numpy as np
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target.astype(np.int64)  # grey levels 0 to 16
