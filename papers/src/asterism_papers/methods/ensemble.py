"""iec: Liu, Shao, Li and Fu, "Infinite ensemble for image clustering", KDD 2016."""

from __future__ import annotations

import math

from asterism.methods.pixel_baselines import VectorClusterer
from asterism.parameters import parameter
from asterism.parameters.constraints import FRACTION_BELOW_1, POSITIVE_INT
from asterism_papers.clustering.ensemble import infinite_ensemble


class InfiniteEnsemble(VectorClusterer):
    """Infinite ensemble clustering ("IEC"), see `asterism_papers.clustering.ensemble`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    ALGORITHM = staticmethod(infinite_ensemble)
    n_partitions: int = parameter(POSITIVE_INT, default=50)
    """r, k-means partitions that the ensemble begins with."""
    n_layers: int = parameter(POSITIVE_INT, default=3)
    """Stacked denoising auto-encoders."""
    noise: float = parameter(FRACTION_BELOW_1, default=0.2)
    """Share of the partitions' codes that is dropped."""
    n_init: int = parameter(POSITIVE_INT, default=10)
    """Restarts of the last k-means."""
    normalise: bool = parameter(bool, default=False)
    """Scale each image to length 1."""

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        columns = self.n_partitions * (self.n_clusters + math.isqrt(n)) // 2  # k to √N groups a partition, in the mean
        return 2 * 4 * n * self.n_layers * columns  # the layers, and all of them side by side
