"""Models of torchvision, timm, transformers and open_clip by name, their preprocessing, and their weights."""

from __future__ import annotations

import difflib
import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from asterism.errors import AsterismError, InputError, MissingDataError, reason_of
from asterism.files import expanded
from asterism.images.fetch import download
from asterism.images.locations import data_folders
from asterism.networks.recommended import file_name, known_network, recommended, stored_weights, torch_hub
from asterism.networks.towers import HUGGING_FACE, OPEN_CLIP, OpenClip, hub, hub_url, hugging_face_tower
from asterism.networks.zoo import WITH_SIDES, torchvision_models

Needs = dict[str, Any]  # size, turned, mean, std, interpolation: what a model's weights want to see

IMAGENET: Needs = {"size": 224, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PAPERS = "vgg16"  # FCN's network
# Converted weights whose convolutions were left turned by 180 degrees: digest of the file -> the input is turned too.
TURNED = {"c523724b2c27a99746fc3db6724a66b3"}  # mobilenet_v2.safetensors
# DINOv2 is distributed for images of 518 pixels: eight times the work of 224, at which it was trained.
LARGE, USUAL = 518, 224
# Of DataParallel, of torch.compile, of Lightning, of networks with a head: what stands beside them is none of theirs.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
PACKED = (b"PK", b"\x80")  # how what torch saves begins: an archive, or a pickle of old


def load_network(
    name: str, weights: str | None = None, size: int | None = None, pretrained: bool = True
) -> tuple[nn.Module, Needs]:
    """A model with its trained weights, and the input that these want.

    Parameters
    ----------
    name, weights, size
        See `Backbone`.
    pretrained : bool, default=True
        False looks no weights up: they are whatever the constructor draws.

    Raises
    ------
    MissingDataError
        If the weights are not here and cannot be fetched.
    InputError
        If no library has the name, or the file of weights is damaged or of another model.
    MissingDependencyError
        If the name asks for an optional package that is not installed.
    """
    if name.startswith(HUGGING_FACE):
        if weights is not None:
            raise InputError(f"backbone.weights is not for {name!r}: give the folder itself, {HUGGING_FACE}FOLDER")
        return hugging_face_tower(name, size, pretrained)
    check_name(name)
    if not pretrained:
        return construct(name, size)
    found = find_weights(name, weights) or fetched(name)
    try:
        if name.startswith(OPEN_CLIP):
            if found.suffix != ".safetensors":
                _read(found)  # refuses a pickle with code, which open_clip's loader runs in older versions
            return OpenClip(name).build(size, found)
        body, needs = construct(name, size, _state_of(found))
    except (AsterismError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever a library's Python raises on keys that it does not know
        raise InputError(f"the weights in {found} are not those of {name}: {reason_of(error, 160)}") from error
    return body, {**needs, "turned": _digest(found) in TURNED}


def in_torchvision(name: str) -> bool:
    """Whether torchvision has a classifier of the name."""
    zoo = torchvision_models()
    return name in zoo.list_models(module=zoo)


def check_name(name: str) -> None:
    """See that a library has a model of the name; nothing is built.

    Raises
    ------
    InputError
        If neither torchvision nor timm, or not open_clip, has it; with the nearest names.
    MissingDependencyError
        If the name asks for open_clip and that is not installed.
    """
    zoo = torchvision_models()
    if name.startswith(OPEN_CLIP):
        OpenClip(name)
        return
    known = zoo.list_models(module=zoo)
    if name in known:
        return
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        names = [*known, *timm.list_models(), "pixels", "hog-color"]
        close = difflib.get_close_matches(architecture, names, 1)
        hint = f"; did you mean {close[0]!r}?" if close else "; asterism backbones lists good ones"
        raise InputError(f"backbone.name={name!r} is a model of neither torchvision nor timm{hint}")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        there = f"weights called {', '.join(tags)}" if tags else "no trained weights"
        raise InputError(f"backbone.name={name!r}: timm has {there} for {architecture}, and not {tag!r}")


def construct(
    name: str, size: int | None = None, state: dict[str, torch.Tensor] | None = None
) -> tuple[nn.Module, Needs]:
    """A model, and the input that its usual weights want.

    Parameters
    ----------
    name : str
        As `check_name` lets pass.
    size : int, optional
        Pixels a side of its input; by default what its weights were trained with, but 224 instead of 518.
    state : dict, optional
        Trained weights; positions of another size are resampled. By default the weights are drawn.

    Raises
    ------
    RuntimeError
        If the weights are of another model.
    """
    with torch.random.fork_rng(devices=[]):  # constructors draw from torch's global generator, which we leave alone
        if name.startswith(OPEN_CLIP):
            return OpenClip(name).build(size, None)
        if in_torchvision(name):
            return _of_torchvision(name, size, state)
        return _of_timm(name, size, state)


def _of_torchvision(name: str, size: int | None, state: dict[str, torch.Tensor] | None) -> tuple[nn.Module, Needs]:
    zoo = torchvision_models()
    preset = zoo.get_model_weights(name)["DEFAULT"].transforms()
    needs: Needs = {"size": size or preset.crop_size[0], "mean": tuple(preset.mean), "std": tuple(preset.std)}
    needs["interpolation"] = preset.interpolation.value
    aside: dict[str, Any] = {"init_weights": False} if name in WITH_SIDES else {}
    if name in WITH_SIDES:  # they were trained on numbers from -1 to 1, to which they bring ImageNet's units themselves
        needs |= {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    if name.startswith("vit_"):
        aside["image_size"] = needs["size"]
    model = zoo.get_model(name, weights=None, **aside)
    if state is not None:
        if name.startswith("vit_") and size is not None:
            patch = model.patch_size
            state = zoo.vision_transformer.interpolate_embeddings(needs["size"], patch, state)
        own = model.state_dict()
        last = next(reversed(own)).rpartition(".")[0] + "."  # the classifier: it is taken off, whatever the file has
        state = {key: one for key, one in state.items() if not key.startswith(last)}
        model.load_state_dict(state | {key: one for key, one in own.items() if key.startswith(last)})
    return model, needs


def _of_timm(name: str, size: int | None, state: dict[str, torch.Tensor] | None) -> tuple[nn.Module, Needs]:
    import timm

    about: Any = timm.get_pretrained_cfg(name, allow_unregistered=True)
    usual = about.input_size[-1]
    side = size or (USUAL if usual == LARGE else usual)
    given: Any = {"num_classes": 0}
    if state is not None:  # through timm's own door, which knows older spellings and resamples positions
        ends = [about.classifier] if isinstance(about.classifier, str) else about.classifier or []
        kept = {key: one for key, one in state.items() if not any(key.startswith(f"{end}.") for end in ends)}
        if not kept:  # timm would fetch others instead
            raise RuntimeError("there are those of a classifier alone")
        overlay = {"state_dict": kept, "num_classes": 0, "custom_load": False}
        given.update(pretrained=True, pretrained_cfg_overlay=overlay)
    sized: Any = {"img_size": side} if about.fixed_input_size and side != usual else {}
    try:
        model = timm.create_model(name, **given, **sized)
    except TypeError as error:
        if not sized:
            raise
        raise InputError(f"{name} takes images of {usual} pixels a side alone: leave backbone.size out") from error
    needs = {"size": side, "mean": tuple(about.mean), "std": tuple(about.std), "interpolation": about.interpolation}
    return model, needs


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
    found = stored_weights(name)
    if found is not None or recommended(name) is not None:
        return found
    folder = torch_hub()
    if any(file.name.startswith(f"{name}-") for file in folder.glob("*.pth")) and (url := _torchvision_url(name)):
        return stored_weights(name, torchvision_file=url.rpartition("/")[2])  # to ask torchvision takes seconds
    if name.startswith(OPEN_CLIP):
        return stored_weights(name, hub=OpenClip(name).repository)
    import timm

    if timm.is_model(name):
        about: Any = timm.get_pretrained_cfg(name)
        return stored_weights(f"{about.architecture}.{about.tag}" if about.tag else name, hub=about.hf_hub_id)
    return None


def _torchvision_url(name: str) -> str | None:
    """Where torchvision's default weights of a model are had; None for those of others."""
    return torchvision_models().get_model_weights(name)["DEFAULT"].url if in_torchvision(name) else None


def address(name: str) -> str | None:
    """Where the default weights of a model are had; None where none are published."""
    if name.startswith(OPEN_CLIP):
        return OpenClip(name).url
    if url := _torchvision_url(name):
        return url
    import timm

    about: Any = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if about.hf_hub_id:
        return hub_url(about.hf_hub_id, about.hf_hub_filename or "model.safetensors")
    return about.url or None


def fetched(name: str) -> Path:
    """Fetch the default weights of a model: into the cache of torchvision, or those of others into the cache folder.

    Raises
    ------
    MissingDataError
        Without a network: says where they are had, where to put them, and what can be done without.
    """
    url = address(name)
    if url is None:
        raise MissingDataError(f"no trained weights of {name} are published: give backbone.weights=FILE")
    file = url.rpartition("/")[2]
    ending = ".safetensors" if file.endswith(".safetensors") else ".pth"
    path = data_folders()[-1] / "weights" / f"{file_name(name)}{ending}"
    try:
        if _torchvision_url(name):
            path = torch_hub() / file
            download(url, path, Path(file).stem.rpartition("-")[2])
        else:
            download(url, path, token=os.environ.get("HF_TOKEN") if url.startswith(hub()) else None)
        return path
    except (OSError, ValueError) as error:  # URLError is an OSError
        raise MissingDataError(_how_to_get(name, url, reason_of(error, 120))) from error


def _how_to_get(name: str, url: str, reason: str) -> str:
    """One line for whoever has to do without a network."""
    ending = ".safetensors" if url.endswith(".safetensors") else ".pth"
    place = data_folders()[0] / "weights" / f"{file_name(name)}{ending}"
    here = known_network()
    other = f"backbone.name={here!r}, whose weights are here" if here else "another backbone.name"
    consent = ""
    if "Error 401" in reason or "Error 403" in reason:
        page = url.partition("/resolve/")[0]
        consent = f"if they need consent, give it at {page} and set HF_TOKEN; else "
    return (
        f"the weights of {name} are not on this machine and could not be fetched from {url} ({reason}); {consent}"
        f"put them at {place}, or give backbone.weights=FILE or {other}; the methods dbc and kmeans need none, nor "
        "does backbone.name=hog-color"
    )


def _state_of(found: Path) -> dict[str, torch.Tensor]:
    """The weights in a file, by their names in the network; a checkpoint's other contents are left aside.

    Raises
    ------
    InputError
        If it cannot be read, or holds no weights or those of several networks.
    """
    state = _read(found)
    if not _is_state(state):
        inner = {str(key): one for key, one in state.items() if _is_state(one)} if isinstance(state, dict) else {}
        if len(inner) > 1:
            raise InputError(f"{found} holds several networks ({', '.join(inner)}): save the weights of one alone")
        if not inner:
            raise InputError(f"{found} holds no weights of a network: save its state_dict")
        (state,) = inner.values()
    while prefix := next((one for one in PREFIXES if any(key.startswith(one) for key in state)), ""):
        state = {key.removeprefix(prefix): one for key, one in state.items() if key.startswith(prefix)}
    return state


def _is_state(value: object) -> bool:
    """Whether these are weights by their names."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return False
    return any(isinstance(one, torch.Tensor) and key.endswith("weight") for key, one in value.items())


def _read(found: Path) -> Any:
    try:
        if found.suffix.lower() == ".safetensors":
            return load_file(found)
        with open(found, "rb") as file:
            if not file.read(2).startswith(PACKED):
                raise ValueError("it begins like no file of weights")
        return torch.load(found, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        if "TorchScript" in str(error):
            raise InputError(f"{found} is a TorchScript program and is not run: save its state_dict alone") from error
        raise InputError(
            f"{found} cannot be read as weights and may be cut off ({reason_of(error, 160)}): remove it and fetch it "
            "again, or give backbone.weights=FILE"
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
