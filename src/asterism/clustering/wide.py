"""Rows of very many numbers in few: pixels of photographs, say, where copies of all rows would fill the memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from asterism.clustering.linkage_tree import distinct_rows
from asterism.clustering.units import power_of_two

WIDE = 4096  # numbers of a row, up to which it stays as it is
MOST_ROWS = 2048  # that tell the axes …
COMPONENTS = 256  # … and how many axes are kept where there are more rows
AT_ONCE = 2**20  # numbers


def narrowed(rows: np.ndarray, only: np.ndarray | None = None) -> np.ndarray:
    """Rows in their principal axes, where they are wide.

    Parameters
    ----------
    rows : ndarray of shape (N, D)
    only : int64 ndarray of shape (n,), optional
        Which rows are wanted; by default all.

    Returns
    -------
    ndarray of shape (n, d)
        The rows themselves where D is at most 4096, or n. Else float32: all axes of up to 2048 different rows, so that
        distances stay as they are but for rounding; of more rows the first 256 axes of so many drawn. Equal rows stay
        equal. O(min(n, 2048)²·D + n·D) time, O(2048² + n·d) memory besides ``rows``.
    """
    chosen = np.arange(len(rows)) if only is None else only
    if rows.shape[1] <= max(WIDE, len(chosen)) or len(chosen) < 2:
        return rows if only is None or np.array_equal(only, np.arange(len(rows))) else rows[only]
    kept, copies = distinct_rows(rows, chosen)
    sample = kept if len(kept) <= MOST_ROWS else np.random.RandomState(0).permutation(kept)[:MOST_ROWS]
    scale = power_of_two(max(float(np.abs(rows[i]).max()) for i in sample))  # else squares may be too large
    gram = np.zeros((len(sample), len(sample)))
    for part, _ in _centered(rows, sample, sample[:0], scale):
        gram += part @ part.T  # in float64: where rows are fewer than axes, rounding would make axes of its own
    values, vectors = np.linalg.eigh(gram)
    sound = np.flatnonzero(values > 1e-9 * max(float(values[-1]), 1e-30))
    if len(sample) == len(kept):
        return (vectors[:, sound] * np.sqrt(values[sound]) / scale).astype(np.float32)[copies]
    axes = (vectors[:, sound] / np.sqrt(values[sound]))[:, -COMPONENTS:].astype(np.float32)
    found = np.zeros((len(kept), axes.shape[1]), np.float32)
    for part, others in _centered(rows, sample, kept, scale):
        found += others @ (part.astype(np.float32).T @ axes)
    return (found / scale)[copies]


def _centered(
    rows: np.ndarray, sample: np.ndarray, others: np.ndarray, scale: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Columns of two sets of rows, some at once, without the first set's mean, times a scale."""
    step = max(1, AT_ONCE // max(len(sample), len(others)))
    for first in range(0, rows.shape[1], step):
        columns = slice(first, first + step)
        part = rows[sample, columns]
        mean = part.mean(0, dtype=np.float64)
        more = (rows[others, columns] - mean) * scale
        yield (part - mean) * scale, more.astype(np.float32)
