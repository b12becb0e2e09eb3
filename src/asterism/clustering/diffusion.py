"""Diffusion maps: vectors in which samples that many short steps join lie together (Coifman and Lafon, *Diffusion
maps*, Applied and Computational Harmonic Analysis 21, 2006).

A walk on the graph of nearest neighbours, A symmetric with degrees D, goes from i to j with probability A_ij / D_ii.
The eigenvectors ψ_l of D^(−½) A D^(−½) and their eigenvalues λ_l place each sample where t steps of the walk lead it:
(λ_1^t ψ_1(i), …, λ_m^t ψ_m(i)), brought to length 1 (Ng, Jordan and Weiss 2001).

How many neighbours and how many eigenvectors are right differs from set to set, above all where there are few groups,
and labels, which would tell, there are none. So all of several choices are made, and the inner products of samples are
averaged over them: the rows of all embeddings side by side have just those products, and their leading principal axes
keep what most choices agree on. No label is averaged, so none is blurred.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse
import torch
from scipy.cluster.hierarchy import linkage
from scipy.sparse.csgraph import connected_components
from torch.nn.functional import normalize

from asterism.clustering.chebyshev import SPARE, leading_eigenvectors
from asterism.clustering.graph import knn, neighbors, weights_to_neighbors
from asterism.clustering.linkage_tree import labels_after
from asterism.clustering.neighbor_voting import SAME

# Chosen by the classes of many parts of Flowers-102, Scene-15, CIFAR-10, COIL-100, CMU-PIE and UKBench, with features
# of MobileNetV2 and SqueezeNet. Little hangs on them: of 40 other choices none was better by .01 in ACC.
NEIGHBORS = (5, 10, 20)  # of the graphs
WIDTHS = (1.0, 1.5, 2.0, 3.0, 4.0)  # eigenvectors for each group that is looked for
WIDEST = 128  # eigenvectors, where there are fewer groups than that
STEPS = 2  # t
FIRST_ROUNDS, LATER_ROUNDS = 2, 1  # of the search for eigenvectors: from random vectors, from those of a graph before
EXTRA = 10  # vectors beside the axes that are wanted
STAND_INS = 5  # neighbours that place a row which was not there
DENSE = 600  # samples up to which, and a third of them the eigenvectors from which, all eigenvectors are computed
OWN_ROWS = 1024  # of a part, whose distances to all samples are taken at once
FAINTEST = 1e-3  # weight of a link that joins parts of a graph which share none


class DiffusionMaps:
    """The graphs of samples and their eigenvectors, from which maps for several numbers of groups are made.

    Of so few samples that each is a neighbour of all others a graph tells nothing: they lie where average linkage puts
    them, each group at an axis of its own.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Euclidean distances are taken.
    most_clusters : int
        The largest number of groups that will be looked for.
    random_state : RandomState
        Draws the vectors from which the search for eigenvectors starts.
    like : DiffusionMaps, optional
        Of the same samples and number, in another space: its eigenvectors are what the search starts from.

    Attributes
    ----------
    apart : bool
        Whether no two samples are the same but for rounding.
    """

    def __init__(
        self,
        X: np.ndarray,
        most_clusters: int,
        random_state: np.random.RandomState,
        like: DiffusionMaps | None = None,
    ) -> None:
        self.n_samples, self.random_state = len(X), random_state
        self.spectra: list[tuple[np.ndarray, np.ndarray]] = []  # eigenvalues (M,) and eigenvectors (N, M) of each graph
        self.apart = False
        if self.n_samples <= max(NEIGHBORS[0], most_clusters):  # all are each other's neighbours, or groups
            self._tree = linkage(X, "average") if self.n_samples > 1 else np.zeros((0, 4))
            return
        indices, distances = knn(X, max(NEIGHBORS))
        self.apart = bool(distances[:, 0].min() > SAME)
        widest = self._widths(most_clusters)[-1]
        if like is None:
            self._block, rounds = random_state.standard_normal((self.n_samples, widest + SPARE)), FIRST_ROUNDS
        else:
            self._block, rounds = like._block, LATER_ROUNDS
        ways: dict[bytes, tuple[int, int]] = {}
        for width in sorted({min(n_neighbors, indices.shape[1]) for n_neighbors in NEIGHBORS}):
            graph = symmetric_graph(indices, distances, X, width, ways)
            values, vectors, self._block = _leading(_normalised(graph), widest, self._block, rounds)
            self.spectra.append((values, vectors))
            rounds = LATER_ROUNDS

    def _widths(self, n_clusters: int) -> list[int]:
        widest = max(n_clusters, WIDEST)
        return sorted({min(math.ceil(ratio * n_clusters), widest, self.n_samples) for ratio in WIDTHS})

    def side_by_side(self, n_clusters: int) -> np.ndarray:
        """All maps for k groups, each of rows of length 1: ndarray of shape (N, M), float32."""
        if not self.spectra:
            k = min(n_clusters, self.n_samples)
            return np.eye(k, dtype=np.float32)[labels_after(self._tree, self.n_samples, self.n_samples - k)]
        widths = self._widths(n_clusters)
        walked = [vectors * np.maximum(values, 0.0) ** STEPS for values, vectors in self.spectra]
        return np.concatenate([unit(one[:, :width]) for one in walked for width in widths], 1, dtype=np.float32)

    def average(self, n_clusters: int, n_axes: int, other: np.ndarray | None = None) -> np.ndarray:
        """The average of all maps for k groups: ndarray of shape (N, at most n_axes), float32.

        Parameters
        ----------
        n_clusters : int
            k.
        n_axes : int
            The leading ones are kept.
        other : ndarray of shape (N, A), optional
            The average of other maps, to be averaged over too.
        """
        rows, start = self.side_by_side(n_clusters), np.zeros((self.n_samples, 0), np.float32)
        if other is not None:
            rows, start = np.concatenate([other, rows], 1), other
        if not self.spectra:
            return rows[:, :n_axes]
        values, vectors = self.spectra[len(self.spectra) // 2]
        near = unit(vectors * np.maximum(values, 0.0) ** STEPS)
        width = min(n_axes + EXTRA, *rows.shape)
        some = self.random_state.standard_normal((self.n_samples, max(0, width - start.shape[1] - near.shape[1])))
        start = np.concatenate([start, near, some], 1, dtype=np.float32)[:, :width]
        return leading_axes(rows, n_axes, start)

    def embedding(self, n_clusters: int) -> np.ndarray:
        """The averaged map for k groups: ndarray of shape (N, min(k, N)), float32, rows of length 1."""
        return unit(self.average(n_clusters, n_clusters))


def leading_axes(rows: np.ndarray, n_axes: int, start: np.ndarray) -> np.ndarray:
    """Rows along the axes that keep most of their inner products, nearly.

    Parameters
    ----------
    rows : ndarray of shape (N, M), float32
    n_axes : int
    start : ndarray of shape (N, W), float32
        What spans nearly the same as the first axes, and a few columns more. One step of subspace iteration follows.

    Returns
    -------
    ndarray of shape (N, min(n_axes, W)), float32
        0 along axes that are rounding alone.
    """
    R = torch.from_numpy(rows)
    basis = torch.linalg.qr(R @ (R.T @ torch.from_numpy(start)))[0]
    within = basis.T @ R
    squares, turn = torch.linalg.eigh((within @ within.T).double())
    rounding = torch.finfo(torch.float32).eps ** 2 * squares[-1]
    scaled = turn * torch.where(squares > rounding, squares, 0.0).sqrt()
    return (basis @ scaled.flip(1)[:, :n_axes].float()).numpy()


def ward_groups(rows: np.ndarray, n_clusters: int) -> np.ndarray:
    """Labels (N,) of rows (N, D): Ward's tree, cut at so many groups. O(N²·D) time."""
    return labels_after(linkage(rows, "ward"), len(rows), len(rows) - n_clusters)


def placed(rows: torch.Tensor, samples: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Positions (B, k) of length 1 of rows (B, D) in a map that has samples (R, D) at positions (R, k).

    A sample of the map has its own place; another row is placed by its nearest samples, weighted by `local_weights`
    (the extension of Nyström, for a walk that starts with one step to a neighbour); of very few, by the nearest one.
    """
    n_near = STAND_INS if len(samples) > NEIGHBORS[0] else 1
    return placed_by(*neighbors(rows, samples, n_near), positions)


def placed_by(indices: np.ndarray, distances: np.ndarray, positions: torch.Tensor) -> torch.Tensor:
    """`placed` where the nearest samples (B, K) are known, and their squared distances."""
    weights = local_weights(distances)
    weights[distances[:, 0] <= SAME, 1:] = 0
    near = positions[torch.as_tensor(indices, device=positions.device)]
    return normalize((torch.as_tensor(weights, dtype=near.dtype, device=positions.device)[..., None] * near).sum(1))


def local_weights(distances: np.ndarray) -> np.ndarray:
    """exp(−(d² − d²_1) / s): weights of neighbours that fall from a sample's nearest on, at its own scale.

    Parameters
    ----------
    distances : ndarray of shape (N, K)
        Squared distances, each row increasing; s is the mean of d² − d²_1 over the row.

    Returns
    -------
    ndarray of shape (N, K)
        In (0, 1]; 1 for the nearest, and wherever all are equally far.
    """
    beyond = distances - distances[:, :1]
    scale = beyond.sum(1, keepdims=True) / max(1, beyond.shape[1] - 1)
    return np.exp(-np.divide(beyond, scale, out=np.zeros_like(beyond), where=scale > 0))


def symmetric_graph(
    indices: np.ndarray,
    distances: np.ndarray,
    X: np.ndarray,
    width: int | None = None,
    ways: dict[bytes, tuple[int, int]] | None = None,
) -> scipy.sparse.csr_matrix:
    """Graph (W + Wᵀ) / 2 of `local_weights` W (N, width) to neighbours; faint links join parts that share none.

    Parameters
    ----------
    indices, distances : ndarray of shape (N, K)
        The nearest neighbours of each sample, in order, and their squared distances.
    X : ndarray of shape (N, D)
    width : int, optional
        How many of them the graph has; by default all. The others help to find the ways out of parts.
    ways : dict, optional
        Remembers the ways out of parts from one graph of the samples to the next: most of its parts are the same.
    """
    n, width = len(X), width or indices.shape[1]
    ways = {} if ways is None else ways
    graph = weights_to_neighbors(local_weights(distances[:, :width]), indices[:, :width], n)
    graph = (graph + graph.T) / 2
    while True:  # each round at least halves the parts
        n_parts, parts = connected_components(graph, directed=False)
        if n_parts == 1:
            return graph.tocsr()
        i, j = _ways_out(parts, indices, distances, X, ways)
        links = scipy.sparse.csr_matrix((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), shape=(n, n))
        links.data[:] = FAINTEST  # once, where two parts have the same way out
        graph = graph.maximum(links)


def _ways_out(
    parts: np.ndarray,
    indices: np.ndarray,
    distances: np.ndarray,
    X: np.ndarray,
    ways: dict[bytes, tuple[int, int]],
) -> tuple[np.ndarray, np.ndarray]:
    """The shortest link from each part but the largest to a sample outside: its two ends, (n_parts − 1,) each."""
    outside = parts[indices] != parts[:, None]
    known = outside.any(1)
    nearest = np.where(known, outside.argmax(1), -1)  # where none is outside the last: nothing outside is nearer
    rows = np.arange(len(X))
    order = np.lexsort((distances[rows, nearest], parts))
    firsts = order[np.searchsorted(parts[order], np.arange(parts.max() + 1))]  # of each part the nearest to its outside
    own, others = firsts.copy(), indices[firsts, nearest[firsts]]
    small = np.argsort(np.bincount(parts))[:-1]
    squares = np.einsum("ij,ij->i", X, X)
    for part in small[~known[firsts[small]]]:
        inside = parts == part
        key = np.flatnonzero(inside).tobytes()  # of all parts together no longer than 8 N
        if key not in ways:
            ways[key] = _way_out(X, squares, inside)
        own[part], others[part] = ways[key]
    return own[small], others[small]


def _way_out(X: np.ndarray, squares: np.ndarray, inside: np.ndarray) -> tuple[int, int]:
    """The shortest link from the samples inside a part to those outside, of X (N, D) with squared lengths (N,)."""
    least, ends = np.inf, (0, 0)
    for own in np.array_split(np.flatnonzero(inside), -(-np.count_nonzero(inside) // OWN_ROWS)):
        apart = squares - 2 * (X[own] @ X.T)  # less the squared length of the own sample
        apart[:, inside] = np.inf
        others = apart.argmin(1)
        distances = apart[np.arange(len(own)), others] + squares[own]
        nearest = int(distances.argmin())
        if distances[nearest] < least:
            least, ends = float(distances[nearest]), (int(own[nearest]), int(others[nearest]))
    return ends


def _normalised(graph: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """D^(−½) A D^(−½)."""
    root = np.asarray(graph.sum(1)).ravel() ** -0.5
    weights = graph.data * root[graph.indices] * np.repeat(root, np.diff(graph.indptr))
    return scipy.sparse.csr_matrix((weights, graph.indices, graph.indptr), shape=graph.shape)


def _leading(
    matrix: scipy.sparse.csr_matrix, width: int, start: np.ndarray, rounds: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `leading_eigenvectors`, where all are computed too if there are few."""
    n = len(start)
    if n > DENSE and 3 * width < n:
        return leading_eigenvectors(matrix, width, start, rounds)
    values, vectors = np.linalg.eigh(matrix.toarray())
    order = np.argsort(-values, kind="stable")[:width]
    return values[order], vectors[:, order], start


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows (N, D) brought to length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
