"""The leading eigenvectors of a graph, by subspace iteration with Chebyshev polynomials (Zhou, Saad, Tiago and
Chelikowsky, *Self-consistent-field calculations using Chebyshev-filtered subspace iteration*, Journal of Computational
Physics 219, 2006).

A polynomial of the matrix that is small on all eigenvalues below a cut, and grows fast above it, is applied to a block
of vectors; Rayleigh and Ritz find the eigenvectors in what they span, and the next cut. Where many eigenvectors are
wanted to three digits this took about a quarter of ARPACK's time (a trial), and equal eigenvalues are no trouble to it.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch

from asterism.clustering.compiled import compiled

DEGREE = 10  # of the polynomial
SPARE = 16  # vectors beside the wanted ones: those next to the cut come out last
FIRST_CUT = 0.3  # eigenvalues of the first polynomial that count as small: −1 … so much
LEAST_CUT = -0.9
TOLERANCE = 5e-3  # change of an eigenvalue from one round to the next: its error is a tenth of it, or less
ROUNDS = 10


def leading_eigenvectors(
    matrix: scipy.sparse.csr_matrix, width: int, start: np.ndarray, rounds: int = ROUNDS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The largest eigenvalues of a symmetric matrix, and their vectors.

    Parameters
    ----------
    matrix : csr_matrix of shape (N, N)
        Symmetric, eigenvalues from −1 to 1.
    width : int
        M, how many are wanted.
    start : ndarray of shape (N, at least M)
        Vectors to start from: random ones, or those that were found for a matrix that is like this one. More than M of
        them, by `SPARE`, are wise.
    rounds : int, default=10
        So many at most.

    Returns
    -------
    values : ndarray of shape (M,)
        In decreasing order, right to about 1e−3 where the rounds were enough.
    vectors : ndarray of shape (N, M), float32
        Orthonormal.
    block : ndarray of shape (N, W), float32
        All vectors, for the next start.

    Notes
    -----
    A round takes O(nnz·W + N·W²) operations for a start of W vectors; there are two to four of them.
    """
    sparse = matrix.indptr, matrix.indices, matrix.data.astype(np.float32)
    block, cut, known = np.ascontiguousarray(start, dtype=np.float32), FIRST_CUT, np.full(width, np.inf)
    for _ in range(rounds):
        block = torch.linalg.qr(torch.from_numpy(_filtered(sparse, block, cut)))[0].numpy()  # orthonormal
        image = _product(sparse, block, block, 1, 0)
        values, turn = np.linalg.eigh((block.T @ image).astype(float))
        values, turn = values[::-1], turn[:, ::-1].astype(np.float32)
        block, cut = block @ turn, max(float(values[-1]), LEAST_CUT)
        if np.abs(values[:width] - known).max() < TOLERANCE:
            break
        known = values[:width]
    return values[:width], block[:, :width], block


def _filtered(sparse: tuple[np.ndarray, ...], block: np.ndarray, cut: float) -> np.ndarray:
    """The polynomial of the matrix times vectors (N, W), each brought to a largest number of 1."""
    half, middle = (cut + 1) / 2, (cut - 1) / 2  # eigenvalues −1 … cut become −1 … 1
    before, now = block, _product(sparse, block, block, 1 / half, -middle / half)
    for _ in range(DEGREE - 1):
        before, now = now, _product(sparse, now, now, 2 / half, -2 * middle / half, before)
    return now / np.maximum(np.abs(now).max(0), 1e-30)


def _product(
    sparse: tuple[np.ndarray, ...], X: np.ndarray, Y: np.ndarray, a: float, b: float, Z: np.ndarray | None = None
) -> np.ndarray:
    """a·A·X + b·Y − Z for vectors (N, W); no Z is 0."""
    out = np.empty_like(X)
    _multiply(*sparse, X, Y, np.float32(a), np.float32(b), X if Z is None else Z, Z is not None, out)
    return out


@compiled(nogil=True, fastmath={"contract", "nsz"})
def _multiply(starts, columns, weights, X, Y, a, b, Z, has_Z, out):
    """a·A·X + b·Y − Z, A by rows: `starts`, `columns` and `weights` of a csr_matrix.

    Four entries of a row at once spare three of four passes over the row of the result.
    """
    for i in range(len(X)):
        row, own, p, end = out[i], Y[i], starts[i], starts[i + 1]
        for c in range(row.size):
            row[c] = b * own[c]
        while p + 4 <= end:
            w0, w1, w2, w3 = a * weights[p], a * weights[p + 1], a * weights[p + 2], a * weights[p + 3]
            x0, x1, x2, x3 = X[columns[p]], X[columns[p + 1]], X[columns[p + 2]], X[columns[p + 3]]
            for c in range(row.size):
                row[c] = (((row[c] + w0 * x0[c]) + w1 * x1[c]) + w2 * x2[c]) + w3 * x3[c]
            p += 4
        while p < end:
            w0, x0 = a * weights[p], X[columns[p]]
            for c in range(row.size):
                row[c] += w0 * x0[c]
            p += 1
        if has_Z:
            less = Z[i]
            for c in range(row.size):
                row[c] -= less[c]
