"""`Material`: what a page is made of, gathered once: the run, its images if they are still there, labels if known."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from asterism.errors import AsterismError, InputError, RunError
from asterism.estimator import ImageClusterer
from asterism.estimator.keeping import shown_groups
from asterism.images import ImageSource
from asterism.images.labels import encode_labels
from asterism.images.open import reopen
from asterism.images.sprites import Sprites, make_sprites
from asterism.metrics import match_clusters, scores
from asterism.report.fitted import FittedRun, with_images
from asterism.report.palette import GREY, palette
from asterism.report.section import grouped, shortened
from asterism.runs.pictures import Kept
from asterism.training.progress import decoding_bar


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
    on_map : ndarray of shape (m,), int64, or None
        These images, in the order of their pictures.
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
    on_map: np.ndarray | None = None
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
    def n_groups(self) -> int:
        """How many groups there are, empty ones too."""
        return self.k - (self.none is not None)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.content["seed"])

    def sprites(self, indices: np.ndarray, side: int) -> Sprites | None:
        """Pictures of images, of at most ``side`` pixels; None where there are none: vectors are no pictures."""
        seen = None if self.images is None else self.images.for_the_eye
        if seen is not None and seen.is_table:
            return None
        if self.kept is not None and (kept := self.kept.sprites(indices, side, exact=seen is not None)):
            return kept
        return None if seen is None else make_sprites(seen, indices, side)

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

    def class_of_cluster(self, cluster: int) -> str | None:
        """Name of the class that a cluster stands for."""
        of_class = int(self.stands_for[cluster])
        return None if of_class < 0 else self.class_names[of_class]


def gather(run: FittedRun, images: Any = None, labels: Any = None, label_names: Any = None) -> Material:
    """Read a run and find its images.

    Parameters and errors are those of `asterism.report.write_report`.
    """
    if not isinstance(run.estimator, ImageClusterer):
        raise InputError(
            f"{run.folder.path} holds a run of {run.content['method']}, which makes no groups: there is nothing to show"
        )
    run.estimator.device = "auto"  # the machine that draws the page need not be the one that fitted
    clusters, confidence, n_groups = shown_groups(run.estimator)
    try:
        names: list[str] | None = run.names
    except RunError:  # the source's own, or numbers
        names = None
    material = Material(
        run.content,
        run.estimator,
        names=names or [str(i) for i in range(len(clusters))],
        clusters=clusters,
        confidence=confidence,
        none=n_groups - 1 if (run.estimator.labels_ < 0).any() else None,
        kept=run.kept,
    )
    run = _with_images(material, run, images)
    if run.source is not None and names is None and len(run.source) == material.n:
        material.names = list(run.source.names)
    if run.source is not None:
        _take_images(material, run)
    run.told = True  # it stands on the page
    if isinstance(labels, (str, os.PathLike)) or (labels is None and (run.source or run.content.get("labels"))):
        known = run.labels(None if labels is None else os.fsdecode(labels))
        if known is not None:
            _set_classes(material, known[0], known[1], gaps=True)
    elif labels is not None:
        _set_classes(material, labels, label_names, gaps=label_names is not None)
    return material


def _with_images(material: Material, run: FittedRun, images: Any) -> FittedRun:
    """The run with what lies where its images came from, or with what is given instead, where that can be opened."""
    try:
        if images is not None:
            run = with_images(run, images)
        if run.source is None:
            with decoding_bar(run.bar) as progress:
                run.source = reopen(run.origin, progress)
    except (AsterismError, OSError) as error:
        _tell(material, run, f"the images could not be opened again: {error}")
    return run


def _take_images(material: Material, run: FittedRun) -> None:
    """Keep the run's images out of those found, if they are there; say what has changed."""
    shape, found = tuple(material.estimator.image_shape_), cast(ImageSource, run.source)
    if found.shape != shape:
        reason = f"the run was made from images of shape {shape} (channels, height, width), not {found.shape}"
        _tell(material, run, reason)
        return
    again = run.found
    if again.same:
        material.images, material.are_own = again.images, run.fingerprint is not None
        if again.change:
            _warn(material, run, f"The images have changed since the run was made ({again.change}): its own are shown.")
        return
    if material.kept is None and again.images is not None:
        material.images = again.images
        _warn(material, run, f"The images are not those that the run was made from ({again.change}).")
        return
    _tell(material, run, f"the images are not those that the run was made from ({again.change})")


def _tell(material: Material, run: FittedRun, reason: str) -> None:
    """Say that the images are not there, and what the page shows instead."""
    how = "Without pictures" if material.kept is None else "With the pictures and the map that the run keeps"
    _warn(material, run, f"{how}: {reason}.")


def _warn(material: Material, run: FittedRun, text: str) -> None:
    """Say it on the page, and at once if it was not said yet."""
    material.warnings.append(text)
    if not run.told:
        warnings.warn(text, UserWarning, stacklevel=2)


def _set_classes(material: Material, labels: Any, label_names: Any, gaps: bool) -> None:
    """Take known classes; where there may be gaps, the label −1 is that of an image whose class is not known."""
    values = np.asarray(labels)
    if values.shape != (material.n,):
        raise InputError(f"labels have shape {values.shape}; the run has {material.n} images: give one label an image")
    names = None if label_names is None else [str(name) for name in label_names]
    known = np.ones(material.n, dtype=bool)
    if gaps and values.dtype.kind in "if":
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
