"""The merge history: one tree over the samples, in scipy's form, that can be cut at any number of clusters.

Without compiled loops: to load these takes longer than a hundred thousand samples do.
"""

from __future__ import annotations

import hashlib

import numpy as np

from asterism.errors import InputError

MANY_COPIES = 0.1  # of the rows: fewer equal ones decide little


def linkage_matrix(labels: np.ndarray, merges: np.ndarray) -> np.ndarray:
    """History of a run over all samples, as `scipy.cluster.hierarchy` keeps it.

    Parameters
    ----------
    labels : (N,) int array
        Initial clusters, 0 … n − 1.
    merges : (T, 2) int array
        Pairs of initial clusters; each stands for the cluster that it has been merged into so far.

    Returns
    -------
    Z : (N − n + T, 4) float64 array
        Row t joins the nodes Z[t, 0] < Z[t, 1] into node N + t with Z[t, 3] samples. The first N − n rows put the
        initial clusters together, one sample after another, at height 0; the rows of the merges follow at heights
        1 … T. Affinities need not fall from one merge to the next, so the height is the number of the merge: it makes
        the tree monotone, and scipy's ``dendrogram`` and ``fcluster`` read it. O(N log N).
    """
    n_samples, first = len(labels), _first_of(labels)
    later = np.delete(np.arange(n_samples), first)
    # Which joins which, clusters by their first samples: a sample its cluster, and then a cluster another.
    stays, joins = np.concatenate([np.stack([first[labels[later]], later]), first[merges].T], 1)
    made = n_samples + np.arange(len(stays))
    last = np.arange(n_samples)
    last[stays] = made  # node of each in the end; what has joined another makes none any more
    nodes = np.stack([stays, last[joins]], 1)
    order = np.argsort(stays.astype(np.min_scalar_type(n_samples)), kind="stable")  # short integers: by their digits
    again = stays[order[1:]] == stays[order[:-1]]
    nodes[order[1:][again], 0] = made[order[:-1][again]]
    beyond = n_samples + len(stays)  # above the roots
    above = np.full(beyond + 1, beyond)
    above[nodes] = made[:, None]
    sizes = np.concatenate([np.ones(n_samples), np.zeros(len(stays) + 1)])
    while (above < beyond).any():  # each time twice as many levels below a node have been counted
        sizes += np.bincount(above, sizes)
        above = above[above]
    heights = np.concatenate([np.zeros(len(later)), np.arange(1, len(merges) + 1)])
    return np.column_stack([np.minimum(*nodes.T), np.maximum(*nodes.T), heights, sizes[n_samples:beyond]])


def check_history(history: np.ndarray, n_samples: int) -> None:
    """See that a history from a file is one.

    Raises
    ------
    ValueError
        If it is not of n_samples − 1 merges, each of two clusters that are there.
    """
    if history.dtype != np.float64 or history.shape != (n_samples - 1, 4):
        raise ValueError("its merge history is not four numbers a merge")
    nodes, made = history[:, :2], n_samples + np.arange(n_samples - 1)[:, None]
    if not ((nodes >= 0) & (nodes < made) & (nodes % 1 == 0)).all() or len(np.unique(nodes)) != nodes.size:
        raise ValueError("its merge history merges what is not there")


def distinct_rows(X: np.ndarray, only: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows that differ from all before them, and which of these each row equals.

    Parameters
    ----------
    X : (N, D) array
    only : (N,) int64 array, optional
        Rows that are looked at, in this order; by default all.

    Returns
    -------
    kept : (n,) int64 array
        Their numbers, in that order.
    copies : (N,) int64 array
        For each row its place in ``kept``. O(N·D) time.
    """
    seen: dict[bytes, int] = {}
    numbers = np.arange(len(X)) if only is None else only
    copies = np.empty(len(numbers), np.int64)
    kept: list[int] = []
    for place, i in enumerate(numbers.tolist()):
        row = np.ascontiguousarray(X[i] + 0.0)  # no −0
        copies[place] = seen.setdefault(hashlib.blake2b(row.data, digest_size=16).digest(), len(seen))
        if copies[place] == len(kept):
            kept.append(i)
    return np.array(kept, np.int64), copies


def without_many_copies(X: np.ndarray, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """`distinct_rows` where more than a tenth of the rows equal others and k of them differ; else all rows.

    Copies are all the neighbours that a row has, and to a graph each set of them is a part of its own. A few decide
    nothing.
    """
    kept, copies = distinct_rows(X)
    if len(X) - len(kept) > MANY_COPIES * len(X) and len(kept) >= n_clusters:
        return kept, copies
    return np.arange(len(X)), np.arange(len(X))


def with_copies(history: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """The history (N − 1, 4) of all samples, from that (n − 1, 4) of the distinct ones: copies join first, at height 0.

    ``copies`` (N,) says which distinct one a sample equals, numbered in the order of their first.
    """
    n_samples, n_distinct = len(copies), int(copies.max()) + 1
    if n_distinct == n_samples:
        return history
    rows = linkage_matrix(copies, merged_pairs(history, n_distinct))
    rows[n_samples - n_distinct :, 2] = history[:, 2]
    return rows


def merged_pairs(history: np.ndarray, n_samples: int) -> np.ndarray:
    """Two samples (T, 2) for each merge of a history: each stands for its part, the first then for both. O(N log N)."""
    nodes = history[:, :2].astype(np.int64)
    return ends(np.concatenate([np.arange(n_samples), nodes[:, 0]]))[nodes]


def cut(history: np.ndarray, n_clusters: int, n_samples: int | None = None) -> np.ndarray:
    """Labels with ``n_clusters`` clusters from a merge history, without a new run.

    Parameters
    ----------
    history : (T, 4) array
        As `linkage_matrix` or scipy write it.
    n_clusters : int
        From the number of clusters at which the history stops to that of the initial clusters.
    n_samples : int, optional
        N, needed where the history stops before one cluster; T + 1 otherwise.

    Returns
    -------
    labels : (N,) int64 array
        Numbered by the first sample of each cluster. O(N).

    Raises
    ------
    InputError
        If there are not that many clusters to be had.
    """
    n_samples = len(history) + 1 if n_samples is None else n_samples
    most = n_samples - int((history[:, 2] == 0).sum())
    least = n_samples - len(history)
    if not isinstance(n_clusters, (int, np.integer)) or not least <= n_clusters <= most:
        raise InputError(f"n_clusters={n_clusters} cannot be cut from this history: it goes from {most} to {least}")
    return labels_after(history, n_samples, n_samples - int(n_clusters))


def nodes_after(history: np.ndarray, n_samples: int, n_rows: int) -> np.ndarray:
    """Node of each sample (N,) when the first ``n_rows`` rows of a history have been merged. O(N log N)."""
    above = np.arange(n_samples + n_rows)
    above[history[:n_rows, :2].astype(np.int64)] = above[n_samples:, None]
    return ends(above)[:n_samples]


def ends(steps: np.ndarray) -> np.ndarray:
    """Where each of N ends, going from i to ``steps[i]`` until it stays; no step may lead back. O(N log N)."""
    for _ in range(len(steps).bit_length()):  # each time twice as far; so often that even a wrong history ends
        if np.array_equal(steps, further := steps[steps]):
            break
        steps = further
    return steps


def labels_after(history: np.ndarray, n_samples: int, n_rows: int) -> np.ndarray:
    """Labels (N,) when the first ``n_rows`` rows of a history have been merged, numbered by first sample."""
    return numbered(nodes_after(history, n_samples, n_rows))


def numbered(labels: np.ndarray) -> np.ndarray:
    """Clusters 0, 1, … in the order of their first samples; (N,) int64."""
    own = _first_of(labels)[labels]
    return (np.cumsum(own == np.arange(len(labels))) - 1)[own]


def _first_of(labels: np.ndarray) -> np.ndarray:
    """The first sample of each label 0, 1, …; of a label that none has, anything."""
    first = np.zeros(labels.max(initial=-1) + 1, np.int64)
    first[labels[::-1]] = np.arange(len(labels))[::-1]  # what is set last stays
    return first
