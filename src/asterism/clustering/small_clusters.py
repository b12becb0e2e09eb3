"""Merging down to a number of clusters of which none is small.

A few outlying samples may hold out as a cluster of their own until all affinities that are left are small: two true
clusters are then merged to make room for three odd images. `merge_without_small_clusters` does not count such clusters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse

from asterism.clustering.graph import neighbors
from asterism.clustering.linkage_merge import Merging, merge
from asterism.clustering.linkage_tree import ends, labels_after, linkage_matrix, merged_pairs, numbered


def merge_without_small_clusters(
    W: Any, labels: np.ndarray, n_clusters: int, *, smallest: float, features: np.ndarray, full: bool, **options: Any
) -> Merging:
    """Merge until ``n_clusters`` clusters of a fair size are left, and give what is smaller to its neighbours.

    Parameters
    ----------
    W, labels, n_clusters, features, full, **options
        As in `merge`.
    smallest : float
        Share of the mean final size N / n_clusters below which a cluster is small; 0 is `merge` itself.

    Returns
    -------
    Merging
        Its history has the merges up to the moment at which ``n_clusters`` fair clusters were left, then the small
        ones, each joining the fair cluster that has most of its affinity (by its centroid where no affinity joins it
        to any), then, if ``full``, the merges of these to one.

    Notes
    -----
    The cost of `merge`, at most twice. Where there never were as many fair clusters, none is small.
    """
    if smallest == 0:
        return merge(W, labels, n_clusters, features=features, full=full, **options)
    merging = merge(W, labels, n_clusters, features=features, full=False, **options)
    n_samples = len(merging.labels)
    n_rows = rows_before_small(merging.history, n_samples, n_clusters, smallest * n_samples / n_clusters)
    pieces = labels_after(merging.history, n_samples, n_rows)
    if n_samples - n_rows > n_clusters:
        owner = fair_owner(W, pieces, smallest * n_samples / n_clusters, features)
    else:
        owner = np.arange(n_clusters)
    kept = numbered(owner[pieces])
    if not full:
        return replace(merging, labels=kept)
    rest = merge(W, kept, n_clusters, features=features, full=True, **{**options, "isolated": "never"})
    history = join_histories(merging.history[:n_rows], pieces, owner, rest.history)
    waiting = np.zeros(len(np.unique(pieces)) - n_clusters)  # the small ones
    affinities = np.concatenate([merging.affinities[:n_rows], waiting, rest.affinities[n_samples - n_clusters :]])
    return replace(merging, labels=kept, history=history, affinities=affinities)


def rows_before_small(history: np.ndarray, n_samples: int, n_clusters: int, least: float) -> int:
    """How many rows of a history that ends with ``n_clusters`` to keep, so that as many clusters of size ``least`` are
    left: the merges are taken back one by one until there are. All of them where there never were.
    """
    nodes = history[:, :2].astype(np.int64)
    fair = np.concatenate([np.ones(n_samples), history[:, 3]]) >= least
    more = fair[n_samples:].astype(np.int64) - fair[nodes].sum(1)  # fair clusters by each merge
    n_fair = fair[:n_samples].sum() + np.concatenate([[0], np.cumsum(more)])  # after 0, 1, … rows
    n_first = int((history[:, 2] == 0).sum())  # the initial clusters are not cut
    enough = np.flatnonzero(n_fair[n_first:] == n_clusters)
    return n_first + int(enough[-1]) if len(enough) else len(history)


def fair_owner(W: Any, pieces: np.ndarray, least: float, features: np.ndarray) -> np.ndarray:
    """For each of n clusters the fair one that it goes to: itself, or its strongest neighbour if it is small; (n,)."""
    sizes = np.bincount(pieces)
    member = scipy.sparse.csr_matrix((np.ones(len(pieces)), (pieces, np.arange(len(pieces)))))  # (n, N)
    fair, small = np.flatnonzero(sizes >= least), np.flatnonzero(sizes < least)
    between = (member[small] @ (W + W.T) @ member[fair].T).tocsr()  # (small, fair)
    owner = np.arange(len(sizes))
    owner[small] = fair[np.asarray(between.argmax(axis=1)).ravel()]
    alone = small[np.diff(between.indptr) == 0]
    if len(alone):
        means = (member @ features) / sizes[:, None]
        owner[alone] = fair[neighbors(means[alone], means[fair], 1)[0][:, 0]]
    return owner


def join_histories(before: np.ndarray, pieces: np.ndarray, owner: np.ndarray, after: np.ndarray) -> np.ndarray:
    """One history (N − 1, 4): rows ``before`` make the ``pieces``, which go to their owners; then ``after``'s merges.

    ``after`` starts from the clusters of the owners, which its first rows, at height 0, put together in its own way:
    those are left out.
    """
    n_samples, made = len(pieces), merged_pairs(before, len(pieces))
    stands = np.arange(n_samples)
    stands[made[:, 1]] = made[:, 0]
    first = ends(stands)[np.unique(pieces, return_index=True)[1]]  # the sample that stands for each piece
    small = np.flatnonzero(owner != np.arange(len(owner)))
    joins = np.stack([first[owner[small]], first[small]], 1)
    later = first[owner[pieces]][merged_pairs(after, n_samples)[len(made) + len(small) :]]
    joined = linkage_matrix(np.arange(n_samples), np.concatenate([made, joins, later]))
    joined[:, 2] = np.maximum(joined[:, 2] - (before[:, 2] == 0).sum(), 0)  # each merge of clusters is a step higher
    return joined
