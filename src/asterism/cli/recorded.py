"""A finished run as its tables tell it, without its network: scores need no more, and do not wait for torch."""

from __future__ import annotations

import os
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


@dataclass(frozen=True)
class RecordedRun:
    """What a run found.

    Attributes
    ----------
    names : list of str
        Of its images.
    groups : ndarray of shape (N,)
    classes : str or None
        Where the known classes of its images stand, if it was told.
    source : str, list of str or None
        What its images came from; None where they came from memory.
    fingerprint : str or None
        Of its images.
    folder : RunFolder
    seed : int
    levels : list of int or None
        Numbers of groups of the levels that are known.
    """

    names: list[str]
    groups: np.ndarray
    classes: str | None
    source: str | list[str] | None
    fingerprint: str | None
    folder: RunFolder
    seed: int
    levels: list[int] | None

    def regrouped(self, n_clusters: int) -> np.ndarray | None:
        """So many groups (N,), merged or divided from its own; None where the run has to be opened whole.

        That is where groups would be divided by features that were not kept, where images were left out of the fit, and
        where something is wrong.
        """
        n, n_groups = int((self.groups >= 0).sum()), len(np.unique(self.groups[self.groups >= 0]))
        if not 1 <= n_clusters <= n:
            return None
        with safe_open(self.folder.model_path, framework="np") as model:
            kept = {name: model.get_slice(name).get_shape() for name in model.keys()}  # noqa: SIM118  it is no dict
            found = [name for name in FEATURES if kept.get(name, [])[:1] == [len(self.groups)]]
            if "attributes.fitted_images" in kept or (n_clusters > n_groups and not found):
                return None
            centers = model.get_tensor("cluster_centers")
            history = model.get_tensor(HISTORY) if HISTORY in kept else None
            rows = model.get_tensor(found[0]) if n_clusters > n_groups else np.empty((len(self.groups), 0), np.float32)
        if any(one.dtype != np.float32 or one.ndim != 2 or not np.isfinite(one).all() for one in (centers, rows)):
            return None
        try:
            if history is not None:
                check_history(history, len(self.groups))
        except ValueError:
            return None
        return nested_groups(self.groups, n_clusters, centers, lambda: rows, history, self.seed)

    def known(self, wanted: str | None) -> np.ndarray | None:
        """Known classes (N,): ``"folders"``, from a file of labels, as told before, or as a file of arrays brings them.

        None where they are not known, or only when the images are opened.

        Raises
        ------
        InputError, MissingDataError
        """
        wanted = wanted or self.classes
        if wanted is not None:
            return (folder_labels(self) if wanted == "folders" else file_labels(self, wanted))[0]
        if not isinstance(self.source, str) or self.fingerprint is None:
            return None
        if is_shards(source := os.path.expanduser(self.source)):
            return shard_labels(source, self.names)
        return bundled_labels(self.source, self.fingerprint)

    def pictures(self) -> Pictures | None:
        """Its images, where they are arrays that can be shown as they stand in a file."""
        if not isinstance(self.source, str) or self.fingerprint is None:
            return None
        found = bundled_pictures(self.source, self.fingerprint)
        return None if found is None else Pictures(found)


@dataclass(frozen=True)
class Pictures:
    """Images (N, H, W, C) as bytes, for `asterism.cli.export`."""

    pixels: np.ndarray

    def thumbnail(self, index: int) -> np.ndarray:
        """As `asterism.images.ImageSource.thumbnail`."""
        return for_the_eye(self.pixels[index])


def known_levels(content: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The levels that stand in a ``run.json``: found with the number of groups, or asked for before."""
    number = content.get("number")
    return content.get("levels") if number is None else number["levels"]


def read_recorded(path: Path) -> RecordedRun | None:
    """The groups of a finished run, and the names of its images.

    None where the run has to be opened whole: `asterism.report.fitted.open_run` also tells what is wrong with it.

    Raises
    ------
    MissingDataError, RunError
        If there is no run.
    """
    folder = RunFolder(path)
    content = folder.read()
    try:
        if content["status"] != "finished" or not folder.model_path.is_file():  # a pipe would never end
            return None
        with safe_open(folder.model_path, framework="np") as model:
            groups = model.get_tensor("labels")
            n_groups = model.get_slice("cluster_centers").get_shape()[0]
        if groups.dtype != np.int64 or groups.ndim != 1 or groups.min(initial=0) < -1 or groups.max() >= n_groups:
            return None
        images: dict[str, Any] = content["images"]
        source, fingerprint = images["origin"].get("source"), images.get("fingerprint")
        levels = known_levels(content)
        numbers = None if levels is None else [one["n_clusters"] for one in levels]
        names, classes = folder.read_names(groups), content.get("labels")
        return RecordedRun(names, groups, classes, source, fingerprint, folder, content["seed"], numbers)
    except (AsterismError, OSError, SafetensorError, TypeError, ValueError):
        return None
