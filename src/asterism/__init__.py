"""Asterism: deep image clustering. Unlabelled images in; groups, and the features that tell them apart, out."""

from importlib.metadata import PackageNotFoundError, version

from asterism.errors import AsterismError
from asterism.images import Augmentation, ImageSource, open_images
from asterism.methods import DBC, DEC, FCAE, METHODS, SAE, DAEKMeans, FCAEKMeans, KMeans, load
from asterism.training import Training

try:
    __version__ = version("asterism-clustering")
except PackageNotFoundError:  # run from a source tree without installing
    __version__ = "0.0.0"

__all__ = [
    "DBC",
    "DEC",
    "FCAE",
    "METHODS",
    "SAE",
    "AsterismError",
    "Augmentation",
    "DAEKMeans",
    "FCAEKMeans",
    "ImageSource",
    "KMeans",
    "Training",
    "__version__",
    "load",
    "open_images",
]
