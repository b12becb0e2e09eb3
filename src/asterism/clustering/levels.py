"""Coarser and finer numbers of groups than a run has, where groups are most stable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from asterism.clustering.advice import GRID, PER_CLUSTER
from asterism.clustering.stability import stability_curve
from asterism.errors import InputError

NAMES = ("coarse", "medium", "fine")
NEAR = 1.5  # a medium level has up to so many times more or fewer groups than the run
FARTHEST = 6  # a fine level has up to so many times more
MOST_ROWS = 2000  # that are looked at


@dataclass(frozen=True)
class Level:
    """A number of groups, and how stable so many are.

    Attributes
    ----------
    name : {"coarse", "medium", "fine"}
    n_clusters : int
        The one of highest stability · √(log k) between ``low`` and ``high``.
    stability : float
        See `asterism.clustering.stability.stability_curve`.
    low, high : int
        Of the numbers that were tried.
    """

    name: str
    n_clusters: int
    stability: float
    low: int
    high: int


def stable_levels(rows: np.ndarray, n_clusters: int, random_state: np.random.RandomState) -> list[Level]:
    """Up to three levels: one coarser than the groups of a run, one about as fine, one finer.

    Parameters
    ----------
    rows : ndarray of shape (N, D)
        Features; of more than 2 000 so many are drawn.
    n_clusters : int
        Groups of the run.
    random_state : RandomState

    Returns
    -------
    list of Level
        From coarse to fine; a level is left out where there are no numbers of groups to choose from.
    """
    drawn = rows[np.sort(random_state.permutation(len(rows))[:MOST_ROWS])]
    most = min(FARTHEST * n_clusters, len(drawn) // PER_CLUSTER)
    ks = np.array(sorted({k for k in (*GRID, n_clusters) if 2 <= k <= most}))
    stable = stability_curve(torch.from_numpy(np.ascontiguousarray(drawn, np.float32)), ks.tolist(), random_state)
    return levels_of_curve(ks, stable, n_clusters)


def levels_of_curve(ks: np.ndarray, stable: np.ndarray, n_clusters: int) -> list[Level]:
    """The levels around a number of groups, from the stability of several numbers.

    Parameters
    ----------
    ks : int64 ndarray of shape (n,)
        In increasing order.
    stable : ndarray of shape (n,)
        See `asterism.clustering.stability.stability_curve`; NaN, or 0, where it could not be told.
    n_clusters : int
        Levels have up to six times more.
    """
    known = (np.nan_to_num(stable) > 0) & (ks <= FARTHEST * n_clusters)
    ks, stable = ks[known], stable[known]
    coarse, fine = n_clusters > NEAR * ks, NEAR * n_clusters < ks
    found = []
    for name, there in zip(NAMES, (coarse, ~coarse & ~fine, fine), strict=True):
        if there.any():
            best = int((stable * np.sqrt(np.log(ks)))[there].argmax())
            low, high = int(ks[there].min()), int(ks[there].max())
            found.append(Level(name, int(ks[there][best]), float(stable[there][best]), low, high))
    return found


def named_level(levels: list[Level], name: str) -> Level:
    """The level of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    for level in levels:
        if level.name == name:
            return level
    known = ", ".join(level.name for level in levels) or "none: the images are too few"
    raise InputError(f"there is no {name} level of these groups (levels: {known}); give a number of groups with -k")
