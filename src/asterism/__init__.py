"""Asterism: deep image clustering. Unlabelled images in; groups, and the features that tell them apart, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asterism.errors import AsterismError
    from asterism.images import Augmentation, Crops, ImageSource, open_images
    from asterism.methods import (
        AECNN,
        CNN,
        DBC,
        DEC,
        EPCNN,
        FCAE,
        FCN,
        JULE,
        LLECNN,
        METHODS,
        NNAECNN,
        PCACNN,
        SAE,
        TEMI,
        AverageLinkage,
        DAEKMeans,
        DeepCluster,
        DeepClusterV2,
        DeepSemiNMF,
        FCAEKMeans,
        GraphDegreeLinkage,
        GraphNMF,
        InfiniteEnsemble,
        KMeans,
        LandmarkSpectral,
        NormalizedCuts,
        PathIntegral,
        SelfTuningSpectral,
        SpectralNJW,
        TaskSpecificClustering,
        ZetaFunction,
        load,
    )
    from asterism.networks import Backbone
    from asterism.networks.convnet import ConvNet
    from asterism.training import Training

    __version__: str

# Names are looked up when they are first used: `asterism --help` must not wait for torch.
_HOMES = {
    "AsterismError": "errors",
    **dict.fromkeys(("Augmentation", "Crops", "ImageSource", "open_images"), "images"),
    **dict.fromkeys(
        (
            "AECNN",
            "CNN",
            "EPCNN",
            "FCN",
            "TEMI",
            "LLECNN",
            "NNAECNN",
            "PCACNN",
            "DBC",
            "DEC",
            "FCAE",
            "JULE",
            "METHODS",
            "SAE",
            "DAEKMeans",
            "DeepCluster",
            "DeepClusterV2",
            "FCAEKMeans",
            "KMeans",
            "load",
            "AverageLinkage",
            "DeepSemiNMF",
            "GraphDegreeLinkage",
            "GraphNMF",
            "InfiniteEnsemble",
            "LandmarkSpectral",
            "NormalizedCuts",
            "PathIntegral",
            "SelfTuningSpectral",
            "SpectralNJW",
            "TaskSpecificClustering",
            "ZetaFunction",
        ),
        "methods",
    ),
    "Backbone": "networks",
    "ConvNet": "networks.convnet",
    "Training": "training",
}

__all__ = [
    "TEMI",
    "AECNN",
    "CNN",
    "DBC",
    "DEC",
    "EPCNN",
    "FCAE",
    "FCN",
    "JULE",
    "LLECNN",
    "METHODS",
    "NNAECNN",
    "PCACNN",
    "SAE",
    "AsterismError",
    "Augmentation",
    "AverageLinkage",
    "Backbone",
    "ConvNet",
    "Crops",
    "DAEKMeans",
    "DeepCluster",
    "DeepClusterV2",
    "DeepSemiNMF",
    "FCAEKMeans",
    "GraphDegreeLinkage",
    "GraphNMF",
    "ImageSource",
    "InfiniteEnsemble",
    "KMeans",
    "LandmarkSpectral",
    "NormalizedCuts",
    "PathIntegral",
    "SelfTuningSpectral",
    "SpectralNJW",
    "TaskSpecificClustering",
    "Training",
    "ZetaFunction",
    "__version__",
    "load",
    "open_images",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        found = getattr(import_module(f"asterism.{_HOMES[name]}"), name)
    elif name == "__version__":
        found = _version()
    else:
        raise AttributeError(f"module 'asterism' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("asterism-clustering")
    except PackageNotFoundError:  # run from a source tree without installing
        return "0.0.0"
