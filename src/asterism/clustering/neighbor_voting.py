"""A cluster for new samples, where clusters come from a graph: the one with most affinity to a sample's neighbours.

Clusters of a graph can have any shape, which a nearest centroid would cut. A sample that was clustered keeps its
cluster.
"""

from __future__ import annotations

import numpy as np
import torch

from asterism.clustering.graph import neighbors

# Squared distance, in units of the variance, below which a sample is one of those that were clustered: rounding
SAME = 1e-10


def vote(
    queries: torch.Tensor, X: np.ndarray, labels: np.ndarray, n_neighbors: int, sigma2: float, n_clusters: int
) -> torch.Tensor:
    """Share of each cluster in the affinity (JULE, eq. 4) of queries to their nearest neighbours in X.

    Parameters
    ----------
    queries : torch.Tensor of shape (Q, D)
    X : ndarray of shape (N, D)
        What was clustered.
    labels : int64 ndarray of shape (N,)
    n_neighbors : int
    sigma2 : float
        σ² of the graph of X.
    n_clusters : int

    Returns
    -------
    torch.Tensor of shape (Q, n_clusters), float32
        Rows sum to 1. O(Q·N·D) time.
    """
    indices, distances = neighbors(queries, X, n_neighbors)
    same = distances <= SAME * float(X.var(0, dtype=np.float64).sum())
    weights = np.where(same.any(1, keepdims=True), same, neighbor_weights(distances, sigma2))
    return shares(labels[indices], weights, n_clusters)


def neighbor_weights(distances: np.ndarray, sigma2: float) -> np.ndarray:
    """exp(−(d² − d²_1)/σ²) of squared distances (N, K) in increasing order: eq. 4 up to a factor for each row.

    The factor keeps samples far from all others from weights of 0; shares of a row do not change by it.
    """
    if sigma2 <= 0:
        return (distances == distances[:, :1]).astype(np.float64)
    return np.exp(-(distances - distances[:, :1]) / sigma2)


def shares(labels: np.ndarray, weights: np.ndarray, n_clusters: int) -> torch.Tensor:
    """Share (N, k) of each cluster in the weights (N, K) of neighbours with labels (N, K); of none, all the same."""
    found = torch.zeros(len(labels), n_clusters, dtype=torch.float64)
    found.scatter_add_(1, torch.as_tensor(labels), torch.as_tensor(weights, dtype=torch.float64))
    total = found.sum(1, keepdim=True)
    return torch.where(total > 0, found / total, 1 / n_clusters).float()
