"""The methods: one paper, one file; CONTRIBUTING.md says what a new one needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asterism.errors import RunError
from asterism.estimator import ImageClusterer, ImageEstimator
from asterism.images import Augmentation, Crops
from asterism.methods.agglomerative import AverageLinkage, GraphDegreeLinkage, PathIntegral, ZetaFunction
from asterism.methods.autoencoders import FCAE, SAE
from asterism.methods.baselines import DAEKMeans, FCAEKMeans, KMeans
from asterism.methods.cnn_baselines import AECNN, CNN, EPCNN, LLECNN, NNAECNN, PCACNN
from asterism.methods.dbc import DBC
from asterism.methods.dec import DEC
from asterism.methods.deepcluster import DeepCluster, Whitening
from asterism.methods.deepcluster_v2 import DeepClusterV2, MultiCrop
from asterism.methods.ensemble import InfiniteEnsemble
from asterism.methods.factorisation import DeepSemiNMF, GraphNMF
from asterism.methods.fcn import FCN
from asterism.methods.first_groups import FirstGroups
from asterism.methods.jule import JULE
from asterism.methods.jule_settings import ConvSettings, MergeRule, TripletTraining
from asterism.methods.spectral import LandmarkSpectral, NormalizedCuts, SelfTuningSpectral, SpectralNJW
from asterism.methods.task_specific import TaskSpecificClustering
from asterism.methods.temi import TEMI
from asterism.networks import Backbone
from asterism.networks.convnet import ConvNet
from asterism.parameters import Parameters, from_json
from asterism.training import Training
from asterism.training.folder import RunFolder
from asterism.training.triplets import TripletLoss

METHODS: dict[str, type[ImageClusterer]] = {
    "dbc": DBC,
    "dec": DEC,
    "fcae-kmeans": FCAEKMeans,
    "dae-kmeans": DAEKMeans,
    "kmeans": KMeans,
    "jule": JULE,
    "sc-njw": SpectralNJW,
    "sc-st": SelfTuningSpectral,
    "sc-ls": LandmarkSpectral,
    "ncuts": NormalizedCuts,
    "ac-link": AverageLinkage,
    "ac-zell": ZetaFunction,
    "ac-gdl": GraphDegreeLinkage,
    "ac-pic": PathIntegral,
    "nmf-lp": GraphNMF,
    "nmf-d": DeepSemiNMF,
    "tsc-d": TaskSpecificClustering,
    "iec": InfiniteEnsemble,
    "fcn": FCN,
    "temi": TEMI,
    "cnn": CNN,
    "pca-cnn": PCACNN,
    "lle-cnn": LLECNN,
    "ae-cnn": AECNN,
    "nnae-cnn": NNAECNN,
    "ep-cnn": EPCNN,
    "deepcluster": DeepCluster,
    "deepcluster-v2": DeepClusterV2,
}

# The only classes that a run.json may name.
KNOWN_CLASSES: dict[str, type[Parameters]] = {
    cls.__name__: cls
    for cls in (Training, Augmentation, Crops, FCAE, SAE, *METHODS.values())
    + (FirstGroups,)  # of DBC
    + (ConvSettings, MergeRule, TripletLoss, TripletTraining)  # of JULE
    + (Backbone,)
    + (ConvNet, Whitening, MultiCrop)  # of DeepCluster
}


def estimator_of(content: dict[str, Any]) -> ImageEstimator:
    """The unfitted estimator that a ``run.json`` describes.

    Raises
    ------
    InputError, RunError
        If it names what is unknown, or what is no method.
    """
    estimator = from_json({"class": content["method"], "params": content["params"]}, KNOWN_CLASSES)
    if not isinstance(estimator, ImageEstimator):
        raise RunError(f"run.json names {content['method']!r}, which is not a method")
    return estimator


def load(run: str | Path) -> ImageEstimator:
    """The fitted estimator of a run folder. Nothing in the folder is executed.

    Parameters
    ----------
    run : path
        A folder written by ``asterism cluster``, by ``fit`` with ``run_dir``, or by ``save``.

    Returns
    -------
    ImageEstimator

    Raises
    ------
    MissingDataError
        If there is no run.
    RunError
        If it is unfinished, damaged or of another format.
    """
    folder = RunFolder(run)
    content = folder.read()
    if content["status"] != "finished":
        raise RunError(f"{run} holds an unfinished run ({content['status']}); go on with: asterism cluster --resume")
    return estimator_of(content)._load_from(folder, content)


__all__ = [
    "AECNN",
    "CNN",
    "DBC",
    "DEC",
    "EPCNN",
    "FCAE",
    "FCN",
    "TEMI",
    "JULE",
    "LLECNN",
    "METHODS",
    "NNAECNN",
    "PCACNN",
    "SAE",
    "AverageLinkage",
    "DAEKMeans",
    "DeepCluster",
    "DeepClusterV2",
    "DeepSemiNMF",
    "FCAEKMeans",
    "GraphDegreeLinkage",
    "GraphNMF",
    "InfiniteEnsemble",
    "KMeans",
    "LandmarkSpectral",
    "NormalizedCuts",
    "PathIntegral",
    "SelfTuningSpectral",
    "SpectralNJW",
    "TaskSpecificClustering",
    "ZetaFunction",
    "estimator_of",
    "load",
]
