"""The inner loops of k-means on the CPU: bounds, comparisons of distances, sums. See `kmeans_step`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

FEW = 64  # below this many centers, distances of single rows are taken one by one
ROW_COST = 25.0  # picking a row out for a product of its own, in units of a distance inside a product
UP, DOWN = np.float32(1 + 2.0**-22), np.float32(1 - 2.0**-22)  # the rounding of two additions to a bound


def _jit(function: Callable) -> Callable:
    """Compile to run without the GIL; the machine code is kept on disk where that is possible."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return numba.njit(**options)(function)


class Model(NamedTuple):
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
    own_cost: float  # see `OWN_COST`
    one_cost: float


class Bounds(NamedTuple):
    """What is known of the rows of one block."""

    label: np.ndarray  # (R, B) int32, −1 before the first step
    upper: np.ndarray  # (R, B) at least the distance to the own center
    lower: np.ndarray  # (R, B) at most the distance to any other center
    scatter: np.ndarray  # (B,) ‖x − mean‖²


@_jit
def _distance(row, center):
    """Squared, from differences."""
    total = np.float32(0)
    for d in range(len(row)):
        difference = row[d] - center[d]
        total += difference * difference
    return total


@_jit
def own_distances(x, centers, label, out):
    for i in range(len(x)):
        out[i] = _distance(x[i], centers[label[i]])


@_jit
def _nearest(row, centers, own, least):
    """The nearest center and the two least squared distances, of which ``least`` is known; ``own`` wins a tie."""
    best, second, winner = least, np.float32(np.inf), own
    for j in range(len(centers)):
        if j != own:
            distance = _distance(row, centers[j])
            if distance < best:
                best, second, winner = distance, best, j
            elif distance < second:
                second = distance
    return winner, best, second


@_jit
def _screen_few(x, model, a, label, upper, lower):
    """Move the bounds of one restart as far as its centers moved, and look again at the rows that may have changed.

    Hamerly's algorithm (2010) for a small k. Returns whether too many may have: then what was known is forgotten, and
    all distances must be taken, which a product does faster.
    """
    n, k = len(label), model.centers.shape[1]
    centers, drift, moved = model.centers[a], model.drift[a], model.rest[a, 0]
    loose = 0
    for i in range(n):
        upper[i] = (upper[i] + drift[label[i]]) * UP
        lower[i] = (lower[i] - moved) * DOWN
        loose += lower[i] < upper[i]
    if loose * (model.own_cost + model.one_cost * k / 2) > n * k:  # about half of them prove to need it
        return True
    for i in range(n):
        if lower[i] < upper[i]:
            own = _distance(x[i], centers[label[i]])
            upper[i] = np.sqrt(own)
            if lower[i] < upper[i]:
                winner, best, second = _nearest(x[i], centers, label[i], own)
                label[i], upper[i], lower[i] = winner, np.sqrt(best), np.sqrt(second)
    return False


@_jit
def _screen_many(x, model, a, label, upper, lower, rows):
    """Move the bounds of one restart as far as its centers moved, and plan which distances to take.

    Returns ``size, n``: the ``size`` fastest centers are to be compared with every row, the others, which moved little,
    only with the ``n`` rows whose bounds are too loose for that: Hamerly's test for the slow centers only. The cheapest
    of ``model.sizes`` is taken; where that is all centers, what was known is to be forgotten.
    """
    n, k = len(label), model.centers.shape[1]
    centers, drift, rest = model.centers[a], model.drift[a], model.rest[a]
    for i in range(n):
        upper[i] = (upper[i] + drift[label[i]]) * UP
        lower[i] *= DOWN
    loose = 0
    for i in range(n):
        if lower[i] - rest[0] < upper[i]:
            loose += 1
            upper[i] = np.sqrt(_distance(x[i], centers[label[i]]))
    size, moved, least = k, rest[0], float(n * k)
    for g in range(len(rest) - 1):
        failing = 0
        for i in range(n):
            failing += lower[i] - rest[g] < upper[i]
        cost = n * model.sizes[g] + failing * (ROW_COST + k - model.sizes[g])
        if g > 0:
            cost += model.own_cost * (n - loose)
        if cost < least:
            least, size, moved = cost, model.sizes[g], rest[g]
    if size == k:
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
def screen(x, model, bounds, runs, start, stop, rows, plan):
    """Plan the distances to take for rows ``start`` to ``stop``: for each restart a size and n, see `_screen_many`."""
    if bounds.scatter[start] < 0:
        for i in range(start, stop):
            bounds.scatter[i] = _distance(x[i], model.mean)
    k = model.centers.shape[1]
    part = x[start:stop]
    for a in range(len(runs)):
        label = bounds.label[runs[a], start:stop]
        upper, lower = bounds.upper[runs[a], start:stop], bounds.lower[runs[a], start:stop]
        size, n = k, 0
        if label[0] >= 0:
            if k >= FEW:
                size, n = _screen_many(part, model, a, label, upper, lower, rows[a])
            elif not _screen_few(part, model, a, label, upper, lower):
                size = 0
        if size == k:
            label[:], upper[:], lower[:] = -1, np.inf, np.inf
        plan[a, 0], plan[a, 1] = size, n


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
def fold(products, jobs, model, bounds, runs, start, stop, rows):
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
def follow(x, old, new, sums, counts, changed, runs, lo, hi):
    """Move rows that changed their label between the sums of features ``lo`` to ``hi``, and count them.

    A few rows for all restarts, then the next: a row is fetched from memory once.
    """
    for start in range(0, len(x), 256):
        for a in range(len(runs)):
            r = runs[a]
            for i in range(start, min(start + 256, len(x))):
                source, target = old[a, i], new[r, i]
                if source == target:
                    continue
                row, to = x[i, lo:hi], sums[r, target, lo:hi]
                for d in range(len(row)):
                    to[d] += row[d]
                if source >= 0:
                    out = sums[r, source, lo:hi]
                    for d in range(len(row)):
                        out[d] -= row[d]
                if lo == 0:
                    changed[a] += 1
                    counts[r, target] += 1
                    if source >= 0:
                        counts[r, source] -= 1
