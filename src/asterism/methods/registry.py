"""Which methods there are: a line each, name and place of its class, which is imported when it is first asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asterism.errors import InputError

if TYPE_CHECKING:
    from asterism.estimator import ImageClusterer
    from asterism.parameters import Parameters

T = TypeVar("T")


class LazyClasses(Mapping[str, type[T]], Generic[T]):
    """Classes by name, each imported when it is first asked for; the names alone cost nothing.

    Parameters
    ----------
    places : mapping of str to str
        ``module:Class`` for each name.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self.places = dict(places)

    def __getitem__(self, name: str) -> type[T]:
        module, _, cls = self.places[name].partition(":")
        return getattr(import_module(module), cls)

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


METHODS: LazyClasses[ImageClusterer] = LazyClasses(
    {
        "dbc": "asterism.methods.dbc:DBC",
        "dec": "asterism.methods.dec:DEC",
        "fcae-kmeans": "asterism.methods.baselines:FCAEKMeans",
        "dae-kmeans": "asterism.methods.baselines:DAEKMeans",
        "kmeans": "asterism.methods.baselines:KMeans",
        "jule": "asterism.methods.jule:JULE",
        "sc-njw": "asterism.methods.spectral:SpectralNJW",
        "sc-st": "asterism.methods.spectral:SelfTuningSpectral",
        "sc-ls": "asterism.methods.spectral:LandmarkSpectral",
        "ncuts": "asterism.methods.spectral:NormalizedCuts",
        "ac-link": "asterism.methods.agglomerative:AverageLinkage",
        "ac-zell": "asterism.methods.agglomerative:ZetaFunction",
        "ac-gdl": "asterism.methods.agglomerative:GraphDegreeLinkage",
        "ac-pic": "asterism.methods.agglomerative:PathIntegral",
        "nmf-lp": "asterism.methods.factorisation:GraphNMF",
        "nmf-d": "asterism.methods.factorisation:DeepSemiNMF",
        "tsc-d": "asterism.methods.task_specific:TaskSpecificClustering",
        "iec": "asterism.methods.ensemble:InfiniteEnsemble",
        "diffusion": "asterism.methods.diffusion:Diffusion",
        "fcn": "asterism.methods.fcn:FCN",
        "temi": "asterism.methods.temi:TEMI",
        "cnn": "asterism.methods.cnn_baselines:CNN",
        "pca-cnn": "asterism.methods.cnn_baselines:PCACNN",
        "lle-cnn": "asterism.methods.cnn_baselines:LLECNN",
        "ae-cnn": "asterism.methods.cnn_baselines:AECNN",
        "nnae-cnn": "asterism.methods.cnn_baselines:NNAECNN",
        "ep-cnn": "asterism.methods.cnn_baselines:EPCNN",
        "deepcluster": "asterism.methods.deepcluster:DeepCluster",
        "deepcluster-v2": "asterism.methods.deepcluster_v2:DeepClusterV2",
    }
)

_PARTS = (  # what methods are made of
    "asterism.training.epoch:Training",
    "asterism.training.triplets:TripletLoss",
    "asterism.images.augment:Augmentation",
    "asterism.images.crops:Crops",
    "asterism.networks.backbones:Backbone",
    "asterism.networks.convnet:ConvNet",
    "asterism.methods.autoencoders:FCAE",
    "asterism.methods.autoencoders:SAE",
    "asterism.methods.first_groups:FirstGroups",
    "asterism.methods.jule_settings:ConvSettings",
    "asterism.methods.jule_settings:MergeRule",
    "asterism.methods.jule_settings:TripletTraining",
    "asterism.methods.deepcluster:Whitening",
    "asterism.methods.deepcluster_v2:MultiCrop",
)
# The only classes that a run.json may name.
KNOWN_CLASSES: LazyClasses[Parameters] = LazyClasses(
    {place.partition(":")[2]: place for place in (*METHODS.places.values(), *_PARTS)}
)


def method_name(content: Mapping[str, Any]) -> str:
    """What the command line calls the method of a ``run.json``."""
    names = {place.partition(":")[2]: name for name, place in METHODS.places.items()}
    return names.get(content["method"], content["method"])


def find_method(name: str) -> type[ImageClusterer]:
    """The method that the command line calls by this name.

    Raises
    ------
    InputError
        If there is none; lists them.
    """
    if name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(name, METHODS, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"there is no method {name!r}; {hint}Methods are {', '.join(METHODS)}")
