"""JULE's spectral baselines (Tables 3 and 4): SC-NJW, SC-ST, SC-LS and N-Cuts as classes."""

from __future__ import annotations

from asterism.clustering.spectral import landmark_spectral, njw, normalized_cuts, self_tuning
from asterism.methods.pixel_baselines import VectorClusterer
from asterism.parameters import Interval, parameter


class SpectralNJW(VectorClusterer):
    """Spectral clustering of Ng, Jordan and Weiss ("SC-NJW"), see `asterism.clustering.spectral.njw`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    ALGORITHM = staticmethod(njw)
    scale: float = parameter(
        Interval(float, 0, None, closed="neither"),
        "Of the affinities: exp(−d² / s) with s this share of the mean d².",
        default=0.05,
    )
    n_init: int = parameter(Interval(int, 1, None), "Restarts of k-means; one, as the table was run.", default=1)

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        return 12 * n**2  # all affinities, and twice that for their eigenvectors


class SelfTuningSpectral(VectorClusterer):
    """Self-tuning spectral clustering ("SC-ST"), see `asterism.clustering.spectral.self_tuning`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    ALGORITHM = staticmethod(self_tuning)
    neighbor: int = parameter(Interval(int, 1, None), "Whose distance is the local scale of an image.", default=7)
    rotation: bool = parameter(
        bool, "Align the eigenvectors with the axes, as Zelnik-Manor and Perona do, in place of k-means.", default=False
    )
    n_init: int = parameter(Interval(int, 1, None), "Restarts of k-means.", default=50)

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        return 12 * n**2  # all affinities, and twice that for their eigenvectors


class LandmarkSpectral(VectorClusterer):
    """Landmark-based spectral clustering ("SC-LS"), see `asterism.clustering.spectral.landmark_spectral`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    ALGORITHM = staticmethod(landmark_spectral)
    n_landmarks: int = parameter(
        Interval(int, 1, None), "k-means centers that stand for the images; clipped to their number.", default=1000
    )
    n_nearest: int = parameter(Interval(int, 1, None), "Landmarks that an image is written by.", default=5)
    n_init: int = parameter(Interval(int, 1, None), "Restarts of k-means.", default=10)
    drop_first: bool | None = parameter(
        [bool, None],
        "Leave out the first eigenvector, as the authors' code does. By default only where it tells nothing: where "
        "the graph of landmarks is connected.",
        default=None,
    )


class NormalizedCuts(VectorClusterer):
    """Normalised cuts ("N-Cuts"), see `asterism.clustering.spectral.normalized_cuts`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    ALGORITHM = staticmethod(normalized_cuts)
    scale: float = parameter(
        Interval(float, 0, None, closed="neither"),
        "Of the affinities: exp(−(d² / s)²) with s this share of the largest d².",
        default=0.05,
    )
