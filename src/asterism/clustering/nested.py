"""Groups within groups: fewer or more groups from those that a method found, without a new run.

Fewer: whole groups are merged along a tree, by the merge history of the method that found them where it keeps one, else
by Ward's criterion on their centroids (Ward, *Hierarchical grouping to optimize an objective function*, JASA 1963).
More: groups are divided in two, first the group for which two centroids instead of one lower the squared error most
(bisecting k-means; Steinbach, Karypis and Kumar, *A comparison of document clustering techniques*, KDD workshop 2000).
What is merged or divided does not depend on how many groups are wanted, so all levels nest.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from asterism.clustering.linkage_tree import cut, linkage_matrix
from asterism.clustering.wide import narrowed
from asterism.errors import InputError

N_INIT, MAX_ITER = 5, 100  # of the k-means that divides a group


def nested_groups(
    labels: np.ndarray,
    n_clusters: int,
    centers: np.ndarray,
    rows: Callable[[], np.ndarray],
    history: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Labels of fewer or more groups that nest with those given.

    Parameters
    ----------
    labels : ndarray of shape (N,)
        Groups that were found; −1 belongs to none, and stays so.
    n_clusters : int
        How many are wanted, of those that are not empty.
    centers : ndarray of shape (k, D)
        Their centroids.
    rows : callable
        Gives features (N, D'), in which groups are divided; asked only where there are to be more of them.
    history : ndarray of shape (N − 1, 4), optional
        Merge history of the method that found the groups, see `asterism.clustering.linkage_tree.linkage_matrix`. It is
        followed as far as it goes, if the groups are a level of it.
    seed : int
        Of the k-means that divides groups.

    Returns
    -------
    ndarray of shape (N,), int64
        Groups from 0, ordered as those that they are merged from or are parts of, parts by size.

    Raises
    ------
    InputError
        If so many groups cannot be had.
    """
    inside = labels >= 0
    n, n_found = int(inside.sum()), len(np.unique(labels[inside]))
    if not isinstance(n_clusters, (int, np.integer)) or not 1 <= n_clusters <= n:
        raise InputError(f"n_clusters={n_clusters} groups cannot be made of {n} images; choose 1 to {n}")
    if n_clusters == n_found:
        return labels.astype(np.int64)
    found = labels[inside]
    tree = tree_of(found, centers, history)
    found = cut(tree, min(n_clusters, n - int((tree[:, 2] == 0).sum())))
    if len(np.unique(found)) < n_clusters:
        found = _divided(narrowed(np.asarray(rows()), np.flatnonzero(inside)), found, n_clusters, seed)
    made = np.full(len(labels), -1, np.int64)
    made[inside] = _ordered(found, labels[inside])
    return made


def tree_of(labels: np.ndarray, centers: np.ndarray, history: np.ndarray | None = None) -> np.ndarray:
    """The tree that groups are cut along: the history of the method that found them, if they are a level of it.

    Parameters are those of `nested_groups` and `group_tree`, which gives the tree where there is no such history.
    """
    return history if history is not None and _is_level_of(history, labels) else group_tree(labels, centers)


def group_tree(labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Tree over groups, as a merge history of their samples.

    Parameters
    ----------
    labels : ndarray of shape (N,)
        From 0; empty groups are left out.
    centers : ndarray of shape (k, D)

    Returns
    -------
    ndarray of shape (N − 1, 4)
        See `asterism.clustering.linkage_tree.linkage_matrix`: the groups that are not empty are its initial clusters.
        O(k²·D) time, O(k·D) memory.
    """
    present, initial, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return linkage_matrix(initial, ward_merges(narrowed(np.asarray(centers), present).astype(np.float64), sizes))


def ward_merges(centers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Pairs of groups (k − 1, 2), in the order in which Ward's criterion merges them; the first stands for both.

    A chain of nearest neighbours (Murtagh, *A survey of recent advances in hierarchical clustering algorithms*, The
    Computer Journal 1983): two groups that are each other's nearest are merged at once, and sorted in the end.
    """
    centers, weights = centers.copy(), sizes.astype(np.float64)
    gone = np.zeros(len(centers), bool)
    heights, chain = np.zeros(len(centers)), [0]
    found: list[tuple[float, int, int]] = []
    while len(found) < len(centers) - 1:
        chain = chain or [int(gone.argmin())]
        at = chain[-1]
        costs = weights * weights[at] / (weights + weights[at]) * np.square(centers - centers[at]).sum(1)
        costs[gone] = costs[at] = np.inf
        nearest = int(costs.argmin())
        if len(chain) == 1 or costs[nearest] < costs[chain[-2]]:
            chain.append(nearest)
            continue
        kept, merged = sorted(chain[-2:])
        height = max(costs[chain[-2]], *heights[[kept, merged]])  # rounding must put no merge before its parts'
        del chain[-2:]
        centers[kept] = np.average(centers[[kept, merged]], 0, weights[[kept, merged]])
        weights[kept] += weights[merged]
        heights[kept], gone[merged] = height, True
        found.append((height, kept, merged))
    order = np.argsort([height for height, *_ in found], kind="stable")
    return np.array([found[i][1:] for i in order], np.int64).reshape(-1, 2)


class _Division(NamedTuple):
    """A group that may be divided; what two centroids describe better comes first."""

    negative_gain: float
    first: int  # of its members: no two groups share one, so that halves are never compared
    halves: tuple[np.ndarray, np.ndarray]


def _divided(rows: np.ndarray, labels: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    """Groups (N,) divided until there are ``n_clusters``."""
    labels = np.unique(labels, return_inverse=True)[1]
    n_found = int(labels.max()) + 1
    waiting = [_halved(rows, np.flatnonzero(labels == group), seed) for group in range(n_found)]
    waiting = [one for one in waiting if one.negative_gain < 0]
    heapq.heapify(waiting)
    for number in range(n_found, n_clusters):
        if not waiting:
            raise InputError(
                f"n_clusters={n_clusters} groups cannot be made: the features tell {number} apart; choose no more"
            )
        halves = heapq.heappop(waiting).halves
        labels[halves[1]] = number
        for half in halves:
            if (one := _halved(rows, half, seed)).negative_gain < 0:
                heapq.heappush(waiting, one)
    return labels


def _halved(rows: np.ndarray, members: np.ndarray, seed: int) -> _Division:
    """A group in two, always in the same way; no gain where its rows are all the same."""
    own = np.ascontiguousarray(rows[members], np.float64)
    second = _second_of_two(own, np.random.RandomState(seed % 2**32)) if len(members) > 1 else None
    if second is None:
        return _Division(0.0, int(members[0]), (members, members[:0]))
    apart = np.square(own[second].mean(0) - own[~second].mean(0)).sum()
    gain = second.sum() * (~second).sum() / len(members) * apart
    return _Division(-float(gain), int(members[0]), (members[~second], members[second]))


def _second_of_two(rows: np.ndarray, random_state: np.random.RandomState) -> np.ndarray | None:
    """Which rows (N, D) k-means with two centroids gives to the second, (N,) bool; None where all rows are the same.

    k-means++, then Lloyd's iterations, `N_INIT` times. Without torch, whose import takes longer than this.
    """
    best, most = None, 0.0
    rows = rows - rows.mean(0)
    for _ in range(N_INIT):
        centers = rows[[random_state.randint(len(rows))] * 2]
        distances = np.square(rows - centers[0]).sum(1)
        if not distances.any():
            return None
        centers[1] = rows[random_state.choice(len(rows), p=distances / distances.sum())]
        second = np.zeros(len(rows), bool)
        for _ in range(MAX_ITER):
            before, second = second, (rows - centers.mean(0)) @ (centers[1] - centers[0]) > 0
            if (before == second).all() or second.all() or not second.any():
                break
            centers = np.stack([rows[~second].mean(0), rows[second].mean(0)])
        explained = sum(
            len(part) * np.square(part.mean(0)).sum() for part in (rows[~second], rows[second]) if len(part)
        )
        if explained > most:
            best, most = second, float(explained)
    return best


def _is_level_of(history: np.ndarray, labels: np.ndarray) -> bool:
    """Whether a merge history (N − 1, 4) has just these groups at one moment."""
    n_groups, n = len(np.unique(labels)), len(labels)
    if history.shape != (n - 1, 4) or n_groups > n - int((history[:, 2] == 0).sum()):
        return False
    return np.unique(np.stack([cut(history, n_groups), labels]), axis=1).shape[1] == n_groups


def _ordered(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Groups numbered by the least of the labels in them, then by size, the largest first."""
    _, groups, sizes = np.unique(found, return_inverse=True, return_counts=True)
    least = np.full(len(sizes), labels.max() + 1)
    np.minimum.at(least, groups, labels)
    number = np.empty(len(sizes), np.int64)
    number[np.lexsort((-sizes, least))] = np.arange(len(sizes))
    return number[groups]
