"""A run that lies on disk, opened for a command: its estimator, its images, and labels to score it by."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asterism.cli.text import list_skipped, note
from asterism.errors import AsterismError, InputError, RunError, StorageError
from asterism.estimator import ImageClusterer, ImageEstimator
from asterism.images import ImageSource, file_labels, folder_labels, open_images, reopen
from asterism.images.catalogue import PREFIX
from asterism.images.options import source_words
from asterism.images.paths import is_list_file
from asterism.images.shards import is_shards
from asterism.methods import load
from asterism.training.checkpoint import load_state
from asterism.training.folder import RunFolder

Labels = tuple[np.ndarray, list[str] | None]


@dataclass
class FittedRun:
    """A finished run.

    Attributes
    ----------
    folder : RunFolder
    content : dict
        Of ``run.json``.
    estimator : ImageEstimator
        Fitted.
    """

    folder: RunFolder
    content: dict[str, Any]
    estimator: ImageEstimator

    @property
    def clusterer(self) -> ImageClusterer:
        """The estimator, which must have made groups.

        Raises
        ------
        RunError
            If it learned features only.
        """
        if not isinstance(self.estimator, ImageClusterer):
            name = self.content["method"]
            raise RunError(f"{self.folder.path} holds a run of {name}, which has features but no groups; use: embed")
        return self.estimator

    @property
    def names(self) -> list[str]:
        """Names of its images.

        Raises
        ------
        RunError
            If they were not recorded (an estimator that was saved by itself).
        """
        found = load_state(self.folder.model_path).get("names")
        if found is None:
            raise RunError(f"{self.folder.path} was saved without the names of its images; give IMAGES where you can")
        return found

    def images(self) -> ImageSource:
        """Its own images, opened again.

        Raises
        ------
        InputError
            If they came from memory or have changed.
        """
        images = reopen(self.content["images"]["origin"])
        known = self.content["images"].get("fingerprint")
        if known is not None and known != images.fingerprint:
            source = source_words(self.content["images"]["origin"])
            raise InputError(f"the images in {source} have changed since {self.folder.path} was made; run it anew")
        return images

    def images_or_none(self) -> ImageSource | None:
        """Its own images if they can still be had; says so where not."""
        try:
            return self.images()
        except AsterismError as error:
            note(f"going on without the images: {error}")
            return None

    def labels(self, wanted: str | None) -> Labels | None:
        """Known classes of its images: as asked for, as asked for when it was made, or as the data set has them."""
        wanted = wanted or self.content.get("labels")
        if wanted is not None:
            return known_labels(wanted, ImageSource(torch.empty(0, 1, 1, 1), self.names))
        source = self.content["images"]["origin"].get("source") or ""
        single = isinstance(source, str)
        brought = single and (source.startswith(PREFIX) or source.endswith(".npz") or is_shards(source))
        return known_labels(None, self.images()) if brought else None


def open_run(path: Path, device: str = "auto") -> FittedRun:
    """Open a finished run; ``device`` is where it will compute, wherever it was made."""
    folder = RunFolder(path)
    estimator = load(path)
    estimator.device = device
    return FittedRun(folder, folder.read(), estimator)


def open_new_images(run: FittedRun, images: str, layout: str | None = None, strict: bool = False) -> ImageSource:
    """Open other images as the run's own were opened: same size, same colour.

    Raises
    ------
    InputError
        If they cannot be made to fit the run.
    """
    origin = run.content["images"]["origin"]
    channels, height, width = run.estimator.image_shape_
    is_table = run.content["images"].get("is_table", height == width == 1)
    if os.path.isfile(images) and not is_list_file(images):
        layout = layout or origin.get("layout")
    size, color = (None, None) if is_table else ((height, width), "grey" if channels == 1 else "rgb")
    needed = _described(channels, height, width)
    try:
        opened = open_images(
            images, size=size, color=color, crop=origin.get("crop", True), layout=layout, strict=strict
        )
    except InputError:
        if not is_table and os.path.isfile(images) and open_images(images, layout=layout).is_table:
            raise InputError(f"{images} holds vectors; {run.folder.path} was made from {needed}: give such") from None
        raise
    if opened.shape != (channels, height, width):
        found = _described(*opened.shape)
        raise InputError(f"{images} holds {found}; {run.folder.path} was made from {needed}: give such")
    list_skipped(opened.skipped)
    return opened


def _described(channels: int, height: int, width: int) -> str:
    if height == width == 1:
        return f"vectors of {channels} numbers"
    return f"images of {height}x{width} with {channels} channel{'s' if channels > 1 else ''}"


def known_labels(wanted: str | None, images: ImageSource) -> Labels | None:
    """Classes of images, for scoring: ``"folders"``, a CSV file, or what the data set brought along."""
    if wanted is None:
        return None if images.labels is None else (images.labels, images.label_names)
    return folder_labels(images) if wanted == "folders" else file_labels(images, wanted)


def check_writable(path: Path) -> None:
    """See, before hours of work, that a file or folder can be made at a path.

    Raises
    ------
    StorageError
        If not.
    """
    ancestor = path.absolute()
    while not os.path.lexists(ancestor) and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    if ancestor != path.absolute() and not ancestor.is_dir():
        raise StorageError(f"cannot write to {path}: {ancestor} is not a folder; choose another place")
    if not os.access(ancestor, os.W_OK):
        raise StorageError(f"cannot write to {path}: no permission in {ancestor}; choose another place")
