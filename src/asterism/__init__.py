"""Asterism: deep image clustering. Unlabelled images in; groups, and the features that tell them apart, out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # ``X as X`` says to type checkers and editors that the name is given on
    from asterism.errors import AsterismError as AsterismError
    from asterism.images import Augmentation as Augmentation
    from asterism.images import Crops as Crops
    from asterism.images import ImageSource as ImageSource
    from asterism.images import open_images as open_images
    from asterism.methods import DBC as DBC
    from asterism.methods import DEC as DEC
    from asterism.methods import FCAE as FCAE
    from asterism.methods import FCN as FCN
    from asterism.methods import JULE as JULE
    from asterism.methods import METHODS as METHODS
    from asterism.methods import SAE as SAE
    from asterism.methods import TEMI as TEMI
    from asterism.methods import AverageLinkage as AverageLinkage
    from asterism.methods import DeepCluster as DeepCluster
    from asterism.methods import DeepClusterV2 as DeepClusterV2
    from asterism.methods import Diffusion as Diffusion
    from asterism.methods import DiscriminantDiffusion as DiscriminantDiffusion
    from asterism.methods import FCAEKMeans as FCAEKMeans
    from asterism.methods import GraphDegreeLinkage as GraphDegreeLinkage
    from asterism.methods import KMeans as KMeans
    from asterism.methods import LandmarkSpectral as LandmarkSpectral
    from asterism.methods import PathIntegral as PathIntegral
    from asterism.methods import SelfTuningSpectral as SelfTuningSpectral
    from asterism.methods import SpectralNJW as SpectralNJW
    from asterism.methods import ZetaFunction as ZetaFunction
    from asterism.methods import load as load
    from asterism.networks import Backbone as Backbone
    from asterism.networks.convnet import ConvNet as ConvNet
    from asterism.training import Training as Training

    __version__: str


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


# Each method by the name of its class; the registry asks for `lazy_names`, and loads nothing heavy.
_methods = (place.partition(":")[2] for place in import_module("asterism.methods.registry").METHODS.own.values())

# Names are looked up when they are first used: `asterism --help` must not wait for torch.
_find, __all__ = lazy_names(
    __name__,
    {
        "errors": ("AsterismError",),
        "images": ("Augmentation", "Crops", "ImageSource", "open_images"),
        "asterism.networks.backbones": ("Backbone",),
        "asterism.networks.convnet": ("ConvNet",),
        "training": ("Training",),
        "methods": ("FCAE", "METHODS", "SAE", "load", *_methods),
    },
)
__all__ += ["__version__"]


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
