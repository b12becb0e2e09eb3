"""A finished run as its tables tell it, without its network: scores need no more, and do not wait for torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from asterism.clustering.linkage_tree import check_history
from asterism.clustering.nested import nested_groups
from asterism.errors import AsterismError
from asterism.images.bundled import bundled_labels, bundled_pictures, shard_labels
from asterism.images.digest import for_the_eye
from asterism.images.labels import file_labels, folder_labels
from asterism.images.shards import is_shards
from asterism.runs import RunFolder

FEATURES = ("attributes.embedding", "encoder.1.samples")  # of a model, where it keeps those of the images fitted
HISTORY = "attributes.linkage_matrix"


class Unrecorded(Exception):
    """A run's tables do not tell: it has to be opened whole, which also tells what is wrong, if something is."""


@dataclass(frozen=True)
class RecordedRun:
    """What a run found.

    Attributes
    ----------
    folder : RunFolder
    content : dict
        Of ``run.json``.
    names : list of str
        Of its images.
    groups : ndarray of shape (N,)
    moved : str or None
        Where its images are now, if not where they were.
    """

    folder: RunFolder
    content: dict[str, Any]
    names: list[str]
    groups: np.ndarray
    moved: str | None

    @property
    def source(self) -> Any:
        """What its images come from, a str or a list of such; None where they came from memory."""
        source = self.content["images"]["origin"].get("source") if self.moved is None else self.moved
        return os.path.expanduser(source) if isinstance(source, str) else source

    def regrouped(self, n_clusters: int) -> np.ndarray:
        """So many groups (N,), merged or divided from its own.

        Raises
        ------
        Unrecorded
            Where groups would be divided by features that were not kept, where images were left out of the fit, and
            where something is wrong.
        """
        n, n_groups = int((self.groups >= 0).sum()), len(np.unique(self.groups[self.groups >= 0]))
        if not 1 <= n_clusters <= n:
            raise Unrecorded
        with safe_open(self.folder.model_path, framework="np") as model:
            kept = {name: model.get_slice(name).get_shape() for name in model.keys()}  # noqa: SIM118  it is no dict
            found = [name for name in FEATURES if kept.get(name, [])[:1] == [len(self.groups)]]
            if "attributes.fitted_images" in kept or (n_clusters > n_groups and not found):
                raise Unrecorded
            centers = model.get_tensor("cluster_centers")
            history = model.get_tensor(HISTORY) if HISTORY in kept else None
            rows = model.get_tensor(found[0]) if n_clusters > n_groups else np.empty((len(self.groups), 0), np.float32)
        if any(one.dtype != np.float32 or one.ndim != 2 or not np.isfinite(one).all() for one in (centers, rows)):
            raise Unrecorded
        try:
            if history is not None:
                check_history(history, len(self.groups))
        except ValueError:
            raise Unrecorded from None
        return nested_groups(self.groups, n_clusters, centers, lambda: rows, history, self.content["seed"])

    def known(self, wanted: str | None) -> np.ndarray:
        """Known classes (N,): ``"folders"``, from a file of labels, as told before, or as a file of arrays brings them.

        Raises
        ------
        InputError, MissingDataError
        Unrecorded
            Where they are not known, or only when the images are opened.
        """
        if self.moved is not None:
            raise Unrecorded
        wanted = wanted or self.content.get("labels")
        if wanted is not None:
            return (folder_labels(self) if wanted == "folders" else file_labels(self, wanted))[0]
        if isinstance(self.source, str) and is_shards(self.source):
            return self._brought(lambda source, _: shard_labels(source, self.names))
        return self._brought(bundled_labels)

    def picture(self) -> Callable[[int], np.ndarray]:
        """Gives each image, where they are arrays that can be shown as they stand in a file; raises `Unrecorded`."""
        pixels = self._brought(bundled_pictures)
        return lambda index: for_the_eye(pixels[index])

    def _brought(self, by: Callable[[str, str], np.ndarray | None]) -> np.ndarray:
        """What the file of its images brings along, by its path and their fingerprint."""
        fingerprint = self.content["images"].get("fingerprint")
        if self.moved is None and isinstance(self.source, str) and fingerprint is not None:
            found = by(self.source, fingerprint)
            if found is not None:
                return found
        raise Unrecorded


def known_levels(content: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The levels that stand in a ``run.json``: found with the number of groups, or asked for before."""
    number = content.get("number")
    return content.get("levels") if number is None else number["levels"]


def read_recorded(path: Path, moved: str | None = None) -> RecordedRun:
    """The groups of a finished run, and the names of its images.

    Raises
    ------
    MissingDataError, RunError
        If there is no run.
    Unrecorded
        Where something is amiss.
    """
    folder = RunFolder(path)
    content = folder.read()
    try:
        if content["status"] != "finished" or not folder.model_path.is_file():  # a pipe would never end
            raise Unrecorded
        with safe_open(folder.model_path, framework="np") as model:
            groups = model.get_tensor("labels")
            n_groups = model.get_slice("cluster_centers").get_shape()[0]
        if groups.dtype != np.int64 or groups.ndim != 1 or groups.min(initial=0) < -1 or groups.max() >= n_groups:
            raise Unrecorded
        return RecordedRun(folder, content, folder.read_names(groups), groups, moved)
    except (AsterismError, OSError, SafetensorError, TypeError, ValueError):
        raise Unrecorded from None
