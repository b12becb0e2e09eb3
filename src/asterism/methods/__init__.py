"""The methods: one paper, one file; CONTRIBUTING.md says what a new one needs.

``registry`` names them, ``loading`` brings one back from a run folder, ``choosing`` says which one suits images.

Networks that learn with their groups: ``jule`` (``jule_settings``, ``jule_steps``); ``dbc`` and ``dec`` on
``soft_clusterer`` (``autoencoders``, ``cluster_initialisation``, ``joint_training``); ``deepcluster`` and
``deepcluster_v2`` (``deepcluster_settings``, ``swav``).

On features of a pre-trained network, or on given vectors, all on ``pretrained``: ``diffusion``,
``discriminant_diffusion``, ``temi``, ``fcn``; ``last_layers`` trains the end of the network.

What the papers compare with: ``baselines`` (k-means on pixels and on auto-encoders), and on ``pixel_baselines``
``spectral`` and ``agglomerative``.
"""

from typing import TYPE_CHECKING, Any

from asterism import lazy_names
from asterism.methods.registry import KNOWN_CLASSES, METHODS, check_installed

if TYPE_CHECKING:  # `__getattr__` below finds the classes; this is for type checkers and editors
    from asterism.methods.agglomerative import AverageLinkage, GraphDegreeLinkage, PathIntegral, ZetaFunction
    from asterism.methods.autoencoders import FCAE, SAE
    from asterism.methods.baselines import FCAEKMeans, KMeans
    from asterism.methods.dbc import DBC
    from asterism.methods.dec import DEC
    from asterism.methods.deepcluster import DeepCluster
    from asterism.methods.deepcluster_v2 import DeepClusterV2
    from asterism.methods.diffusion import Diffusion
    from asterism.methods.discriminant_diffusion import DiscriminantDiffusion
    from asterism.methods.fcn import FCN
    from asterism.methods.jule import JULE
    from asterism.methods.loading import estimator_of, load, load_with_content
    from asterism.methods.spectral import LandmarkSpectral, SelfTuningSpectral, SpectralNJW
    from asterism.methods.temi import TEMI

_homes = {"loading": ["estimator_of", "load", "load_with_content"]}
for _name, _place in KNOWN_CLASSES.own.items():
    if _place.startswith(__name__):  # what methods are made of lies in other rooms too
        _homes.setdefault(_place.partition(":")[0], []).append(_name)
_find, __all__ = lazy_names(__name__, _homes)
__all__ += ["KNOWN_CLASSES", "METHODS"]


def __getattr__(name: str) -> Any:
    """What the files above hold, or a method that another distribution adds, by the name of its class."""
    if name in __all__:
        return _find(name)
    check_installed(name)
    return KNOWN_CLASSES[name] if name in KNOWN_CLASSES.added else _find(name)
