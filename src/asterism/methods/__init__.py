"""The methods: one paper, one file; CONTRIBUTING.md says what a new one needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asterism import lazy_names
from asterism.methods.registry import KNOWN_CLASSES, METHODS

if TYPE_CHECKING:  # `__getattr__` below finds the classes; this is for type checkers and editors
    from asterism.methods.agglomerative import AverageLinkage, GraphDegreeLinkage, PathIntegral, ZetaFunction
    from asterism.methods.autoencoders import FCAE, SAE
    from asterism.methods.baselines import DAEKMeans, FCAEKMeans, KMeans
    from asterism.methods.cnn_baselines import CNN, PCACNN
    from asterism.methods.dbc import DBC
    from asterism.methods.dec import DEC
    from asterism.methods.deepcluster import DeepCluster
    from asterism.methods.deepcluster_v2 import DeepClusterV2
    from asterism.methods.diffusion import Diffusion
    from asterism.methods.discriminant_diffusion import DiscriminantDiffusion
    from asterism.methods.fcn import FCN
    from asterism.methods.jule import JULE
    from asterism.methods.loading import estimator_of, load, load_with_content
    from asterism.methods.spectral import LandmarkSpectral, NormalizedCuts, SelfTuningSpectral, SpectralNJW
    from asterism.methods.temi import TEMI

__all__ = [
    "CNN",
    "DBC",
    "DEC",
    "FCAE",
    "FCN",
    "TEMI",
    "JULE",
    "KNOWN_CLASSES",
    "METHODS",
    "PCACNN",
    "SAE",
    "AverageLinkage",
    "DAEKMeans",
    "DeepCluster",
    "DeepClusterV2",
    "Diffusion",
    "DiscriminantDiffusion",
    "FCAEKMeans",
    "GraphDegreeLinkage",
    "KMeans",
    "LandmarkSpectral",
    "NormalizedCuts",
    "PathIntegral",
    "SelfTuningSpectral",
    "SpectralNJW",
    "ZetaFunction",
    "estimator_of",
    "load",
    "load_with_content",
]

__getattr__ = lazy_names(
    __name__,
    {
        "estimator_of": "asterism.methods.loading",
        "load": "asterism.methods.loading",
        "load_with_content": "asterism.methods.loading",
        **{cls: place.partition(":")[0] for cls, place in KNOWN_CLASSES.own.items()},
    },
)
