"""``data:NAME`` opened: the data sets of `asterism.images.catalogue`, read from the user's folder and never shipped."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path

import numpy as np

from asterism.errors import InputError, MissingDataError
from asterism.images.array_files import open_npz
from asterism.images.arrays import open_array
from asterism.images.catalogue import PREFIX, NamedSet, digit_images, named_set, named_sets
from asterism.images.fetch import fetch
from asterism.images.folder import open_folder, open_listed
from asterism.images.labels import folder_labels
from asterism.images.listing import list_files, natural_key
from asterism.images.locations import cache_root
from asterism.images.options import Options
from asterism.images.paths import Listing
from asterism.images.source import ImageSource


def open_named(name: str, options: Options) -> ImageSource:
    """Open a data set by its name, with its labels.

    Parameters
    ----------
    name : str
        Without the ``data:``; see `named_sets`.
    options : Options
        As for the arrays or the folder that the set is.

    Raises
    ------
    InputError
        If no set has the name.
    MissingDataError
        If it is not on this machine and cannot be fetched.
    """
    chosen = named_set(PREFIX + name)
    if chosen is None:
        names = [one.name for one in named_sets()]
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean data:{close[0]}?" if close else f"expected one of {', '.join(names)}"
        raise InputError(f"there is no data set {PREFIX}{name}; {hint}")
    if chosen.file is None:
        images, labels = digit_images()
        return replace(open_array(images, options, PREFIX + "digits"), labels=labels)
    path = chosen.path
    if path is None:
        path = cache_root() / "data" / chosen.file
        if not chosen.fetchable:
            raise MissingDataError(f"{PREFIX}{name} is not on this machine: {chosen.how_to_get}")
        try:
            fetch(path)
        except MissingDataError as error:
            raise MissingDataError(f"{PREFIX}{name} is not on this machine and {error}: {chosen.how_to_get}") from error
    if chosen.stored.images:
        return _open_split(chosen, path, options)
    if path.is_dir():
        return _open_parts(chosen, path, options)
    return open_npz(str(path), options, PREFIX + name, chosen.split)


def _open_parts(chosen: NamedSet, path: Path, options: Options) -> ImageSource:
    """A folder of class folders, or some of its parts; classes are numbered alike in every part."""
    within = path / "JPEGImages" if chosen.stored.layout else path
    opened = open_folder(str(within if within.is_dir() else path), options, PREFIX + chosen.name, chosen.parts)
    if chosen.stored.layout:
        if chosen.k > 1:
            return opened
        return replace(opened, labels=np.zeros(len(opened), dtype=np.int64), label_names=["photo"])
    if not chosen.parts:
        labels, label_names = folder_labels(opened)
        if labels.min() < 0:
            loose = opened.names[int(labels.argmin())]
            raise InputError(f"image {loose!r} of {PREFIX}{chosen.name} lies in no class folder; move or remove it")
        return replace(opened, labels=labels, label_names=label_names)
    stray = next((name for name in opened.names if name.count("/") < 2), None)
    if stray is not None:
        raise InputError(f"image {stray!r} of {PREFIX}{chosen.name} lies in no class folder; move or remove it")
    classes = sorted({one.name for part in chosen.stored.parts for one in _folders(path / part)}, key=natural_key)
    number = {one: i for i, one in enumerate(classes)}
    labels = np.array([number[name.split("/")[1]] for name in opened.names], dtype=np.int64)
    return replace(opened, labels=labels, label_names=classes)


def _open_split(chosen: NamedSet, path: Path, options: Options) -> ImageSource:
    """The parts that a set's own lists name."""
    called, root = f"folder {str(path)!r}", path / chosen.stored.images
    listed = listed_parts(path)
    wanted = {name for part in chosen.parts for name in listed[part]}
    files, skipped = list_files(str(root))
    files = [file for file in files if file.name in wanted]
    absent = sorted(wanted.difference(file.name for file in files))
    if absent:
        raise MissingDataError(
            f"{len(absent)} images of {PREFIX}{chosen.name} are not in {str(root)!r}, as {absent[0]!r}"
        )
    skipped = [one for one in skipped if one.name in wanted]
    opened, _ = open_listed(Listing(called, PREFIX + chosen.name, files, skipped), options)
    number = {one: i for i, one in enumerate(sorted((one.name for one in _folders(root)), key=natural_key))}
    labels = np.array([number[name.split("/")[0]] for name in opened.names], dtype=np.int64)
    return replace(opened, labels=labels, label_names=list(number))


def _folders(path: Path) -> list[Path]:
    return [one for one in path.iterdir() if one.is_dir()] if path.is_dir() else []


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
