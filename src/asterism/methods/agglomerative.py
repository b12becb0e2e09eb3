"""JULE's agglomerative baselines (Tables 3 and 4): AC-Link, AC-Zell, AC-GDL and AC-PIC as classes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from asterism.clustering.linkage import GraphAgglomerativeClustering
from asterism.errors import InputError
from asterism.methods.pixel_baselines import VectorClusterer
from asterism.parameters import attribute, parameter
from asterism.parameters.constraints import FRACTION_BELOW_1, OPEN_FRACTION, POSITIVE, POSITIVE_INT

MAX_SAMPLES = 30_000  # of AC-Link, which holds all distances twice: 7 GB


class MergingClusterer(VectorClusterer):
    """Base of the methods that merge.

    Attributes
    ----------
    linkage_matrix_ : ndarray of shape (N − 1, 4)
        Merge history, in scipy's form.
    """

    linkage_matrix_: np.ndarray = attribute()

    def _merging(self) -> GraphAgglomerativeClustering:
        """What merges, unfitted."""
        raise NotImplementedError

    def _found(self, features: np.ndarray, rng: np.random.RandomState) -> dict[str, np.ndarray]:
        merged = self._merging().fit(features)
        return {"labels": merged.labels_, "linkage_matrix": merged.linkage_matrix_}


class AverageLinkage(MergingClusterer):
    """Average linkage on Euclidean distances, UPGMA ("AC-Link").

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, linkage_matrix_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        return 8 * n**2  # all distances

    def _found(self, features: np.ndarray, rng: np.random.RandomState) -> dict[str, np.ndarray]:
        if len(features) > MAX_SAMPLES:
            raise InputError(
                f"average linkage holds all distances, {8e-9 * len(features) ** 2:.0f} GB for "
                f"n_samples={len(features)}; it takes at most {MAX_SAMPLES}: merge on a graph (ac-gdl), or take fewer "
                "images"
            )
        return super()._found(features, rng)

    def _merging(self) -> GraphAgglomerativeClustering:
        return GraphAgglomerativeClustering(self.n_clusters, criterion="average")


class GraphMergingClusterer(MergingClusterer):
    """Base of the methods that merge along a graph; their parameters are those of `GraphAgglomerativeClustering`."""

    CRITERION: ClassVar[str]
    SCALE: ClassVar[float] = 1.0  # ``a`` where it is None
    n_neighbors: int = parameter(POSITIVE_INT, default=20)
    """K_s of the graph; clipped to the number of other images."""
    isolated: str = parameter({"many", "always", "never"}, default="many")
    """When clusters without any affinity are first attached to the nearest centroid, see
    `asterism.clustering.linkage.merge`. The authors' MATLAB code has no such rule."""
    min_cluster_size: float = parameter(FRACTION_BELOW_1, default=1 / 3)
    """Ours: no group below this share of the mean size N / n_clusters is counted, and its images go to their strongest
    neighbours. A few odd images else hold out as a group, and two true ones are merged (MNIST: ACC .51, not .97). 0 is
    the paper's way."""
    deduplicate: bool = parameter(bool, default=True)
    """Ours: equal images are merged as one. False is the paper's way."""

    def _merging(self) -> GraphAgglomerativeClustering:
        own = self._own_params()
        own["a"] = self.SCALE if own["a"] is None else own["a"]
        return GraphAgglomerativeClustering(self.n_clusters, criterion=self.CRITERION, graph="gactoolbox", **own)


class GraphDegreeLinkage(GraphMergingClusterer):
    """Graph degree linkage ("AC-GDL"; Zhang, Wang, Zhao and Tang 2012), see `asterism.clustering.linkage`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, linkage_matrix_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    CRITERION: ClassVar[str] = "gdl"
    a: float = parameter(POSITIVE, default=1.0)
    """σ² of the graph is this times the mean d² of neighbours."""


class PathIntegral(GraphMergingClusterer):
    """Merging by the path integral ("AC-PIC"; Zhang, Zhao and Wang 2013), see `asterism.clustering.linkage`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, linkage_matrix_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    CRITERION: ClassVar[str] = "pic"
    a: float | None = parameter(POSITIVE, default=None)
    """σ² of the graph is this times the mean d² of neighbours: 1, and 0.95 for AC-Zell, as the tables were run."""
    z: float = parameter(OPEN_FRACTION, default=0.01)
    """Weight of a step of the walks, of which those up to four steps are summed: exact to about z³ of an affinity."""


class ZetaFunction(PathIntegral):
    """Merging by the zeta function ("AC-Zell"; Zhao and Tang 2008), see `asterism.clustering.linkage`.

    Attributes are those of `PathIntegral`.
    """

    CRITERION: ClassVar[str] = "zeta"
    SCALE: ClassVar[float] = 0.95
