"""A run that lies on disk, opened for a command: its estimator, its images, and labels to score it by."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asterism.cli.text import list_skipped, note
from asterism.clustering.outliers import ALPHA
from asterism.errors import AsterismError, InputError, RunError
from asterism.estimator import ImageClusterer, ImageEstimator
from asterism.images import ImageSource, file_labels, folder_labels, open_images, reopen
from asterism.images.again import FoundAgain, find_again
from asterism.images.catalogue import PREFIX
from asterism.images.options import source_words
from asterism.images.paths import is_list_file
from asterism.images.shard_names import is_shards
from asterism.methods import load_with_content
from asterism.runs import RunFolder
from asterism.training.progress import decoding_bar

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
        found = self.estimator._names
        if found is None and isinstance(self.estimator, ImageClusterer):
            found = self.folder.read_names(self.estimator.labels_)
        if found is None:
            raise RunError(f"{self.folder.path} was saved without the names of its images; give IMAGES where you can")
        return found

    @property
    def origin(self) -> dict[str, Any]:
        """What opens its images again."""
        return self.content["images"]["origin"]

    def found_images(self) -> FoundAgain:
        """What became of its images.

        Raises
        ------
        InputError, MissingDataError
            If they came from memory, or cannot be opened.
        """
        from asterism.report.kept import read_kept  # a page's libraries: for other commands too slow

        with decoding_bar() as progress:
            source, known = reopen(self.origin, progress), self.content["images"].get("fingerprint")
        if known is None or known == source.fingerprint:
            return find_again(source, source.names, known)
        kept = read_kept(self.folder.path, len(self.names), known)
        return find_again(source, self.names, known, None if kept is None else kept.hashes)

    def images(self) -> ImageSource:
        """Its own images, opened again; others that are there too are left out.

        Raises
        ------
        InputError, MissingDataError
            If they came from memory, cannot be opened, or have changed.
        """
        found = self.found_images()
        if found.images is None or not found.same:
            raise InputError(
                f"the images in {source_words(self.origin)} have changed since {self.folder.path} was made "
                f"({found.change}); give those of the run with --images, or run it anew"
            )
        if found.change:
            note(f"the images have changed since the run was made ({found.change}): its own are taken")
        return found.images

    def labels(self, wanted: str | None) -> Labels | None:
        """Known classes of its images: as asked for, as asked for when it was made, or as the data set has them."""
        if wanted is not None:
            return known_labels(wanted, ImageSource(torch.empty(0, 1, 1, 1), self.names))
        source = self.origin.get("source") or ""
        recorded = self.content.get("labels")
        try:
            if recorded is not None:
                return self.labels(recorded)
            single = isinstance(source, str)
            if single and (source.startswith(PREFIX) or source.endswith(".npz") or is_shards(source)):
                return self._brought_labels()
        except AsterismError as error:
            note(f"going on without known classes: {error}")
        return None

    def _brought_labels(self) -> Labels | None:
        """Classes that the images bring along; −1 for an image that has changed."""
        found = self.found_images()
        usable = found.unchanged if found.counted else found.index >= 0
        if found.source.labels is None or not usable.any():
            return None
        if found.change:
            note(f"the images have changed since the run was made ({found.change}): scores are of those that have not")
        return np.where(usable, found.source.labels[found.index], -1), found.source.label_names


def open_run(path: Path, device: str = "auto", images: str | None = None) -> FittedRun:
    """Open a finished run.

    Parameters
    ----------
    path : Path
    device : str
        Where it will compute, wherever it was made.
    images : str, optional
        Where its images are now.
    """
    folder = RunFolder(path)
    estimator, content = load_with_content(folder)
    estimator.device = device
    run = FittedRun(folder, content, estimator)
    if images is not None:
        run.content["images"]["origin"] = {**run.origin, "source": os.path.expanduser(images)}
    return run


def open_new_images(
    run: FittedRun, images: str, layout: str | None = None, strict: bool = False, features: str | None = None
) -> ImageSource:
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
        crop, white = origin.get("crop", True), origin.get("white")
        with decoding_bar() as progress:
            opened = open_images(
                images,
                size=size,
                color=color,
                crop=crop,
                layout=layout,
                strict=strict,
                white=white,
                features=features,
                progress=progress,
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


def refusing(clusterer: ImageClusterer, asked: bool) -> dict[str, Any]:
    """What `predict_with_confidence` is told of images that belong nowhere.

    Raises
    ------
    InputError
        If that is asked of a method that cannot tell.
    """
    if not hasattr(clusterer, "outliers"):
        if asked:
            raise InputError(f"{type(clusterer).__name__} cannot tell what belongs nowhere; --method diffusion can")
        return {}
    alpha = clusterer.outliers if clusterer.outliers is not None else ALPHA if asked else None
    return {} if alpha is None else {"outliers": alpha}


def _described(channels: int, height: int, width: int) -> str:
    if height == width == 1:
        return f"vectors of {channels} numbers"
    return f"images of {height}x{width} with {channels} channel{'s' if channels > 1 else ''}"


def known_labels(wanted: str | None, images: ImageSource) -> Labels | None:
    """Classes of images, for scoring: ``"folders"``, a CSV file, or what the data set brought along."""
    if wanted is None:
        return None if images.labels is None else (images.labels, images.label_names)
    return folder_labels(images) if wanted == "folders" else file_labels(images, wanted)
