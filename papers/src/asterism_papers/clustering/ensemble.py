"""Infinite ensemble clustering: Liu, Shao, Li and Fu, "Infinite ensemble for image clustering", KDD 2016.

Many k-means partitions are written as 1-of-K codes B (N, Σ K_i). Drop some of their entries at random and the rest is
another ensemble; the denoising auto-encoder that fills in what was dropped, averaged over infinitely many such drops,
has a closed form (Chen, Xu, Weinberger and Sha, "Marginalized denoising autoencoders for domain adaptation", ICML
2012). Layers of it are stacked, and k-means runs on all their outputs side by side.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg

from asterism.clustering.kmeans import kmeans

RIDGE = 1e-5  # columns of B sum to one in each partition, so that BᵀB is singular
PARTITION_ITERATIONS = 30  # of k-means, ours: a basic partition need not be the best one
BLOCK = 2048  # columns that are denoised together: a layer solves a system of this order


def partition_codes(
    X: np.ndarray, n_clusters: int, n_partitions: int, random_state: np.random.RandomState
) -> list[np.ndarray]:
    """Basic partitions: k-means with K_i clusters each, K_i drawn from k to √N, as 1-of-K codes.

    The range is the authors' in an earlier paper ("K-means-based consensus clustering", TKDE 2015), from memory. With k
    to 2k the consensus on USPS was that of the codes themselves (docs/methods/baselines.md).

    Parameters
    ----------
    X : (N, D) float32 array
    n_clusters : int
        k.
    n_partitions : int
        r.
    random_state : RandomState

    Returns
    -------
    list of (N, K_i) float32 arrays
        A row has one 1. O(r·N·D·√N) time an iteration of k-means.
    """
    codes = []
    most = max(n_clusters, math.isqrt(len(X)))
    for _ in range(n_partitions):
        k = int(random_state.randint(n_clusters, most + 1))
        found = kmeans(X, k, max_iter=PARTITION_ITERATIONS, random_state=random_state)
        codes.append(np.eye(k, dtype=np.float32)[found.labels])
    return codes


def marginalised_denoiser(B: np.ndarray, noise: float) -> np.ndarray:
    """The linear map that reconstructs B best from copies with dropped columns, over all copies that there can be.

    min_W E‖B − B̃·W‖², where each entry of B̃ is 0 with probability p and that of B otherwise, has the solution
    W = E[B̃ᵀB̃]⁻¹ E[B̃ᵀB]: with S = BᵀB and q = 1 − p, E[B̃ᵀB̃]_ij = q²·S_ij for i ≠ j and q·S_ii, E[B̃ᵀB] = q·S. A
    last column of ones, which is never dropped, is the bias.

    Parameters
    ----------
    B : (N, d) array
    noise : float
        p, in [0, 1).

    Returns
    -------
    (d + 1, d) float64 array
        W. O(N·d² + d³) time.
    """
    with_ones = np.concatenate([B, np.ones((len(B), 1), dtype=B.dtype)], axis=1)
    S = (with_ones.T @ with_ones).astype(np.float64)
    kept = np.append(np.full(B.shape[1], 1 - noise), 1.0)
    Q = S * np.outer(kept, kept)
    np.fill_diagonal(Q, np.diag(S) * kept)
    P = S[:, :-1] * kept[:, None]
    return scipy.linalg.solve(Q + RIDGE * np.eye(len(Q)), P, assume_a="pos")


def denoised_layers(codes: list[np.ndarray], n_layers: int, noise: float) -> np.ndarray:
    """Outputs of stacked denoisers, tanh(B·W) each and the input of the next, side by side.

    Parameters
    ----------
    codes : list of (N, K_i) arrays
        Partitions that have more columns than `BLOCK` together are denoised in several groups, each by itself: ours,
        for hundreds of clusters.
    n_layers : int
    noise : float

    Returns
    -------
    (N, n_layers · Σ K_i) float32 array
    """
    layers = []
    for group in _groups(codes):
        layer = np.concatenate(group, axis=1)
        for _ in range(n_layers):
            W = marginalised_denoiser(layer, noise).astype(np.float32)
            layer = np.tanh(layer @ W[:-1] + W[-1])
            layers.append(layer)
    return np.concatenate(layers, axis=1)


def _groups(codes: list[np.ndarray]) -> list[list[np.ndarray]]:
    groups: list[list[np.ndarray]] = [[]]
    for one in codes:
        if groups[-1] and sum(each.shape[1] for each in groups[-1]) + one.shape[1] > BLOCK:
            groups.append([])
        groups[-1].append(one)
    return groups


def infinite_ensemble(
    X: np.ndarray,
    n_clusters: int,
    *,
    n_partitions: int = 50,
    n_layers: int = 3,
    noise: float = 0.2,
    n_init: int = 10,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Labels by the consensus of infinitely many k-means partitions.

    Parameters
    ----------
    X : (N, D) float32 array
    n_clusters : int
        k.
    n_partitions : int, default=50
    n_layers : int, default=3
    noise : float, default=0.2
        Share of the codes' entries that is dropped.
    n_init : int, default=10
        Restarts of the last k-means.
    random_state : RandomState

    Returns
    -------
    (N,) int64 array

    Notes
    -----
    Memory: 4·N·n_layers·Σ K_i bytes, 380 MB for USPS, 6 GB for the 70 000 of MNIST. The paper's abstract is all that
    was at hand beside DBC's: the numbers of partitions, layers and clusters a partition, and the noise, are ours.
    """
    codes = partition_codes(X, n_clusters, n_partitions, random_state)
    features = denoised_layers(codes, n_layers, noise)
    return np.asarray(kmeans(features, n_clusters, n_init=n_init, random_state=random_state).labels)
