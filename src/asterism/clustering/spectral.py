"""Spectral clustering: three algorithms as JULE's tables were run (docs/papers/jule.md), and what their papers say
otherwise.

============================ ==========================================================================================
`njw`                        Ng, Jordan & Weiss 2001: eigenvectors of the normalised affinity, rows scaled, k-means
`self_tuning`                Zelnik-Manor & Perona 2004: local scales; k-means, or rotation to the axes as in the paper
`landmark_spectral`          Chen & Cai 2011 (LSC-K): affinities to a few hundred landmarks; the only one for large N
============================ ==========================================================================================

NJW and self-tuning hold all N² affinities, 4·N² bytes and twice that for their eigenvectors: `affinities.MAX_SAMPLES`.
Landmarks have few: they take tens of thousands of images.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse
import torch
from sklearn.utils import check_random_state

from asterism.clustering import affinities
from asterism.clustering.graph import neighbors, weights_to_neighbors
from asterism.clustering.kmeans import KMeansResult, kmeans
from asterism.clustering.units import near_one, squared_unit
from asterism.runtime import usual_torch

SCALES = (0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # that `njw` looks through, as shares of the mean d²
APART = 1e-4  # eigenvalues so near to 1 belong to parts of the graph that next to nothing joins

Random = int | np.random.RandomState | None


@usual_torch()
def njw(
    X: np.ndarray,
    n_clusters: int,
    *,
    scale: float | None = 0.05,
    diagonal: bool = True,
    n_init: int = 1,
    random_state: Random = None,
) -> np.ndarray:
    """Spectral clustering of Ng, Jordan and Weiss, as run in JULE's tables ("SC-NJW").

    A_ij = exp(−d²_ij / s) with s = ``scale`` · mean(d²), N = D^(−½) A D^(−½), k-means on the rows of its k leading
    eigenvectors, each scaled to length 1.

    Parameters
    ----------
    X : (N, D) array
    n_clusters : int
    scale : float, optional
        None looks for it as the paper does: of `SCALES`, the one whose scaled rows lie closest to their centers (least
        inertia of k-means). Ours: the scales, and that those are left out at which the graph falls into more parts than
        groups. 0.05 in the script behind JULE's tables.
    diagonal : bool
        Keep A_ii = 1, as the script does; 0 in the paper. With 1 and so small a scale images far from all others keep
        an eigenvector near 1 to themselves, and the groups of few images that Table 3 shows follow.
    n_init : int
        Restarts of k-means; the script has one. It starts from random rows: CMU-PIE then comes out as printed (.545 for
        .543, from k-means++ .53). The paper starts it from rows that are far from parallel.
    random_state : int, RandomState or None

    Returns
    -------
    labels : (N,) int64 array

    Raises
    ------
    InputError
        Above `affinities.MAX_SAMPLES` samples.

    Notes
    -----
    O(N²·D + N³) time and 12·N² bytes, 16·N² and that time for each scale to look for one.
    """
    rng = check_random_state(random_state)
    distances = affinities.squared_distances(near_one(X), "NJW spectral clustering")
    mean = affinities.mean(distances)
    scales = SCALES if scale is None else (scale,)

    def tried() -> Iterator[KMeansResult]:
        for one in scales:
            A = distances if one == scales[-1] else distances.copy()
            for rows in affinities.row_blocks(A):
                np.exp(rows / -affinities.positive(one * mean), out=rows)
            if not diagonal:
                np.fill_diagonal(A, 0.0)
            A, _ = affinities.normalise(A)
            n_parts = affinities.count_parts(A)
            if n_parts <= n_clusters or one == scales[-1]:
                affinities.warn_of_parts(n_parts, n_clusters)
                vectors = affinities.leading_eigenvectors(A, n_clusters, rng)
                yield _kmeans(unit_rows(vectors), n_clusters, n_init, rng)

    return min(tried(), key=lambda found: found.inertia).labels


@usual_torch()
def self_tuning(
    X: np.ndarray,
    n_clusters: int,
    *,
    neighbor: int = 7,
    floor: float = 0.004,
    rotation: bool = False,
    n_init: int = 50,
    random_state: Random = None,
) -> np.ndarray:
    """Self-tuning spectral clustering: A_ij = exp(−d²_ij / (σ_i σ_j)), σ_i the distance to a certain neighbour.

    Parameters
    ----------
    X : (N, D) array
    n_clusters : int
    neighbor : int
        Which neighbour gives σ_i: the 7th, as Zelnik-Manor and Perona have it. The script behind JULE's tables has the
        75th (docs/papers/jule.md), yet with the 7th its figures come out to .004 ("SC-ST": CMU-PIE .585 for .581, UMist
        .609 for .611; with the 75th .70 and .63). Clipped to N − 1.
    floor : float
        Smallest σ_i σ_j; 0.004 in the authors' code, for images of length 1. Of other vectors, that share of the
        variance.
    rotation : bool
        Find the labels as the paper does, by the rotation of the eigenvectors that best aligns them with the axes
        (`align`), not by k-means on scaled rows. The script behind the table computes both and keeps k-means.
    n_init : int
        Restarts of that k-means, of 10 iterations each.
    random_state : int, RandomState or None

    Returns
    -------
    labels : (N,) int64 array

    Raises
    ------
    InputError
        Above `affinities.MAX_SAMPLES` samples.

    Notes
    -----
    O(N²·D + N³) time and 12·N² bytes. The number of clusters, which the paper can read off the rotation, is given here.
    """
    rng = check_random_state(random_state)
    X = near_one(X)
    A = affinities.squared_distances(X, "self-tuning spectral clustering")
    floor = max(floor * squared_unit(X), 1e-30)  # of copies σ is 0: they have affinity 1 with each other alone
    place = min(neighbor, len(A) - 1)
    # The sample itself stands at place 0.
    sigma = np.sqrt(np.concatenate([np.partition(rows, place, axis=1)[:, place] for rows in affinities.row_blocks(A)]))
    for rows, own in zip(affinities.row_blocks(A), affinities.row_blocks(sigma), strict=True):
        np.exp(-rows / np.maximum(own[:, None] * sigma, floor), out=rows)
    np.fill_diagonal(A, 0.0)
    # The authors take singular vectors: of a symmetric matrix, the eigenvectors of largest absolute eigenvalue.
    A, _ = affinities.normalise(A)
    affinities.warn_of_parts(affinities.count_parts(A), n_clusters)
    vectors = affinities.leading_eigenvectors(A, n_clusters, rng, which="LM")
    if rotation:
        return np.square(align(vectors)).argmax(1)
    return _compact_kmeans(unit_rows(vectors), n_clusters, n_init, rng)


@usual_torch()
def landmark_spectral(
    X: np.ndarray,
    n_clusters: int,
    *,
    n_landmarks: int = 1000,
    n_nearest: int = 5,
    n_init: int = 10,
    drop_first: bool | None = None,
    random_state: Random = None,
) -> np.ndarray:
    """Landmark-based spectral clustering, LSC-K ("SC-LS").

    Each sample is written by its ``n_nearest`` landmarks (k-means centers), Z (N, p) with rows that sum to 1; the left
    singular vectors of Z Λ^(−½), Λ the column sums, are the eigenvectors of the graph Z Λ⁻¹ Zᵀ.

    Parameters
    ----------
    X : (N, D) array
    n_clusters : int
    n_landmarks : int
        p = 1000, clipped to N, as the comment of the code says; the code has 500 (docs/papers/jule.md), but with 1000
        the table's figures come out (CMU-PIE .793 for .788, with 500 .68).
    n_nearest : int
        r = 5.
    n_init : int
        Restarts of the last k-means.
    drop_first : bool, optional
        Leave out the first eigenvector, as the authors' code does. It is constant where the graph is connected, and is
        left out there by default. Of a graph in several parts it tells these apart, as the next ones do.
    random_state : int, RandomState or None

    Returns
    -------
    labels : (N,) int64 array

    Warns
    -----
    UserWarning
        If the graph has more parts than ``n_clusters``.

    Notes
    -----
    Weights are exp(−d² / (2σ²)) with σ the mean of d² over all samples and landmarks, as in the code: σ has the unit
    of a squared distance, which is right for images of length 1; of other vectors d² and σ are measured in their
    variance. O(N·p·D) time, O(N·(r + D) + p²) memory.
    """
    rng = check_random_state(random_state)
    X = near_one(X)
    p = min(n_landmarks, len(X))
    landmarks = kmeans(X, p, init="random", max_iter=5, empty="farthest", random_state=rng).centers
    nearest, distances = neighbors(X, landmarks, n_nearest)  # (N, r)
    unit = squared_unit(X)
    sigma = affinities.positive(affinities.mean_distance(X, landmarks)) / unit
    # A row's own factor, of its nearest landmark, falls out of the next line.
    weights = np.exp(-(distances - distances[:, :1]) / unit / (2 * sigma**2))
    weights /= weights.sum(1, keepdims=True)
    Z = weights_to_neighbors(weights, nearest, p)
    Z = Z @ scipy.sparse.diags(np.maximum(np.asarray(Z.sum(0)).ravel(), 1e-12) ** -0.5)
    values, right = np.linalg.eigh((Z.T @ Z).toarray())  # increasing
    n_parts = int((values > 1 - APART).sum())
    affinities.warn_of_parts(n_parts, n_clusters)
    last = -1 - (n_parts < 2 if drop_first is None else drop_first)
    chosen = slice(last, last - n_clusters, -1) if p > 1 else slice(None)
    left = Z @ (right[:, chosen] / np.sqrt(np.maximum(values[chosen], 1e-12)))
    return _kmeans(unit_rows(left), n_clusters, n_init, rng).labels


# ---------------------------------------------------------------- from eigenvectors to labels


def align(vectors: np.ndarray, max_iter: int = 100) -> np.ndarray:
    """The rotation of eigenvectors that lies closest to the axes (Zelnik-Manor & Perona 2004, eq. 3).

    Minimises J = Σ_ij Z_ij² / max_j Z_ij² over Z = V·R with R a rotation, R = exp(S − Sᵀ), by L-BFGS; the paper
    descends along Givens angles instead.

    Parameters
    ----------
    vectors : (N, k) array
        V, orthonormal columns.
    max_iter : int

    Returns
    -------
    Z : (N, k) array
        Row i belongs to cluster argmax_j Z_ij².
    """
    V = torch.tensor(vectors, dtype=torch.float64)
    S = torch.zeros(V.shape[1], V.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([S], max_iter=max_iter, line_search_fn="strong_wolfe")

    def cost() -> torch.Tensor:
        optimizer.zero_grad()
        squares = (V @ torch.linalg.matrix_exp(S - S.T)).square()
        J = (squares / squares.max(1, keepdim=True).values.clamp_min(1e-30)).sum() / len(V)
        J.backward()
        return J

    optimizer.step(cost)
    with torch.no_grad():
        return (V @ torch.linalg.matrix_exp(S - S.T)).numpy()


def _kmeans(rows: np.ndarray, n_clusters: int, n_init: int, rng: np.random.RandomState) -> KMeansResult:
    """k-means of the tables: random rows to start from, an emptied cluster goes to the farthest row
    (docs/papers/jule.md).

    The best restart is the one of least inertia; the authors' litekmeans sums distances that are not squared.
    """
    rows = rows.astype(np.float32)
    return kmeans(rows, n_clusters, init="random", n_init=n_init, max_iter=100, empty="farthest", random_state=rng)


def _compact_kmeans(rows: np.ndarray, n_clusters: int, n_init: int, rng: np.random.RandomState) -> np.ndarray:
    """k-means of SC-ST: starts of 10 iterations from rows that are far from parallel; the most compact wins.

    Compact is the least ratio of squared distances to the own center and squared distances to the others.
    """
    rows = rows.astype(np.float32)
    best, least = np.zeros(len(rows), np.int64), np.inf
    for _ in range(n_init):
        chosen = [rng.randint(len(rows))]
        aligned = np.full(len(rows), -np.inf)
        while len(chosen) < n_clusters:
            aligned = np.maximum(aligned, np.abs(rows @ rows[chosen[-1]]))
            chosen.append(int(aligned.argmin()))
        found = kmeans(rows, n_clusters, init=rows[chosen], max_iter=10, empty="farthest", random_state=rng)
        apart = len(rows) * n_clusters * affinities.mean_distance(rows, found.centers) - found.inertia
        ratio = found.inertia / max(apart, 1e-12)
        if ratio < least:
            best, least = found.labels, ratio
    return best


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; one of zeros stays."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
