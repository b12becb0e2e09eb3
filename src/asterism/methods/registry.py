"""Which methods there are: a line each, name and place of its class, which is imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asterism import plugins
from asterism.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from asterism.estimator import ImageClusterer
    from asterism.parameters import Parameters

T = TypeVar("T")


class LazyClasses(Mapping[str, type[T]], Generic[T]):
    """Classes by name, each imported when it is first asked for; the names alone cost nothing.

    Parameters
    ----------
    own : mapping of str to str
        ``module:Class`` for each name.
    more : callable
        Gives those that other distributions add; called when a name is first looked for.
    """

    def __init__(self, own: Mapping[str, str], more: Callable[[], Mapping[str, str]]) -> None:
        self.own, self._more = dict(own), more

    @cached_property
    def added(self) -> dict[str, str]:
        """``module:Class`` of the names that other distributions add."""
        return {name: place for name, place in self._more().items() if name not in self.own}

    @cached_property
    def places(self) -> dict[str, str]:
        """``module:Class`` of every name, our own first; no other takes the name of one of ours."""
        return self.own | self.added

    def __getitem__(self, name: str) -> type[T]:
        found = plugins.load(self.places[name])
        if not isinstance(found, type):
            raise MissingDependencyError(f"{self.places[name]} is no class, and cannot be used as {name}")
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _named_by_class(places: Iterable[str]) -> dict[str, str]:
    return {place.partition(":")[2]: place for place in places}


METHODS: LazyClasses[ImageClusterer] = LazyClasses(
    {
        "dbc": "asterism.methods.dbc:DBC",
        "dec": "asterism.methods.dec:DEC",
        "fcae-kmeans": "asterism.methods.baselines:FCAEKMeans",
        "kmeans": "asterism.methods.baselines:KMeans",
        "jule": "asterism.methods.jule:JULE",
        "sc-njw": "asterism.methods.spectral:SpectralNJW",
        "sc-st": "asterism.methods.spectral:SelfTuningSpectral",
        "sc-ls": "asterism.methods.spectral:LandmarkSpectral",
        "ac-link": "asterism.methods.agglomerative:AverageLinkage",
        "ac-zell": "asterism.methods.agglomerative:ZetaFunction",
        "ac-gdl": "asterism.methods.agglomerative:GraphDegreeLinkage",
        "ac-pic": "asterism.methods.agglomerative:PathIntegral",
        "diffusion": "asterism.methods.diffusion:Diffusion",
        "discriminant-diffusion": "asterism.methods.discriminant_diffusion:DiscriminantDiffusion",
        "fcn": "asterism.methods.fcn:FCN",
        "temi": "asterism.methods.temi:TEMI",
        "deepcluster": "asterism.methods.deepcluster:DeepCluster",
        "deepcluster-v2": "asterism.methods.deepcluster_v2:DeepClusterV2",
    },
    lambda: plugins.added(plugins.METHODS),
)

_PARTS = {  # what methods are made of, by module
    "asterism.training.epoch": ("Training",),
    "asterism.training.triplets": ("TripletLoss",),
    "asterism.images.augment": ("Augmentation", "Crops"),
    "asterism.networks.backbones": ("Backbone",),
    "asterism.networks.convnet": ("ConvNet",),
    "asterism.methods.autoencoders": ("FCAE", "SAE"),
    "asterism.methods.cluster_initialisation": ("ClusterInitialisation",),
    "asterism.methods.joint_training": ("JointTraining",),
    "asterism.methods.jule_settings": ("ConvSettings", "MergeRule", "TripletTraining"),
    "asterism.methods.deepcluster": ("Whitening",),
    "asterism.methods.deepcluster_settings": ("MultiCrop", "Projection", "Assignment", "ContrastiveStart"),
}
_PLACES = [f"{module}:{name}" for module, names in _PARTS.items() for name in names]
# The only classes that a run.json may name.
KNOWN_CLASSES: LazyClasses[Parameters] = LazyClasses(
    _named_by_class((*METHODS.own.values(), *_PLACES)),
    lambda: _named_by_class((*METHODS.places.values(), *plugins.added(plugins.PARAMETERS).values())),
)

OF_PAPERS = {  # what asterism-papers adds: said where it is not installed
    "ae-cnn": "AECNN",
    "cnn": "CNN",
    "dae-kmeans": "DAEKMeans",
    "ep-cnn": "EPCNN",
    "iec": "InfiniteEnsemble",
    "lle-cnn": "LLECNN",
    "ncuts": "NormalizedCuts",
    "nmf-d": "DeepSemiNMF",
    "nmf-lp": "GraphNMF",
    "nnae-cnn": "NNAECNN",
    "pca-cnn": "PCACNN",
    "tsc-d": "TaskSpecificClustering",
}


def check_installed(name: str) -> None:
    """See that a method, by its own name or that of its class, is not one of a distribution that is not here.

    Raises
    ------
    MissingDependencyError
        If it is one of asterism-papers'.
    """
    if (name in OF_PAPERS or name in OF_PAPERS.values()) and (lacking := plugins.without_papers()):
        raise MissingDependencyError(f"{name} comes with {lacking}")


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
    MissingDependencyError
        If it comes with asterism-papers, which is not installed.
    """
    if name in METHODS:
        from asterism.estimator import ImageClusterer

        if not issubclass(found := METHODS[name], ImageClusterer):
            raise MissingDependencyError(f"{METHODS.places[name]} is no ImageClusterer, and cannot be used as {name}")
        return found
    check_installed(name)
    import difflib  # here: `import asterism` loads this file

    close = difflib.get_close_matches(name, METHODS, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"there is no method {name!r}; {hint}Methods are {', '.join(METHODS)}")
