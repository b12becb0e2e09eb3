"""One step of Lloyd's algorithm: the nearest center of each row, and the sums of the rows of each center.

`TileStep` computes on the CPU. Its limit is the product of rows and centers, 2·N·k·D operations at the speed of the
matrix product, and three things bring it there and below without changing the result. Products are taken in tiles that
stay in a core's cache, each by one thread, and compared there. The centers of all restarts share a product. And the
triangle inequality shows which rows cannot have changed their cluster. `ProductStep` computes with torch alone, on a
GPU: there every product is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
import torch

PANEL = 1024  # centers in one matrix product; with a tile of rows it fits a core's second-level cache
TILE = 2**19  # distances in one tile
# Times in units of one distance inside a product, which is slower where the product is thin.
OWN_COST, THIN_OWN_COST = 20.0, 10.0  # a distance taken alone
ROW_COST, THIN_ROW_COST = 40.0, 20.0  # picking one row out for a product of its own
SLACK = 2.0**-19  # bound on the rounding of a float32 product, relative to the norms of its factors
GPU_DISTANCES = 2**26  # held at once on a GPU: 256 MiB

Job = tuple[int, int, int]  # centers ``lo`` to ``hi`` of a model's run


class Workers:
    """As many threads as torch uses, each computing alone: no barriers, so a busy core delays one tile only."""

    def __init__(self) -> None:
        self.n = torch.get_num_threads()
        self._local = threading.local()

    def __enter__(self) -> Workers:
        # torch's number of threads belongs to the thread that sets it, but also becomes that of new threads.
        self._pool = ThreadPoolExecutor(self.n, initializer=torch.set_num_threads, initargs=(1,))
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self.n)

    def run(self, function: Callable[[Any], None], jobs: Sequence[Any]) -> None:
        """Call the function with each job."""
        if self.n == 1 or len(jobs) == 1:
            for job in jobs:
                function(job)
        else:
            list(self._pool.map(function, jobs))

    def scratch(self, n_rows: int, n_columns: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Uninitialised memory of this thread, until it asks for that type again: fresh pages are slow."""
        memory = getattr(self._local, str(dtype), None)
        if memory is None or memory.numel() < n_rows * n_columns:
            memory = torch.empty(n_rows * n_columns, dtype=dtype)
            setattr(self._local, str(dtype), memory)
        return memory[: n_rows * n_columns].view(n_rows, n_columns)


def _jit(function: Callable) -> Callable:
    """Compile to run without the GIL; the machine code is kept on disk where that is possible."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return numba.njit(**options)(function)


class _Model(NamedTuple):
    """The centers of A restarts, for the kernels. ``e`` is a center less the mean of the rows.

    d²(x, c) = ‖x − mean‖² + (‖e‖² + 2 e·mean) − 2 e·x loses no digits to a mean far from 0, without a centred copy of
    the rows.
    """

    centers: np.ndarray  # (A, k, D)
    mean: np.ndarray  # (D,)
    mean_norm: np.float32
    weights: np.ndarray  # (A·k, D) −2 e, the centers that moved farthest first
    bias: np.ndarray  # (A, k) ‖e‖² + 2 e·mean, in the order of the weights
    order: np.ndarray  # (A, k) the center at each place of that order
    place: np.ndarray  # (A, k) the place of each center
    drift: np.ndarray  # (A, k) how far each center moved
    sizes: np.ndarray  # (G,) numbers of fast centers among which a tile may choose, 0 … k
    rest: np.ndarray  # (A, G) how far the others moved at most
    slack: np.ndarray  # (A,) rounding of a product per unit of ‖x‖
    own_cost: float
    row_cost: float


class _Bounds(NamedTuple):
    """What is known of the rows of one block."""

    label: np.ndarray  # (R, B) int32, −1 before the first step
    upper: np.ndarray  # (R, B) at least the distance to the own center
    lower: np.ndarray  # (R, B) at most the distance to any other center
    scatter: np.ndarray  # (B,) ‖x − mean‖²


def _unknown(n_runs: int, n: int) -> _Bounds:
    upper = np.full((n_runs, n), np.inf, np.float32)
    return _Bounds(np.full((n_runs, n), -1, np.int32), upper, upper.copy(), np.full(n, -1, np.float32))


def _model(centers: torch.Tensor, previous: torch.Tensor | None, mean: torch.Tensor) -> _Model:
    n_runs, k, _ = centers.shape
    e = (centers - mean).float()
    bias = (e.double().square().sum(2) + 2 * (e.double() @ mean)).float()
    drift = torch.zeros(n_runs, k) if previous is None else (centers - previous).norm(dim=2).float() * (1 + 1e-6)
    falling, order = drift.sort(dim=1, descending=True, stable=True)
    parts = [0, 1, 2, 4, 6, 8, 12, 16, 24, 32] if k >= 64 else [0, 32]
    sizes = np.array([k * part // 32 for part in parts])
    return _Model(
        centers=centers.float().numpy(),
        mean=mean.float().numpy(),
        mean_norm=np.float32(mean.norm()),
        weights=(-2 * e).gather(1, order[:, :, None].expand_as(e)).flatten(0, 1).numpy(),
        bias=bias.gather(1, order).numpy(),
        order=order.int().numpy(),
        place=order.argsort(dim=1).int().numpy(),
        drift=drift.numpy(),
        sizes=sizes,
        rest=torch.cat([falling, torch.zeros(n_runs, 1)], 1)[:, sizes].numpy(),
        slack=(SLACK * e.norm(dim=2).amax(1)).numpy(),
        own_cost=THIN_OWN_COST if n_runs * k < 64 else OWN_COST,
        row_cost=THIN_ROW_COST if n_runs * k < 64 else ROW_COST,
    )


@_jit
def _distance(row, center):
    """Squared, from differences."""
    total = np.float32(0)
    for d in range(len(row)):
        difference = row[d] - center[d]
        total += difference * difference
    return total


@_jit
def _own_distances(x, centers, label, out):
    for i in range(len(x)):
        out[i] = _distance(x[i], centers[label[i]])


@_jit
def _screen_run(x, model, a, label, upper, lower, rows):
    """Move the bounds of one restart as far as its centers moved, and plan which distances to take.

    Returns ``size, n``: the ``size`` fastest centers are to be compared with every row, the others, which moved little,
    only with the ``n`` rows whose bounds are too loose for that (Hamerly's test, 2010, for the slow centers only). The
    cheapest of ``model.sizes`` is taken; where that is all centers, what was known is forgotten.
    """
    n, k = len(label), model.centers.shape[1]
    if label[0] < 0:
        return k, 0
    centers, drift, rest = model.centers[a], model.drift[a], model.rest[a]
    up, down = np.float32(1 + 2.0**-22), np.float32(1 - 2.0**-22)  # the rounding of these additions
    loose = 0
    for i in range(n):
        upper[i] = (upper[i] + drift[label[i]]) * up
        lower[i] *= down
        loose += lower[i] - rest[0] < upper[i]
    size, moved, least = k, rest[0], float(n * k)
    if loose * model.own_cost < n * k:
        for i in range(n):
            if lower[i] - rest[0] < upper[i]:
                upper[i] = np.sqrt(_distance(x[i], centers[label[i]]))
        for g in range(len(rest) - 1):
            n_failing = 0
            for i in range(n):
                n_failing += lower[i] - rest[g] < upper[i]
            cost = n * model.sizes[g] + n_failing * (model.row_cost + k - model.sizes[g])
            if g > 0:
                cost += model.own_cost * (n - loose)
            if cost < least:
                least, size, moved = cost, model.sizes[g], rest[g]
    if size == k:
        label[:], upper[:], lower[:] = -1, np.inf, np.inf
        return k, 0
    found = 0
    for i in range(n):
        if size > 0 and lower[i] - rest[0] >= upper[i]:  # products are compared with exact distances
            upper[i] = np.sqrt(_distance(x[i], centers[label[i]]))
        lower[i] -= moved
        if lower[i] < upper[i]:
            rows[found] = i
            found += 1
            lower[i] = np.inf
    return size, found


@_jit
def _screen(x, model, bounds, runs, start, stop, rows, plan):
    """`_screen_run` for all restarts of rows ``start`` to ``stop``."""
    if bounds.scatter[start] < 0:
        for i in range(start, stop):
            bounds.scatter[i] = _distance(x[i], model.mean)
    for a in range(len(runs)):
        label = bounds.label[runs[a], start:stop]
        upper, lower = bounds.upper[runs[a], start:stop], bounds.lower[runs[a], start:stop]
        plan[a] = _screen_run(x[start:stop], model, a, label, upper, lower, rows[a])


@_jit
def _fold_run(products, model, a, lo, scatter, rows, label, upper, lower):
    """Compare products with centers (m) and rows (n) with what is known of these rows.

    A row leaves its center only for one that is nearer by more than rounding. Columns are rows of the data, so that
    the comparisons of neighbouring rows are one vector instruction.
    """
    m, n = products.shape
    best, second = np.empty(n, np.float32), np.empty(n, np.float32)  # squared, less ‖x − mean‖²
    slack, base, winner = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int32)
    for i in range(n):
        row = rows[i]
        base[i], best[i], second[i], winner[i] = scatter[row], upper[row], lower[row], label[row]
        if label[row] >= 0:  # the own center is in ``upper``
            own = model.place[a, label[row]] - lo
            if 0 <= own < m:
                products[own, i] = np.inf
    for i in range(n):
        slack[i] = model.slack[a] * (np.sqrt(base[i]) + model.mean_norm)
        best[i] = best[i] * best[i] - base[i] - slack[i]
        second[i] = second[i] * second[i] - base[i]
    for j in range(m):
        product, bias, center = products[j], model.bias[a, lo + j], model.order[a, lo + j]
        for i in range(n):
            new, old = product[i] + bias, best[i]
            nearer = new < old
            best[i] = new if nearer else old
            winner[i] = center if nearer else winner[i]
            other = old if nearer else new
            second[i] = other if other < second[i] else second[i]
    for i in range(n):
        best[i] = np.sqrt(max(best[i] + base[i] + slack[i], np.float32(0)))
        second[i] = np.sqrt(max(second[i] + base[i] - slack[i], np.float32(0)))
    for i in range(n):
        row = rows[i]
        lower[row] = second[i]
        if winner[i] != label[row]:
            label[row], upper[row] = winner[i], best[i]


@_jit
def _fold(products, jobs, model, bounds, runs, start, stop, rows):
    """`_fold_run` for the jobs whose products lie one below the other."""
    first = 0
    for g in range(len(jobs)):
        a, lo, hi = jobs[g]
        label = bounds.label[runs[a], start:stop]
        upper, lower = bounds.upper[runs[a], start:stop], bounds.lower[runs[a], start:stop]
        part = products[first : first + hi - lo]
        _fold_run(part, model, a, lo, bounds.scatter[start:stop], rows, label, upper, lower)
        first += hi - lo


@_jit
def _follow(x, old, new, sums, counts, lo, hi):
    """Move rows that changed their label between sums, features ``lo`` to ``hi``; return how many changed."""
    changed = 0
    for i in range(len(x)):
        if old[i] != new[i]:
            changed += 1
            row, to = x[i, lo:hi], sums[new[i], lo:hi]
            for d in range(len(row)):
                to[d] += row[d]
            if lo == 0:
                counts[new[i]] += 1
            if old[i] >= 0:
                source = sums[old[i], lo:hi]
                for d in range(len(row)):
                    source[d] -= row[d]
                if lo == 0:
                    counts[old[i]] -= 1
    return changed


def _panels(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Cut jobs, and group them, to `PANEL` centers at most."""
    group: list[Job] = []
    width = 0
    for a, start, stop in jobs:
        for lo in range(start, stop, PANEL):
            hi = min(lo + PANEL, stop)
            if group and width + hi - lo > PANEL:
                yield group
                group, width = [], 0
            group.append((a, lo, hi))
            width += hi - lo
    if group:
        yield group


class TileStep:
    """Steps on the CPU, for R restarts side by side.

    Parameters
    ----------
    rows : Rows
        ``blocks()`` gives them; ``mean`` (D,).
    n_runs, k : int
        R and the number of clusters.
    chunk_size : int or None
        Rows a tile.
    workers : Workers
    """

    def __init__(self, rows: Any, n_runs: int, k: int, chunk_size: int | None, workers: Workers) -> None:
        self.rows, self.n_runs, self.k, self.workers = rows, n_runs, k, workers
        self.tile = chunk_size or min(max(TILE // min(n_runs * k, PANEL), 256), 8192)
        self.every = np.arange(self.tile)
        self.state: list[_Bounds] = []  # of each block
        self.sums = np.zeros((n_runs, k, rows.dim))
        self.counts = np.zeros((n_runs, k))
        self.scatter = 0.0

    def labels(self, block: int, run: int) -> torch.Tensor:
        """Labels of the rows of a block, (B,) int64."""
        return torch.from_numpy(self.state[block].label[run]).long()

    def step(self, centers: torch.Tensor, previous: torch.Tensor | None, runs: np.ndarray) -> torch.Tensor:
        """Assign every row to its nearest center, in each of A restarts.

        Parameters
        ----------
        centers, previous : (A, k, D) float64 tensors
            Those now, and those of the step before (None in the first).
        runs : (A,) int array
            Which restarts these are.

        Returns
        -------
        (A, k·D + k + 2) float64 tensor
            Sums and counts of the rows of each center, how many labels changed, and Σ‖x − mean‖²: this process's part.
        """
        model = _model(centers, previous, self.rows.mean)
        changed = np.zeros((len(runs), 1))
        for number, x in enumerate(self.rows.blocks()):
            if number == len(self.state):
                self.state.append(_unknown(self.n_runs, len(x)))
            bounds = self.state[number]
            old = bounds.label[runs]  # a copy
            tiles = range(0, len(x), self.tile)
            self.workers.run(partial(self._assign, x, model, bounds, runs), tiles)
            self._add(x, old, bounds.label, runs, changed)
            if previous is None:
                self.scatter += bounds.scatter.sum(dtype=np.float64)
        parts = [
            self.sums[runs].reshape(len(runs), -1),
            self.counts[runs],
            changed,
            np.full_like(changed, self.scatter),
        ]
        return torch.from_numpy(np.concatenate(parts, 1))

    def own_distances(self, x: torch.Tensor, centers: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Squared distance of each row to the center of its label, (B,) float32."""
        out = np.empty(len(x), np.float32)
        rows, near, own = x.numpy(), centers.float().numpy(), labels.numpy()

        def tile(start: int) -> None:
            stop = start + self.tile
            _own_distances(rows[start:stop], near, own[start:stop], out[start:stop])

        self.workers.run(tile, range(0, len(x), self.tile))
        return torch.from_numpy(out)

    def _assign(self, x: torch.Tensor, model: _Model, bounds: _Bounds, runs: np.ndarray, start: int) -> None:
        stop = min(start + self.tile, len(x))
        rows = self.workers.scratch(len(runs), stop - start, torch.int64)
        plan = np.empty((len(runs), 2), np.int64)
        _screen(x.numpy(), model, bounds, runs, start, stop, rows.numpy(), plan)
        weights = torch.from_numpy(model.weights)

        def compare(part: torch.Tensor, which: np.ndarray, jobs: Iterable[Job]) -> None:
            for group in _panels(jobs):
                flat = [(a * self.k + lo, a * self.k + hi) for a, lo, hi in group]
                if all(hi == lo for (_, hi), (lo, _) in pairwise(flat)):
                    centers = weights[flat[0][0] : flat[-1][1]]
                else:
                    centers = torch.cat([weights[lo:hi] for lo, hi in flat])
                products = torch.mm(centers, part.T, out=self.workers.scratch(len(centers), len(part)))
                _fold(products.numpy(), np.array(group), model, bounds, runs, start, stop, which)

        tile, plans = x[start:stop], plan.tolist()
        compare(tile, self.every[: stop - start], ((a, 0, size) for a, (size, _) in enumerate(plans) if size))
        for a, (size, n) in enumerate(plans):
            if n:
                compare(tile[rows[a, :n]], rows[a, :n].numpy(), [(a, size, self.k)])

    def _add(self, x: torch.Tensor, old: np.ndarray, new: np.ndarray, runs: np.ndarray, changed: np.ndarray) -> None:
        """Threads share restarts and features, never rows: each sum is taken in the order of the rows."""
        width = -(-x.shape[1] // -(-self.workers.n // len(runs)))

        def part(job: tuple[int, int]) -> None:
            (a, lo), r = job, runs[job[0]]
            hi = min(lo + width, x.shape[1])
            n = _follow(x.numpy(), old[a], new[r], self.sums[r], self.counts[r], lo, hi)
            changed[a] += n if lo == 0 else 0

        self.workers.run(part, [(a, lo) for a in range(len(runs)) for lo in range(0, x.shape[1], width)])


class ProductStep:
    """Steps with torch, on any device with float64; the interface is that of `TileStep`."""

    def __init__(self, rows: Any, n_runs: int, k: int, chunk_size: int | None) -> None:
        self.rows, self.n_runs, self.k = rows, n_runs, k
        self.chunk = chunk_size or max(GPU_DISTANCES // (n_runs * k), 1024)
        self.state: list[torch.Tensor] = []  # labels of each block, (R, B)
        self.scatter = 0.0

    def labels(self, block: int, run: int) -> torch.Tensor:
        """Labels of the rows of a block, (B,) int64."""
        return self.state[block][run]

    def step(self, centers: torch.Tensor, previous: torch.Tensor | None, runs: np.ndarray) -> torch.Tensor:
        """As `TileStep.step`."""
        n_runs, k, dim = centers.shape
        e = (centers - self.rows.mean).float()
        bias = (e.double().square().sum(2) + 2 * (e.double() @ self.rows.mean)).float()
        out = centers.new_zeros(n_runs, k * dim + k + 2)
        sums, counts = out[:, : k * dim].view(n_runs, k, dim), out[:, k * dim : -2]
        for number, x in enumerate(self.rows.blocks()):
            if number == len(self.state):
                self.state.append(x.new_full((self.n_runs, len(x)), -1, dtype=torch.long))
                self.scatter += sum(float((part - self.rows.mean).square().sum()) for part in x.split(self.chunk))
            for start, part in zip(range(0, len(x), self.chunk), x.split(self.chunk), strict=True):
                products = torch.addmm(bias.view(-1), part, e.view(-1, dim).T, alpha=-2)  # (B, A·k)
                label = products.view(len(part), n_runs, k).argmin(2).T  # (A, B)
                known = self.state[number][:, start : start + len(part)]
                exact = part.double()
                for a, r in enumerate(runs):
                    out[a, -2] += (known[r] != label[a]).sum()
                    sums[a].index_add_(0, label[a], exact)
                    counts[a] += torch.bincount(label[a], minlength=k)
                    known[r] = label[a]
        out[:, -1] = self.scatter
        return out

    def own_distances(self, x: torch.Tensor, centers: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """As `TileStep.own_distances`."""
        parts = zip(x.split(self.chunk), labels.split(self.chunk), strict=True)
        return torch.cat([(part - centers.float()[own]).square().sum(1) for part, own in parts])
