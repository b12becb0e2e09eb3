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
from typing import Any

import numpy as np
import scipy.cluster.hierarchy
import torch
from sklearn.utils.validation import validate_data

from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components
from asterism.clustering.linkage_merge import CRITERIA, ISOLATED, UPDATES, Merging, merge
from asterism.clustering.linkage_tree import cut, distinct_rows, labels_after, linkage_matrix, with_copies
from asterism.clustering.small_clusters import merge_without_small_clusters
from asterism.clustering.units import power_of_two
from asterism.errors import InputError
from asterism.parameters import Parameters, parameter
from asterism.parameters.constraints import FRACTION_BELOW_1, NON_NEGATIVE, OPEN_FRACTION, POSITIVE, POSITIVE_INT
from asterism.parameters.contract import ClusterMixin
from asterism.runtime import usual_torch

__all__ = [
    "UPDATES",
    "GraphAgglomerativeClustering",
    "Merging",
    "average_linkage",
    "cut",
    "linkage_matrix",
    "merge",
    "merge_schedule",
]


def merge_schedule(n_initial: int, n_clusters: int, unroll_rate: float = 0.9) -> list[int]:
    """Numbers of clusters at the end of JULE's periods (docs/papers/jule.md).

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
    X = torch.from_numpy(np.array(X, np.float64, order="C"))
    # A shift moves no point nearer to another, and spares the product of blocks large numbers. Rounded, it lets whole
    # numbers stay whole, so that equal distances stay equal.
    grain = 1 / power_of_two(float(X.var(0, correction=0).mean().sqrt()))
    X -= (X.mean(0) / grain).round() * grain
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

    n_clusters: int = parameter(POSITIVE_INT, default=8, kw_only=False)
    """Number of clusters to merge down to."""
    criterion: str = parameter({*CRITERIA, "average"}, default="gdl")
    """What is merged first, see the head of the module; "average" is UPGMA on all distances and uses no graph."""
    n_neighbors: int = parameter(POSITIVE_INT, default=20)
    """K_s = 20 of the graph (Table 2 of JULE); clipped to the number of other samples."""
    a: float = parameter(POSITIVE, default=1.0)
    """Scale of σ² (JULE eq. 4): 1 for "gdl", "jule" and "pic", 0.95 for "zeta" in the authors' runs."""
    graph: str = parameter({"paper", "gactoolbox"}, default="paper")
    """Variant of the graph, see `affinity_graph`. "pic" and "zeta" set its diagonal to 1 either way."""
    initial: str = parameter({"neighbors", "singletons"}, default="neighbors")
    """Start from each sample with its nearest neighbour (components of the 1-NN graph), or from single samples. Where
    the components are fewer than ``n_clusters``, single samples are used and a warning says so."""
    update: str = parameter(set(UPDATES), default="exact")
    """As in `merge`."""
    local_weight: float = parameter(NON_NEGATIVE, default=1.0)
    """As in `merge`."""
    n_local: int = parameter(POSITIVE_INT, default=5)
    """As in `merge`."""
    isolated: str = parameter(set(ISOLATED), default="many")
    """As in `merge`."""
    z: float = parameter(OPEN_FRACTION, default=0.01)
    """As in `merge`."""
    min_cluster_size: float = parameter(FRACTION_BELOW_1, default=1 / 3)
    """Ours: no cluster below this share of the mean size N / n_clusters is counted; its samples go to their strongest
    neighbours. A few odd samples else hold out as a cluster. 0 is the papers' way; so is "average" always."""
    deduplicate: bool = parameter(bool, default=True)
    """Ours: samples that are equal are merged as one, and share its cluster; copies otherwise are all the neighbours
    that a sample has. "average" needs no such rule."""
    device: str | None = parameter(str, default=None)
    """Where to look for neighbours: "cpu", "cuda"."""

    def fit(self, X: Any, y: Any = None) -> GraphAgglomerativeClustering:
        """Cluster ``X`` of shape (N, D); ``y`` is ignored. Cost as in `knn` and `merge`.

        Raises
        ------
        InputError
            For parameters out of range, or more clusters than samples.

        Warns
        -----
        UserWarning
            If fewer samples differ than there are to be clusters.
        """
        self.check()
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        if self.n_clusters > len(X):
            raise InputError(f"n_clusters={self.n_clusters} cannot be made of {len(X)} samples")
        if self.criterion == "average":
            with usual_torch():
                self.linkage_matrix_ = average_linkage(X)
            self.n_initial_clusters_, self.sigma2_ = len(X), None
            self.labels_ = labels_after(self.linkage_matrix_, len(X), len(X) - self.n_clusters)
            return self
        kept, copies = distinct_rows(X) if self.deduplicate else (np.arange(len(X)), np.arange(len(X)))
        if len(kept) < self.n_clusters:
            warnings.warn(
                f"only {len(kept)} of the {len(X)} samples differ, fewer than n_clusters={self.n_clusters}: "
                f"{self.n_clusters - len(kept)} clusters are empty",
                stacklevel=2,
            )
        with usual_torch():
            merging, self.sigma2_ = self._merged(X[kept])
        self.labels_, self.linkage_matrix_ = merging.labels[copies], with_copies(merging.history, copies)
        self.n_initial_clusters_ = merging.n_initial_clusters
        return self

    def _merged(self, X: np.ndarray) -> tuple[Merging, float]:
        """Merging of samples (N, D), and σ²; of fewer than ``n_clusters`` each is a cluster."""
        n_clusters = min(self.n_clusters, len(X))
        found = knn(X, max(self.n_neighbors, 3), device=self.device)  # gactoolbox's σ² wants three
        W, sigma2 = affinity_graph(found, self.n_neighbors, self.a, variant=self.graph)
        initial = nearest_neighbor_components(found[0]) if self.initial == "neighbors" else np.arange(len(X))
        if initial.max() + 1 < n_clusters:
            if n_clusters < len(X):
                warnings.warn(
                    f"samples and their nearest neighbours form {initial.max() + 1} clusters, fewer than "
                    f"n_clusters={n_clusters}: merging starts from single samples",
                    stacklevel=3,
                )
            initial = np.arange(len(X))
        merging = merge_without_small_clusters(
            W,
            initial,
            n_clusters,
            smallest=self.min_cluster_size,
            features=X,
            full=True,
            criterion=self.criterion,
            update=self.update,
            local_weight=self.local_weight,
            n_local=self.n_local,
            z=self.z,
            isolated=self.isolated,
        )
        return merging, sigma2
