"""Asterism: deep image clustering. Unlabelled images in; groups, and the features that tell them apart, out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asterism.errors import AsterismError
    from asterism.images import Augmentation, Crops, ImageSource, open_images
    from asterism.methods import (
        CNN,
        DBC,
        DEC,
        FCAE,
        FCN,
        JULE,
        METHODS,
        PCACNN,
        SAE,
        TEMI,
        AverageLinkage,
        DAEKMeans,
        DeepCluster,
        DeepClusterV2,
        Diffusion,
        DiscriminantDiffusion,
        FCAEKMeans,
        GraphDegreeLinkage,
        KMeans,
        LandmarkSpectral,
        NormalizedCuts,
        PathIntegral,
        SelfTuningSpectral,
        SpectralNJW,
        ZetaFunction,
        load,
    )
    from asterism.networks import Backbone
    from asterism.networks.convnet import ConvNet
    from asterism.training import Training

    __version__: str

# Where names live that are not in `asterism.methods`. They are looked up when they are first used: `asterism --help`
# must not wait for torch.
_HOMES = {
    "AsterismError": "asterism.errors",
    **dict.fromkeys(("Augmentation", "Crops", "ImageSource", "open_images"), "asterism.images"),
    "Backbone": "asterism.networks.backbones",
    "ConvNet": "asterism.networks.convnet",
    "Training": "asterism.training",
}

__all__ = [
    "TEMI",
    "CNN",
    "DBC",
    "DEC",
    "FCAE",
    "FCN",
    "JULE",
    "METHODS",
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
    "Diffusion",
    "DiscriminantDiffusion",
    "FCAEKMeans",
    "GraphDegreeLinkage",
    "ImageSource",
    "KMeans",
    "LandmarkSpectral",
    "NormalizedCuts",
    "PathIntegral",
    "SelfTuningSpectral",
    "SpectralNJW",
    "Training",
    "ZetaFunction",
    "__version__",
    "load",
    "open_images",
]


logging.getLogger(__name__).addHandler(logging.NullHandler())  # who uses the library decides where its log goes


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package whose names are imported when they are first used.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to str
        The module that each name is imported from.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    return find


_find = lazy_names(__name__, {name: _HOMES.get(name, "asterism.methods") for name in __all__})


def __getattr__(name: str) -> Any:
    return _version() if name == "__version__" else _find(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("asterism-clustering")
    except PackageNotFoundError:  # run from a source tree without installing
        return "0.0.0"
