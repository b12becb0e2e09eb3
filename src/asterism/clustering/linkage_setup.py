"""From a graph and initial clusters to the tables that the merging loop works on."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from asterism.clustering.graph import neighbors
from asterism.clustering.linkage_degree import Links, Slots, fill_pairs, fill_slots
from asterism.clustering.linkage_pairs import Clusters
from asterism.clustering.linkage_walks import Walks
from asterism.errors import InputError


def check_graph(W: Any, labels: np.ndarray | None) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """The graph (N, N) as a float64 CSR without zeros, and the initial clusters (N,) as 0 … n − 1.

    Raises
    ------
    InputError
        For a graph that is not square, negative, not finite or too large, or labels of another length.
    """
    W = scipy.sparse.csr_matrix(W, dtype=np.float64, copy=True)
    W.sum_duplicates()
    W.eliminate_zeros()
    if W.shape[0] != W.shape[1] or W.shape[0] == 0:
        raise InputError(f"W of shape {W.shape} cannot be used: affinities are square, and of one sample at least")
    if not np.isfinite(W.data).all() or (W.data < 0).any():
        raise InputError("W holds negative, infinite or nan affinities")
    if 2 * W.nnz >= 2**31:
        raise InputError(f"W has {W.nnz} affinities; {2**30 - 1} can be merged at once: use fewer neighbours")
    if labels is None:
        return W, np.arange(W.shape[0], dtype=np.int32)
    if np.shape(labels) != (W.shape[0],):
        raise InputError(f"labels of shape {np.shape(labels)} cannot be used: W has {W.shape[0]} samples")
    return W, np.unique(labels, return_inverse=True)[1].astype(np.int32)


def transitions(W: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """P of the path integral and zeta: W with unit diagonal, rows normalised (docs/papers/jule.md)."""
    W = (W - scipy.sparse.diags(W.diagonal()) + scipy.sparse.identity(W.shape[0])).tocsr()
    W.eliminate_zeros()
    return (scipy.sparse.diags(1.0 / np.asarray(W.sum(1)).ravel()) @ W).tocsr()


def make_links(W: scipy.sparse.csr_matrix) -> Links:
    """Both ways of every edge side by side. O(E)."""
    both = (W + 1j * W.T).tocsr()  # of an edge that is there either way, W(m, m') and W(m', m) in one number
    both.sort_indices()
    start, end = both.indptr.astype(np.int64), both.indices.astype(np.int32)
    return Links(start, end, both.data.real.copy(), both.data.imag.copy())


def make_tables(links: Links, labels: np.ndarray, n_clusters: int, n_local: int) -> tuple[Clusters, Slots]:
    """Cluster pairs with their U, and the samples' degrees. O(E)."""
    leaving = labels[links.end] != np.repeat(labels, np.diff(links.start))
    start = np.concatenate([[0], np.cumsum(leaving)])[links.start]  # room for a slot of each link to another cluster
    room, n_samples = int(start[-1]), len(labels)
    slots = Slots(
        start, np.zeros(n_samples, np.int64), np.empty(room, np.int32), np.zeros(room), np.zeros(room),
        np.full(n_samples, -1, np.int64),
    )  # fmt: skip
    s = _empty_clusters(labels, n_clusters, room, n_local + 4)
    fill_slots(links, labels, slots, s.edge_to)
    used = fill_pairs(s, slots)
    cropped = {name: getattr(s, name)[:used].copy() for name in ("after_edge", "other", "value")}
    return s._replace(**cropped), slots


def _empty_clusters(labels: np.ndarray, n_clusters: int, room: int, width: int) -> Clusters:
    size = np.bincount(labels, minlength=n_clusters)
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(size)
    after = np.full(len(labels), -1, np.int32)
    after[order[:-1]] = order[1:]
    after[order[ends - 1]] = -1
    leaves = 1 << max(1, (n_clusters - 1).bit_length())

    return Clusters(
        label=labels.copy(),
        first=order[ends - size].astype(np.int32),
        last=order[ends - 1].astype(np.int32),
        after=after,
        size=size,
        name=np.arange(n_clusters, dtype=np.int32),
        number=np.arange(n_clusters, dtype=np.int32),
        norm=size.astype(np.float64) ** 2,
        head=np.full(n_clusters, -1, np.int32),
        after_edge=np.full(room, -1, np.int32),
        other=np.full(room, -1, np.int32),
        value=np.zeros(room),
        top=np.zeros((n_clusters, width)),
        who=np.full((n_clusters, width), -1, np.int32),
        fence=np.zeros(n_clusters),
        score=np.zeros(n_clusters),
        tree=np.full(2 * leaves, -1, np.int32),
        extra=np.zeros(n_clusters),
        edge_to=np.full(n_clusters, -1, np.int32),
    )


def make_walks(links: Links, n_clusters: int, z: float, zeta: bool) -> Walks:
    """Tables for the path integral and zeta. O(N)."""
    n_samples = len(links.start) - 1
    rows = np.repeat(np.arange(n_samples), np.diff(links.start))
    own = rows == links.end
    stay = np.zeros(n_samples)
    stay[rows[own]] = links.out[own]
    left, right, closed, into, out, before, beyond = (np.zeros(n_samples) for _ in range(7))
    place = np.zeros(n_clusters, np.int64)
    return Walks(z, zeta, left, right, closed, stay, into, out, before, beyond, place)


def feature_sums(features: Any, labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """(n, D) sums of the features (N, D) over each cluster; no columns where there are no features.

    Raises
    ------
    InputError
        If there are not as many features as labels.
    """
    if features is None:
        return np.zeros((n_clusters, 0))
    features = np.asarray(features)
    if features.ndim != 2 or len(features) != len(labels):
        raise InputError(f"features of shape {features.shape} cannot be used: W has {len(labels)} samples")
    ones = np.ones(len(labels), features.dtype if features.dtype.kind == "f" else np.float64)
    members = scipy.sparse.csr_matrix((ones, (labels, np.arange(len(labels)))), shape=(n_clusters, len(labels)))
    return np.asarray(members @ features, dtype=np.float64)


def isolated_clusters(s: Clusters) -> np.ndarray:
    """Whether each cluster has zero affinity with every other, both ways; (n,). O(R)."""
    isolated = np.ones(len(s.size), bool)
    isolated[s.other.reshape(-1, 2)[(s.value.reshape(-1, 2) > 0).any(1)]] = False
    return isolated


def attach_isolated(isolated: np.ndarray, sums: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Pairs of clusters that join every isolated one to the cluster of the nearest centroid.

    Two isolated clusters that choose each other would stay isolated, so their union chooses again.

    Parameters
    ----------
    isolated : (n,) bool array
        Clusters with zero affinity to all others.
    sums, size : (n, D) and (n,) arrays
        Sum of features and number of samples of each cluster.

    Returns
    -------
    forced : (F, 2) int array
        In order, and without a closed chain. O(isolated · n · D) time.
    """
    group = np.arange(len(isolated))
    sums, size, alone = sums.copy(), size.astype(np.float64), isolated.copy()
    alive = np.ones(len(isolated), bool)
    forced: list[tuple[int, int]] = []
    while alone.any() and alive.sum() > 1:
        rows = np.flatnonzero(alive)
        centroids = sums[rows] / size[rows, None]
        asking = np.flatnonzero(alone[rows])
        nearest = neighbors(centroids[asking], centroids, 1, exclude=asking)[0][:, 0]
        for p, q in zip(rows[asking], rows[nearest], strict=True):
            a, b = sorted((_root(group, p), _root(group, q)))
            if a != b:
                forced.append((a, b))
                group[b] = a
                sums[a] += sums[b]
                size[a] += size[b]
                alone[a] &= alone[b]
                alone[b] = alive[b] = False
    return np.array(forced, np.int64).reshape(-1, 2)


def _root(group: np.ndarray, c: int) -> int:
    while group[c] != c:
        c = int(group[c])
    return c
