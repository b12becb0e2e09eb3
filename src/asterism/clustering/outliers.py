"""Samples that belong nowhere: those much farther from their nearest samples than most samples are from theirs.

The distances of most samples to their nearest ones are near a normal distribution; its middle half tells median and
deviation, which outliers among the samples hardly change. A sample's p-value is the share of that normal distribution
beyond its own distance.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtr

from asterism.clustering.graph import neighbors

NEIGHBORS = 5  # samples whose mean distance counts
NORMAL_MIDDLE = 1.349  # width of the middle half of a normal distribution, in deviations
ALPHA = 0.01  # p-value below which a sample belongs nowhere, unless another is asked for


def neighbor_distance(rows: torch.Tensor, samples: torch.Tensor, own: np.ndarray | None = None) -> np.ndarray:
    """Mean distance (N,) of rows (N, D) to their five nearest samples (R, D).

    Parameters
    ----------
    rows, samples : torch.Tensor
    own : int64 ndarray of shape (N,), optional
        The sample that each row is itself, which does not count; −1 for none.
    """
    _, squared = neighbors(rows, samples, NEIGHBORS, exclude=own)
    finite = np.isfinite(squared)
    return np.sqrt(np.where(finite, squared, 0)).sum(1) / np.maximum(finite.sum(1), 1)


def typical(distances: np.ndarray) -> np.ndarray:
    """Median and deviation (2,) of the distances (N,) of most samples; a deviation of 0 where all are equal."""
    low, median, high = np.quantile(distances, (0.25, 0.5, 0.75))
    deviation = (high - low) / NORMAL_MIDDLE
    return np.array([median, deviation if deviation > 0 else distances.std()])


def p_values(distances: np.ndarray, median: float, deviation: float) -> np.ndarray:
    """How likely a sample that belongs is to be as far away (N,); 1 where nothing is known of the deviation."""
    if deviation <= 0:
        return np.ones(len(distances))
    return ndtr((median - distances) / deviation)
