"""The recommended pre-trained networks, what they cost, and where their weights lie; without an import of torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from asterism.files import expanded
from asterism.images.locations import data_folders
from asterism.machine import available_cores

MEASURED_ON = "one thread of an AMD EPYC (Zen 4, 2.6 GHz), float32, batches of 8 images of 224 pixels"
HUB_FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin")


class Recommended(NamedTuple):
    """A network and what it is good for.

    Attributes
    ----------
    name : str
        What ``Backbone`` and ``--set backbone.name=`` take.
    parameters : float
        Millions of them, without a classifier.
    megabytes : int
        What is fetched.
    licence : str
        Of the weights, as their publisher says.
    seconds : float
        For 1 000 images, see `MEASURED_ON`.
    good_for : str
    file : str
        What torchvision calls the weights in its cache; empty for networks of timm.
    """

    name: str
    parameters: float
    megabytes: int
    licence: str
    seconds: float
    good_for: str
    file: str = ""


# In the order in which the first is taken whose weights are here.
RECOMMENDED = (
    Recommended("vit_base_patch14_dinov2.lvd142m", 85.7, 346, "Apache-2.0", 523, "the best groups of any photographs"),
    Recommended("vit_small_patch14_dinov2.lvd142m", 21.6, 88, "Apache-2.0", 158, "any photographs: the default"),
    Recommended("vit_base_patch16_clip_224.openai", 85.8, 345, "MIT", 402, "what is shown, whatever it looks like"),
    Recommended("convnext_tiny.in12k_ft_in1k", 27.8, 114, "Apache-2.0", 117, "objects and animals"),
    Recommended("resnet50", 23.5, 98, "BSD-3-Clause", 101, "objects", "resnet50-11ad3fa6.pth"),
    Recommended("vgg16", 134.3, 528, "BSD-3-Clause", 310, "the FCN paper's rows", "vgg16-397923af.pth"),
    Recommended("mobilenet_v2", 2.2, 14, "BSD-3-Clause", 24, "small machines, slow lines", "mobilenet_v2-7ebf99e0.pth"),
    Recommended("resnet18", 11.2, 45, "BSD-3-Clause", 37, "quick trials", "resnet18-f37072fd.pth"),
    Recommended("squeezenet1_0", 0.7, 5, "BSD-3-Clause", 22, "the least to fetch", "squeezenet1_0-b66bff10.pth"),
    Recommended("squeezenet1_1", 0.7, 5, "BSD-3-Clause", 11, "the same, quicker", "squeezenet1_1-b8a52dc0.pth"),
    Recommended("alexnet", 57.0, 233, "BSD-3-Clause", 17, "comparisons with old papers", "alexnet-owt-7be5be79.pth"),
)
PREFERRED = tuple(one.name for one in RECOMMENDED)
TO_FETCH = "vit_small_patch14_dinov2.lvd142m"  # where no network is here


def recommended(name: str) -> Recommended | None:
    """The row of a network, None where it has none."""
    return next((one for one in RECOMMENDED if one.name == name), None)


def known_network() -> str | None:
    """The first of `PREFERRED` whose weights are on this machine."""
    return next((name for name in PREFERRED if stored_weights(name) is not None), None)


def default_network() -> str:
    """The network where none is named: `known_network`, or `TO_FETCH`, whose weights then have to be fetched."""
    return known_network() or TO_FETCH


def stored_weights(name: str, torchvision_file: str | None = None, hub: str | None = None) -> Path | None:
    """Where the weights of a network lie on this machine, or None.

    Looked for in ``weights/`` of the data folders, in torchvision's cache, and in that of Hugging Face.

    Parameters
    ----------
    name : str
    torchvision_file, hub : str, optional
        What the file is called by torchvision; ``owner/name`` at Hugging Face. By default those of a recommended
        network, and timm's own owner.
    """
    known = recommended(name)
    places = [
        folder / "weights" / f"{file_name(name)}{end}" for folder in data_folders() for end in (".safetensors", ".pth")
    ]
    if torchvision_file := torchvision_file or (known.file if known else ""):
        places.append(torch_hub() / torchvision_file)
    else:
        places += hub_files(hub or f"timm/{name}")
    return next((one for one in places if one.is_file()), None)


def file_name(name: str) -> str:
    """What the file with a network's weights is called, without its ending: ``open_clip:ViT-B-32/openai`` has marks."""
    return name.replace(":", "-").replace("/", "-")


def torch_hub() -> Path:
    """Where torchvision keeps weights that were fetched."""
    if "torch" in sys.modules:
        return Path(sys.modules["torch"].hub.get_dir()) / "checkpoints"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(os.environ.get("TORCH_HOME") or f"{cache}/torch") / "hub" / "checkpoints"


def hub_files(repository: str) -> Iterable[Path]:
    """Files of weights of ``owner/name`` in the cache of Hugging Face, the newest first."""
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    cache = expanded(os.environ.get("HF_HUB_CACHE") or f"{home}/hub")
    folder = cache / f"models--{repository.replace('/', '--')}" / "snapshots"
    if any(mark in repository for mark in "*?["):
        return []
    found = [one for name in HUB_FILES for one in folder.glob(f"*/{name}")]
    return sorted(found, key=lambda one: one.lstat().st_mtime, reverse=True)


def threads() -> int:
    """Threads that torch will compute with, as far as can be told before it is imported."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(told), available_cores()) if told.isdigit() and int(told) > 0 else available_cores()


def seconds_for(name: str, n_images: int) -> float | None:
    """About how long a processor needs for the features of so many images: the table's figure over `threads`.

    None where the network is not in the table.
    """
    known = recommended(name)
    return None if known is None else known.seconds * n_images / 1000 / threads()
