"""Matrices of all N² distances and affinities, made and read block by block, and their leading eigenvectors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from asterism.errors import InputError

MAX_SAMPLES = 20_000  # 4.8 GB of affinities
SMALL = 1000  # samples up to which all eigenvectors are computed
BLOCK = 1024  # rows of distances computed at once
SHIFT = 1e-3  # above the largest eigenvalue, where the inverse is taken


def distance_blocks(X: np.ndarray) -> Iterator[np.ndarray]:
    """All squared Euclidean distances as blocks of `BLOCK` rows, (B, N) float32; a sample's own is 0."""
    X = np.asarray(X, dtype=np.float32)
    X = X - X.mean(0)  # moves nothing nearer, and spares the products large numbers
    norms = np.square(X).sum(1)
    for i in range(0, len(X), BLOCK):
        block = -2 * (X[i : i + BLOCK] @ X.T)
        block += norms[i : i + BLOCK, None]
        block += norms
        np.maximum(block, 0, out=block)
        np.fill_diagonal(block[:, i:], 0.0)
        yield block


def squared_distances(X: np.ndarray, who: str) -> np.ndarray:
    """All squared Euclidean distances, (N, N) float32; the diagonal is 0.

    Raises
    ------
    InputError
        Above `MAX_SAMPLES` samples; ``who`` needs the matrix.
    """
    if len(X) > MAX_SAMPLES:
        raise InputError(
            f"{who} holds all N x N affinities, {12e-9 * len(X) ** 2:.0f} GB for n_samples={len(X)}; it takes at most "
            f"{MAX_SAMPLES}: use landmarks (sc-ls), or fewer images"
        )
    D = np.empty((len(X), len(X)), np.float32)
    for rows, block in zip(row_blocks(D), distance_blocks(X), strict=True):
        rows[:] = block
    return D


def leading_eigenvectors(
    A: np.ndarray | scipy.sparse.csr_matrix, k: int, rng: np.random.RandomState, which: str = "LA"
) -> np.ndarray:
    """The k leading eigenvectors of a normalised affinity matrix, which has no eigenvalue above 1.

    Parameters
    ----------
    A : (N, N) array or sparse matrix
        Symmetric.
    k : int
    rng : RandomState
        Draws the vector that Lanczos iterations start from.
    which : {"LA", "LM"}
        Largest eigenvalues, or largest absolute ones.

    Returns
    -------
    (N, min(k, N)) float64 array
        By decreasing (absolute) eigenvalue.

    Notes
    -----
    In float64: the k-th eigenvalue often differs from the next in the fourth digit, and with vectors found in float32
    some scores of a table came out .03 lower. All eigenvectors where N is small, else Lanczos (ARPACK). Dense
    affinities that fall off fast have hundreds of eigenvalues close to 1, so "LA" iterates with the inverse of
    (1 + `SHIFT`)·I − A, from its Cholesky factor: O(N³ / 3) time, but tens of iterations instead of thousands.
    """
    n = A.shape[0]
    if n <= SMALL or 3 * k >= n:
        dense = A.toarray() if isinstance(A, scipy.sparse.csr_matrix) else A.astype(np.float64)
        values, vectors = scipy.linalg.eigh(dense)
        order = np.argsort(-(np.abs(values) if which == "LM" else values), kind="stable")
        return vectors[:, order[:k]]
    width, start = min(n, max(3 * k, 40)), rng.uniform(0.5, 1.5, n)
    operator = A.astype(np.float64)
    if which == "LA" and isinstance(operator, np.ndarray):
        np.negative(operator, out=operator)
        operator.flat[:: n + 1] += 1 + SHIFT
        factor = scipy.linalg.cho_factor(operator.T, overwrite_a=True, check_finite=False)  # .T: as LAPACK has it
        operator = scipy.sparse.linalg.LinearOperator(
            A.shape, lambda vector: scipy.linalg.cho_solve(factor, vector.ravel(), check_finite=False), dtype=np.float64
        )
    values, vectors = scipy.sparse.linalg.eigsh(operator, k, which=which, v0=start, ncv=width, tol=1e-8)
    order = np.argsort(-(np.abs(values) if which == "LM" else values), kind="stable")
    return vectors[:, order]


def normalise(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """D^(−½) A D^(−½), in place, and the degrees D = Σ_j A_ij."""
    degrees = np.concatenate([rows.sum(1, dtype=np.float64) for rows in row_blocks(A)])
    degrees = np.maximum(degrees, np.finfo(np.float32).tiny)
    root = (degrees**-0.5).astype(np.float32)
    for rows, own in zip(row_blocks(A), row_blocks(root), strict=True):
        rows *= own[:, None]
        rows *= root
    return A, degrees


def count_parts(A: np.ndarray) -> int:
    """Parts of a graph that no normalised affinity (N, N) above float32's rounding joins. One pass over ``A``."""
    waiting, n_parts = np.ones(len(A), bool), 0
    while waiting.any():
        n_parts += 1
        front = np.flatnonzero(waiting)[:1]
        while len(front):
            waiting[front] = False
            reached = np.zeros(len(A), bool)
            for rows in np.array_split(front, -(-len(front) // BLOCK)):
                reached |= (A[rows] > np.finfo(np.float32).eps).any(0)
            front = np.flatnonzero(reached & waiting)
    return n_parts


def warn_of_parts(n_parts: int, n_clusters: int) -> None:
    """Warn of more parts than there are to be groups: spectral clustering cannot tell which of them go together."""
    if n_parts > n_clusters:
        warnings.warn(
            f"the graph of neighbours falls into {n_parts} parts that nothing joins, more than n_clusters="
            f"{n_clusters}: far images may take a group for themselves, and which parts share one is chance; leave "
            "outliers out, ask for more groups, or use another method (jule, ac-gdl, kmeans)",
            stacklevel=3,
        )


def row_blocks(A: np.ndarray) -> Iterator[np.ndarray]:
    """Views of `BLOCK` rows each."""
    return (A[i : i + BLOCK] for i in range(0, len(A), BLOCK))


def mean(A: np.ndarray) -> float:
    """Mean of all elements, summed in float64."""
    return sum(float(rows.sum(dtype=np.float64)) for rows in row_blocks(A)) / A.size


def mean_distance(X: np.ndarray, Y: np.ndarray) -> float:
    """Mean squared distance of all pairs, from the means: O((N + p)·D)."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    middle = X.mean(0)
    return float(np.square(X - middle).sum() / len(X) + np.square(Y - middle).sum() / len(Y))


def positive(value: float) -> float:
    """The value, or 1 where it is 0 because all samples are equal."""
    return value if value > 0 else 1.0
