"""The inner loops of k-means on the CPU: bounds on distances, comparisons, sums. `kmeans_step` calls them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asterism.clustering.compiled import compiled

FEW = 64  # below this many centers, distances of single rows are taken one by one
ROW_COST = 25.0  # picking a row out for a product of its own, in units of a distance inside a product
WORTH = 0.7  # of the cost of all products: a plan that saves less is not worth its second product
UP, DOWN = np.float32(1 + 2.0**-22), np.float32(1 - 2.0**-22)  # the rounding of two operations on a bound


class Model(NamedTuple):
    """The centers of A restarts, with y = x − mean and e = c − mean for the mean of all rows.

    ‖x − c‖² = ‖y‖² + ‖e‖² − 2 e·y = ‖y‖² + (‖e‖² + 2 e·mean) − 2 e·x. The second form needs no centred copy of a tile,
    but loses digits where the mean is far from 0.
    """

    centers: np.ndarray  # (A, k, D)
    mean: np.ndarray  # (D,)
    weights: np.ndarray  # (A·k, D) −2 e, in each restart the center that moved farthest first
    bias: np.ndarray  # (A, k) the term in brackets, or ‖e‖², in the order of the weights
    order: np.ndarray  # (A, k) the center at each place of that order
    place: np.ndarray  # (A, k) the place of each center
    drift: np.ndarray  # (A, k) how far each center moved
    sizes: np.ndarray  # (G,) the numbers of fast centers among which `_screen_many` may choose, 0 … k
    rest: np.ndarray  # (A, G) how far the others moved at most
    slack: np.ndarray  # (A,) rounding of a product per unit of ‖y‖ + reach
    centred: bool  # use the first form
    reach: float  # 0, or in the second form ‖mean‖
    own_cost: float  # a distance taken alone, in units of a distance inside a product
    one_cost: float  # one of the distances between a row and all centers


class Bounds(NamedTuple):
    """What is known of the B rows of a block, in R restarts."""

    label: np.ndarray  # (R, B) int32, −1 before the first step
    upper: np.ndarray  # (R, B) at least the distance to the own center
    lower: np.ndarray  # (R, B) at most the distance to any other center
    scatter: np.ndarray  # (B,) ‖y‖², −1 before the first step


_jit = compiled(nogil=True, fastmath={"reassoc", "contract", "nsz"})  # runs without the GIL


@_jit
def measure(centers, previous, mean, weights, squared, along, apart):
    """Of e = c − mean, in float32: −2 e, ‖e‖² and e·mean; and how far each center is from that of the step before,
    squared."""
    for a in range(len(centers)):
        for j in range(centers.shape[1]):
            length, product, moved = 0.0, 0.0, 0.0
            for d in range(len(mean)):
                e, step = np.float32(centers[a, j, d] - mean[d]), centers[a, j, d] - previous[a, j, d]
                weights[a, j, d] = np.float32(-2) * e
                length += np.float64(e) * np.float64(e)
                product += np.float64(e) * mean[d]
                moved += step * step
            squared[a, j], along[a, j], apart[a, j] = length, product, moved


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
    """Squared distance of each row to the center of its label, into ``out``."""
    for i in range(len(x)):
        out[i] = _distance(x[i], centers[label[i]])


@_jit
def _nearest(row, centers, own, least):
    """The nearest center and the two least squared distances; ``own`` is at the distance ``least`` and wins a tie."""
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
    """Move the bounds of a restart as far as its centers moved, and look again at the rows that may have changed.

    Hamerly's algorithm ("Making k-means even faster", 2010), for a small k. Returns whether too many rows may have
    changed: then all distances are to be taken, which a product does faster.
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
    """Move the bounds of a restart as far as its centers moved, and plan which distances to take.

    Returns ``size, n``: the ``size`` fastest centers are to be compared with every row, the others, which moved little,
    only with the ``n`` rows whose bounds are too loose for that: Hamerly's test for the slow centers only, as the few
    fast ones of an early iteration would make it fail everywhere. The cheapest of ``model.sizes`` is taken.
    """
    n, k = len(label), model.centers.shape[1]
    centers, drift, rest = model.centers[a], model.drift[a], model.rest[a]
    loose = 0
    for i in range(n):
        upper[i] = (upper[i] + drift[label[i]]) * UP
        lower[i] *= DOWN
        if lower[i] - rest[0] < upper[i]:
            loose += 1
            upper[i] = np.sqrt(_distance(x[i], centers[label[i]]))
    size, moved, least = k, rest[0], WORTH * n * k
    for g in range(len(rest) - 1):
        failing = 0
        for i in range(n):
            failing += lower[i] - rest[g] < upper[i]
        cost = n * model.sizes[g] + failing * (ROW_COST + k - model.sizes[g])
        if g > 0:
            cost += model.own_cost * (n - loose)
        if cost < least:
            least, size, moved = cost, model.sizes[g], rest[g]
    found = 0
    for i in range(n):
        if 0 < size < k and lower[i] - rest[0] >= upper[i]:  # products are compared with exact distances only
            upper[i] = np.sqrt(_distance(x[i], centers[label[i]]))
        lower[i] -= moved
        if lower[i] < upper[i] and size < k:
            rows[found] = i
            found += 1
            lower[i] = np.inf
    return size, found


@_jit
def screen(x, model, bounds, runs, start, stop, rows, plan):
    """Plan the products of rows ``start`` to ``stop``: a size and an n for each restart, as `_screen_many` has them."""
    if bounds.scatter[start] < 0:
        for i in range(start, stop):
            bounds.scatter[i] = _distance(x[i], model.mean)
    part, k = x[start:stop], model.centers.shape[1]
    for a in range(len(runs)):
        label = bounds.label[runs[a], start:stop]
        upper, lower = bounds.upper[runs[a], start:stop], bounds.lower[runs[a], start:stop]
        size, n = k, 0
        if label[0] >= 0:
            if k >= FEW:
                size, n = _screen_many(part, model, a, label, upper, lower, rows[a])
            elif not _screen_few(part, model, a, label, upper, lower):
                size = 0
        if size == k:  # what was known is forgotten
            label[:], upper[:], lower[:] = -1, np.inf, np.inf
        plan[a, 0], plan[a, 1] = size, n


@_jit
def _fold_run(products, model, a, lo, scatter, rows, label, upper, lower):
    """Compare the products (m, n or more) of m centers and n rows with what is known of these rows.

    A row leaves its center only for one that is nearer by more than rounding. Rows of the data are columns here, so
    that the comparisons of neighbours are one vector instruction.
    """
    m, n = len(products), len(rows)
    best, second = np.empty(n, np.float32), np.empty(n, np.float32)  # squared, less ‖y‖²
    slack, base, winner = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int32)
    for i in range(n):
        row = rows[i]
        base[i], best[i], second[i], winner[i] = scatter[row], upper[row], lower[row], label[row]
        if label[row] >= 0:  # the own center is in ``upper`` already
            own = model.place[a, label[row]] - lo
            if 0 <= own < m:
                products[own, i] = np.inf
    for i in range(n):
        slack[i] = model.slack[a] * (np.sqrt(base[i]) + np.float32(model.reach))
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
    """`_fold_run` for jobs (a, lo, hi): centers ``lo`` to ``hi`` of a restart, whose products follow each other."""
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
