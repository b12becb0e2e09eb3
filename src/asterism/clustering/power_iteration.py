"""Power iteration clustering, the alternative to k-means that DeepCluster names (§3.2; docs/papers/deepcluster.md).

Lin and Cohen (ICML 2010) iterate a graph's transition matrix on a vector and stop before it forgets the clusters.
DeepCluster's variant keeps the graph's structure to the end: from the final vector every sample steps to the neighbour
that pulls it most, and the samples that flow into one root are a cluster. Their number is an outcome.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from asterism.clustering.graph import knn, weights_to_neighbors
from asterism.clustering.linkage_tree import ends, numbered
from asterism.errors import InputError


def power_iteration_clustering(
    X: Any,
    *,
    n_neighbors: int = 5,
    sigma: float = 0.2,
    alpha: float = 0.001,
    n_iter: int = 200,
) -> np.ndarray:
    """Cluster rows by the flow on their neighbour graph.

    Parameters
    ----------
    X : array or tensor of shape (N, D)
        Rows of length 1, as DeepCluster's are.
    n_neighbors : int, default=5
        Of the graph.
    sigma : float, default=0.2
        w_ij = exp(−d²_ij / σ²).
    alpha : float, default=0.001
        Share of the flow against the uniform restart: v ← α·Wᵀv + (1 − α)/N.
    n_iter : int, default=200

    Returns
    -------
    ndarray of shape (N,), int64
        Clusters from 0, without gaps, in the order of their first samples. A cluster of one sample is dissolved into
        that of its nearest neighbour that has company, if one of its neighbours has.

    Raises
    ------
    InputError
        For a parameter out of its range.

    Notes
    -----
    O(N²·D / 2) for the neighbours, O(n_iter·N·n_neighbors) for the rest; memory O(N·(D + n_neighbors)).
    """
    if n_neighbors < 1 or n_iter < 0 or sigma <= 0 or not 0 <= alpha <= 1:
        raise InputError(
            f"n_neighbors={n_neighbors}, n_iter={n_iter}, sigma={sigma}, alpha={alpha} cannot be used: they must be "
            ">= 1, >= 0, > 0 and in [0, 1]"
        )
    found, squared = knn(X, n_neighbors)  # (N, K), (N, K)
    n = len(found)
    directed = weights_to_neighbors(np.exp(-squared / sigma**2), found, n)
    directed.sort_indices()
    weights = (directed + directed.T).tocsr()  # not normalised by rows
    v = np.full(n, 1 / n)
    for _ in range(n_iter):
        v = alpha * (weights.T @ v) + (1 - alpha) / n
        v /= v.sum() or 1.0  # with α = 1 nothing may be left
    labels = ends(_strongest_pull(weights, v))  # v rises with every step: no step leads back
    return numbered(_without_singletons(labels, found))


def _strongest_pull(weights: scipy.sparse.csr_matrix, v: np.ndarray) -> np.ndarray:
    """Where each sample i steps: argmax_j w_ij (v_j − v_i) if that is positive, else it stays; (N,)."""
    n = len(v)
    rows = np.repeat(np.arange(n), np.diff(weights.indptr))
    pulls = weights.data * (v[weights.indices] - v[rows])
    steps = np.arange(n)
    order = np.lexsort((weights.indices, -pulls, rows))  # of each row the strongest first, on a tie the lower number
    first = order[np.r_[True, np.diff(rows[order]) > 0]] if len(order) else order
    upward = first[pulls[first] > 0]
    steps[rows[upward]] = weights.indices[upward]
    return steps


def _without_singletons(labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Let lone samples join the cluster of their nearest neighbour that is not alone."""
    if not found.shape[1]:  # of one sample
        return labels
    alone = np.bincount(labels, minlength=len(labels))[labels] == 1
    near = ~alone[found]  # (N, K) whether a neighbour has company
    nearest = np.take_along_axis(found, near.argmax(1)[:, None], 1)[:, 0]
    return np.where(alone & near.any(1), labels[nearest], labels)
