"""How well the groups found in two halves of the samples agree (Lange, Roth, Braun and Buhmann, *Stability-based
validation of clustering solutions*, Neural Computation 2004), and what that says to a person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score

from asterism.clustering.diffusion import STAND_INS, DiffusionMaps, placed_by, ward_groups
from asterism.clustering.graph import neighbors
from asterism.clustering.kmeans import kmeans
from asterism.metrics import accuracy

DIVISIONS = 2  # times that samples are halved
MOST = 4000  # samples that are halved; of more so many are drawn
N_INIT = 5  # restarts of k-means in each half

# docs/reliability.md: 34 tasks with known classes have .43 to .99; one class of photographs cut into six .18 to .44,
# noise .00 to .05.
UNSTABLE, WEAK = 0.4, 0.5


def stability_words(stability: float) -> str:
    """A stability, an adjusted Rand index, as a sentence."""
    figure = f"{stability:.2f}: two halves of the images, each without the other,"
    if stability < UNSTABLE:
        return f"{figure} find other groups; these groups may not mean anything"
    if stability < WEAK:
        return f"{figure} find groups that are only partly the same; look at them with care"
    return f"{figure} find the same groups, nearly" if stability < 0.95 else f"{figure} find the same groups"


def stability(
    rows: torch.Tensor, n_clusters: int, random_state: np.random.RandomState, ward: bool = False
) -> tuple[float, float]:
    """How far the groups that two halves of the rows find agree, for one number of groups; ``ward``: by Ward's tree.

    Returns
    -------
    index : float
        Of `stability_curve`: the adjusted Rand index.
    share : float
        Of rows that both halves put into the same group, where each group of the one is matched with one of the other
        (Hungarian method).
    """
    found = _agreements(rows, [n_clusters], random_state, ward)
    return float(found[0, 0]), float(found[0, 1])


def stability_curve(rows: torch.Tensor, ks: Sequence[int], random_state: np.random.RandomState) -> np.ndarray:
    """Agreement of the groups that two halves of the rows find, each without the other, in `DiffusionMaps`.

    Parameters
    ----------
    rows : torch.Tensor of shape (N, D)
    ks : sequence of int
        Numbers of groups.
    random_state : RandomState

    Returns
    -------
    ndarray of shape (len(ks),)
        The adjusted Rand index of what the two halves say of all rows, mean over `DIVISIONS`; NaN where k is 1 or a
        half has fewer than 2·k rows.
    """
    return _agreements(rows, ks, random_state)[:, 0]


def _agreements(
    rows: torch.Tensor, ks: Sequence[int], random_state: np.random.RandomState, ward: bool = False
) -> np.ndarray:
    """Adjusted Rand index and share of equal groups for each k, (len(ks), 2)."""
    rows = rows[torch.from_numpy(random_state.permutation(len(rows))[:MOST])]
    half = len(rows) // 2
    possible = [k for k in ks if 2 <= k <= half // 2]
    found = np.full((len(ks), 2), np.nan)
    if not possible:
        return found
    agreements = np.zeros((DIVISIONS, len(possible), 2))
    for division in agreements:
        order = torch.from_numpy(random_state.permutation(len(rows)))
        first, second = (_groups_by(part, rows, possible, random_state, ward) for part in (order[:half], order[half:]))
        division[:] = [(adjusted_rand_score(*pair), accuracy(*pair)) for pair in zip(first, second, strict=True)]
    found[[k in possible for k in ks]] = agreements.mean(0)
    return found


def _groups_by(
    part: torch.Tensor, rows: torch.Tensor, ks: Sequence[int], random_state: np.random.RandomState, ward: bool
) -> list[np.ndarray]:
    """Groups (N,) of all rows (N, D) for each k, by the maps and the centers of a part (P,) of them."""
    own = rows[part]
    others = torch.ones(len(rows), dtype=torch.bool).index_fill_(0, part, False)
    maps = None if ward else DiffusionMaps(own.numpy(), max(ks), random_state)
    stand_ins = neighbors(rows[others], own, STAND_INS)
    found = []
    for k in ks:
        if maps is None:
            centers = torch.eye(k)
            positions = centers[torch.from_numpy(ward_groups(own.numpy(), k))]
        else:
            positions = torch.from_numpy(maps.embedding(k))
            centers = kmeans(positions, k, n_init=N_INIT, random_state=random_state).centers
        everywhere = torch.empty(len(rows), k, dtype=torch.float32)
        everywhere[part], everywhere[others] = positions, placed_by(*stand_ins, positions)
        found.append(torch.cdist(everywhere, torch.as_tensor(centers)).argmin(1).numpy())
    return found
