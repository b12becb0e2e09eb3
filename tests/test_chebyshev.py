"""Leading eigenvectors by Chebyshev polynomials, against all eigenvectors by LAPACK."""

import numpy as np
import pytest
import scipy.sparse

from asterism.clustering.chebyshev import SPARE, leading_eigenvectors


def graph(sizes: list[int], faint: float) -> scipy.sparse.csr_matrix:
    """D^(−½) A D^(−½) of a random graph in parts, each joined to the next by one link."""
    rng, n = np.random.default_rng(0), sum(sizes)
    A = np.zeros((n, n))
    for start, stop in zip(np.cumsum([0, *sizes[:-1]]), np.cumsum(sizes), strict=True):
        A[start:stop, start:stop] = rng.random((stop - start,) * 2) * (rng.random((stop - start,) * 2) < 12 / n)
        A[start, start - 1] = faint
        A[np.arange(start, stop), np.roll(np.arange(start, stop), 1)] += 0.1
    A += A.T
    root = np.diag(A.sum(1) ** -0.5)
    return scipy.sparse.csr_matrix(root @ A @ root)


@pytest.mark.parametrize(
    ("sizes", "faint"), [([650], 0.0), ([40] * 16, 1e-3), ([300, 200, 150], 1e-9)], ids=["one", "many", "three"]
)
def test_eigenvalues_and_the_space_are_those_of_lapack(sizes, faint):
    matrix, width = graph(sizes, faint), 24
    start = np.random.RandomState(0).standard_normal((matrix.shape[0], width + SPARE))
    values, vectors, block = leading_eigenvectors(matrix, width, start)
    true, basis = np.linalg.eigh(matrix.toarray())
    np.testing.assert_allclose(values, true[::-1][:width], atol=2e-3)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(width), atol=1e-4)
    clear = true > values[-1] + 0.03  # those near the last may be mixed with what comes next
    assert clear.any()
    inside = np.linalg.norm(vectors.T @ basis[:, clear], axis=0)
    assert inside.min() > 0.99, inside.min()
    again = leading_eigenvectors(matrix, width, block)[0]
    np.testing.assert_allclose(again, values, atol=2e-3)
