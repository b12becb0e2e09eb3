"""Vectors in any unit and at any distance from 0: their groups must be the same.

Float32 squares end at 1e±38, and lose the distances of what lies far from 0. So rows are multiplied with a power of
two, which changes no digit, and a mean that is far from 0 is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Times the variance: beyond this squared length of the mean, float32 products lose three digits of a distance.
FAR = 1e3
UNIT_LENGTH = 1e-3  # rows of length 1 up to this
BLOCK = 4096


def power_of_two(size: float) -> float:
    """The power of two that brings a size nearest to 1; 1 for a size of 0."""
    return float(2.0 ** -round(float(np.log2(size)))) if size > 0 else 1.0


def near_one(X: np.ndarray, *, center: bool = True, leave: float = 1.0) -> np.ndarray:
    """Rows whose root mean square length is near 1, times a power of two; rows of length 1 stay as they are.

    Parameters
    ----------
    X : (N, D) array
    center : bool
        Take the mean off, in float64, where it is far from 0 beside the rows' deviations from it.
    leave : float
        Nothing is changed where the length lies within this factor of 1.

    Returns
    -------
    (N, D) float32 array
        ``X`` itself where nothing is to be done. O(N·D).
    """
    X = np.asarray(X)
    mean, variance = _moments(X)
    offset = float(mean @ mean)
    shift = mean if center and offset > FAR * variance else np.zeros_like(mean)
    scale = power_of_two(float(np.sqrt(variance + (0.0 if shift.any() else offset))))
    if not shift.any() and 1 / leave <= scale <= leave:
        return np.ascontiguousarray(X, dtype=np.float32)
    out = np.empty(X.shape, np.float32)
    for i in range(0, len(X), BLOCK):
        out[i : i + BLOCK] = (X[i : i + BLOCK] - shift) * scale
    return out


def squared_unit(X: np.ndarray) -> float:
    """What a squared distance is measured in where a paper's constant supposes images of length 1.

    1 where all rows have length 1 (or 0, as black images), else the variance of ``X`` (N, D), or 1 if that is 0.
    """
    lengths = np.concatenate([np.einsum("nd,nd->n", block, block, dtype=np.float64) for block in _blocks(X)])
    if (np.abs(lengths[lengths > 0] - 1) < UNIT_LENGTH).all():
        return 1.0
    return _moments(X)[1] or 1.0


def _moments(X: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean (D,) and variance, the mean squared distance from it, in float64."""
    mean = sum(block.sum(0, dtype=np.float64) for block in _blocks(X)) / max(len(X), 1)
    variance = sum(float(np.square(block - mean).sum()) for block in _blocks(X)) / max(len(X), 1)
    return mean, variance


def _blocks(X: np.ndarray) -> Iterator[np.ndarray]:
    return (X[i : i + BLOCK] for i in range(0, max(len(X), 1), BLOCK))
