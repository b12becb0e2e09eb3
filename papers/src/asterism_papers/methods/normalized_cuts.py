"""N-Cuts of JULE's tables (Tables 3 and 4) as a class."""

from __future__ import annotations

from asterism.methods.pixel_baselines import VectorClusterer
from asterism.parameters import parameter
from asterism.parameters.constraints import POSITIVE
from asterism_papers.clustering.normalized_cuts import normalized_cuts


class NormalizedCuts(VectorClusterer):
    """Normalised cuts ("N-Cuts"), see `asterism_papers.clustering.normalized_cuts`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, embedding_, image_shape_, n_features_in_
        See `ImageClusterer` and `VectorClusterer`, which also says how new images are given a cluster.
    """

    ALGORITHM = staticmethod(normalized_cuts)
    scale: float = parameter(POSITIVE, default=0.05)
    """Of the affinities: exp(−(d² / s)²) with s this share of the largest d²; 0.1 to 0.2 for distances not squared."""
    squared: bool = parameter(bool, default=True)
    """d² in that exponent, as the table was run; d itself, as in the paper, where false."""
