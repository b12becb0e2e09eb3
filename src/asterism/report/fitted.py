"""`FittedRun`: a finished run that lies on disk, opened: its estimator, its images, and classes to score it by.

The one place where a finished run is opened, for the commands and for the page.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import AsterismError, InputError, RunError
from asterism.estimator import ImageClusterer, ImageEstimator
from asterism.images import ImageSource, file_labels, folder_labels, open_images, reopen
from asterism.images.catalogue import PREFIX
from asterism.images.changes import FoundAgain, find_again
from asterism.images.options import source_words
from asterism.images.paths import TABLE_ENDINGS
from asterism.images.shards import is_shards
from asterism.methods import load_with_content
from asterism.runs import RunFolder
from asterism.runs.pictures import Kept, read_kept
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
    moved : str, optional
        Where its images are now, if not where they were.
    source : ImageSource, optional
        What is there of its images, where that is open already.
    bar : bool
        Show how far the decoding of its images is.
    told : bool
        Whether it was said already that its images have changed.
    """

    folder: RunFolder
    content: dict[str, Any]
    estimator: ImageEstimator
    moved: str | None = None
    source: ImageSource | None = None
    bar: bool = False
    told: bool = False

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

    @cached_property
    def names(self) -> list[str]:
        """Names of its images.

        Raises
        ------
        RunError
            If they were not recorded (an estimator that was saved by itself).
        """
        found = self.estimator.names_
        if found is None:
            raise RunError(f"{self.folder.path} was saved without the names of its images; give IMAGES where you can")
        return found

    @property
    def origin(self) -> dict[str, Any]:
        """What opens its images again."""
        known = self.content["images"]["origin"]
        return known if self.moved is None else {**known, "source": self.moved}

    @property
    def fingerprint(self) -> str | None:
        """Of its images; None where they came from memory."""
        return self.content["images"].get("fingerprint")

    @cached_property
    def kept(self) -> Kept | None:
        """What it keeps for its pages."""
        return read_kept(self.folder.path, len(self.clusterer.labels_), self.fingerprint)

    @cached_property
    def found(self) -> FoundAgain:
        """What became of its images; where their names are not known, those that are there have them.

        Raises
        ------
        InputError, MissingDataError
            If they came from memory, or cannot be opened.
        """
        source = self.source
        if source is None:
            with decoding_bar(self.bar) as progress:
                source = reopen(self.origin, progress)
        unknown = self.fingerprint is None and len(source) == self.content["images"].get("n", len(source))
        if unknown or self.fingerprint == source.fingerprint:
            return find_again(source, source.names, self.fingerprint)
        kept = self.kept if isinstance(self.estimator, ImageClusterer) else None
        return find_again(source, self.names, self.fingerprint, None if kept is None else kept.hashes)

    def images(self) -> ImageSource:
        """Its own images, opened again; others that are there too are left out.

        Raises
        ------
        InputError, MissingDataError
            If they came from memory, cannot be opened, or have changed.
        """
        found = self.found
        if found.images is None or not found.same:
            raise InputError(
                f"the images in {source_words(self.origin)} have changed since {self.folder.path} was made "
                f"({found.change}); pass those of the run as images, or run it anew"
            )
        self._tell("its own are taken")
        return found.images

    def labels(self, wanted: str | None = None) -> Labels | None:
        """Known classes of its images: as asked for, as asked for when it was made, or as the data set has them.

        Parameters
        ----------
        wanted : str, optional
            ``"folders"``, or the path of a CSV file.

        Raises
        ------
        InputError, MissingDataError
            If those that are asked for cannot be had; of others a warning says so.
        """
        return self._known if wanted is None else known_labels(wanted, self)

    @cached_property
    def _known(self) -> Labels | None:
        recorded = self.content.get("labels")
        try:
            if recorded is not None:
                return known_labels(recorded, self)
            return self._brought_labels() if self._may_bring_labels else None
        except AsterismError as error:
            warnings.warn(f"going on without known classes: {error}", UserWarning, stacklevel=2)
            return None

    @property
    def _may_bring_labels(self) -> bool:
        """Whether its images may bring classes along, so that opening them is worth while."""
        source = self.origin.get("source") or ""
        if self.source is not None or not isinstance(source, str):
            return self.source is not None
        vectors = self.content["images"].get("is_table") and source.lower().endswith(TABLE_ENDINGS)
        return bool(vectors) or source.startswith(PREFIX) or source.endswith(".npz") or is_shards(source)

    def _brought_labels(self) -> Labels | None:
        """Classes that the images bring along; −1 for an image that has changed."""
        found = self.found
        usable = found.unchanged if found.counted else found.index >= 0
        if found.source.labels is None or not usable.any():
            return None
        self._tell("scores are of those that have not")
        return np.where(usable, found.source.labels[found.index], -1), found.source.label_names

    def _tell(self, what_then: str) -> None:
        """Say once that the images have changed, if they have."""
        if self.found.change and not self.told:
            change = f"the images have changed since the run was made ({self.found.change})"
            warnings.warn(f"{change}: {what_then}", UserWarning, stacklevel=3)
            self.told = True


def open_run(
    path: str | Path, device: str = "auto", images: str | os.PathLike[str] | None = None, bar: bool = False
) -> FittedRun:
    """Open a finished run.

    Parameters
    ----------
    path : path
    device : str
        Where it will compute, wherever it was made.
    images : path, optional
        Where its images are now.
    bar : bool
        See `FittedRun`.

    Raises
    ------
    MissingDataError, RunError
        If there is no run, or an unfinished or damaged one.
    """
    folder = RunFolder(path)
    estimator, content = load_with_content(folder)
    estimator.device = device
    run = FittedRun(folder, content, estimator, bar=bar)
    return run if images is None else with_images(run, images)


def with_images(run: FittedRun, images: Any) -> FittedRun:
    """The run, whose images are now elsewhere: a path, an `ImageSource`, or what else `open_images` takes."""
    if isinstance(images, (str, os.PathLike)):
        return replace(run, moved=os.path.expanduser(os.fsdecode(images)), source=None)
    return replace(run, source=open_images(images))


def known_labels(wanted: str | None, images: Any) -> Labels | None:
    """Classes of images, for scoring: ``"folders"``, a CSV file, or what the data set brought along.

    Where it is said which are wanted, anything does that has the images' ``names``.
    """
    if wanted is None:
        return None if images.labels is None else (images.labels, images.label_names)
    return folder_labels(images) if wanted == "folders" else file_labels(images, wanted)
