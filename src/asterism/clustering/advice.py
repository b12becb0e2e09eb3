"""How many clusters? Three measures over k on the same vectors, none of which knows: they are shown, not trusted.

Stability under resampling (Lange, Roth, Braun and Buhmann 2004; Ben-Hur, Elisseeff and Guyon 2002), the silhouette
(Rousseeuw 1987) and the gap after the k-th eigenvalue of the graph Laplacian (von Luxburg 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score

from asterism.clustering.graph import neighbors
from asterism.clustering.kmeans import assign, kmeans
from asterism.errors import InputError

GRID = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 400, 500)
MOST_SAMPLES = 2000  # of more images, so many are looked at
DIM = 50  # principal components
PAIRS = 3  # pairs of halves for each k
N_NEIGHBORS = 15  # of the graph
PER_CLUSTER = 4  # images a cluster at least
CLOSE = 0.02  # a combined score that misses the best by less is as good


@dataclass(frozen=True)
class Advice:
    """What `suggest_k` found.

    Attributes
    ----------
    ks : list of int
    stability, silhouette, eigengap : ndarray of shape (len(ks),)
        The adjusted Rand index between clusterings of two halves; the mean silhouette; the k-th gap over its
        neighbours' mean, times the k-th eigenvalue.
    combined : ndarray of shape (len(ks),)
        Mean of the three after each is scaled to [0, 1] over the sweep.
    k : int
        Where that is highest.
    low, high : int
        The range of k around it that is as good.
    """

    ks: list[int]
    stability: np.ndarray
    silhouette: np.ndarray
    eigengap: np.ndarray
    combined: np.ndarray
    k: int
    low: int
    high: int

    @property
    def sentence(self) -> str:
        """What may be said, in one sentence."""
        best = {
            "stability": self.ks[int(self.stability.argmax())],
            "silhouette": self.ks[int(self.silhouette.argmax())],
            "eigengap": self.ks[int(self.eigengap.argmax())],
        }
        votes = ", ".join(f"{name} {k}" for name, k in best.items())
        if max(best.values()) <= 1.5 * min(best.values()):
            how = "the measures agree"
        else:
            how = "the measures do not agree, so look at the groups of two or three of these"
        span = f"{self.low} to {self.high} are about as good" if self.low < self.high else "no other k is as good"
        return f"k = {self.k} is a guess, {span}; alone they would say {votes}: {how}."


def suggest_k(X: np.ndarray, k_max: int | None = None, random_state: int = 0) -> Advice:
    """Sweep k over vectors.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Features, such as `asterism.methods.CNN` gives; 50 principal components of at most 2 000 rows are used.
    k_max : int, optional
        Largest k; by default a quarter of the rows, 500 at most.
    random_state : int

    Returns
    -------
    Advice

    Raises
    ------
    InputError
        With fewer than 12 rows, or fewer than two values of k to compare.

    Notes
    -----
    Cost: 2·3 + 2 runs of k-means for each of about 20 k, O(n²·50) for graph and silhouette, n at most 2 000.
    """
    if len(X) < 3 * PER_CLUSTER:
        raise InputError(f"{len(X)} images are too few to compare numbers of groups; {3 * PER_CLUSTER} are the least")
    rng = np.random.RandomState(random_state)
    rows = np.asarray(X, np.float32)[np.sort(rng.permutation(len(X))[:MOST_SAMPLES])]
    limit = min(len(rows) // PER_CLUSTER, GRID[-1] if k_max is None else k_max)
    ks = [k for k in GRID if k <= limit]
    if len(ks) < 2:
        raise InputError(f"k_max={k_max} leaves fewer than two numbers of groups to compare; give 3 or more")
    width = min(DIM, len(rows) - 1, rows.shape[1])
    points = np.ascontiguousarray(PCA(width, random_state=rng).fit_transform(rows), np.float32)
    stability = np.array([_stability(points, k, rng) for k in ks])
    silhouette = np.array([_silhouette(points, k, rng) for k in ks])
    eigengap = _eigengaps(points, ks)
    combined = (_scaled(stability) + _scaled(silhouette) + _scaled(eigengap)) / 3
    best = int(combined.argmax())
    low = high = best
    while low > 0 and combined[low - 1] >= combined[best] - CLOSE:
        low -= 1
    while high + 1 < len(ks) and combined[high + 1] >= combined[best] - CLOSE:
        high += 1
    return Advice(ks, stability, silhouette, eigengap, combined, ks[best], ks[low], ks[high])


def _stability(points: np.ndarray, k: int, rng: np.random.RandomState) -> float:
    """Two halves are clustered, each puts the other's points into its clusters: how far do they agree?"""
    found = []
    for _ in range(PAIRS):
        order = rng.permutation(len(points))
        halves = points[order[: len(order) // 2]], points[order[len(order) // 2 :]]
        centers = [kmeans(half, k, random_state=rng).centers for half in halves]
        labels = [assign(points, one)[0] for one in centers]
        found.append(adjusted_rand_score(*labels))
    return float(np.mean(found))


def _silhouette(points: np.ndarray, k: int, rng: np.random.RandomState) -> float:
    labels = kmeans(points, k, n_init=2, random_state=rng).labels
    return float(silhouette_score(points, labels)) if len(np.unique(labels)) > 1 else -1.0


def _eigengaps(points: np.ndarray, ks: list[int]) -> np.ndarray:
    """λ_{k+1} − λ_k of I − D^(−½) A D^(−½) on the k-NN graph, over the mean of the gaps from k/2 to 2k.

    The gaps themselves shrink with k; over those around it a gap stands out or does not. The quotient is weighed with
    1 − λ_k: only where that is near 1 are there k groups with few links between them.
    """
    n = len(points)
    nearest, squared = (
        np.asarray(one) for one in neighbors(points, points, min(N_NEIGHBORS, n - 1), exclude=np.arange(n))
    )
    scale = max(float(squared.mean()), 1e-12)
    rows = np.repeat(np.arange(n), nearest.shape[1])
    A = scipy.sparse.csr_matrix((np.exp(-squared.ravel() / scale), (rows, nearest.ravel())), (n, n))
    A = A.maximum(A.T)
    degree = scipy.sparse.diags(1 / np.sqrt(np.maximum(np.asarray(A.sum(1)).ravel(), 1e-12)))
    wanted = min(2 * ks[-1] + 2, n - 2)
    if wanted > n // 3:  # most of them: all at once is faster
        values = np.linalg.eigvalsh((degree @ A @ degree).toarray())[::-1][:wanted]
    else:
        start = np.full(n, n**-0.5)
        values = scipy.sparse.linalg.eigsh(degree @ A @ degree, wanted, which="LA", v0=start, return_eigenvectors=False)
        values = np.sort(values)[::-1]
    gaps = values[:-1] - values[1:]  # gaps[k − 1]: between the k-th and the next
    outstanding = [gaps[k - 1] / max(float(gaps[k // 2 : 2 * k].mean()), 1e-12) for k in ks]
    return np.array(outstanding) * np.maximum(values[np.array(ks) - 1], 0)


def _scaled(values: np.ndarray) -> np.ndarray:
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)
