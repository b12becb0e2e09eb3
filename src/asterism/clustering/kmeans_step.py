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
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from asterism.clustering.kmeans_kernels import FEW, Bounds, Model, fold, follow, measure, own_distances, screen

PANEL = 1024  # centers in one matrix product
TILE = 2**21  # distances in one tile: 8 MiB, as a product of more rows is faster; and
MAX_ROWS = 4096  # rows, up to half more where threads share evenly: they and their products stay in a cache of 2 MiB
ALIGNED = 16  # rows of a product begin at multiples of so many numbers: with others it takes up to 1.6 times as long
# In units of a distance inside a product (each takes longer in a product with few columns), see `Model`:
OWN_COST, THIN_OWN_COST = 10.0, 5.0
ONE_COST, THIN_ONE_COST = 4.5, 2.0
FAST_PARTS = (0, 1, 2, 4, 6, 8, 12, 16, 24, 32)  # `Model.sizes`, in 32nds of k
SLACK = 2.0**-19  # bound on the rounding of a float32 product, relative to the norms of its factors
SHARED = 2**22  # numbers of a block whose sums several threads share: less is done before they wake
MAX_REACH = 2.0  # rows are centred where their mean is farther from 0 than this many times the centers from it
GPU_NUMBERS = 2**26  # distances, or features of rows, held at once on a GPU: 256 MiB

Job = tuple[int, int, int]  # centers ``lo`` to ``hi`` of the a-th restart


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch take no threads of its own: they wait for the next sum of this thread awake, for milliseconds, on cores
    that others need, and of small sums each takes longer by them."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n)


class Workers:
    """As many threads as torch uses, each computing alone: no barriers, so a busy core delays one tile only."""

    def __init__(self) -> None:
        self.n = torch.get_num_threads()
        self._local = threading.local()

    def __enter__(self) -> Workers:
        # torch's number of threads belongs to the thread that sets it, but also becomes that of new threads.
        self._pool = ThreadPoolExecutor(max(1, self.n - 1), initializer=torch.set_num_threads, initargs=(1,))
        self._alone = one_thread()
        self._alone.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._alone.__exit__(None, None, None)

    def run(self, function: Callable[[Any], None], jobs: Sequence[Any]) -> None:
        """Call the function with each job; this thread takes its share, as others take a while to wake."""
        left = iter(jobs)

        def work() -> None:
            for job in left:  # of one list: no job comes twice
                function(job)

        others = [self._pool.submit(work) for _ in range(min(self.n, len(jobs)) - 1)]
        work()
        for other in others:
            other.result()

    def scratch(self, name: str, n_rows: int, n_columns: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Uninitialised memory of this thread, until it asks for that name again: fresh pages are slow."""
        memory = getattr(self._local, name, None)
        if memory is None or memory.numel() < n_rows * n_columns:
            memory = torch.empty(n_rows * n_columns, dtype=dtype)
            setattr(self._local, name, memory)
        return memory[: n_rows * n_columns].view(n_rows, n_columns)


def _unknown(n_runs: int, n: int) -> Bounds:
    upper = np.full((n_runs, n), np.inf, np.float32)
    return Bounds(np.full((n_runs, n), -1, np.int32), upper, upper.copy(), np.full(n, -1, np.float32))


def _model(centers: np.ndarray, previous: np.ndarray | None, mean: np.ndarray) -> Model:
    """Of centers (A, k, D), those of the step before, and the mean (D,), float64."""
    n_runs, k, dim = centers.shape
    weights, bias, along, apart = np.empty(centers.shape, np.float32), *np.empty((3, n_runs, k))
    measure(centers, centers if previous is None else previous, mean, weights, bias, along, apart)
    norms, reach = np.sqrt(bias.max(1)), float(np.linalg.norm(mean))
    centred = reach > MAX_REACH * norms.min()
    if not centred:
        bias += 2 * along
    drift = np.sqrt(apart).astype(np.float32) * np.float32(1 + 1e-6)
    rest, every = np.zeros((n_runs, 2), np.float32), np.arange(n_runs)[:, None]
    rest[:, 0] = drift.max(1)
    sizes = np.array([0, k])
    order = place = np.tile(np.arange(k, dtype=np.int32), (n_runs, 1))  # C-ordered: else kernels are compiled once more
    if previous is not None and k >= FEW:
        sizes = k * np.array(FAST_PARTS) // 32
        order = np.argsort(-drift, axis=1, kind="stable").astype(np.int32)
        rest = np.zeros((n_runs, len(sizes)), np.float32)
        rest[:, sizes < k] = drift[every, order[:, sizes[sizes < k]]]
        weights, bias = weights[every, order], bias[every, order]
        place = np.empty_like(order)
        place[every, order] = np.arange(k, dtype=np.int32)
    return Model(
        centers=centers.astype(np.float32),
        mean=mean.astype(np.float32),
        weights=weights.reshape(-1, dim),
        bias=bias.astype(np.float32),
        order=order,
        place=place,
        drift=drift,
        sizes=sizes,
        rest=rest,
        slack=(SLACK * norms).astype(np.float32),
        centred=centred,
        reach=0.0 if centred else reach,
        own_cost=THIN_OWN_COST if n_runs * k < FEW else OWN_COST,
        one_cost=THIN_ONE_COST if n_runs * k < FEW else ONE_COST,
    )


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
    workers : Workers
    """

    def __init__(self, rows: Any, n_runs: int, k: int, workers: Workers) -> None:
        self.rows, self.n_runs, self.k, self.workers = rows, n_runs, k, workers
        self.tile = min(TILE // min(n_runs * k, PANEL), MAX_ROWS)
        self.even = workers.n > 1  # no thread waits for another's last tile
        self.state: list[Bounds] = []  # of each block
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
        before = None if previous is None else previous.numpy()
        model = _model(centers.numpy(), before, self.rows.mean.numpy())
        changed = np.zeros(len(runs))
        for number, x in enumerate(self.rows.blocks()):
            if number == len(self.state):
                self.state.append(_unknown(self.n_runs, len(x)))
            bounds = self.state[number]
            old = bounds.label[runs]  # a copy
            self.workers.run(partial(self._assign, x, model, bounds, runs), self._tiles(len(x)))
            self._add(x, old, bounds.label, runs, changed)
            if previous is None:
                self.scatter += bounds.scatter.sum(dtype=np.float64)
        sums = self.sums[runs].reshape(len(runs), -1)
        return torch.from_numpy(np.column_stack([sums, self.counts[runs], changed, np.full(len(runs), self.scatter)]))

    def own_distances(self, x: torch.Tensor, centers: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Squared distance of each row to the center of its label, (B,) float32."""
        out = np.empty(len(x), np.float32)
        rows, near, own = x.numpy(), centers.float().numpy(), labels.numpy()

        def tile(part: tuple[int, int]) -> None:
            start, stop = part
            own_distances(rows[start:stop], near, own[start:stop], out[start:stop])

        self.workers.run(tile, self._tiles(len(x)))
        return torch.from_numpy(out)

    def nearest(self, centers: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """For each block, the label of its rows and the squared distance to that center; centers are (k, D)."""
        model, runs = _model(centers[None].numpy(), None, self.rows.mean.numpy()), np.zeros(1, np.int64)
        for x in self.rows.blocks():
            bounds = _unknown(1, len(x))
            self.workers.run(partial(self._assign, x, model, bounds, runs), self._tiles(len(x)))
            labels = torch.from_numpy(bounds.label[0]).long()
            yield labels, self.own_distances(x, centers, labels)

    def _tiles(self, n: int) -> list[tuple[int, int]]:
        """First row and end of each tile of a block of n rows."""
        tile = self.tile
        if self.even:
            n_rounds = max(1, round(n / (tile * self.workers.n)))
            tile = max(1, -(-n // (n_rounds * self.workers.n)))
        return [(start, min(start + tile, n)) for start in range(0, n, tile)]

    def _assign(self, x: torch.Tensor, model: Model, bounds: Bounds, runs: np.ndarray, part: tuple[int, int]) -> None:
        start, stop = part
        rows = self.workers.scratch("rows", len(runs), stop - start, torch.int64)
        plan = np.empty((len(runs), 2), np.int64)
        screen(x.numpy(), model, bounds, runs, start, stop, rows.numpy(), plan)
        plans = plan.tolist()
        if not plan.any():
            return
        tile = x[start:stop]
        if model.centred:
            tile = torch.sub(
                tile, torch.from_numpy(model.mean), out=self.workers.scratch("tile", len(tile), x.shape[1])
            )
        jobs = [(a, 0, size) for a, (size, _) in enumerate(plans) if size]
        self._compare(tile, np.arange(stop - start), jobs, model, bounds, runs, start, stop)
        for a, (size, n) in enumerate(plans):
            if n:
                some = rows[a, :n]
                picked = torch.index_select(tile, 0, some, out=self.workers.scratch("picked", n, x.shape[1]))
                self._compare(picked, some.numpy(), [(a, size, self.k)], model, bounds, runs, start, stop)

    def _compare(
        self,
        y: torch.Tensor,
        rows: np.ndarray,
        jobs: list[Job],
        model: Model,
        bounds: Bounds,
        runs: np.ndarray,
        start: int,
        stop: int,
    ) -> None:
        """Take products of rows of the tile, and update what is known of them."""
        weights, n, columns = torch.from_numpy(model.weights), len(rows), y.T
        for group in _panels(jobs):
            flat = [(a * self.k + lo, a * self.k + hi) for a, lo, hi in group]
            if all(hi == lo for (_, hi), (lo, _) in pairwise(flat)):
                centers = weights[flat[0][0] : flat[-1][1]]
            else:
                centers = torch.cat([weights[lo:hi] for lo, hi in flat])
            products = self.workers.scratch("products", centers.shape[0], -(-n // ALIGNED) * ALIGNED)
            torch.mm(centers, columns, out=products[:, :n])
            fold(products.numpy(), np.array(group), model, bounds, runs, start, stop, rows)

    def _add(self, x: torch.Tensor, old: np.ndarray, new: np.ndarray, runs: np.ndarray, changed: np.ndarray) -> None:
        """Threads share features, never rows: each sum is taken in the order of the rows."""
        rows, dim = x.numpy(), x.shape[1]
        n_parts = min(self.workers.n, -(-dim // 16)) if x.numel() >= SHARED else 1
        width = -(-dim // n_parts)

        def features(lo: int) -> None:
            follow(rows, old, new, self.sums, self.counts, changed, runs, lo, min(lo + width, dim))

        self.workers.run(features, range(0, dim, width))


class ProductStep:
    """Steps with torch, on any device with float64; the interface is that of `TileStep`."""

    def __init__(self, rows: Any, n_runs: int, k: int) -> None:
        self.rows, self.n_runs, self.k = rows, n_runs, k
        self.chunk = max(GPU_NUMBERS // max(n_runs * k, rows.dim), 1024)
        self.state: list[torch.Tensor] = []  # labels of each block, (R, B)
        self.scatter = 0.0

    def labels(self, block: int, run: int) -> torch.Tensor:
        """Labels of the rows of a block, (B,) int64."""
        return self.state[block][run]

    def step(self, centers: torch.Tensor, previous: torch.Tensor | None, runs: np.ndarray) -> torch.Tensor:
        """As `TileStep.step`."""
        n_runs, k, dim = centers.shape
        out = centers.new_zeros(n_runs, k * dim + k + 2)
        sums, counts = out[:, : k * dim].view(n_runs, k, dim), out[:, k * dim : -2]
        for number, x in enumerate(self.rows.blocks()):
            if number == len(self.state):
                self.state.append(x.new_full((self.n_runs, len(x)), -1, dtype=torch.long))
                self.scatter += sum(float((part - self.rows.mean).square().sum()) for part in x.split(self.chunk))
            known = self.state[number].split(self.chunk, 1)
            for part, old in zip(x.split(self.chunk), known, strict=True):
                label, exact = self._labels(part, centers), part.double()
                for a, r in enumerate(runs):
                    out[a, -2] += (old[r] != label[a]).sum()
                    sums[a].index_add_(0, label[a], exact)
                    counts[a] += torch.bincount(label[a], minlength=k)
                    old[r] = label[a]
        out[:, -1] = self.scatter
        return out

    def nearest(self, centers: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """As `TileStep.nearest`."""
        for x in self.rows.blocks():
            labels = torch.cat([self._labels(part, centers[None])[0] for part in x.split(self.chunk)])
            yield labels, self.own_distances(x, centers, labels)

    def _labels(self, x: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
        """Nearest centers in each of A restarts, (A, B)."""
        n_runs, k, dim = centers.shape
        mean = self.rows.mean
        e = (centers - mean).float()
        bias = e.double().square().sum(2).float()
        products = torch.addmm(bias.view(-1), x - mean.float(), e.view(-1, dim).T, alpha=-2)  # (B, A·k)
        return products.view(len(x), n_runs, k).argmin(2).T

    def own_distances(self, x: torch.Tensor, centers: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """As `TileStep.own_distances`."""
        parts = zip(x.split(self.chunk), labels.split(self.chunk), strict=True)
        return torch.cat([(part - centers.float()[own]).square().sum(1) for part, own in parts])
