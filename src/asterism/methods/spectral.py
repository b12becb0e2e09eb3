"""JULE's spectral baselines (Tables 3 and 4): SC-NJW, SC-ST and SC-LS as classes."""

from __future__ import annotations

from asterism.clustering.spectral import landmark_spectral, njw, self_tuning
from asterism.methods.pixel_baselines import VectorClusterer
from asterism.parameters import parameter
from asterism.parameters.constraints import POSITIVE, POSITIVE_INT


class SpectralNJW(VectorClusterer):
    """Spectral clustering of Ng, Jordan and Weiss ("SC-NJW"), see `asterism.clustering.spectral.njw`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    ALGORITHM = staticmethod(njw)
    scale: float | None = parameter([POSITIVE, None], default=0.05)
    """Of the affinities: exp(−d² / s) with s this share of the mean d²; none looks for it, as the paper does."""
    diagonal: bool = parameter(bool, default=True)
    """Each image has affinity 1 with itself, as the table was run; 0 in the paper."""
    n_init: int = parameter(POSITIVE_INT, default=1)
    """Restarts of k-means; one, as the table was run."""

    def _memory_to_find(self, n: int, n_numbers: int) -> int:
        # All affinities, and twice that for their eigenvectors; the distances beside them where more scales are tried.
        return (16 if self.scale is None else 12) * n**2


class SelfTuningSpectral(VectorClusterer):
    """Self-tuning spectral clustering ("SC-ST"), see `asterism.clustering.spectral.self_tuning`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    ALGORITHM = staticmethod(self_tuning)
    neighbor: int = parameter(POSITIVE_INT, default=7)
    """Whose distance is the local scale of an image."""
    rotation: bool = parameter(bool, default=False)
    """Align the eigenvectors with the axes, as Zelnik-Manor and Perona do, in place of k-means."""
    n_init: int = parameter(POSITIVE_INT, default=50)
    """Restarts of k-means."""

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
    n_landmarks: int = parameter(POSITIVE_INT, default=1000)
    """k-means centers that stand for the images; clipped to their number."""
    n_nearest: int = parameter(POSITIVE_INT, default=5)
    """Landmarks that an image is written by."""
    n_init: int = parameter(POSITIVE_INT, default=10)
    """Restarts of k-means."""
    drop_first: bool | None = parameter(bool, default=None)
    """Leave out the first eigenvector, as the authors' code does. By default only where it tells nothing: where the
    graph of landmarks is connected."""
