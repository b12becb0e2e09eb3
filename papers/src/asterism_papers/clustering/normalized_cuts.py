"""Normalised cuts (Shi & Malik 2000) with the discretisation of Yu & Shi 2003, as JULE's tables were run ("N-Cuts").

Small affinities are dropped, so tens of thousands of images are taken.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components
from sklearn.utils import check_random_state

from asterism.clustering import affinities
from asterism.clustering.spectral import Random, unit_rows
from asterism.clustering.units import near_one
from asterism.errors import InputError

MAX_AFFINITIES = 400_000_000  # that are held: 4.8 GB


def normalized_cuts(
    X: np.ndarray, n_clusters: int, *, scale: float = 0.05, squared: bool = True, random_state: Random = None
) -> np.ndarray:
    """Normalised cuts, as run in JULE's tables ("N-Cuts").

    W_ij = exp(−(δ_ij / s)²), δ *squared* distances and s = ``scale`` · max δ: the code's exponent 2, meant for
    distances, falls on squares. Affinities below 10⁻⁶ are dropped.

    Parameters
    ----------
    X : (N, D) array
    n_clusters : int
    scale : float
    squared : bool
        False takes δ for plain distances, as Shi and Malik do, whose ``scale`` is 0.1 to 0.2.
    random_state : int, RandomState or None
        Draws the first row of the discretisation.

    Returns
    -------
    labels : (N,) int64 array

    Raises
    ------
    InputError
        Where more than `MAX_AFFINITIES` are left.

    Notes
    -----
    O(N²·D) time, 12 bytes for each affinity that is left (digits: 1 in 200). Half a unit is added to each affinity with
    itself and a whole one to each degree, as in the code, which keeps samples without affinities from deciding an
    eigenvector.
    """
    rng = check_random_state(random_state)
    W = _near_affinities(near_one(X), scale, squared)
    affinities.warn_of_parts(connected_components(W, directed=False)[0], n_clusters)
    offset = 0.5
    root = scipy.sparse.diags((np.asarray(W.sum(1)).ravel() + 2 * offset) ** -0.5)
    P = root @ (W + offset * scipy.sparse.eye(len(X))) @ root
    vectors = root @ affinities.leading_eigenvectors(P.tocsr(), n_clusters, rng)
    return discretise(vectors / np.linalg.norm(vectors, axis=0), rng)  # all as long, which D^-1/2 had changed


def _near_affinities(X: np.ndarray, scale: float, squared: bool) -> scipy.sparse.csr_matrix:
    """W of `normalized_cuts`, block by block: (N, N), float64."""
    largest = max(float(block.max()) for block in affinities.distance_blocks(X))
    s = affinities.positive(scale * (largest if squared else largest**0.5))
    rows, n_kept = [], 0
    for block in affinities.distance_blocks(X):
        np.exp(-np.square(block / s) if squared else block / -(s**2), out=block)
        block[block < 1e-6] = 0.0
        rows.append(scipy.sparse.csr_matrix(block, dtype=np.float64))
        n_kept += rows[-1].nnz
        if n_kept > MAX_AFFINITIES:
            raise InputError(
                f"normalised cuts: more than {MAX_AFFINITIES} affinities between the n_samples={len(X)} samples are "
                "not small; use landmarks (sc-ls), fewer images or a smaller scale"
            )
    return scipy.sparse.vstack(rows, format="csr")


def discretise(vectors: np.ndarray, rng: np.random.RandomState, max_iter: int = 20) -> np.ndarray:
    """Labels nearest to a rotation of the eigenvectors (Yu & Shi 2003).

    Parameters
    ----------
    vectors : (N, k) array
        Eigenvectors; rows are scaled to length 1.
    rng : RandomState
        Draws the row that the first rotation starts from.
    max_iter : int
        Rounds of labels and rotation.

    Returns
    -------
    labels : (N,) int64 array
    """
    rows = unit_rows(vectors)
    k = rows.shape[1]
    R = np.zeros((k, k))
    R[:, 0] = rows[rng.randint(len(rows))]
    seen = np.zeros(len(rows))
    for j in range(1, k):  # each next the row least correlated with those before
        seen += np.abs(rows @ R[:, j - 1])
        R[:, j] = rows[seen.argmin()]
    before = np.inf
    for _ in range(max_iter):
        labels = (rows @ R).argmax(1)
        U, s, Vt = np.linalg.svd(_sums_by_label(rows, labels, k))
        R = U @ Vt  # the rotation that brings the rows nearest to the labels' axes
        objective = 2 * (len(rows) - s.sum())
        if abs(objective - before) < np.finfo(float).eps:
            break
        before = objective
    return labels


def _sums_by_label(rows: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Eᵀ·(labels as 0 and 1): (k, k)."""
    sums = np.zeros((k, rows.shape[1]))
    np.add.at(sums, labels, rows)
    return sums.T
