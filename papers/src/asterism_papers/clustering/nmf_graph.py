"""Graph-regularised non-negative matrix factorisation for the Kullback–Leibler divergence (Cai, He, Han & Huang 2011).

    minimise  Σ_j w_j KL(x_j ‖ U v_j) + (α/2) Σ_jl S_jl [KL(v_j ‖ v_l) + KL(v_l ‖ v_j)]   over U, V ≥ 0

Samples x_j that are neighbours (S_jl = 1) get loadings v_j that are alike. JULE's tables call their row NMF-LP and cite
a locality-preserving factorisation, but it was run with α = 0, no graph at all, and 10 factors whatever the set
(docs/papers/jule.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import cg
from sklearn.utils import check_random_state

from asterism.clustering.graph import knn
from asterism.clustering.kmeans import kmeans
from asterism.clustering.units import near_one
from asterism.errors import InputError

FLOOR = 1e-10  # of every denominator, as in the authors' code


class Factorisation(NamedTuple):
    """What `graph_nmf` found: X ≈ V·Uᵀ."""

    loadings: np.ndarray  # V (N, r), what is clustered
    basis: np.ndarray  # U (D, r), columns of length 1
    loss: float  # weighted divergence, without the graph's term


def graph_nmf(
    X: np.ndarray,
    n_factors: int = 10,
    *,
    alpha: float = 0.0,
    n_neighbors: int = 5,
    max_updates: int = 50,
    n_trials: int = 10,
    trial_iter: int = 10,
    random_state: int | np.random.RandomState | None = None,
) -> Factorisation:
    """Factorise non-negative samples, X ≈ V·Uᵀ.

    Parameters
    ----------
    X : (N, D) array, not negative
    n_factors : int
        r; 10 for every set in JULE's tables. Clipped to N.
    alpha : float
        Weight of the graph: 0 in JULE's tables, 100 in the paper of Cai et al.
    n_neighbors : int
        Of the graph, which joins j and l (S_jl = 1) where either is among the other's nearest; 5 in that paper.
    max_updates : int
        Updates in all, those of the winning trial counted; 50 as run.
    n_trials, trial_iter : int
        So many initialisations get so many updates each, and the one of least divergence goes on.
    random_state : int, RandomState or None

    Returns
    -------
    Factorisation

    Raises
    ------
    InputError
        If ``X`` has a negative value.

    Notes
    -----
    Samples are weighted by w_j = 1 / x_jᵀ(Σ_l x_l), the weighting of normalised cuts ("NCW"), here divided by their
    mean, which scales the divergence and nothing else, so that α means the same on every set; a sample of zeros, which
    has no such weight, gets the mean one. An update takes O(N·D·r) time, and with a graph r sparse linear systems;
    memory is that of ``X``.
    """
    rng = check_random_state(random_state)
    X = near_one(X, center=False)
    if X.size and X.min() < 0:
        raise InputError(f"X holds {X.min():g}; the divergence wants values >= 0: subtract the minimum, or clip")
    weights = _cut_weights(X)
    laplacian = alpha * _laplacian(X, n_neighbors) if alpha > 0 else None
    best: Factorisation | None = None
    for _ in range(n_trials):
        V, U = _initial(X, min(n_factors, len(X)), rng)
        trial = _updates(X, V, U, weights, laplacian, min(trial_iter, max_updates))
        if best is None or trial.loss < best.loss:
            best = trial
    if best is None:
        raise InputError(f"n_trials={n_trials} cannot be used: at least one initialisation is needed")
    return _updates(X, best.loadings, best.basis, weights, laplacian, max(0, max_updates - trial_iter))


def _cut_weights(X: np.ndarray) -> np.ndarray:
    """w_j of `graph_nmf`, (N, 1) float32."""
    likeness = X @ X.sum(0, dtype=np.float64)
    seen = likeness > 0  # one black image would weigh 10¹⁰ times as much as any other
    weights = np.ones(len(X))
    weights[seen] = 1 / np.maximum(likeness[seen], FLOOR)
    weights[seen] /= weights[seen].mean() if seen.any() else 1.0
    return weights.astype(np.float32)[:, None]


def divergence(X: np.ndarray, V: np.ndarray, U: np.ndarray, weights: np.ndarray | float = 1.0) -> float:
    """Σ_j w_j Σ_i [x_ij log(x_ij / (VUᵀ)_ij) − x_ij + (VUᵀ)_ij], with 0·log 0 = 0."""
    Y = np.maximum(V @ U.T, FLOOR)
    logs = np.log(np.maximum(X, FLOOR) / Y)
    return float(((X * logs - X + Y) * weights).sum(dtype=np.float64))


def _initial(X: np.ndarray, n_factors: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """U from the centers of a short k-means, V by least squares, cut at 0."""
    found = kmeans(X, n_factors, init="random", max_iter=10, empty="farthest", random_state=rng)
    U = np.maximum(found.centers, 0).T  # (D, r)
    V = np.maximum(0, np.linalg.lstsq((U.T @ U).astype(np.float64), (U.T @ X.T).astype(np.float64), rcond=None)[0]).T
    return _scaled(V.astype(np.float32), U)


def _updates(
    X: np.ndarray,
    V: np.ndarray,
    U: np.ndarray,
    weights: np.ndarray,
    laplacian: scipy.sparse.csr_matrix | None,
    n_iter: int,
) -> Factorisation:
    """Multiplicative updates of V and U; columns of U have length 1 in the end."""
    for _ in range(n_iter):
        gain = V * ((X / np.maximum(V @ U.T, FLOOR)) @ U)  # v ∘ (X ⊘ VUᵀ) U
        V = gain / np.maximum(U.sum(0), FLOOR) if laplacian is None else _smooth(gain, V, U, weights, laplacian)
        ratio = X / np.maximum(V @ U.T, FLOOR)
        weighted = weights * V
        U = U * (ratio.T @ weighted) / np.maximum(weighted.sum(0), FLOOR)
    V, U = _scaled(V, U)
    return Factorisation(V, U, divergence(X, V, U, weights))


def _smooth(
    gain: np.ndarray, V: np.ndarray, U: np.ndarray, weights: np.ndarray, laplacian: scipy.sparse.csr_matrix
) -> np.ndarray:
    """V with the graph: (c_r·diag(w) + αL) v_r = w ∘ gain_r for each factor r, c_r = Σ_i u_ir (Cai et al., eq. 29).

    The matrix is an M-matrix, so a positive right side gives a positive solution.
    """
    w = weights[:, 0].astype(np.float64)
    smooth = np.empty_like(V)
    for r, total in enumerate(np.maximum(U.sum(0, dtype=np.float64), FLOOR)):
        M = laplacian + scipy.sparse.diags(total * w)
        inverse = scipy.sparse.diags(1 / M.diagonal())
        smooth[:, r] = cg(M, w * gain[:, r], x0=V[:, r].astype(np.float64), rtol=1e-6, maxiter=500, M=inverse)[0]
    return np.maximum(smooth, 0)


def _laplacian(X: np.ndarray, n_neighbors: int) -> scipy.sparse.csr_matrix:
    """L = D − S of the symmetric nearest-neighbour graph with weights 1."""
    indices, _ = knn(X, n_neighbors)
    starts = np.arange(len(X) + 1) * indices.shape[1]
    S = scipy.sparse.csr_matrix((np.ones(indices.size), indices.ravel(), starts), shape=(len(X), len(X)))
    S = S.maximum(S.T)
    return (scipy.sparse.diags(np.asarray(S.sum(1)).ravel()) - S).tocsr()


def _scaled(V: np.ndarray, U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same product with columns of U of length 1."""
    lengths = np.maximum(np.linalg.norm(U, axis=0), FLOOR)
    return V * lengths, U / lengths
