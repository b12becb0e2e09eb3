"""What can be made of groups without a new fit: fewer or more of them, and a few images that stand for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from asterism.clustering.nested import nested_groups, tree_of
from asterism.clustering.representatives import representatives, typical_members
from asterism.clustering.wide import narrowed
from asterism.errors import InputError
from asterism.estimator.base import ImageEstimator
from asterism.parameters import attribute


class Regroups(ImageEstimator):
    """An estimator that merges and divides the groups of its fit, and picks of their images."""

    labels_: np.ndarray = attribute()
    cluster_centers_: np.ndarray = attribute()
    fitted_images_: np.ndarray = attribute()
    duplicate_of_: np.ndarray = attribute()

    def cut(self, n_clusters: int, X: Any = None, *, layout: str | None = None) -> np.ndarray:
        """Fewer or more groups of the images fitted, without a new fit: those found, merged or divided in themselves.

        Parameters
        ----------
        n_clusters : int
            How many.
        X : optional
            The images fitted, in their order; see `fit`. Needed only where there are to be more groups, by methods that
            keep no features (`Diffusion`, `JULE` and the baselines on vectors do).
        layout : optional
            See `fit`.

        Returns
        -------
        ndarray of shape (N,), int64
            Groups that are unions or parts of those in ``labels_``, and so at every ``n_clusters``: all levels nest.

        Raises
        ------
        NotFittedError
        InputError
            If so many groups cannot be had, or ``X`` is needed and missing, or of another number of images.

        Notes
        -----
        Methods that merge are cut along their own merge history, ``linkage_matrix_``; see `asterism.clustering.nested`.
        """
        self._check_fitted()
        return self._cut(n_clusters, lambda: self._rows(X, layout))

    def _cut(self, n_clusters: int, rows: Callable[[], np.ndarray]) -> np.ndarray:
        history = getattr(self, "linkage_matrix_", None)
        own = nested_groups(self._own_labels, n_clusters, self.cluster_centers_, rows, history, self.seed_)
        if len(own) == len(self.labels_):
            return own
        found = np.full(len(self.labels_), -1)
        found[self.fitted_images_] = own
        copied = found[getattr(self, "duplicate_of_", np.arange(len(found)))]
        return np.where(self.labels_ < 0, -1, np.where(found < 0, copied, found))  # copies that were fitted: their own

    def tree(self) -> tuple[np.ndarray, np.ndarray]:
        """The tree along which `cut` merges groups.

        Returns
        -------
        images : ndarray of shape (M,), int64
            Those of the images fitted that are in groups.
        history : ndarray of shape (M − 1, 4)
            Merges, of them: see `asterism.clustering.linkage_tree.linkage_matrix`. The method's own, if it merges and
            its groups are a level of it, else one over its groups.
        """
        self._check_fitted()
        labels = self._own_labels
        images = getattr(self, "fitted_images_", np.arange(len(labels)))[labels >= 0]
        history = getattr(self, "linkage_matrix_", None)
        return images, tree_of(labels[labels >= 0], self.cluster_centers_, history)

    def pick(self, n: int, X: Any = None, *, how: str = "diverse", layout: str | None = None) -> np.ndarray:
        """A few images that stand for those fitted: to look at, to label, to show.

        Parameters
        ----------
        n : int
            How many.
        X, layout : optional
            See `cut`; needed by methods that keep no features.
        how : {"diverse", "typical"}
            A subset to which all images are similar, or as many members of each group that stand for it.

        Returns
        -------
        ndarray of shape (n,), int64
            Indices of images, the most telling first, group by group where they are typical. Copies of others
            (``duplicate_of_``) and images in no group are left out.

        Raises
        ------
        NotFittedError
        InputError
            If there are not so many, or ``X`` is needed and missing.

        Notes
        -----
        Facility location on the features: see `asterism.clustering.representatives`.
        """
        self._check_fitted()
        if how not in ("diverse", "typical"):
            raise InputError(f"how={how!r} cannot be used: how must be 'diverse' or 'typical'")
        labels = self._own_labels
        images = getattr(self, "fitted_images_", np.arange(len(labels)))
        usable = labels >= 0
        if hasattr(self, "duplicate_of_"):
            usable = usable & (self.duplicate_of_[images] == images)
        if not isinstance(n, (int, np.integer)) or not 1 <= n <= usable.sum():
            raise InputError(f"n={n} images cannot be picked of {usable.sum()} that are no copies and in a group")
        rows = narrowed(self._rows(X, layout), np.flatnonzero(usable))
        random_state = np.random.RandomState(self.seed_ % 2**32)
        if how == "diverse":
            found = representatives(rows, int(n), random_state)
        else:
            found = typical_members(rows, labels[usable], int(n), random_state)
        return images[usable][found]

    @property
    def keeps_features(self) -> bool:
        """Whether `cut` and `pick` can do without the images."""
        return self._kept_rows() is not None

    @property
    def _own_labels(self) -> np.ndarray:
        """Labels (F,) of the images that were fitted: without those that were left out."""
        return self.labels_[self.fitted_images_] if hasattr(self, "fitted_images_") else self.labels_

    def _members(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of rows (F, D) of the fitted images those that are in groups, and their labels."""
        inside = self._own_labels >= 0
        return (rows, self._own_labels) if inside.all() else (rows[inside], self._own_labels[inside])

    def _rows(self, X: Any = None, layout: str | None = None) -> np.ndarray:
        """Features (F, D) of the images fitted: those that are kept, else of X."""
        kept = self._kept_rows()
        if kept is not None:
            return kept
        if X is None:
            raise InputError(f"this {type(self).__name__} keeps no features: pass the images that it was fitted on")
        rows, n = self._by_blocks(X, lambda features: features, layout), len(self.labels_)
        if len(rows) != n:
            raise InputError(f"X holds {len(rows)} images, and {n} were fitted: pass those, in their order")
        return rows[self.fitted_images_] if hasattr(self, "fitted_images_") else rows

    def _untaught_rows(self) -> np.ndarray | None:
        """Features (R, D) of some images of the fit that nothing was learnt for, where such are kept.

        By them two halves of the images can be compared: neither has taught the other.
        """
        return None

    def _kept_rows(self) -> np.ndarray | None:
        """Features (F, D) of the images fitted, where they are kept with the model."""
        return getattr(self, "embedding_", None)
