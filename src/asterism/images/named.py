"""``data:NAME`` opened: the data sets of `asterism.images.catalogue`, read from the user's folder and never shipped."""

from __future__ import annotations

import difflib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from asterism.errors import InputError, MissingDataError
from asterism.images.array_files import open_npz
from asterism.images.arrays import open_array
from asterism.images.catalogue import PREFIX, NamedSet, digit_images, named_set, named_sets
from asterism.images.fetch import fetch
from asterism.images.folder import open_listed
from asterism.images.labels import folder_labels
from asterism.images.listing import Listed, Skipped, list_files, natural_key, shown_name
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
    if chosen.stored.images or path.is_dir():
        return _open_folder(chosen, path, options)
    return open_npz(str(path), options, PREFIX + name, chosen.split)


def _open_folder(chosen: NamedSet, path: Path, options: Options) -> ImageSource:
    """A folder of class folders, or some of its parts, which folders or lists of its own tell.

    Classes are numbered alike in every part.
    """
    stored, root, wanted = chosen.stored, path / chosen.stored.images, set[str]()
    if stored.images:
        listed = listed_parts(path)
        wanted = {name for part in chosen.parts for name in listed[part]}
    elif stored.layout and (path / "JPEGImages").is_dir():
        root = path / "JPEGImages"

    def belongs(one: Listed | Skipped) -> bool:
        return one.name in wanted if stored.images else not chosen.parts or one.name.split("/")[0] in chosen.parts

    files, skipped = list_files(os.path.abspath(root))
    files, skipped = list(filter(belongs, files)), list(filter(belongs, skipped))
    absent = sorted(wanted.difference(file.name for file in files))
    if absent:
        raise MissingDataError(
            f"{len(absent)} images of {PREFIX}{chosen.name} are not in {str(root)!r}, as {absent[0]!r}"
        )
    called = f"folder {shown_name(os.path.abspath(path if stored.images else root))!r}"
    opened, _ = open_listed(Listing(called, PREFIX + chosen.name, files, skipped), options)
    if stored.layout and not stored.images:  # no folders of classes
        if chosen.k > 1:
            return opened
        return replace(opened, labels=np.zeros(len(opened), dtype=np.int64), label_names=["photo"])
    above = int(not stored.images and bool(chosen.parts))  # folders that a class folder lies in
    if chosen.parts:
        parts = [path / part for part in stored.parts] if above else [root]
        classes = {one.name for part in parts if part.is_dir() for one in part.iterdir() if one.is_dir()}
        label_names = sorted(classes, key=natural_key)
    else:
        label_names = folder_labels(opened)[1]
    stray = next((name for name in opened.names if name.count("/") <= above), None)
    if stray is not None:
        raise InputError(f"image {stray!r} of {PREFIX}{chosen.name} lies in no class folder; move or remove it")
    number = {one: i for i, one in enumerate(label_names)}
    labels = np.array([number[name.split("/")[above]] for name in opened.names], dtype=np.int64)
    return replace(opened, labels=labels, label_names=label_names)


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
