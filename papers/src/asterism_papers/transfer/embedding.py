"""What a low-dimensional embedding keeps: the error of the nearest neighbour in it, and its trustworthiness.

The two measures of van der Maaten, "Learning a parametric embedding by preserving local structure", AISTATS 2009, that
JULE's slides 13 and 14 print.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier

from asterism.clustering.graph import knn
from asterism.clustering.units import near_one
from asterism.errors import InputError

N_NEIGHBORS = 12  # k of T(12)
DISTANCES_HELD = 2**24  # 64 MB of float32


def nearest_neighbor_error(
    references: np.ndarray, reference_labels: np.ndarray, embedded: np.ndarray, labels: np.ndarray
) -> float:
    """Share of points whose nearest reference has another label.

    Parameters
    ----------
    references : (M, D) array
        The embedded training part.
    reference_labels : (M,) int array
    embedded : (N, D) array
        The embedded test part.
    labels : (N,) int array

    Returns
    -------
    float
        In [0, 1].
    """
    classifier = KNeighborsClassifier(n_neighbors=1).fit(references, reference_labels)
    return float(1 - classifier.score(embedded, labels))


def trustworthiness(inputs: np.ndarray, embedded: np.ndarray, n_neighbors: int = N_NEIGHBORS) -> float:
    """How far neighbours in the embedding are neighbours in the input too.

    T(k) = 1 − 2 / (n·k·(2n − 3k − 1)) · Σ_i Σ_{j ∈ U_k(i)} (r(i, j) − k), where U_k(i) are those of the k nearest
    points of i in the embedding that are not among its k nearest in the input, and r(i, j) is the rank of j among the
    others by distance from i in the input.

    Parameters
    ----------
    inputs : (N, D) array
    embedded : (N, d) array
    n_neighbors : int, default=12
        k, less than N / 2.

    Returns
    -------
    float
        1 where every neighbour is one in the input.

    Raises
    ------
    InputError
        If k is too large.

    Notes
    -----
    The value of `sklearn.manifold.trustworthiness`, where no two distances are equal, without its N × N arrays, 2.4 GB
    for the 10 000 images of MNIST-test: the rank of a neighbour is the number of points that are nearer, counted block
    by block in 64 MB. O(N²·(D + k)) time.
    """
    n = len(inputs)
    if not 1 <= n_neighbors < n / 2:
        raise InputError(f"n_neighbors={n_neighbors} must be at least 1 and less than half of the {n} points")
    points = torch.from_numpy(near_one(inputs))
    points = points - points.mean(0)  # smaller numbers, smaller rounding
    squares = points.square().sum(1)
    nearest = torch.from_numpy(knn(embedded, n_neighbors)[0]).long()  # (N, k)
    excess = 0
    for rows in torch.arange(n).split(max(1, DISTANCES_HELD // n)):
        distances = squares - 2 * points[rows] @ points.T  # (B, N) squared, less what a row has in common
        distances[torch.arange(len(rows)), rows] = torch.inf  # one is no neighbour of oneself
        for found in nearest[rows].T:
            to_found = distances.gather(1, found[:, None])
            ranks = (distances < to_found).sum(1) + 1  # r(i, j)
            excess += int((ranks - n_neighbors).clamp_min(0).sum())
    return 1 - 2 * excess / (n * n_neighbors * (2 * n - 3 * n_neighbors - 1))
