"""k-means: Lloyd's algorithm, exact, on vectors in memory, on disk or spread over processes.

What an iteration costs, and how it is made fast, is told in `kmeans_step`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement
from torch.nn.functional import normalize

from asterism.clustering.kmeans_step import ProductStep, TileStep, Workers, one_thread
from asterism.errors import InputError
from asterism.networks.pixels import unit_length
from asterism.parameters import Interval
from asterism.runtime import capable_device, usual_torch

SPLIT = 1 / 1024  # faiss's perturbation of the two halves of a split cluster
UNITS = 2.0**30  # rows whose largest number lies beyond this, or 1 over it, are brought near 1: squares would overflow
LARGE = 1e30  # numbers whose sums could overflow
PATIENCE = 5  # iterations that may fail to fill an empty cluster, with fewer distinct rows than clusters, say
SAMPLE = (16384, 32)  # k-means++ looks at this many rows, or this many times k if that is more

Reduce = Callable[[torch.Tensor], torch.Tensor]


class KMeansResult(NamedTuple):
    """What `kmeans` found; arrays or tensors, as the rows were."""

    labels: Any  # (N,) int64, of the rows that this process passed
    centers: Any  # (k, D) float32
    inertia: float  # squared distances to the nearest center, summed over all rows
    n_iter: int  # iterations of the best restart
    n_empty: int  # clusters without a row
    n_refilled: int = 0  # empty clusters that were given rows on the way, over all iterations


@usual_torch()
def kmeans(
    X: Any,
    n_clusters: int,
    *,
    init: Any = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    empty: str = "farthest",
    spherical: bool = False,
    random_state: int | np.random.RandomState | None = None,
    reduce: Reduce | None = None,
    rank: int = 0,
) -> KMeansResult:
    """Cluster rows around means: Lloyd's algorithm, best of ``n_init`` restarts.

    Parameters
    ----------
    X : array or tensor of shape (N, D), sequence of (B, D) blocks, or callable
        Float32 is taken as it is. Blocks, memory-mapped shards say, are read once an iteration, so that memory holds
        one of them; a callable returns a new iterator over them each time.
    n_clusters : int
        k.
    init : {"k-means++", "random"} or array of shape (k, D) or (n_init, k, D)
        Greedy k-means++ on a uniform sample of max(16 384, 32·k) rows, distinct rows, or the centers themselves.
    n_init : int
        R, restarts; the one of least inertia wins.
    max_iter : int
        Iterations at most.
    tol : float
        Stop where the centers' squared shifts sum to less than ``tol`` times the mean variance of the features, as
        scikit-learn does; an iteration that changes no label always stops.
    empty : {"farthest", "split", "keep"}
        What an emptied cluster does: go to the row farthest from its center, as in scikit-learn; take half of a
        cluster drawn with probability ∝ n − 1, both centers moved by 1 ± 1/1024, as faiss and so DeepCluster do
        (docs/papers/deepcluster.md; faiss's draw goes through the clusters in turn, which favours those of low
        numbers), which from bad starts ends with up to 2.5 times the inertia; or stay.
    spherical : bool
        Scale rows and centers to unit length, which compares by cosine.
    random_state : int, RandomState or None
        That of the first process counts.
    reduce : callable, optional
        Sums a tensor over processes that each pass their own rows, such as `Runtime.sum_over_ranks`; the tensors lie
        where the rows do.
    rank : int
        Number of this process among them: rows count as if concatenated in that order.

    Returns
    -------
    KMeansResult
        ``labels, centers, inertia, n_iter, n_empty, n_refilled``. The labels are those of `assign`.

    Raises
    ------
    InputError
        For fewer rows than clusters, rows that are not finite, or a parameter out of its range.

    Notes
    -----
    An iteration takes O(R·N·k·D) time at most and an all-reduce of R·k·(D + 1) numbers; memory holds 12·R bytes a row
    besides the rows. k-means++ takes O((k + 512)·k·log(k)·D), so for ten thousand clusters prefer "random", as
    DeepCluster does. A row that two centers are equally near to, within float32 rounding, may go to either.
    """
    _check_parameters(n_clusters, n_init, max_iter, tol, empty)
    n_clusters, n_init, max_iter = int(n_clusters), int(n_init), int(max_iter)  # numpy's short integers overflow
    init = init if isinstance(init, (str, torch.Tensor)) else np.require(init, requirements=["C", "W"])
    with one_thread():
        rows = _Rows(X, spherical, reduce, rank, None if isinstance(init, str) else init)
    if rows.n < n_clusters:
        raise InputError(f"n_samples={rows.n} should be >= n_clusters={n_clusters}: ask for fewer clusters")
    seed = rows.mean.new_tensor([check_random_state(random_state).randint(2**31 - 1)])
    rng = np.random.RandomState(int(rows.of_first(seed)))
    centers = _initial_centers(rows, n_clusters, init, n_init, rng)  # (R, k, D)
    with Workers() as workers:
        runs = _lloyd(_step(rows, len(centers), n_clusters, workers), centers, max_iter, tol, empty, rng)
        _, n_iter, n_refilled, best = min(runs, key=lambda run: run[0])
        labels, distances = _assign(rows, best, workers)
        counts = torch.bincount(labels, minlength=n_clusters).double()
        total = rows.reduce(torch.cat([counts, distances.sum(dtype=torch.float64)[None]]))
        n_empty = int((total[:-1] == 0).sum())
    found = rows.as_input(labels), rows.as_input((best / rows.scale).float())
    return KMeansResult(*found, float(total[-1]) / rows.scale**2, n_iter, n_empty, n_refilled)


@usual_torch()
def assign(X: Any, centers: Any, spherical: bool = False) -> tuple[Any, Any]:
    """Find the nearest center of each row.

    Parameters
    ----------
    X : array or tensor of shape (N, D), sequence of (B, D) blocks, or callable
        As `kmeans` takes it.
    centers : array or tensor of shape (k, D)
        Where ``spherical``, scaled to unit length like the rows.
    spherical
        As in `kmeans`.

    Returns
    -------
    labels : (N,) int64
        Arrays or tensors, as the rows are; equal distances go to the lower number.
    distances : (N,) float32, or float64 where the numbers are so far from 1 that their squares need it
        Squared, from differences: 0 for a row that equals its center.

    Raises
    ------
    InputError
        If the centers are of another dimension than the rows.

    Notes
    -----
    O(N·k·D) time; memory besides the rows: one tile of distances.
    """
    centers = centers if isinstance(centers, torch.Tensor) else np.require(centers, requirements=["C", "W"])
    rows = _Rows(X, spherical, like=centers)
    nearest = torch.as_tensor(centers, device=rows.device).double() * rows.scale
    if nearest.ndim != 2 or nearest.shape[1] != rows.dim:
        raise InputError(f"centers of shape {tuple(nearest.shape)} do not fit rows of {rows.dim} features")
    with Workers() as workers:
        labels, distances = _assign(rows, normalize(nearest) if spherical else nearest, workers)
    return rows.as_input(labels), rows.as_input(distances if rows.scale == 1 else distances.double() / rows.scale**2)


def _check_parameters(n_clusters: Any, n_init: Any, max_iter: Any, tol: Any, empty: Any) -> None:
    one_or_more, table = Interval(int, 1, None), {"n_clusters": n_clusters, "n_init": n_init, "max_iter": max_iter}
    for name, value in table.items():
        if not one_or_more.accepts(value):
            raise InputError(f"{name}={value!r} cannot be used: {name} must be {one_or_more}")
    if not Interval(float, 0, None).accepts(tol):
        raise InputError(f"tol={tol!r} cannot be used: tol must be a number >= 0")
    if empty not in ("split", "farthest", "keep"):
        raise InputError(f"empty={empty!r} cannot be used: empty must be 'split', 'farthest' or 'keep'")


class _Rows:
    """The rows of this process, block after block, and what is known of those of all processes.

    Where their largest number is far from 1, the blocks, the mean, and centers to start from are times ``scale``, a
    power of two, which changes no digit.
    """

    def __init__(
        self, X: Any, spherical: bool = False, reduce: Reduce | None = None, rank: int = 0, like: Any = None
    ) -> None:
        self.spherical, self.rank, self.is_array = spherical, rank, True
        self.reduce: Reduce = reduce or (lambda value: value)  # it may sum in place: only what is not used again
        self._read, total = self._reader(X), None
        self._shapes: list[torch.Size] = []
        peak = 0.0 if like is None or spherical else float(torch.as_tensor(like).abs().max())
        for x in self._read():
            if self._shapes and x.shape[1] != self._shapes[0][1]:
                raise InputError(f"blocks of {self._shapes[0][1]} and of {x.shape[1]} features do not fit together")
            block = max(abs(float(one)) for one in x.aminmax()) if len(x) else 0.0
            exact = x if block < LARGE else x.double()
            part = sum((exact.new_ones(len(part)) @ part).double() for part in exact.split(2048))
            total, peak = part if total is None else total + part, max(peak, block)
            self._shapes.append(x.shape)
        if total is None:
            raise InputError("n_samples=0: X gave no block of rows")
        self.device, self.dim = x.device, x.shape[1]
        self.ranks = round(float(self.reduce(total.new_ones(1))))
        present = total.new_zeros(3, max(self.ranks, rank + 1))
        present[:, rank] = torch.tensor([1, sum(shape[0] for shape in self._shapes), peak], dtype=torch.float64)
        present = self.reduce(present)
        if not (present[0] == 1).all():
            raise InputError(f"{self.ranks} processes take part: pass rank=, 0 to {self.ranks - 1}, with reduce")
        self.n, self.offset = int(present[1].sum()), int(present[1, :rank].sum())
        peak = float(present[2].max())
        self.scale = 1.0 if not np.isfinite(peak) or 1 / UNITS <= peak <= UNITS else 2.0 ** -int(np.frexp(peak)[1])
        self.mean = (self.reduce(total) / max(self.n, 1) * self.scale).float().double()  # (D,), exact in float32
        if not torch.isfinite(self.mean).all():
            raise InputError("X contains NaN or infinity: leave these rows out, or fill them (numpy.nan_to_num)")

    def _reader(self, X: Any) -> Callable[[], Iterable[torch.Tensor]]:
        if callable(X):
            return lambda: map(self._tensor, X())
        blocks = isinstance(X, (list, tuple)) and len(X) > 0 and np.ndim(X[0]) == 2
        if hasattr(X, "__array__") or isinstance(X, (list, tuple)) and not blocks:
            whole = self._tensor(X)
            return lambda: (whole,)
        if not isinstance(X, Iterable) or iter(X) is X:
            raise InputError(f"a {type(X).__name__} cannot be read more than once: pass a function that returns it")
        return lambda: map(self._tensor, X)

    def _tensor(self, block: Any) -> torch.Tensor:
        self.is_array = not isinstance(block, torch.Tensor)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The given NumPy array is not writ")  # nor is it written to
                values = np.ascontiguousarray(block) if self.is_array else block
                x = torch.as_tensor(values).detach().float().contiguous()
        except (TypeError, ValueError) as error:
            raise InputError(f"X cannot be read as numbers: {error}") from error
        if x.ndim != 2 or not x.shape[1]:
            raise InputError(f"rows are vectors, shape (N, D); got shape {tuple(x.shape)}")
        x = x.to(capable_device(x.device))
        return unit_length(x) if self.spherical else x

    def blocks(self) -> Iterator[torch.Tensor]:
        """The (B, D) float32 blocks, which must come the same each time."""
        for number, x in enumerate(self._read()):
            if number >= len(self._shapes) or x.shape != self._shapes[number]:
                raise InputError(f"block {number} of X changed its shape between two passes")
            yield x if self.scale == 1 else (x.double() * self.scale).float()

    def at(self, ids: np.ndarray) -> torch.Tensor:
        """Rows by their number among all processes' rows, on every process. One pass."""
        wanted, start = torch.from_numpy(ids).to(self.device), self.offset
        found = torch.zeros((len(ids), self.dim), dtype=torch.float32, device=self.device)
        for x in self.blocks():
            here = (wanted >= start) & (wanted < start + len(x))
            found[here] = x[wanted[here] - start]
            start += len(x)
        return self.reduce(found)

    def of_first(self, value: torch.Tensor) -> torch.Tensor:
        """The first process's value, on every process."""
        return self.reduce(value if self.rank == 0 else torch.zeros_like(value))

    def as_input(self, values: torch.Tensor) -> Any:
        """An array or a tensor, as the rows came."""
        return values.cpu().numpy() if self.is_array else values


def _initial_centers(rows: _Rows, k: int, init: Any, n_init: int, rng: np.random.RandomState) -> torch.Tensor:
    """Centers of all restarts, (R, k, D) float64."""
    if not isinstance(init, str):
        centers = torch.as_tensor(init, device=rows.device).double()
        centers = centers[None] if centers.ndim == 2 else centers
        if centers.ndim != 3 or centers.shape[1:] != (k, rows.dim) or not torch.isfinite(centers).all():
            raise InputError(
                f"init of shape {tuple(centers.shape)} must be ({k}, {rows.dim}) or (n_init, {k}, {rows.dim}), finite"
            )
        return normalize(centers, dim=2) if rows.spherical else centers * rows.scale
    if init not in ("k-means++", "random"):
        raise InputError(f"init={init!r} cannot be used: init must be 'k-means++', 'random' or an array")
    randoms = [np.random.RandomState(seed) for seed in rng.randint(2**31 - 1, size=n_init)]
    if init == "random":
        ids = np.concatenate([sample_without_replacement(rows.n, k, random_state=random) for random in randoms])
        centers = rows.at(ids)
    else:
        size = min(rows.n, max(SAMPLE[0], SAMPLE[1] * k))
        sample = rows.at(np.sort(sample_without_replacement(rows.n, size, random_state=rng)))
        centers = sample[_plus_plus(sample - rows.mean.float(), k, randoms)]
    # Another processor may round otherwise and choose another row.
    return rows.of_first(centers).view(n_init, k, -1).double()


def _plus_plus(sample: torch.Tensor, k: int, randoms: list[np.random.RandomState]) -> torch.Tensor:
    """Greedy k-means++ (Arthur and Vassilvitskii, 2007) for R restarts at once: (R, k) row numbers.

    Of 2 + log k candidates, drawn with probability ∝ D², the one that lowers the inertia most, as scikit-learn does.
    """
    n, trials = len(sample), 2 + int(np.log(k))
    norms = sample.square().sum(1)
    every = torch.arange(len(randoms), device=sample.device)

    def distances(ids: torch.Tensor) -> torch.Tensor:
        flat = ids.reshape(-1)
        products = torch.addmm(norms[flat, None] + norms, sample[flat], sample.T, alpha=-2)
        return products.clamp_min_(0).view(*ids.shape, n)

    chosen = [torch.tensor([random.randint(n) for random in randoms], device=sample.device)]
    closest = distances(chosen[0])  # (R, n)
    for _ in range(1, k):
        cumulated = closest.cumsum(1, dtype=torch.float64)
        draws = torch.from_numpy(np.stack([random.random_sample(trials) for random in randoms])).to(cumulated)
        ids = torch.searchsorted(cumulated, draws * cumulated[:, -1:]).clamp_max_(n - 1)  # (R, trials)
        candidates = torch.minimum(distances(ids), closest[:, None])  # (R, trials, n)
        best = candidates.sum(2).argmin(1)
        chosen.append(ids[every, best])
        closest = candidates[every, best]
    return torch.stack(chosen, 1)


def _lloyd(
    step: TileStep | ProductStep,
    centers: torch.Tensor,
    max_iter: int,
    tol: float,
    empty: str,
    rng: np.random.RandomState,
) -> Iterator[tuple[float, int, int, torch.Tensor]]:
    """Iterate all restarts side by side; as each ends, give its inertia, iterations, refilled clusters and centers."""
    rows, (n_runs, k, dim) = step.rows, centers.shape
    seeds = rng.randint(2**31 - 1, size=n_runs)
    random_of = cache(lambda run: np.random.RandomState(seeds[run]))  # few runs ever split a cluster
    runs, previous, refilled = np.arange(n_runs), None, np.zeros(n_runs, np.int64)
    before: Callable[[], np.ndarray] = partial(np.full, n_runs, np.inf)
    stuck = np.zeros(n_runs, np.int64)
    for n_iter in range(1, max_iter + 1):  # of few clusters each call counts
        total = rows.reduce(step.step(centers, previous, runs))  # (A, k·D + k + 2) float64
        sums, counts = total[:, : k * dim].view(-1, k, dim), total[:, k * dim : -2]
        changed, scatter = total[:, -2].cpu().numpy(), float(total[0, -1])
        means = _means(sums, counts, centers, rows.spherical)
        inertia = cache(partial(_inertia, sums, counts, means, rows.mean, scatter))
        moved = (means - centers).square().sum((1, 2)).cpu().numpy()
        full = (counts > 0).all(1).cpu().numpy() | (empty == "keep")
        if full.all():
            stuck[:] = 0
        else:
            stuck = np.where(full | (inertia() < before() - 1e-9 * scatter), 0, stuck + 1)
        ended = (changed == 0) | ((moved <= tol * scatter / (rows.n * dim)) & full) | (stuck > PATIENCE)
        if ended.any() or n_iter == max_iter:
            inertia()  # of the means before they move
        for a, run in enumerate(runs.tolist()):
            if not (ended[a] or full[a]):
                refilled[run] += int((counts[a] == 0).sum())
                if empty == "farthest":
                    means[a] = _relocate(step, run, sums[a], counts[a], centers[a])
                else:
                    means[a] = _split(means[a], counts[a], random_of(run))
                    means[a] = normalize(means[a]) if rows.spherical else means[a]
            if ended[a] or n_iter == max_iter:
                yield float(inertia()[a]), n_iter, int(refilled[run]), means[a]
        if ended.all():
            return
        centers, previous, before = means, centers, inertia
        if ended.any():
            runs, stuck, before = runs[~ended], stuck[~ended], partial(np.array, inertia()[~ended])
            left = torch.from_numpy(~ended).to(means.device)
            centers, previous = centers[left], previous[left]


def _inertia(
    sums: torch.Tensor, counts: torch.Tensor, centers: torch.Tensor, mean: torch.Tensor, scatter: float
) -> np.ndarray:
    """Σ‖x − c‖², from the sums alone and Σ‖x − mean‖²; (A,)."""
    e = centers - mean
    less = (counts * e.square().sum(2) - 2 * ((sums - counts[:, :, None] * mean) * e).sum(2)).sum(1)
    return (scatter + less).cpu().numpy()


def _step(rows: _Rows, n_runs: int, k: int, workers: Workers) -> TileStep | ProductStep:
    if rows.device.type == "cpu":
        return TileStep(rows, n_runs, k, workers)
    return ProductStep(rows, n_runs, k)


def _assign(rows: _Rows, centers: torch.Tensor, workers: Workers) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and squared distances of the rows of this process."""
    step = _step(rows, 1, len(centers), workers)
    labels, distances = zip(*step.nearest(centers.float().double()), strict=True)  # the centers as they are given back
    return torch.cat(labels), torch.cat(distances)


def _means(sums: torch.Tensor, counts: torch.Tensor, centers: torch.Tensor, spherical: bool) -> torch.Tensor:
    """Means of the rows of each cluster, at unit length where ``spherical``; an empty one keeps its center."""
    means = normalize(sums, dim=-1) if spherical else sums / counts[..., None].clamp_min(1)
    there = counts > 0
    return means if bool(there.all()) else torch.where(there[..., None], means, centers)


def _split(centers: torch.Tensor, counts: torch.Tensor, random: np.random.RandomState) -> torch.Tensor:
    """Give each empty cluster half of another (faiss's ``km_update_centroids``; docs/papers/deepcluster.md)."""
    signs = 1 - 2.0 * (torch.arange(centers.shape[1], device=centers.device) % 2)  # + − + −
    centers, left = centers.clone(), counts.cpu().numpy().copy()
    for j in np.flatnonzero(left == 0):
        chances = np.maximum(left - 1, 0)
        if not chances.any():  # as many rows as clusters
            break
        donor = random.choice(len(left), p=chances / chances.sum())
        centers[j], centers[donor] = centers[donor] * (1 + SPLIT * signs), centers[donor] * (1 - SPLIT * signs)
        left[j] = left[donor] // 2
        left[donor] -= left[j]
    return centers


def _relocate(step: Any, run: int, sums: torch.Tensor, counts: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """Move each empty cluster to one of the rows farthest from their centers, as scikit-learn does."""
    rows = step.rows
    hollow = torch.where(counts == 0)[0].tolist()
    far = torch.zeros((0, 2 + rows.dim), dtype=torch.float64, device=rows.device)  # distance, label, row
    for number, x in enumerate(rows.blocks()):
        labels = step.labels(number, run)
        distances = step.own_distances(x, centers, labels)
        top = distances.topk(min(len(hollow), len(x))).indices
        far = torch.cat([far, torch.column_stack([distances[top], labels[top], x[top]]).double()])
        far = far[far[:, 0].argsort(descending=True, stable=True)[: len(hollow)]]
    slots = far.new_zeros(rows.ranks, len(hollow), far.shape[1])
    slots[rows.rank, : len(far)] = far
    far = rows.reduce(slots).flatten(0, 1)
    far = far[far[:, 0].argsort(descending=True, stable=True)]
    sums, counts = sums.clone(), counts.clone()
    for j, row in zip(hollow, far, strict=False):
        label = int(row[1])
        if row[0] > 0 and counts[label] > 1:  # else fewer distinct rows than clusters: it stays where it is
            sums[label] -= row[2:]
            counts[label] -= 1
            sums[j], counts[j] = row[2:], 1
    return _means(sums, counts, centers, rows.spherical)
