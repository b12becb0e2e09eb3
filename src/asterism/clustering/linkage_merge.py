"""The merging loop from outside: a sample graph and initial clusters go in, labels and their history come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from asterism.clustering import linkage_setup
from asterism.clustering.linkage_engine import agglomerate, start_walks
from asterism.clustering.linkage_pairs import Criterion
from asterism.clustering.linkage_tree import cut, linkage_matrix
from asterism.errors import InputError

CRITERIA = ("gdl", "jule", "pic", "zeta")
ISOLATED = ("many", "always", "never")
UPDATES = ("exact", "fast", "paper")


@dataclass(frozen=True)
class Merging:
    """What a run of `merge` leaves.

    Attributes
    ----------
    labels : (N,) int64 array
        Clusters at the number asked for, numbered by their first sample.
    history : (T, 4) float64 array
        Linkage matrix over the samples, see `linkage_matrix`.
    affinities : (N − n + T,) float64 array
        One for each row of ``history``: affinity at which the two merged; 0 for samples of one initial cluster,
        isolated clusters and strays.
    n_initial_clusters : int
        n.
    n_isolated : int
        Initial clusters without any affinity that were attached before the first merge.
    """

    labels: np.ndarray
    history: np.ndarray
    affinities: np.ndarray
    n_initial_clusters: int
    n_isolated: int

    def cut(self, n_clusters: int) -> np.ndarray:
        """Labels at another number of clusters."""
        return cut(self.history, n_clusters, len(self.labels))


def merge(
    W: Any,
    labels: np.ndarray | None,
    n_clusters: int,
    *,
    criterion: str = "gdl",
    features: Any = None,
    update: str = "exact",
    local_weight: float = 1.0,
    n_local: int = 5,
    half_matrix: bool = False,
    min_clusters_for_local: int = 0,
    z: float = 0.01,
    isolated: str = "many",
    full: bool = True,
) -> Merging:
    """Merge clusters of a sample graph down to ``n_clusters``.

    Parameters
    ----------
    W : (N, N) sparse or dense matrix
        Directed affinities of the samples, none negative; `affinity_graph` makes them.
    labels : (N,) int array or None
        Initial clusters, in the order in which ties go; None starts from single samples.
    n_clusters : int
        Target, n*_c of the paper.
    criterion : {"gdl", "jule", "pic", "zeta"}
        See the head of `asterism.clustering.linkage`.
    features : (N, D) array, optional
        Features of the samples. Clusters that no affinity joins to others are attached by the distance of centroids
        (means of the features, not normalised again); without features the smallest joins the next smallest.
    update : {"exact", "fast", "paper"}
        How "gdl" and "jule" find the affinities of a merged cluster (docs/papers/jule.md): exactly; without the cross
        terms, as the authors' Torch code does by default; by the paper's approximation, which is much worse.
    local_weight, n_local : float, int
        λ = 1 and K_c = 5 of "jule" (Table 2). Absent neighbours have affinity 0.
    half_matrix : bool
        Only clusters of lower number count as neighbours, as in the Torch code; the paper says nothing of the kind.
        With ``update="fast"``, which is its default too, a number is a place in its matrix: each merge frees the higher
        of two, and the last cluster takes it. Ties go to the lower number as well.
    min_clusters_for_local : int
        Drop the local term while there are no more clusters than this; 100 in the Torch code, which the paper lacks.
    z : float
        Weight of a step for "pic" and "zeta"; 0.01 in the authors' runs.
    isolated : {"many", "always", "never"}
        Whether initial clusters with zero affinity to all others are first attached to the nearest centroid: where
        there are more than 20·n_clusters initial clusters, as in the Torch code (whose n_clusters is the final target
        even in an early period), always, or never. Needs ``features``.
    full : bool
        Go on to one cluster, so that the history can be cut anywhere; the labels are the same.

    Returns
    -------
    Merging

    Raises
    ------
    InputError
        For parameters out of range, a graph that does not fit, or fewer initial clusters than ``n_clusters``.

    Notes
    -----
    With E ≤ N·K_s edges: O(E) memory; for "gdl" and "jule" O(E log N) for the samples' degrees and, a merge, one pass
    over the pairs of the new cluster and of the neighbours whose nearest clusters it changes.
    """
    W, initial = linkage_setup.check_graph(W, labels)
    n_initial = int(initial.max()) + 1
    _check_choices(criterion, update, isolated, n_clusters, n_initial, n_local, z)
    slots = bool(half_matrix) and update == "fast"
    local = Criterion(float(local_weight), int(n_local) if criterion == "jule" else 1, bool(half_matrix), slots)
    walking = criterion in ("pic", "zeta")
    links = linkage_setup.make_links(linkage_setup.transitions(W) if walking else W)
    s, degrees = linkage_setup.make_tables(links, initial, n_initial, local.n_local)
    walks = linkage_setup.make_walks(links, n_initial, float(z), criterion == "zeta") if walking else None
    if walking:
        s.norm[:] = 2.0  # `value` holds the affinity itself, in both directions
        start_walks(s, walks, links)
    sums = linkage_setup.feature_sums(features, initial, n_initial)
    alone = np.zeros(n_initial, bool)
    if sums.shape[1] and (isolated == "always" or (isolated == "many" and n_initial > 20 * n_clusters)):
        alone = linkage_setup.isolated_clusters(s)
    merges, affinities = agglomerate(
        s,
        degrees if update == "exact" and not walking else None,
        walks,
        links,
        sums,
        linkage_setup.attach_isolated(alone, sums, s.size),
        update == "paper",
        local,
        int(min_clusters_for_local),
        1 if full else int(n_clusters),
    )
    history = linkage_matrix(initial, merges)
    affinities = np.concatenate([np.zeros(len(initial) - n_initial), affinities])
    return Merging(cut(history, n_clusters, len(initial)), history, affinities, n_initial, int(alone.sum()))


def _check_choices(
    criterion: str, update: str, isolated: str, n_clusters: int, n_initial: int, n_local: int, z: float
) -> None:
    choices = {"criterion": (criterion, CRITERIA), "update": (update, UPDATES), "isolated": (isolated, ISOLATED)}
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise InputError(f"{name}={value!r} cannot be used: {name} must be one of {', '.join(map(repr, allowed))}")
    if not 1 <= n_clusters <= n_initial:
        raise InputError(
            f"n_clusters={n_clusters} cannot be reached by merging {n_initial} initial clusters; ask for 1 to "
            f"{n_initial}, or start from single samples (labels=None)"
        )
    if n_local < 1 or not 0 < z < 1:
        raise InputError(f"n_local={n_local}, z={z} cannot be used: n_local must be >= 1 and z in (0, 1)")
