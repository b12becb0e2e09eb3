"""JULE's baselines by matrix factorisation (Tables 3 and 4): NMF-LP and NMF-D as classes."""

from __future__ import annotations

import numpy as np

from asterism.clustering.kmeans import kmeans
from asterism.methods.pixel_baselines import VectorClusterer
from asterism.parameters import Each, parameter
from asterism.parameters.constraints import NON_NEGATIVE, POSITIVE, POSITIVE_INT
from asterism_papers.clustering.nmf_deep import deep_semi_nmf
from asterism_papers.clustering.nmf_graph import graph_nmf


class GraphNMF(VectorClusterer):
    """Non-negative factorisation of images that are neighbours alike ("NMF-LP"), then k-means on the loadings.

    See `asterism_papers.clustering.nmf_graph.graph_nmf`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    n_factors: int | None = parameter([POSITIVE_INT, None], default=10)
    """10 for every set as the table was run; None: as many as clusters."""
    alpha: float = parameter(NON_NEGATIVE, default=0.0)
    """Weight of the graph: 0 as the table was run, 100 in the paper of Cai et al."""
    n_neighbors: int = parameter(POSITIVE_INT, default=5)
    """Of the graph."""
    negatives: str = parameter({"shift", "clip"}, default="shift")
    """What is done to features that are negative somewhere (centred pixels, learned features): all are shifted by the
    least value, or the negative ones are 0. The paper, whose Table 4 has such, does not say what it did."""
    max_updates: int = parameter(POSITIVE_INT, default=50)
    """Of both factors, at most."""
    n_init: int = parameter(POSITIVE_INT, default=10)
    """Restarts of k-means."""

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        return 2 * 4 * n * n_numbers + 1000 * n  # the shifted rows, a copy of them, and the graph

    def _find(self, features: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        clip = self.negatives == "clip"
        found = graph_nmf(
            np.maximum(features, 0.0) if clip else features - min(0.0, float(features.min())),
            self.n_factors or self.n_clusters,
            alpha=self.alpha,
            n_neighbors=self.n_neighbors,
            max_updates=self.max_updates,
            random_state=rng,
        )
        return _kmeans(found.loadings, self.n_clusters, self.n_init, rng)


class DeepSemiNMF(VectorClusterer):
    """Deep semi-NMF ("NMF-D"), then k-means on its last coefficients.

    See `asterism_papers.clustering.nmf_deep.deep_semi_nmf`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    widths: tuple = parameter(Each(POSITIVE_INT), default=(160, 160))
    """Coefficients of each layer."""
    max_updates: int = parameter(POSITIVE_INT, default=500)
    """Iterations of each layer's pre-training and of the tuning."""
    fill: float = parameter(POSITIVE, default=0.1)
    """What the zeros of the first coefficients are replaced by. 0.1 suits images in 0 … 255; for images of length 1 it
    drowns the rest, see docs/methods/baselines.md."""
    n_init: int = parameter(POSITIVE_INT, default=10)
    """Restarts of k-means."""

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        return 3 * 4 * n * n_numbers  # the rows turned, and two products of their size

    def _find(self, features: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        _, H = deep_semi_nmf(features.T, self.widths, max_updates=self.max_updates, fill=self.fill, random_state=rng)
        return _kmeans(np.ascontiguousarray(H.T), self.n_clusters, self.n_init, rng)


def _kmeans(rows: np.ndarray, n_clusters: int, n_init: int, rng: np.random.RandomState) -> np.ndarray:
    """k-means as the tables' litekmeans: random rows to start from, an emptied cluster goes to the farthest row."""
    found = kmeans(rows, n_clusters, init="random", n_init=n_init, max_iter=100, empty="farthest", random_state=rng)
    return found.labels
