"""iec: Liu, Shao, Li and Fu, "Infinite ensemble for image clustering", KDD 2016."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from asterism.methods.pixel_baselines import VectorClusterer
from asterism.parameters import Interval
from asterism_papers.clustering.ensemble import infinite_ensemble


class InfiniteEnsemble(VectorClusterer):
    """Infinite ensemble clustering ("IEC"), see `asterism_papers.clustering.ensemble`.

    Parameters
    ----------
    n_clusters : int, default=8
    n_partitions : int, default=50
        r, k-means partitions that the ensemble begins with.
    n_layers : int, default=3
        Stacked denoising auto-encoders.
    noise : float, default=0.2
        Share of the partitions' codes that is dropped.
    n_init : int, default=10
        Restarts of the last k-means.
    center : bool, default=False
        Take the mean image off first.
    normalise : bool, default=False
        Scale each image to length 1.
    device, precision, run_dir, random_state, verbose
        See `DBC`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_partitions": [Interval(int, 1, None)],
        "n_layers": [Interval(int, 1, None)],
        "noise": [Interval(float, 0, 1, closed="left")],
        "n_init": [Interval(int, 1, None)],
        **VectorClusterer.SHARED,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_partitions: int = 50,
        n_layers: int = 3,
        noise: float = 0.2,
        n_init: int = 10,
        center: bool = False,
        normalise: bool = False,
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(n_clusters, center, normalise, device, precision, run_dir, random_state, verbose)
        self.n_partitions = n_partitions
        self.n_layers = n_layers
        self.noise = noise
        self.n_init = n_init

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        columns = self.n_partitions * (self.n_clusters + math.isqrt(n)) // 2  # k to √N groups a partition, in the mean
        return 2 * 4 * n * self.n_layers * columns  # the layers, and all of them side by side

    def _find(self, features: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        return infinite_ensemble(
            features,
            self.n_clusters,
            n_partitions=self.n_partitions,
            n_layers=self.n_layers,
            noise=self.noise,
            n_init=self.n_init,
            random_state=rng,
        )
