"""`Material`: what a page is made of, gathered once: the run, its images if they are still there, labels if known."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import AsterismError, InputError, RunError
from asterism.estimator import ImageClusterer, ImageEstimator
from asterism.images import ImageSource, open_images
from asterism.images.again import find_again
from asterism.images.labels import encode_labels
from asterism.images.open import reopen
from asterism.methods import load_with_content
from asterism.metrics import match_clusters, scores
from asterism.report.kept import Kept, read_kept
from asterism.report.palette import GREY, palette
from asterism.report.sprites import Sprites, make_sprites
from asterism.report.words import grouped, shortened
from asterism.runs import RunFolder


@dataclass
class Material:
    """A finished run and what is known about its images.

    Attributes
    ----------
    content : dict
        ``run.json``.
    estimator : ImageClusterer
        Fitted.
    names : list of str
        N names of images.
    clusters : ndarray of shape (N,), int64
        Images that belong nowhere are a group of their own, the last one: `none`.
    none : int or None
        Their group; None where there are no such images.
    confidence : ndarray of shape (N,), float32
    images : ImageSource or None
        None where they could not be had.
    are_own : bool
        Whether the images are known to be those of the run.
    kept : Kept or None
        The map and the pictures that the run keeps; without them and without images the page has none.
    points : ndarray of shape (m, 2) or None
        Places on the map, of the images that `asterism.report.map` chose.
    classes : ndarray of shape (N,), int64, or None
        Known classes from 0; −1 for an image without one.
    class_names : list of str
    warnings : list of str
        Told at the top of the page.
    """

    content: dict[str, Any]
    estimator: ImageClusterer
    names: list[str]
    clusters: np.ndarray
    confidence: np.ndarray
    none: int | None = None
    images: ImageSource | None = None
    are_own: bool = False
    kept: Kept | None = None
    points: np.ndarray | None = None
    classes: np.ndarray | None = None
    class_names: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        """How many images were clustered."""
        return len(self.clusters)

    @cached_property
    def k(self) -> int:
        """How many clusters there are, empty ones too, and `none`."""
        return max(len(self.estimator.cluster_centers_), int(self.clusters.max()) + 1)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.content["seed"])

    @property
    def has_pictures(self) -> bool:
        """Whether there is anything for the eye: vectors are no pictures."""
        if self.images is None:
            return self.kept is not None and bool(self.kept.stacks)
        return not self.images.for_the_eye.is_table

    def sprites(self, indices: np.ndarray, side: int) -> Sprites | None:
        """Pictures of images, of at most ``side`` pixels; None where there are none."""
        if self.kept is not None and (kept := self.kept.sprites(indices, side, exact=self.images is not None)):
            return kept
        if self.images is None or self.images.for_the_eye.is_table:
            return None
        return make_sprites(self.images.for_the_eye, indices, side)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of images of each cluster, (k,)."""
        return np.bincount(self.clusters, minlength=self.k)

    @cached_property
    def mean_confidence(self) -> np.ndarray:
        """Mean confidence of each cluster's images, (k,); 0 where it is empty."""
        return np.bincount(self.clusters, self.confidence, self.k) / np.maximum(self.sizes, 1)

    @cached_property
    def known(self) -> np.ndarray:
        """Whether each image's class is known, (N,)."""
        return np.zeros(self.n, dtype=bool) if self.classes is None else self.classes >= 0

    @cached_property
    def scored(self) -> np.ndarray:
        """Whether each image's class is known, and it is in a group, (N,)."""
        return self.known if self.none is None else self.known & (self.clusters != self.none)

    @cached_property
    def scores(self) -> dict[str, float]:
        """Every score against the known classes; empty without."""
        if not self.scored.any():
            return {}
        return scores(self.classes[self.scored], self.clusters[self.scored])  # type: ignore[index]

    @cached_property
    def matched(self) -> np.ndarray:
        """Class of each cluster by the Hungarian method, (k,); −1 for a cluster left without one."""
        found = np.full(self.k, -1)
        if self.classes is not None and self.scored.any():
            for cluster, of_class in match_clusters(self.classes[self.scored], self.clusters[self.scored]).items():
                found[cluster] = of_class
        return found

    @cached_property
    def stands_for(self) -> np.ndarray:
        """Class that each cluster is read as, (k,): the matched one, or for a cluster left without one its commonest.

        −1 for groups without an image whose class is known.
        """
        if self.classes is None:
            return self.matched
        commonest = np.where(self.counts.any(1), self.counts.argmax(1), -1)
        found = np.where(self.matched >= 0, self.matched, commonest)
        return found if self.none is None else np.where(np.arange(self.k) == self.none, -1, found)

    @cached_property
    def wrong(self) -> np.ndarray:
        """Whether each image lies in a cluster that stands for another class, (N,); all False without labels."""
        if self.classes is None:
            return np.zeros(self.n, dtype=bool)
        return self.scored & (self.stands_for[self.clusters] != self.classes)

    @cached_property
    def counts(self) -> np.ndarray:
        """Images of each cluster and class, (k, number of classes)."""
        n_classes = len(self.class_names)
        if self.classes is None:
            return np.zeros((self.k, 0), dtype=np.int64)
        together = self.clusters[self.scored] * n_classes + self.classes[self.scored]
        return np.bincount(together, minlength=self.k * n_classes).reshape(self.k, n_classes)

    @cached_property
    def colors(self) -> list[str]:
        """Colour of each cluster."""
        return palette(self.k) if self.none is None else [*palette(self.k - 1), GREY]

    @cached_property
    def class_colors(self) -> list[str]:
        """Colour of each class: its cluster's, so that where all is right both colourings are the same."""
        owners = {int(of_class): cluster for cluster, of_class in enumerate(self.matched) if of_class >= 0}
        spare = iter(palette(self.k + len(self.class_names))[self.k :])
        return [self.colors[owners[one]] if one in owners else next(spare) for one in range(len(self.class_names))]

    def words_of(self, cluster: int) -> str:
        """What a cluster is called."""
        return "No group" if cluster == self.none else f"Group {cluster}"

    def class_of_cluster(self, cluster: int) -> str | None:
        """Name of the class that a cluster stands for."""
        of_class = int(self.stands_for[cluster])
        return None if of_class < 0 else self.class_names[of_class]


def gather(
    run: str | Path,
    images: Any = None,
    labels: Any = None,
    label_names: Any = None,
    loaded: tuple[ImageEstimator, dict[str, Any]] | None = None,
) -> Material:
    """Read a run and find its images.

    Parameters and errors are those of `asterism.report.write_report`.
    """
    estimator, content = loaded or load_with_content(RunFolder(run))
    if not isinstance(estimator, ImageClusterer):
        raise InputError(f"{run} holds a {content['method']}, which makes no groups; the page shows groups")
    estimator.device = "auto"  # the machine that draws the page need not be the one that fitted
    n = len(estimator.labels_)
    kept = read_kept(Path(run), n, content["images"].get("fingerprint"))
    try:
        names: list[str] | None = RunFolder(run).read_names(estimator.labels_)
    except RunError:  # the source's own, or numbers
        names = None
    material = Material(
        content,
        estimator,
        names=names or [str(i) for i in range(n)],
        clusters=np.where(estimator.labels_ < 0, estimator.n_clusters, estimator.labels_),
        confidence=np.nan_to_num(estimator.confidence_),
        none=estimator.n_clusters if (estimator.labels_ < 0).any() else None,
        kept=kept,
    )
    found = _find_images(material, images)
    if found is not None and names is None and len(found) == n:
        material.names = list(found.names)
    if found is not None:
        _take_images(material, found)
    if labels is None and material.images is not None and material.images.labels is not None:
        labels, label_names = material.images.labels, material.images.label_names
    if labels is not None:
        _set_classes(material, labels, label_names)
    return material


def _find_images(material: Material, images: Any) -> ImageSource | None:
    """What lies where the run's images came from, or what is given instead; None where it cannot be opened."""
    origin = material.content["images"]["origin"]
    try:
        if images is None:
            return reopen(origin)
        if isinstance(images, (str, os.PathLike)):
            return reopen({**origin, "source": os.fsdecode(images)})
        return open_images(images)
    except (AsterismError, OSError) as error:
        _tell(material, f"the images could not be opened again: {error}")
        return None


def _take_images(material: Material, found: ImageSource) -> None:
    """Keep the run's images out of those found, if they are there; say what has changed."""
    shape = tuple(material.estimator.image_shape_)
    if found.shape != shape:
        _tell(material, f"the run was made from images of shape {shape} (channels, height, width), not {found.shape}")
        return
    fingerprint = material.content["images"].get("fingerprint")
    again = find_again(found, material.names, fingerprint, None if material.kept is None else material.kept.hashes)
    if again.same:
        material.images, material.are_own = again.images, fingerprint is not None
        if again.change:
            _warn(material, f"The images have changed since the run was made ({again.change}): its own are shown.")
        return
    if material.kept is None and again.images is not None:
        material.images = again.images
        _warn(material, f"The images are not those that the run was made from ({again.change}).")
        return
    _tell(material, f"the images are not those that the run was made from ({again.change})")


def _tell(material: Material, reason: str) -> None:
    """Say that the images are not there, and what the page shows instead."""
    how = "Without pictures" if material.kept is None else "With the pictures and the map that the run keeps"
    _warn(material, f"{how}: {reason}.")


def _warn(material: Material, text: str) -> None:
    """Say it on the page, and at once."""
    material.warnings.append(text)
    warnings.warn(text, UserWarning, stacklevel=2)


def _set_classes(material: Material, labels: Any, label_names: Any) -> None:
    values = np.asarray(labels)
    if values.shape != (material.n,):
        raise InputError(f"labels have shape {values.shape}; the run has {material.n} images: give one label an image")
    names = None if label_names is None else [str(name) for name in label_names]
    known = np.ones(material.n, dtype=bool)
    if names is not None and values.dtype.kind in "if":
        known = values != -1
    if not known.any():
        return
    encoded, found = encode_labels(values[known].tolist(), names)
    material.classes = np.full(material.n, -1)
    material.classes[known] = encoded
    material.class_names = [shortened(name) for name in found or []] or [str(i) for i in range(int(encoded.max()) + 1)]
    if not known.all():
        material.warnings.append(
            f"The class of {grouped(int(known.sum()))} of {grouped(material.n)} images is known; scores are of those."
        )
