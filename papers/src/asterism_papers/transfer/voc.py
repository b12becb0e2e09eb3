"""PASCAL VOC as it lies on disk: ``VOCdevkit/VOC2007/{JPEGImages,Annotations,ImageSets}``.

Lists and annotations are read when a set is opened, images one by one when they are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image

from asterism.errors import AsterismError, InputError, MissingDataError
from asterism.images.decode import Unreadable, decode, quiet
from asterism.images.io_errors import retry

LAYOUT = "VOCdevkit/VOC{year}/{{JPEGImages,Annotations,ImageSets/Main}}"


@dataclass(frozen=True)
class Thing:
    """An annotated object.

    Attributes
    ----------
    name : str
        Its class.
    box : tuple of float
        Left, top, right, bottom edge in pixels from the image's upper left corner: VOC counts pixels from 1 and the
        last one in, so VOC's (1, 1, 2, 2), four pixels, is (0, 0, 2, 2) here.
    difficult : bool
        Counts neither for nor against a method.
    """

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class VocImages:
    """The images of one list of a VOC folder.

    Attributes
    ----------
    root : Path
        ``…/VOC2007``.
    split : str
        ``"trainval"``, ``"test"`` …
    ids : list of str
    things : list of list of Thing
        Empty where annotations were not asked for.
    """

    root: Path
    split: str
    ids: list[str]
    things: list[list[Thing]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that occur, in alphabetical order, which is VOC's own."""
        return sorted({thing.name for some in self.things for thing in some})

    def image_path(self, index: int) -> Path:
        """Where an image lies."""
        return self.root / "JPEGImages" / f"{self.ids[index]}.jpg"

    def mask_path(self, index: int) -> Path:
        """Where the classes of its pixels lie."""
        return self.root / "SegmentationClass" / f"{self.ids[index]}.png"

    def pixels(self, index: int, n_channels: int) -> np.ndarray:
        """An image, uint8 (H, W, C).

        Raises
        ------
        InputError
            If it cannot be read: a score without it would not be the benchmark's.
        """
        try:
            with quiet():
                return decode(str(self.image_path(index)), n_channels=n_channels)
        except Unreadable as error:
            raise InputError(f"{self.image_path(index)} cannot be read: {error.reason}") from error

    def mask(self, index: int) -> np.ndarray:
        """Classes of its pixels, uint8 (H, W); 255 is void.

        Raises
        ------
        InputError
            If it is no PNG, or holds colours instead of numbers of classes.
        StorageError
            If the machine, not the file, is in trouble.
        """
        path = self.mask_path(index)
        try:
            return retry(lambda: _class_numbers(path), str(path))
        except AsterismError:
            raise
        except Exception as error:  # decoders of damaged files raise anything
            raise InputError(f"{path} cannot be read as a PNG of class numbers: {error}") from error

    def labels(self, classes: list[str]) -> torch.Tensor:
        """Which classes each image shows.

        Parameters
        ----------
        classes : list of str

        Returns
        -------
        torch.Tensor of shape (N, classes), float32
            1 where an object of the class is there that is not difficult, −1 where all of them are difficult (such an
            image is left out for that class), else 0. VOC's own lists, ``ImageSets/Main/CLASS_SPLIT.txt``, were made
            by this rule, with 1, 0 and −1.
        """
        number = {name: i for i, name in enumerate(classes)}
        labels = torch.zeros(len(self), len(classes))
        for row, some in zip(labels, self.things, strict=True):
            for thing in sorted(some, key=lambda one: not one.difficult):  # one that is not difficult decides
                row[number[thing.name]] = -1 if thing.difficult else 1
        return labels


def _class_numbers(path: Path) -> np.ndarray:
    with quiet(), Image.open(path, formats=("PNG",)) as image:  # some of Pillow's other formats run programs
        if image.mode not in ("P", "L"):
            raise InputError(f"{path} has pixels of mode {image.mode}; expected a palette PNG of class numbers")
        return np.array(image)


def list_text(path: Path) -> str:
    """The text of a list.

    Raises
    ------
    FileNotFoundError
    InputError
        If it is no text in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8") from None


def open_voc(folder: str | Path, split: str, year: int = 2007, task: str = "Main") -> VocImages:
    """Open a list of images.

    Parameters
    ----------
    folder : path
        ``VOCdevkit``, the folder that it lies in, or ``VOCdevkit/VOC2007`` itself.
    split : str
        Name of the list, ``ImageSets/TASK/SPLIT.txt``.
    year : int, default=2007
    task : {"Main", "Segmentation"}
        Main reads the annotations of objects, Segmentation looks for the masks.

    Raises
    ------
    MissingDataError
        If a folder, list, image, annotation or mask is missing; names the first and says what layout is expected.
    InputError
        If a list is empty or an annotation cannot be read.
    """
    folder = Path(folder)
    places = (folder, folder / f"VOC{year}", folder / "VOCdevkit" / f"VOC{year}")
    root = next((place for place in places if (place / "ImageSets" / task).is_dir()), None)
    if root is None:
        wanted = LAYOUT.format(year=year)
        wanted = wanted.replace("Annotations", "SegmentationClass").replace("Main", task) if task != "Main" else wanted
        raise MissingDataError(f"{folder} holds no ImageSets/{task}; expected the layout {wanted}")
    path = root / "ImageSets" / task / f"{split}.txt"
    try:
        ids = [line.split()[0] for line in list_text(path).splitlines() if line.strip()]
    except FileNotFoundError as error:
        there = sorted(one.stem for one in path.parent.glob("*.txt") if "_" not in one.stem)
        raise MissingDataError(f"{path} does not exist; {path.parent} has {', '.join(there) or 'no list'}") from error
    if not ids:
        raise InputError(f"{path} is empty; expected the name of an image in every line")
    images = VocImages(root, split, ids, [])
    _check_there(path, [images.image_path(i) for i in range(len(ids))])
    if task != "Main":
        _check_there(path, [images.mask_path(i) for i in range(len(ids))])
        return images
    annotations = [root / "Annotations" / f"{one}.xml" for one in ids]
    _check_there(path, annotations)
    return VocImages(root, split, ids, [read_annotation(one) for one in annotations])


def _check_there(listed_in: Path, paths: Iterable[Path]) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        what = (
            f"{missing[0]} does not exist, nor do {len(missing) - 1} more" if missing[1:] else f"{missing[0]} does not"
        )
        raise MissingDataError(f"{what}{'' if missing[1:] else ' exist'}, of those that {listed_in} names")


def read_annotation(path: Path) -> list[Thing]:
    """The objects of an image, from VOC's XML.

    Raises
    ------
    InputError
        If the file is no such annotation.
    """
    try:
        found = []
        for one in ElementTree.parse(path).getroot().findall("object"):
            left, top, right, bottom = (float(one.findtext(f"bndbox/{side}", "")) for side in _SIDES)
            name = one.findtext("name", "").strip()
            if not (name and left <= right < math.inf and top <= bottom < math.inf):  # nan is none either
                raise ValueError(
                    f"object {name or 'without a name'} with the box {left:g} {top:g} {right:g} {bottom:g}"
                )
            found.append(Thing(name, (left - 1, top - 1, right, bottom), one.findtext("difficult", "0").strip() == "1"))
        return found
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{path} is no annotation of PASCAL VOC: {error}") from error


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def check_apart(train: VocImages, test: VocImages) -> None:
    """See, before anything is trained, that no image is both learnt from and scored on: ``trainval`` holds ``val``.

    Raises
    ------
    InputError
    """
    both = sorted(set(train.ids) & set(test.ids))
    if both:
        raise InputError(
            f"{len(both)} of the {len(test)} images of the list {test.split}, {both[0]} for one, are in {train.split} "
            "too, and a score is of images that were not learnt from: choose other lists"
        )


def check_classes(test: VocImages, classes: Iterable[str]) -> None:
    """See, before anything is trained, that the test images can be scored.

    Raises
    ------
    InputError
        If they show no object that counts, or one of a class that no training image shows.
    """
    unknown = sorted(set(test.classes) - set(classes))
    if unknown:
        raise InputError(f"the test images show {unknown[0]!r}, which no training image shows")
    if all(thing.difficult for things in test.things for thing in things):
        raise InputError(f"no object is annotated in {test.root}, list {test.split}")
