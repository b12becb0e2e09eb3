"""The only k-nearest-neighbour code, and the sample graph that the agglomerative methods merge on.

Distances are searched by blocks of one matrix product in float32, on whatever device; a few more neighbours than
asked for are kept, their distances computed again from differences, and every row whose last place the rounding of the
product could have decided is searched once more in float64. So the result is exact, equal distances go to the lower
index, and a sample is never its own neighbour, even among exact duplicates: it is left out by index.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.csgraph import connected_components

from asterism.clustering.compiled import compiled
from asterism.clustering.linkage_tree import numbered
from asterism.errors import InputError, MissingDependencyError
from asterism.runtime import capable_device, usual_torch

BLOCK = 2048  # rows and columns of one block of distances: 16 MiB of float32, which the caches hold
PART = 16 * BLOCK  # rows that are in float64 at once, where rounding mattered
SPARE = 8  # neighbours kept beyond those asked for, to see whether rounding mattered

Array = Any  # an array or a tensor


@usual_torch()
def knn(
    X: Array,
    n_neighbors: int,
    *,
    device: torch.device | str | None = None,
    approximate: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest neighbours of every sample among the others.

    Parameters
    ----------
    X : array or tensor of shape (N, D)
        Anything but float64 is taken as float32.
    n_neighbors : int
        K_s. Where there are not that many other samples, all N − 1 are returned.
    device : torch device, optional
        Where to compute; by default where ``X`` lies. In place of an Apple GPU, which has no float64, the processor.
    approximate : bool
        Use faiss's inverted lists, which find most but not all neighbours.

    Returns
    -------
    indices : (N, K) int64 array
        By increasing distance, equal distances by increasing index.
    distances : (N, K) float64 array
        Squared Euclidean distances.

    Raises
    ------
    MissingDependencyError
        If ``approximate`` is True and faiss is not installed.

    Notes
    -----
    O(N²·D / 2) time, O(N·(D + K)) memory.
    """
    X = _as_tensor(X, device)
    n_neighbors = min(n_neighbors, len(X) - 1)
    if n_neighbors < 1:
        return np.empty((len(X), 0), np.int64), np.empty((len(X), 0))
    if approximate:
        return _approximate(X, n_neighbors)
    return _exact(X, X, n_neighbors, torch.arange(len(X), device=X.device), within=True)


@usual_torch()
def neighbors(
    queries: Array,
    X: Array,
    n_neighbors: int,
    *,
    exclude: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest samples of ``X`` to each query, exactly.

    Parameters
    ----------
    queries : array or tensor of shape (Q, D)
        What to look for.
    X : array or tensor of shape (N, D)
        Where to look.
    n_neighbors : int
        Clipped to the number of samples that may be found.
    exclude : (Q,) int array, optional
        One sample of ``X`` that each query may not find: itself, say.

    Returns
    -------
    indices, distances : (Q, K) arrays
        As `knn` returns them.

    Notes
    -----
    O(Q·N·D) time, O(N·D + Q·K) memory.
    """
    X = _as_tensor(X, None)
    queries = _as_tensor(queries, X.device)
    own = torch.full((len(queries),), -1) if exclude is None else torch.as_tensor(exclude)
    n_neighbors = min(n_neighbors, len(X) - (exclude is not None))
    if n_neighbors < 1:
        return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0))
    return _exact(queries, X, n_neighbors, own.to(X.device))


def affinity_graph(
    X: Array,
    n_neighbors: int = 20,
    a: float = 1.0,
    *,
    variant: str = "paper",
) -> tuple[scipy.sparse.csr_matrix, float]:
    """Directed affinity graph of JULE eq. 4: W_ij = exp(−d²_ij / σ²) for the K_s nearest neighbours j of i.

    Parameters
    ----------
    X : array or tensor of shape (N, D), or what `knn` returned
        Where neighbours are given, their first ``n_neighbors`` columns are used.
    n_neighbors : int
        K_s = 20 (Table 2); clipped to N − 1.
    a : float
        σ² = a · mean of d² over all N·K_s neighbours; 1 (Table 2).
    variant : {"paper", "gactoolbox"}
        "gactoolbox" is the graph of the AC-GDL, AC-Zell and AC-PIC baselines (docs/papers/jule.md): σ² is doubled until
        the nearest neighbour of every sample has an affinity of 10⁻⁵ at least, the mean is over three neighbours at
        least, and the diagonal is 1.

    Returns
    -------
    W : (N, N) float64 CSR matrix
        K_s entries a row, sorted; diagonal 0 in the paper's variant.
    sigma2 : float
        σ²; 0 where all neighbours are duplicates, and then their affinity is exp(0) = 1.

    Raises
    ------
    InputError
        For another ``variant``, or what `knn` raises.

    Notes
    -----
    O(N·K_s) memory; the time is that of `knn`.
    """
    if variant not in ("paper", "gactoolbox"):
        raise InputError(f"variant={variant!r} cannot be used: variant must be 'paper' or 'gactoolbox'")
    wanted = max(n_neighbors, 3) if variant == "gactoolbox" else n_neighbors
    indices, distances = X if isinstance(X, tuple) else knn(X, wanted)
    n_samples = len(indices)
    spread = distances[:, :wanted]
    indices, distances = indices[:, :n_neighbors], distances[:, :n_neighbors]
    sigma2 = float(a * spread.mean()) if spread.size else 0.0
    if variant == "gactoolbox" and sigma2 > 0:
        while np.exp(-distances[:, 0].max() / sigma2) < 1e-5:
            sigma2 *= 2
    # Where σ² is 0 every neighbour is a duplicate: the limit of exp(−0 / σ²) is 1.
    weights = np.exp(-distances / sigma2) if sigma2 > 0 else np.ones_like(distances)
    W = weights_to_neighbors(weights, indices, n_samples)
    if variant == "gactoolbox":
        W = (W + scipy.sparse.identity(n_samples, format="csr")).tocsr()
    W.sort_indices()
    return W, sigma2


def weights_to_neighbors(weights: np.ndarray, indices: np.ndarray, n: int) -> scipy.sparse.csr_matrix:
    """Weights (Q, K) of neighbours (Q, K), as `knn` and `neighbors` number them, as a matrix (Q, n)."""
    starts = np.arange(len(indices) + 1, dtype=np.int64) * indices.shape[1]
    return scipy.sparse.csr_matrix((weights.ravel(), indices.ravel(), starts), shape=(len(indices), n))


def nearest_neighbor_components(indices: np.ndarray) -> np.ndarray:
    """Initial clusters of JULE: each sample with its nearest neighbour (docs/papers/jule.md).

    Parameters
    ----------
    indices : (N, K) int array
        Neighbours as `knn` returns them; the first column is used.

    Returns
    -------
    labels : (N,) int64 array
        Weakly connected components of the directed 1-NN graph, numbered by their first sample. O(N).
    """
    n_samples = len(indices)
    if indices.shape[1] == 0:
        return np.arange(n_samples)
    links = (np.ones(n_samples, bool), (np.arange(n_samples), indices[:, 0]))
    _, labels = connected_components(scipy.sparse.coo_matrix(links, shape=(n_samples, n_samples)), directed=False)
    return numbered(labels)


def _as_tensor(X: Array, device: torch.device | str | None) -> torch.Tensor:
    # torch takes no array that runs backwards, and warns of one that it may not write to, which it never does
    X = np.require(X, requirements=["C", "W"]) if isinstance(X, np.ndarray) else X
    tensor = torch.as_tensor(X).detach()
    if tensor.ndim != 2:
        raise InputError(f"neighbours are of vectors, shape (N, D); got shape {tuple(tensor.shape)}")
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    tensor = tensor.to(capable_device(tensor.device if device is None else torch.device(device)))
    if not torch.isfinite(tensor).all():
        raise InputError("X holds nan or infinite values, whose neighbours cannot be told")
    return tensor.contiguous()


def _exact(
    queries: torch.Tensor, X: torch.Tensor, n_neighbors: int, own: torch.Tensor, within: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Search in float32, refine, and search what rounding could have decided once more in float64."""
    center = X.mean(0, dtype=torch.float64)  # a shift changes no distance and spares the product large numbers
    low = _less(X, center)
    low_queries = low if within else _less(queries, center)
    n_others = len(X) - int((own >= 0).any())
    n_candidates = min(n_neighbors + SPARE, n_others)
    values, found = _search(low_queries, low, n_candidates, own, within)
    indices, distances = _refine(queries, X, found, n_neighbors, own)
    doubtful = _doubtful(low_queries, values, distances, n_others)
    if len(doubtful):
        rows = torch.as_tensor(doubtful, device=X.device)
        again = queries[rows]
        centered = again.double() - center
        values, found = _search(centered, X, n_candidates, own[rows], center=center)
        indices[doubtful], distances[doubtful] = _refine(again, X, found, n_neighbors, own[rows])
        # What is left are ties: more samples at the last place's distance than there are spare places. Duplicates,
        # at 0, the second search has sorted by their index; the others are looked for among all, by differences.
        left = _doubtful(centered, values, distances[doubtful], n_others)
        tied = doubtful[left[distances[doubtful][left, -1] > 0]]
        if len(tied):
            indices[tied], distances[tied] = _refine(queries[tied], X, None, n_neighbors, own[tied])
    return indices, distances


def _less(X: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """X less a center (D,) in float64, as float32; by parts, since all differences in float64 take twice the room."""
    found = torch.empty_like(X, dtype=torch.float32)
    for i in range(0, len(X), BLOCK):
        found[i : i + BLOCK] = X[i : i + BLOCK] - center
    return found


def _doubtful(queries: torch.Tensor, values: torch.Tensor, distances: np.ndarray, n_others: int) -> np.ndarray:
    """Rows whose last neighbour the rounding of the product could have decided.

    A sample left out is farther than the last candidate, by the product; its norm is at most |x| + d if it belongs
    in. λ·√D·u with λ = 4 bounds the error of a sum of D products with near certainty (Higham & Mary 2019).
    """
    if values.shape[1] == n_others and bool(torch.isfinite(values).all()):
        return np.empty(0, np.int64)
    reach = queries.norm(dim=1).double().cpu().numpy() + np.sqrt(distances[:, -1])
    error = (4 * np.sqrt(queries.shape[1]) + 8) * torch.finfo(queries.dtype).eps * reach**2
    last = values[:, -1].cpu().numpy()  # not finite where float32 overflows
    return np.flatnonzero(~((distances[:, -1] + error < last) & np.isfinite(last)))


def _search(
    queries: torch.Tensor,
    X: torch.Tensor,
    n_candidates: int,
    own: torch.Tensor,
    within: bool = False,
    center: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``n_candidates`` smallest squared distances, by products of blocks; half of them where ``within``.

    Where X is not centred and in the queries' type already, it is brought so part by part: ``center`` is given.
    """
    dtype, step = queries.dtype, len(X) if center is None else PART
    values = torch.full((len(queries), n_candidates), torch.inf, dtype=dtype, device=X.device)
    found = torch.zeros((len(queries), n_candidates), dtype=torch.int64, device=X.device)
    query_norms = queries.square().sum(1, keepdim=True)
    floor = (4 * X.shape[1] ** 0.5 + 8) * torch.finfo(dtype).eps
    room = torch.empty(BLOCK * BLOCK, dtype=dtype, device=X.device)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for first in range(0, len(X), step):
            end = min(first + step, len(X))
            # [−2q, |q|², 1]·[x, 1, |x|²] is the squared distance: one product, no pass over the block to add the norms
            part = X if center is None else X[first:end].to(dtype) - center
            norms = part.square().sum(1, keepdim=True)
            right = torch.cat([part, torch.ones_like(norms), norms], dim=1)
            for i in range(0, len(queries), BLOCK):
                rows = slice(i, min(i + BLOCK, len(queries)))
                left = torch.cat([-2 * queries[rows], query_norms[rows], torch.ones_like(query_norms[rows])], dim=1)
                for j in range(i if within else first, end, BLOCK):
                    columns = slice(j - first, min(j + BLOCK, end) - first)
                    shape = rows.stop - i, columns.stop - columns.start
                    block = torch.mm(left, right[columns].T, out=room[: shape[0] * shape[1]].view(shape))
                    if dtype == torch.float64:  # duplicates must tie at 0, so that the lower index wins
                        block[block < floor * (query_norms[rows] + norms[columns].T)] = 0.0
                    inside = torch.nonzero((own[rows] >= j) & (own[rows] < j + shape[1]))[:, 0]
                    block[inside, own[rows][inside] - j] = torch.inf
                    _take(block, j, values[rows], found[rows], pool)
                    if within and j > i:
                        _take(block.T, i, values[columns], found[columns], pool)
    return values, found


def _take(
    block: torch.Tensor, column: int, values: torch.Tensor, found: torch.Tensor, pool: ThreadPoolExecutor
) -> None:
    """Let a block of distances, whose first column is ``column``, compete with the best so far; columns in order."""
    if block.device.type == "cpu":
        kernel, block = (_take_along, block) if block.stride(1) == 1 else (_take_across, block.T)
        _by_rows(pool, kernel, len(values), block.numpy(), values.numpy(), found.numpy(), column)
        return
    places = torch.arange(column, column + block.shape[1], device=block.device).expand(len(block), -1)
    both, width = torch.cat([values, block], dim=1), values.shape[1]
    if block.dtype == torch.float64:  # the second search, where ties matter: topk may take any of them
        values[:], order = (one[:, :width] for one in both.sort(dim=1, stable=True))
    else:
        values[:], order = both.topk(width, dim=1, largest=False)
    found[:] = torch.cat([found, places], dim=1).gather(1, order)


def _by_rows(pool: ThreadPoolExecutor, kernel: Any, n_rows: int, *arrays: Any) -> None:
    """Run ``kernel(begin, end, *arrays)`` on as many parts of the rows as torch has threads."""
    if torch.get_num_threads() == 1:
        kernel(0, n_rows, *arrays)
        return
    bounds = np.linspace(0, n_rows, torch.get_num_threads() + 1).astype(int)
    list(pool.map(lambda k: kernel(bounds[k], bounds[k + 1], *arrays), range(len(bounds) - 1)))


@compiled(nogil=True)
def _take_along(start, stop, block, values, found, column):
    """Insert what is smaller than the last of a row's sorted ``values``; on a tie the earlier column stays.

    torch.topk costs six nanoseconds an entry on a CPU, this well below one: 64 comparisons at a time find that there
    is nothing to insert.
    """
    last = values.shape[1] - 1
    for r in range(start, stop):
        row = block[r]
        for begin in range(0, row.size, 64):
            part = row[begin : begin + 64]
            worst = values[r, last]
            hits = np.int32(0)
            for c in range(part.size):
                hits += np.int32(part[c] < worst)
            if hits > 0:
                for c in range(part.size):
                    if part[c] < values[r, last]:
                        _insert(values[r], found[r], part[c], column + begin + c)


@compiled(nogil=True)
def _take_across(start, stop, block, values, found, column):
    """The same for the transpose of ``block``: its columns start … stop − 1 compete in their rows of ``values``."""
    last = values.shape[1] - 1
    worst = values[start:stop, last].copy()
    for r in range(block.shape[0]):
        row = block[r, start:stop]
        for begin in range(0, row.size, 64):
            part, limit = row[begin : begin + 64], worst[begin : begin + 64]
            hits = np.int32(0)
            for c in range(part.size):
                hits += np.int32(part[c] < limit[c])
            if hits > 0:
                for c in range(part.size):
                    if part[c] < limit[c]:
                        k = start + begin + c
                        _insert(values[k], found[k], part[c], column + r)
                        limit[c] = values[k, last]


@compiled(nogil=True)
def _insert(values, found, value, index):
    k = values.size - 1
    while k > 0 and values[k - 1] > value:
        values[k] = values[k - 1]
        found[k] = found[k - 1]
        k -= 1
    values[k] = value
    found[k] = index


@compiled(nogil=True, fastmath={"reassoc", "contract"})
def _squared_distance(x, y):
    total = 0.0
    for d in range(x.size):
        difference = np.float64(x[d]) - np.float64(y[d])
        total += difference * difference
    return total


@compiled(nogil=True)
def _sort_candidates(start, stop, queries, X, found, own, indices, distances):
    """Insert each row's candidates, in float64, by distance and then by index."""
    width = indices.shape[1]
    for r in range(start, stop):
        filled = 0
        for c in found[r]:
            if c < 0 or c == own[r]:
                continue
            d = _squared_distance(queries[r], X[c])
            k = filled
            while k > 0 and (distances[r, k - 1] > d or (distances[r, k - 1] == d and indices[r, k - 1] > c)):
                if k < width:
                    distances[r, k], indices[r, k] = distances[r, k - 1], indices[r, k - 1]
                k -= 1
            if k < width:
                distances[r, k], indices[r, k] = d, c
                filled = min(filled + 1, width)


def _refine(
    queries: torch.Tensor, X: torch.Tensor, found: torch.Tensor | None, n_neighbors: int, own: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of the candidates (None: of all) by their differences, on the CPU; infinite distances where there
    are too few."""
    if found is None:
        found = torch.arange(len(X)).expand(len(queries), -1)
    indices = np.zeros((len(queries), n_neighbors), np.int64)
    distances = np.full((len(queries), n_neighbors), np.inf)
    arrays = [one.cpu().numpy() for one in (queries, X, found, own)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        _by_rows(pool, _sort_candidates, len(queries), *arrays, indices, distances)
    return indices, distances


def _approximate(X: torch.Tensor, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours from faiss's inverted lists: 4·√N lists, of which 32 are looked through for each sample."""
    try:
        import faiss
    except ImportError as error:
        wanted = "approximate neighbours need faiss: pip install 'asterism-clustering[faiss]'"
        raise MissingDependencyError(wanted) from error

    vectors = X.float().cpu().numpy()
    index = faiss.index_factory(X.shape[1], f"IVF{max(1, int(4 * len(X) ** 0.5))},Flat")
    index.train(vectors)
    index.add(vectors)
    index.nprobe = 32
    _, found = index.search(vectors, n_neighbors + 1)  # itself, usually
    own = torch.arange(len(X))
    indices, distances = _refine(X, X, torch.as_tensor(found), n_neighbors, own)
    short = np.flatnonzero(np.isinf(distances[:, -1]))  # lists that held too few
    if len(short):
        indices[short], distances[short] = _exact(X[short], X, n_neighbors, own[short].to(X.device))
    return indices, distances
