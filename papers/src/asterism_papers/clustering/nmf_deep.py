"""Deep semi-NMF: X ≈ Z_1 Z_2 … Z_L H_L with H_L ≥ 0 (Trigeorgis, Bousmalis, Zafeiriou & Schuller 2014).

Semi-NMF leaves the bases Z free of sign, so X may have any; each layer's coefficients H_l ≥ 0 are factorised by the
next, and all layers are then tuned together. Here X is (D, N), samples in columns, as the papers write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
from sklearn.utils import check_random_state

from asterism.clustering.nmf import initialise
from asterism.clustering.units import near_one

FLOOR = 1e-10
LEAVE = 2.0**20  # so far from 1 the length of a row of X may be: ``fill`` is in its unit
SINGULAR = 1e-6  # relative size below which a singular value counts as 0

Random = int | np.random.RandomState | None


def deep_semi_nmf(
    X: np.ndarray,
    widths: Sequence[int] = (160, 160),
    *,
    max_updates: int = 500,
    tol: float = 1e-5,
    fill: float = 0.1,
    random_state: Random = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Factorise samples through layers of coefficients.

    Parameters
    ----------
    X : (D, N) array
    widths : sequence of int
        Rows of H_1 … H_L; two layers of 160 in JULE's tables. Clipped to min(D, N).
    max_updates : int
        Iterations of each pre-training and of the tuning; 500 as run.
    tol : float
        Relative fall of the error below which either stops.
    fill : float
        What NNDSVD's zeros, which a multiplicative update could never leave, are replaced by: 0.1 in the authors' code
        (docs/papers/jule.md). Other coefficients grow with the square root of the scale of ``X``: beside images in 0 …
        255 it is next to nothing, beside images of length 1 it is more than most of them.
    random_state : int, RandomState or None
        Of the randomised SVD that the first coefficients come from.

    Returns
    -------
    bases : list of (·, ·) arrays
        Z_1 … Z_L.
    H : (widths[-1], N) float32 array
        H_L, what is clustered.

    Notes
    -----
    O(D·N·width) time an iteration, and the memory of X. The bases are least-squares solutions, so scaling them changes
    nothing.
    """
    rng = check_random_state(random_state)
    X = near_one(X, center=False, leave=LEAVE)
    bases, H = [], X
    for width in widths:  # each layer factorises the coefficients of the one before
        Z, H = semi_nmf(H, min(width, *H.shape), max_updates=max_updates, tol=tol, fill=fill, random_state=rng)
        bases.append(Z)
    before = np.inf
    for _ in range(max_updates):
        for layer in range(len(bases)):
            # H̃_l = Z_{l+1} … Z_L H_L: what the layers above make of the last coefficients. The coefficients between
            # are not kept: H̃ overrides them in the next iteration.
            upper = reduce(lambda product, Z: Z @ product, reversed(bases[layer + 1 :]), H)
            Z = _solve(X, upper)
            bases[layer] = np.linalg.pinv(reduce(np.matmul, bases[:layer]), rcond=SINGULAR) @ Z if layer else Z
        H, error = _coefficients(X, reduce(np.matmul, bases), H)
        if abs(before - error) <= tol * max(1.0, before):
            break
        before = error
    return bases, H


def semi_nmf(
    V: np.ndarray,
    n_factors: int,
    *,
    max_updates: int = 500,
    tol: float = 1e-5,
    fill: float = 0.1,
    random_state: Random = None,
) -> tuple[np.ndarray, np.ndarray]:
    """V ≈ Z·H with H ≥ 0 (Ding, Li & Jordan 2010).

    Parameters
    ----------
    V : (D, N) array
    n_factors : int
        At most min(D, N).
    max_updates, tol, fill, random_state
        As in `deep_semi_nmf`; the error is looked at every tenth iteration, and compared with that of ten before: the
        authors' code compares it with the last one's, and stops earlier.

    Returns
    -------
    Z : (D, n_factors) array
    H : (n_factors, N) array
    """
    # Coefficients to start from: NNDSVD of |V|.
    _, start = initialise(torch.from_numpy(np.abs(V.T)), n_factors, "nndsvd", random_state)
    H = np.ascontiguousarray(start.numpy().T)
    H[H < FLOOR] = fill
    before = np.inf
    for iteration in range(max_updates):
        H, error = _coefficients(V, _solve(V, H), H)
        if iteration % 10 == 9:
            if before - error <= tol * max(1.0, error):
                break
            before = error
    return _solve(V, H), H


def _coefficients(X: np.ndarray, Z: np.ndarray, H: np.ndarray) -> tuple[np.ndarray, float]:
    """One update H ∘ √((A⁺ + B⁻H) / (A⁻ + B⁺H)), A = ZᵀX and B = ZᵀZ, and ‖X − ZH‖_F before it."""
    A, B = Z.T @ X, Z.T @ Z
    squares = np.square(X).sum(dtype=np.float64) - 2 * np.vdot(A, H) + np.vdot(B, H @ H.T)
    up = np.maximum(A, 0) + np.maximum(-B, 0) @ H
    down = np.maximum(-A, 0) + np.maximum(B, 0) @ H
    return H * np.sqrt(up / np.maximum(down, FLOOR)), float(np.sqrt(max(squares, 0.0)))


def _solve(V: np.ndarray, H: np.ndarray) -> np.ndarray:
    """V·pinv(H), by the normal equations: H has many more columns than rows.

    Below a wider layer H has not its full rank; what float32 cannot tell from 0 counts as 0.
    """
    return (V @ H.T) @ np.linalg.pinv((H @ H.T).astype(np.float64), rcond=SINGULAR, hermitian=True).astype(np.float32)
