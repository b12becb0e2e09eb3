"""Agglomerative clustering on a sample graph: graph degree linkage, JULE's criterion, path integral and zeta.

`merge` starts from initial clusters and joins, one pair at a time, the clusters that the criterion puts first:

========= ========================================================================================================
"gdl"     largest A(C_i, C_j), graph degree linkage (JULE eq. 3 with the affinity of Zhang et al. 2012)
"jule"    largest A(C_i, N_i[1]) + λ/(K_c − 1) Σ_{k=2}^{K_c} (A(C_i, N_i[1]) − A(C_i, N_i[k])), JULE eq. 7
"pic"     largest path integral of the union over those of its parts (Zhang, Zhao & Wang 2013)
"zeta"    largest zeta function of the union over those of its parts (Zhao & Tang 2008)
========= ========================================================================================================

Everything is kept per edge of the graph: memory is O(N·K_s), nothing has N × N or n_c × N entries.

Ties (affinities that agree to ten digits) go to the pair with the lowest initial cluster, then the lowest partner.
The kernels are compiled when they are first called, which takes some fifteen seconds once on a machine.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.cluster.hierarchy
import torch
from sklearn.base import ClusterMixin
from sklearn.utils.validation import validate_data

from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components
from asterism.clustering.linkage_engine import agglomerate, isolated_clusters, start_walks
from asterism.clustering.linkage_pairs import Criterion
from asterism.clustering.linkage_setup import (
    attach_isolated,
    check_graph,
    feature_sums,
    make_links,
    make_tables,
    make_walks,
    transitions,
)
from asterism.clustering.linkage_tree import cut, labels_after, linkage_matrix
from asterism.errors import InputError
from asterism.parameters import Interval, Parameters

__all__ = [
    "GraphAgglomerativeClustering",
    "Merging",
    "average_linkage",
    "cut",
    "linkage_matrix",
    "merge",
    "merge_schedule",
]

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
        See the head of the module.
    features : (N, D) array, optional
        Features of the samples. Clusters that no affinity joins to others are attached by the distance of centroids
        (means of the features, not normalised again); without features the smallest joins the next smallest.
    update : {"exact", "fast", "paper"}
        How "gdl" and "jule" find the affinities of a merged cluster (FACTS §1.5): exactly; without the cross terms,
        as the authors' Torch code does by default; by the paper's approximation, which is much worse.
    local_weight, n_local : float, int
        λ = 1 and K_c = 5 of "jule" (Table 2). Absent neighbours have affinity 0.
    half_matrix : bool
        Only clusters of lower number count as neighbours, as in the Torch code; the paper says nothing of the kind.
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
    W, initial = check_graph(W, labels)
    n_initial = int(initial.max()) + 1
    _check_choices(criterion, update, isolated, n_clusters, n_initial, n_local, z)
    local = Criterion(float(local_weight), int(n_local) if criterion == "jule" else 1, bool(half_matrix))
    walking = criterion in ("pic", "zeta")
    links = make_links(transitions(W) if walking else W)
    s, slots = make_tables(links, initial, n_initial, local.n_local)
    walks = make_walks(links, n_initial, float(z), criterion == "zeta") if walking else None
    if walking:
        s.norm[:] = 2.0  # `value` holds the affinity itself, in both directions
        start_walks(s, walks, links)
    sums = feature_sums(features, initial, n_initial)
    alone = np.zeros(n_initial, bool)
    if sums.shape[1] and (isolated == "always" or (isolated == "many" and n_initial > 20 * n_clusters)):
        alone = isolated_clusters(s)
    merges, affinities = agglomerate(
        s,
        slots if update == "exact" and not walking else None,
        walks,
        links,
        sums,
        attach_isolated(alone, sums, s.size),
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


def merge_schedule(n_initial: int, n_clusters: int, unroll_rate: float = 0.9) -> list[int]:
    """Numbers of clusters at the end of JULE's periods (FACTS §1.2).

    Parameters
    ----------
    n_initial, n_clusters : int
        Where to start and to end.
    unroll_rate : float
        η: a period makes min(⌈η·n_c⌉, n_c − n_clusters) merges of its n_c clusters.

    Returns
    -------
    list of int
        1762 clusters go to 10 by way of [176, 17, 10].
    """
    numbers, left = [], n_initial
    while left > n_clusters:
        left -= min(math.ceil(unroll_rate * left), left - n_clusters)
        numbers.append(left)
    return numbers


def average_linkage(X: Any) -> np.ndarray:
    """AC-Link: UPGMA on Euclidean distances, from scipy.

    Parameters
    ----------
    X : (N, D) array
        Features.

    Returns
    -------
    Z : (N − 1, 4) float64 array
        scipy's linkage matrix, which `cut` reads.

    Notes
    -----
    O(N²·D) time and 4·N² bytes: the one method here that needs all distances, 0.4 GB at N = 10 000.
    """
    X = torch.tensor(np.asarray(X), dtype=torch.float64)
    X -= X.mean(0)  # moves no point nearer to another, and spares the product of blocks large numbers
    distances = np.empty(len(X) * (len(X) - 1) // 2)
    end = 0
    for i in range(0, len(X), 1024):
        block = torch.cdist(X[i : i + 1024], X[i:]).numpy()
        upper = block[np.triu(np.ones(block.shape, bool), 1)]
        distances[end : end + len(upper)] = upper
        end += len(upper)
    return scipy.cluster.hierarchy.linkage(distances, method="average")


class GraphAgglomerativeClustering(ClusterMixin, Parameters):
    """Agglomerative clustering of vectors on their nearest-neighbour graph.

    Parameters
    ----------
    n_clusters : int
        Number of clusters to merge down to.
    criterion : {"gdl", "jule", "pic", "zeta", "average"}
        What is merged first, see the head of the module; "average" is UPGMA on all distances and uses no graph.
    n_neighbors : int
        K_s = 20 of the graph (Table 2 of JULE); clipped to the number of other samples.
    a : float
        Scale of σ² (JULE eq. 4): 1 for "gdl", "jule" and "pic", 0.95 for "zeta" in the authors' runs.
    graph : {"paper", "gactoolbox"}
        Variant of the graph, see `affinity_graph`. "pic" and "zeta" set its diagonal to 1 either way.
    initial : {"neighbors", "singletons"}
        Start from each sample with its nearest neighbour (components of the 1-NN graph), or from single samples.
        Where the components are fewer than ``n_clusters``, single samples are used and a warning says so.
    update, local_weight, n_local, isolated, z
        As in `merge`.
    device : str or None
        Where to look for neighbours: "cpu", "cuda".

    Attributes
    ----------
    labels_ : (N,) int64 array
        Numbered by the first sample of each cluster.
    linkage_matrix_ : (N − 1, 4) array
        Merge history; ``cut(linkage_matrix_, k)`` gives any other number of clusters up to the initial one.
    n_initial_clusters_ : int
        Clusters before merging.
    sigma2_ : float or None
        σ² of the graph; None for "average".

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [0.1], [0.3], [5.0], [5.1], [5.3]])
    >>> GraphAgglomerativeClustering(2, n_neighbors=2, initial="singletons").fit_predict(X)
    array([0, 0, 0, 1, 1, 1])
    """

    _parameter_constraints = {
        "n_clusters": [Interval(int, 1, None)],
        "criterion": [{*CRITERIA, "average"}],
        "n_neighbors": [Interval(int, 1, None)],
        "a": [Interval(float, 0, None, closed="neither")],
        "graph": [{"paper", "gactoolbox"}],
        "initial": [{"neighbors", "singletons"}],
        "update": [set(UPDATES)],
        "local_weight": [Interval(float, 0, None)],
        "n_local": [Interval(int, 1, None)],
        "isolated": [set(ISOLATED)],
        "z": [Interval(float, 0, 1, closed="neither")],
        "device": [str, None],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        criterion: str = "gdl",
        n_neighbors: int = 20,
        a: float = 1.0,
        graph: str = "paper",
        initial: str = "neighbors",
        update: str = "exact",
        local_weight: float = 1.0,
        n_local: int = 5,
        isolated: str = "many",
        z: float = 0.01,
        device: str | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.criterion = criterion
        self.n_neighbors = n_neighbors
        self.a = a
        self.graph = graph
        self.initial = initial
        self.update = update
        self.local_weight = local_weight
        self.n_local = n_local
        self.isolated = isolated
        self.z = z
        self.device = device

    def fit(self, X: Any, y: Any = None) -> GraphAgglomerativeClustering:
        """Cluster ``X`` of shape (N, D); ``y`` is ignored. Cost as in `knn` and `merge`.

        Raises
        ------
        InputError
            For parameters out of range, or more clusters than samples.
        """
        self.check()
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        if self.n_clusters > len(X):
            raise InputError(f"n_clusters={self.n_clusters} cannot be made of {len(X)} samples")
        if self.criterion == "average":
            self.linkage_matrix_ = average_linkage(X)
            self.n_initial_clusters_, self.sigma2_ = len(X), None
            self.labels_ = labels_after(self.linkage_matrix_, len(X), len(X) - self.n_clusters)
            return self
        found = knn(X, max(self.n_neighbors, 3), device=self.device)  # gactoolbox's σ² wants three
        W, self.sigma2_ = affinity_graph(found, self.n_neighbors, self.a, variant=self.graph)
        initial = nearest_neighbor_components(found[0]) if self.initial == "neighbors" else np.arange(len(X))
        if initial.max() + 1 < self.n_clusters:
            warnings.warn(
                f"samples and their nearest neighbours form {initial.max() + 1} clusters, fewer than "
                f"n_clusters={self.n_clusters}: merging starts from single samples",
                stacklevel=2,
            )
            initial = np.arange(len(X))
        merging = merge(
            W,
            initial,
            self.n_clusters,
            criterion=self.criterion,
            features=X,
            update=self.update,
            local_weight=self.local_weight,
            n_local=self.n_local,
            z=self.z,
            isolated=self.isolated,
        )
        self.labels_, self.linkage_matrix_ = merging.labels, merging.history
        self.n_initial_clusters_ = merging.n_initial_clusters
        return self
