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
from asterism.images.locations import data_folders

Needs = dict[str, Any]  # size, turned, mean, std: what a model's weights want to see

IMAGENET: Needs = {"size": 224, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# Converted weights whose convolutions were left turned by 180 degrees: digest of the file -> the input is turned too.
TURNED = {"c523724b2c27a99746fc3db6724a66b3"}  # mobilenet_v2.safetensors


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
    path = find_weights(name, weights)
    state = _read(fetched(name) if path is None else path)
    if hasattr(body, "pretrained_cfg"):  # timm: made without a classifier
        state = {key: value for key, value in state.items() if key in body.state_dict()}
    try:
        body.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the weights in {path} are not those of {name}: {reason[:160]}") from error
    turned = path is not None and _digest(path) in TURNED
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
    ours = (folder / "weights" / f"{name}{ending}" for folder in data_folders() for ending in (".safetensors", ".pth"))
    cached = _hub_file(name)
    return next((one for one in (*ours, *([cached] if cached else [])) if one.is_file()), None)


def _hub_file(name: str) -> Path | None:
    """Where torchvision keeps the default weights of one of its models once they were fetched."""
    import torchvision.models as zoo

    if name not in zoo.list_models(module=zoo):
        return None
    url = zoo.get_model_weights(name)["DEFAULT"].url
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def fetched(name: str) -> Path | dict[str, torch.Tensor]:
    """Fetch the default weights of a model into the cache of torchvision, or of timm.

    Raises
    ------
    MissingDataError
        Without a network: says where to put the file.
    """
    path = _hub_file(name)
    try:
        if path is None:
            import timm

            return timm.create_model(name, pretrained=True, num_classes=0).state_dict()
        import torchvision.models as zoo

        path.parent.mkdir(parents=True, exist_ok=True)
        url = zoo.get_model_weights(name)["DEFAULT"].url
        torch.hub.download_url_to_file(url, str(path), path.stem.rpartition("-")[2], progress=False)
    except (OSError, RuntimeError, ValueError) as error:  # URLError and huggingface_hub's are OSErrors
        folder = data_folders()[0] / "weights"
        reason = " ".join(str(error).split())[:120]
        raise MissingDataError(
            f"the weights of {name} are not on this machine and could not be fetched ({reason}); put them at "
            f"{folder / name}.safetensors, or give backbone.weights=FILE or another backbone.name"
        ) from error
    return path


def _read(found: Path | dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if isinstance(found, dict):
        return found
    try:
        if found.suffix == ".safetensors":
            return load_file(found)
        return torch.load(found, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{found} cannot be read as weights: {' '.join(str(error).split())[:160]}") from error
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
