"""Samples that belong nowhere: those much farther from their fifth-nearest samples than others are from theirs.

A sample's p-value is how likely one that belongs would be to lie as far away. Of new samples the distances of samples
that are known to belong tell (conformal prediction; Laxhammar and Falkman, *Conformal prediction for distribution-
independent anomaly detection*, FUSION 2010): of samples that belong, a share α at most has a p-value below α. Among the
samples themselves any such rule would refuse just the share α, whatever they are. There the middle of the distances
tells, which strange samples hardly change: the far half of a normal distribution with their median and upper quartile.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import log_ndtr, ndtr

from asterism.clustering.graph import knn, neighbors

NEIGHBORS = 5  # the distance to the so-many-th counts
NORMAL_QUARTILE = 0.6745  # of a normal distribution, in deviations
ALPHA = 0.01  # p-value below which a sample belongs nowhere, unless another is asked for
NO_EXAMPLE = 1e-4  # p-value below which a sample is no example of what belongs, whether or not outliers are asked for


def neighbor_distance(rows: torch.Tensor, samples: torch.Tensor, own: np.ndarray | None = None) -> np.ndarray:
    """Distance (N,) of rows (N, D) to their fifth-nearest samples (R, D): five equal outliers are still found.

    Parameters
    ----------
    rows, samples : torch.Tensor
        Where both are the same tensor, no sample counts as its own neighbour.
    own : int64 ndarray of shape (N,), optional
        The sample that each row is itself, which does not count; −1 for none.
    """
    _, squared = knn(samples, NEIGHBORS) if rows is samples else neighbors(rows, samples, NEIGHBORS, exclude=own)
    return np.sqrt(np.where(np.isfinite(squared), squared, 0).max(1, initial=0))


def typical(distances: np.ndarray) -> np.ndarray:
    """Median and deviation (2,) of the distances (N,) of most samples; a deviation of 0 where all are equal."""
    median, high = np.quantile(distances, (0.5, 0.75))
    deviation = (high - median) / NORMAL_QUARTILE
    return np.array([median, deviation if deviation > 0 else distances.std()])


def p_values(distances: np.ndarray, median: float, deviation: float) -> np.ndarray:
    """How likely a sample that belongs is to be as far away (N,); 1 where nothing is known of the deviation."""
    if deviation <= 0:
        return np.ones(len(distances))
    return ndtr((median - distances) / deviation)


def conformal_p_values(distances: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Share of known distances that are as large, the new one among them.

    Parameters
    ----------
    distances : ndarray of shape (N,)
        Of new samples.
    known : ndarray of shape (R,)
        Of samples that belong, each without itself. Those of a few strange ones among them do not count
        (`NO_EXAMPLE`).

    Returns
    -------
    ndarray of shape (N,)
        (1 + number of known distances at least as large) / (R + 1). Beyond the largest one it falls further, as the
        tail of a normal distribution with their median and upper quartile does: so a few known samples can refuse, too.
    """
    known = np.sort(known)
    known = known[p_values(known, *typical(known).tolist()) >= NO_EXAMPLE]
    found = (1 + len(known) - np.searchsorted(known, distances)) / (len(known) + 1)
    median, deviation = typical(known)
    beyond = distances > known[-1]
    if deviation > 0 and beyond.any():
        tail = log_ndtr((median - distances[beyond]) / deviation) - log_ndtr((median - known[-1]) / deviation)
        found[beyond] *= np.exp(tail)
    return found
