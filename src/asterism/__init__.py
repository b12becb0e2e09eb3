"""Asterism: deep image clustering. Unlabelled images in; groups, and the features that tell them apart, out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asterism.errors import AsterismError
    from asterism.images import Augmentation, Crops, ImageSource, open_images
    from asterism.methods import (
        DBC,
        DEC,
        FCAE,
        FCN,
        JULE,
        METHODS,
        SAE,
        TEMI,
        AverageLinkage,
        DeepCluster,
        DeepClusterV2,
        Diffusion,
        DiscriminantDiffusion,
        FCAEKMeans,
        GraphDegreeLinkage,
        KMeans,
        LandmarkSpectral,
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

__all__ = [
    "TEMI",
    "DBC",
    "DEC",
    "FCAE",
    "FCN",
    "JULE",
    "METHODS",
    "SAE",
    "AsterismError",
    "Augmentation",
    "AverageLinkage",
    "Backbone",
    "ConvNet",
    "Crops",
    "DeepCluster",
    "DeepClusterV2",
    "Diffusion",
    "DiscriminantDiffusion",
    "FCAEKMeans",
    "GraphDegreeLinkage",
    "ImageSource",
    "KMeans",
    "LandmarkSpectral",
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


def lazy_names(package: str, homes: Mapping[str, Iterable[str]]) -> tuple[Callable[[str], Any], list[str]]:
    """``__getattr__`` and ``__all__`` of a package whose names are imported when they are first used.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to iterable of str
        The names that each module has; of a module of the package its last part will do.
    """
    home_of = {name: home if "." in home else f"{package}.{home}" for home, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(home_of[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    return find, list(home_of)


# Names are looked up when they are first used: `asterism --help` must not wait for torch.
_HOMES = {
    "errors": ("AsterismError",),
    "images": ("Augmentation", "Crops", "ImageSource", "open_images"),
    "asterism.networks.backbones": ("Backbone",),
    "asterism.networks.convnet": ("ConvNet",),
    "training": ("Training",),
}
_find, _others = lazy_names(__name__, _HOMES | {"methods": set(__all__).difference(*_HOMES.values())})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in __all__ and name[:1].isupper():  # perhaps a class that another distribution adds
        return getattr(import_module("asterism.methods"), name, None) or _find(name)
    return _find(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("asterism-clustering")
    except PackageNotFoundError:  # run from a source tree without installing
        return "0.0.0"
