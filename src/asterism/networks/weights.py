"""Models of torchvision and timm by name, and where their weights are found."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from asterism.errors import InputError, MissingDataError, MissingDependencyError
from asterism.files import expanded
from asterism.images.fetch import download
from asterism.images.locations import data_folders

Needs = dict[str, Any]  # size, turned, mean, std: what a model's weights want to see

IMAGENET: Needs = {"size": 224, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PAPERS = "vgg16"  # FCN's network
# Networks in the order in which the first is taken whose weights are on this machine.
PREFERRED = ("resnet50", "vgg16", "mobilenet_v2", "resnet18", "squeezenet1_0", "squeezenet1_1", "alexnet")
# Converted weights whose convolutions were left turned by 180 degrees: digest of the file -> the input is turned too.
TURNED = {"c523724b2c27a99746fc3db6724a66b3"}  # mobilenet_v2.safetensors


def known_network() -> str | None:
    """The first of `PREFERRED` whose weights are on this machine."""
    return next((name for name in PREFERRED if find_weights(name) is not None), None)


def default_network() -> str:
    """The network where none is named: `known_network`, or the paper's, whose weights then have to be fetched."""
    return known_network() or PAPERS


def construct(name: str) -> tuple[nn.Module, Needs]:
    """A model without trained weights, and the input that its usual weights want.

    Raises
    ------
    InputError
        If neither torchvision nor timm has the name.
    MissingDependencyError
        If torchvision has not, and timm is not installed.
    """
    import torchvision.models as zoo

    with torch.random.fork_rng(devices=[]):  # constructors draw from torch's global generator, which we leave alone
        if name in zoo.list_models(module=zoo):
            needs = dict(IMAGENET)
            preset = zoo.get_model_weights(name)["DEFAULT"].transforms()
            needs.update(size=preset.crop_size[0], mean=tuple(preset.mean), std=tuple(preset.std))
            aside = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            return zoo.get_model(name, weights=None, **aside), needs
        timm = _timm(name, zoo.list_models(module=zoo))
        model = timm.create_model(name, pretrained=False, num_classes=0)
    about = model.pretrained_cfg
    return model, {"size": about["input_size"][-1], "mean": tuple(about["mean"]), "std": tuple(about["std"])}


def _timm(name: str, known: Iterable[str]) -> ModuleType:
    close = difflib.get_close_matches(name, [*known, "pixels"], 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError(
            f"backbone.name={name!r} is no model of torchvision; {hint}Models of timm need: pip install timm"
        ) from error
    if not timm.is_model(name):
        raise InputError(f"backbone.name={name!r} is a model of neither torchvision nor timm; {hint}".rstrip("; "))
    return timm


def load_weights(body: nn.Module, name: str, weights: str | None, needs: Needs) -> Needs:
    """Fill a model with trained weights.

    Parameters
    ----------
    body : nn.Module
        Of `construct`.
    name : str
    weights : path, optional
        See `Backbone`.
    needs : dict
        Of `construct`.

    Returns
    -------
    dict
        ``needs``, with what this very file wants (``turned``).

    Raises
    ------
    MissingDataError
        If there are none and none can be fetched.
    InputError
        If the file is damaged or of another model.
    """
    found = find_weights(name, weights) or fetched(name)
    state = _read(found)
    if hasattr(body, "pretrained_cfg"):  # timm: made without a classifier
        state = {key: value for key, value in state.items() if key in body.state_dict()}
    try:
        body.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        where = found if isinstance(found, Path) else "timm's cache"
        raise InputError(f"the weights in {where} are not those of {name}: {reason[:160]}") from error
    turned = isinstance(found, Path) and _digest(found) in TURNED
    return {**needs, "turned": turned}


def find_weights(name: str, weights: str | None = None) -> Path | None:
    """Where the weights of a model lie on this machine, or None.

    Raises
    ------
    MissingDataError
        If ``weights`` is given and does not exist.
    """
    if weights is not None:
        path = expanded(weights)
        if not path.is_file():
            raise MissingDataError(f"backbone.weights={weights!r} does not exist; give a .safetensors or .pth file")
        return path
    endings = (".safetensors", ".pth")
    ours = [folder / "weights" / f"{name}{ending}" for folder in data_folders() for ending in endings]
    fetched_before = any(file.name.startswith(f"{name}-") for file in _hub_folder().glob("*.pth"))
    if fetched_before and (url := _address(name)):  # to ask torchvision for the address takes seconds
        ours.append(_hub_folder() / url.rpartition("/")[2])
    return next((one for one in ours if one.is_file()), None)


def _hub_folder() -> Path:
    """Where torchvision keeps weights that were fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _address(name: str) -> str | None:
    """Where torchvision's default weights of a model are had; None for those of timm."""
    import torchvision.models as zoo

    if name not in zoo.list_models(module=zoo):
        return None
    return zoo.get_model_weights(name)["DEFAULT"].url


def fetched(name: str) -> Path | dict[str, torch.Tensor]:
    """Fetch the default weights of a model into the cache of torchvision, or of timm.

    Raises
    ------
    MissingDataError
        Without a network: says where they are had, where to put them, and what can be done without.
    """
    url = _address(name)
    try:
        if url is None:
            import timm

            return timm.create_model(name, pretrained=True, num_classes=0).state_dict()  # keeps HF_HUB_OFFLINE itself
        file = url.rpartition("/")[2]
        path = _hub_folder() / file
        download(url, path, Path(file).stem.rpartition("-")[2])
        return path
    except (OSError, RuntimeError, ValueError) as error:  # URLError and huggingface_hub's are OSErrors
        raise MissingDataError(_how_to_get(name, url, " ".join(str(error).split())[:120])) from error


def _how_to_get(name: str, url: str | None, reason: str) -> str:
    """One line for whoever has to do without a network."""
    place = data_folders()[0] / "weights" / f"{name}{'.pth' if url else '.safetensors'}"
    here = known_network()
    other = f"backbone.name={here!r}, whose weights are here" if here else "another backbone.name"
    return (
        f"the weights of {name} are not on this machine and could not be fetched"
        f"{f' from {url}' if url else ''} ({reason}); put them at {place}, or give backbone.weights=FILE or {other}; "
        "the methods dbc and kmeans need none"
    )


def _read(found: Path | dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if isinstance(found, dict):
        return found
    try:
        if found.suffix == ".safetensors":
            return load_file(found)
        return torch.load(found, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{found} cannot be read as weights and may be cut off ({reason}): remove it and fetch it again, or give "
            "backbone.weights=FILE"
        ) from error
    except OSError as error:
        raise InputError(f"{found} cannot be read: {os.strerror(error.errno or 0)}") from error
    except Exception as error:  # torch.load raises UnpicklingError for what weights_only refuses
        raise InputError(f"{found} holds more than tensors and is not opened: save its state_dict alone") from error


def _digest(path: Path) -> str:
    digest = hashlib.blake2b()
    with open(path, "rb") as file:
        while block := file.read(2**24):
            digest.update(block)
    return digest.hexdigest()[:32]
