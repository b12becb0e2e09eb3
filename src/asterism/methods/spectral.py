"""JULE's spectral baselines (Tables 3 and 4): SC-NJW, SC-ST, SC-LS and N-Cuts as classes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from asterism.clustering.spectral import landmark_spectral, njw, normalized_cuts, self_tuning
from asterism.methods.pixel_baselines import VectorClusterer
from asterism.parameters import Interval


class SpectralNJW(VectorClusterer):
    """Spectral clustering of Ng, Jordan and Weiss ("SC-NJW"), see `asterism.clustering.spectral.njw`.

    Parameters
    ----------
    n_clusters : int, default=8
    scale : float, default=0.05
        Of the affinities: exp(−d² / s) with s this share of the mean d².
    n_init : int, default=1
        Restarts of k-means; one, as the table was run.
    center : bool, default=False
        Take the mean image off first.
    normalise : bool, default=True
        Scale each image to length 1, as JULE's paper does for all methods.
    device, precision, run_dir, random_state, verbose
        See `DBC`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    _parameter_constraints: ClassVar[dict] = {
        "scale": [Interval(float, 0, None, closed="neither")],
        "n_init": [Interval(int, 1, None)],
        **VectorClusterer.SHARED,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        scale: float = 0.05,
        n_init: int = 1,
        center: bool = False,
        normalise: bool = True,
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(n_clusters, center, normalise, device, precision, run_dir, random_state, verbose)
        self.scale = scale
        self.n_init = n_init

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        return 12 * n**2  # all affinities, and twice that for their eigenvectors

    def _find(self, features: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        return njw(features, self.n_clusters, scale=self.scale, n_init=self.n_init, random_state=rng)


class SelfTuningSpectral(VectorClusterer):
    """Self-tuning spectral clustering ("SC-ST"), see `asterism.clustering.spectral.self_tuning`.

    Parameters
    ----------
    n_clusters : int, default=8
    neighbor : int, default=7
        Whose distance is the local scale of an image.
    rotation : bool, default=False
        Align the eigenvectors with the axes, as Zelnik-Manor and Perona do, in place of k-means.
    n_init : int, default=50
        Restarts of k-means.
    center : bool, default=False
        Take the mean image off first.
    normalise : bool, default=True
        Scale each image to length 1, as JULE's paper does for all methods.
    device, precision, run_dir, random_state, verbose
        See `DBC`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    _parameter_constraints: ClassVar[dict] = {
        "neighbor": [Interval(int, 1, None)],
        "rotation": [bool],
        "n_init": [Interval(int, 1, None)],
        **VectorClusterer.SHARED,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        neighbor: int = 7,
        rotation: bool = False,
        n_init: int = 50,
        center: bool = False,
        normalise: bool = True,
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(n_clusters, center, normalise, device, precision, run_dir, random_state, verbose)
        self.neighbor = neighbor
        self.rotation = rotation
        self.n_init = n_init

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        return 12 * n**2  # all affinities, and twice that for their eigenvectors

    def _find(self, features: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        return self_tuning(
            features,
            self.n_clusters,
            neighbor=self.neighbor,
            rotation=self.rotation,
            n_init=self.n_init,
            random_state=rng,
        )


class LandmarkSpectral(VectorClusterer):
    """Landmark-based spectral clustering ("SC-LS"), see `asterism.clustering.spectral.landmark_spectral`.

    Parameters
    ----------
    n_clusters : int, default=8
    n_landmarks : int, default=1000
        k-means centers that stand for the images; clipped to their number.
    n_nearest : int, default=5
        Landmarks that an image is written by.
    n_init : int, default=10
        Restarts of k-means.
    drop_first : bool, optional
        Leave out the first eigenvector, as the authors' code does. By default only where it tells nothing: where the
        graph of landmarks is connected.
    center : bool, default=False
        Take the mean image off first.
    normalise : bool, default=True
        Scale each image to length 1, as JULE's paper does for all methods.
    device, precision, run_dir, random_state, verbose
        See `DBC`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_landmarks": [Interval(int, 1, None)],
        "n_nearest": [Interval(int, 1, None)],
        "n_init": [Interval(int, 1, None)],
        "drop_first": [bool, None],
        **VectorClusterer.SHARED,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_landmarks: int = 1000,
        n_nearest: int = 5,
        n_init: int = 10,
        drop_first: bool | None = None,
        center: bool = False,
        normalise: bool = True,
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(n_clusters, center, normalise, device, precision, run_dir, random_state, verbose)
        self.n_landmarks = n_landmarks
        self.n_nearest = n_nearest
        self.n_init = n_init
        self.drop_first = drop_first

    def _find(self, features: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        return landmark_spectral(
            features,
            self.n_clusters,
            n_landmarks=self.n_landmarks,
            n_nearest=self.n_nearest,
            n_init=self.n_init,
            drop_first=self.drop_first,
            random_state=rng,
        )


class NormalizedCuts(VectorClusterer):
    """Normalised cuts ("N-Cuts"), see `asterism.clustering.spectral.normalized_cuts`.

    Parameters
    ----------
    n_clusters : int, default=8
    scale : float, default=0.05
        Of the affinities: exp(−(d² / s)²) with s this share of the largest d².
    center : bool, default=False
        Take the mean image off first.
    normalise : bool, default=True
        Scale each image to length 1, as JULE's paper does for all methods.
    device, precision, run_dir, random_state, verbose
        See `DBC`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    _parameter_constraints: ClassVar[dict] = {
        "scale": [Interval(float, 0, None, closed="neither")],
        **VectorClusterer.SHARED,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        scale: float = 0.05,
        center: bool = False,
        normalise: bool = True,
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(n_clusters, center, normalise, device, precision, run_dir, random_state, verbose)
        self.scale = scale

    def _find(self, features: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        return normalized_cuts(features, self.n_clusters, scale=self.scale, random_state=rng)
