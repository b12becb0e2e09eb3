"""k-means on the features of a stacked denoising auto-encoder, which DBC's and JULE's tables compare with."""

from __future__ import annotations

from asterism.methods.autoencoders import SAE, AutoEncoder
from asterism.methods.baselines import FCAEKMeans
from asterism.parameters import parameter


class DAEKMeans(FCAEKMeans):
    """A stacked denoising auto-encoder, then k-means on its features: "DAE-KMS" (DEC's own baseline).

    ``normalise=False`` groups the features as they are, which is what DEC's text reads like.
    """

    autoencoder: AutoEncoder | None = parameter(AutoEncoder, default=None, when_none=SAE())
    """Whose features are grouped, see `FCAEKMeans`."""
