"""iec: Liu, Shao, Li and Fu, "Infinite ensemble for image clustering", KDD 2016."""

from __future__ import annotations

import math

from asterism.methods.pixel_baselines import VectorClusterer
from asterism.parameters import Interval, parameter
from asterism_papers.clustering.ensemble import infinite_ensemble


class InfiniteEnsemble(VectorClusterer):
    """Infinite ensemble clustering ("IEC"), see `asterism_papers.clustering.ensemble`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    ALGORITHM = staticmethod(infinite_ensemble)
    n_partitions: int = parameter(
        Interval(int, 1, None), "r, k-means partitions that the ensemble begins with.", default=50
    )
    n_layers: int = parameter(Interval(int, 1, None), "Stacked denoising auto-encoders.", default=3)
    noise: float = parameter(
        Interval(float, 0, 1, closed="left"), "Share of the partitions' codes that is dropped.", default=0.2
    )
    n_init: int = parameter(Interval(int, 1, None), "Restarts of the last k-means.", default=10)
    normalise: bool = parameter(bool, "Scale each image to length 1.", default=False)

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        columns = self.n_partitions * (self.n_clusters + math.isqrt(n)) // 2  # k to √N groups a partition, in the mean
        return 2 * 4 * n * self.n_layers * columns  # the layers, and all of them side by side
