"""Image towers of two optional packages: ``hf:OWNER/NAME`` by transformers and ``open_clip:MODEL/TAG`` by open_clip."""

from __future__ import annotations

import difflib
import inspect
import os
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from asterism.errors import InputError, MissingDataError, MissingDependencyError, reason_of
from asterism.files import expanded
from asterism.images.fetch import answered, check_online

HUGGING_FACE, OPEN_CLIP = "hf:", "open_clip:"
BICUBIC = 3  # what Pillow calls it
MOST_MISSING = 0.1  # of the numbers of a model: a mask's token or a last norm may be left to its first values


def hub() -> str:
    """Address of Hugging Face, or of the mirror that ``HF_ENDPOINT`` names."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_url(repository: str, file: str) -> str:
    """Where a file of ``owner/name`` is had."""
    return f"{hub()}/{repository}/resolve/main/{file}"


# ---------------------------------------------------------------- transformers


class HuggingFaceTower(nn.Module):
    """A vision model of transformers, or the vision part of one of images and texts.

    What is given: the model's own pooled output; the class token where its pooling layer is made for fine-tuning alone
    (ViT, DeiT: a dense layer that self-supervised weights have not trained); else the mean over all places.
    """

    def __init__(self, model: nn.Module, resized: bool, turns_colors: bool = False) -> None:
        super().__init__()
        self.turns_colors = turns_colors  # blue first, as MobileViT was trained
        self.model = getattr(model, "vision_model", model).float()  # transformers 5 leaves half precision as stored
        resizable = "interpolate_pos_encoding" in inspect.signature(self.model.forward).parameters
        self.aside = {"interpolate_pos_encoding": True} if resized and resizable else {}
        self.by_token = hasattr(getattr(self.model, "pooler", None), "dense")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, M)."""
        out = self.model(pixel_values=images.flip(1) if self.turns_colors else images, **self.aside)
        if self.by_token:
            return out.last_hidden_state[:, 0]
        if getattr(out, "pooler_output", None) is not None:
            return out.pooler_output.flatten(1)
        hidden = out.last_hidden_state
        return hidden.mean((2, 3)) if hidden.ndim == 4 else hidden.mean(1)


def hugging_face_tower(name: str, size: int | None, pretrained: bool) -> tuple[nn.Module, dict[str, Any]]:
    """A model ``hf:OWNER/NAME`` or ``hf:FOLDER``, and what its images look like.

    Raises
    ------
    MissingDependencyError
        Without transformers.
    MissingDataError
        If the model is not here and cannot be fetched: no network, no such name, or consent of its owner is needed.
    InputError
        If its weights are damaged, or of another model.

    Warns
    -----
    UserWarning
        If nothing says what its images look like.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(f"backbone.name={name!r} needs: pip install 'asterism-clustering[hf]'") from error
    repository = name.removeprefix(HUGGING_FACE)
    folder = expanded(repository)
    source = str(folder) if folder.is_dir() else repository
    with _quiet(transformers.logging):
        config = _here_or_fetched(name, source, transformers.AutoConfig.from_pretrained)
        try:
            looks: Any = _here_or_fetched(name, source, transformers.AutoImageProcessor.from_pretrained)
        except MissingDataError:  # a folder with a model alone
            looks = None
            if pretrained:
                warnings.warn(
                    f"{name} has no preprocessor_config.json: images are brought to {size or _side(None)} pixels "
                    "and ImageNet's mean and deviation; if it was trained on others, set backbone.size, .mean and .std",
                    UserWarning,
                    stacklevel=3,
                )
        if pretrained:
            model = _with_weights(name, source, transformers.AutoModel.from_pretrained)
        else:
            with torch.random.fork_rng(devices=[]):
                model = transformers.AutoModel.from_config(config, trust_remote_code=False)
    usual = _side(looks)
    plain = looks is not None and not getattr(looks, "do_normalize", True)  # pixels in [0, 1] as they are
    needs = {
        "size": size or usual,
        "mean": (0.0,) * 3 if plain else tuple(getattr(looks, "image_mean", None) or (0.485, 0.456, 0.406)),
        "std": (1.0,) * 3 if plain else tuple(getattr(looks, "image_std", None) or (0.229, 0.224, 0.225)),
        "interpolation": "bicubic" if getattr(looks, "resample", None) == BICUBIC else "bilinear",
    }
    trained = getattr(getattr(config, "vision_config", config), "image_size", needs["size"])
    turns_colors = bool(getattr(looks, "do_flip_channel_order", False))
    return HuggingFaceTower(model, needs["size"] != trained, turns_colors), needs


def _with_weights(name: str, source: str, load: Callable[..., Any]) -> nn.Module:
    """A model with its weights: transformers draws those that a file lacks, and says so in a log alone."""
    try:
        model, about = _here_or_fetched(name, source, partial(load, output_loading_info=True))
    except (RuntimeError, SafetensorError) as error:
        raise InputError(f"the weights of {name} are damaged or of another model: {reason_of(error, 160)}") from error
    tower = "vision_model." if hasattr(model, "vision_model") else ""
    sizes = {key: one.numel() for key, one in model.named_parameters() if key.startswith(tower) and "pooler" not in key}
    missing = sizes.keys() & set(about["missing_keys"])
    if sum(sizes[key] for key in missing) > MOST_MISSING * sum(sizes.values()):
        raise InputError(
            f"the weights of {name} are of another model: they lack {len(missing)} of {len(sizes)}, {min(missing)} say"
        )
    return model


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """No reports of each text weight that a vision tower leaves aside, no bar for each file that is read."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def _here_or_fetched(name: str, source: str, load: Callable[..., Any]) -> Any:
    """What a ``from_pretrained`` loads: of this machine if it can, else fetched, where somebody answers.

    Code that comes with a model is not run; left to itself, transformers asks on the terminal whether it may.
    """
    load = partial(load, trust_remote_code=False)
    try:
        return load(source, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = error
    page = f"{hub()}/{source}"
    try:
        if os.path.isdir(source):
            raise reason
        check_online()
        answered(urllib.request.Request(hub(), method="HEAD")).close()
        return load(source)
    except (OSError, ValueError, KeyError) as error:
        raise MissingDataError(
            f"backbone.name={name!r} is not on this machine and cannot be had ({reason_of(error, 160)}); see {page}: "
            "is the name right, does its owner ask for consent (give it there and set HF_TOKEN)? Or give a folder, "
            "hf:FOLDER"
        ) from error


def _side(looks: Any) -> int:
    """Pixels a side that a processor makes of images."""
    for name in ("crop_size", "size"):
        found = getattr(looks, name, None)
        if isinstance(found, int):
            return found
        for key in ("height", "shortest_edge"):
            if found is not None and (value := _entry(found, key)):
                return int(value)
    return 224


def _entry(found: Any, key: str) -> Any:
    return found.get(key) if hasattr(found, "get") else getattr(found, key, None)


# ---------------------------------------------------------------- open_clip


class OpenClip:
    """A model and a tag of open_clip, ``open_clip:ViT-B-32/laion2b_s34b_b79k``.

    Raises
    ------
    InputError
        If open_clip has no such model, or no such weights of it; lists what it has.
    MissingDependencyError
        Without open_clip.
    """

    def __init__(self, name: str) -> None:
        try:
            import open_clip
        except ImportError as error:
            raise MissingDependencyError(
                f"backbone.name={name!r} needs: pip install 'asterism-clustering[open_clip]'"
            ) from error
        self.library = open_clip
        self.model, _, self.tag = name.removeprefix(OPEN_CLIP).partition("/")
        models = open_clip.list_models()
        if self.model not in models:
            close = difflib.get_close_matches(self.model, models, 3)
            hint = f"; did you mean {', '.join(close)}?" if close else f"; it has {', '.join(models[:8])} …"
            raise InputError(f"backbone.name={name!r}: open_clip has no model {self.model!r}{hint}")
        tags = open_clip.list_pretrained_tags_by_model(self.model)
        if self.tag not in tags:
            raise InputError(
                f"backbone.name={name!r}: say which weights of {self.model}, {OPEN_CLIP}{self.model}/TAG; "
                f"TAG is one of {', '.join(tags)}"
            )
        self.about = open_clip.get_pretrained_cfg(self.model, self.tag)

    @property
    def repository(self) -> str:
        """``owner/name`` at Hugging Face; empty where the weights lie elsewhere."""
        owner, _, rest = str(self.about.get("hf_hub") or "").partition("/")
        return f"{owner}/{rest.partition('/')[0]}" if rest else ""

    @property
    def url(self) -> str | None:
        """Where the weights are had."""
        file = str(self.about.get("hf_hub") or "").rpartition("/")[2]
        if self.repository:
            return hub_url(self.repository, file or "open_clip_model.safetensors")
        return self.about.get("url") or None

    def build(self, size: int | None, weights: Path | None) -> tuple[nn.Module, dict[str, Any]]:
        """The image tower, and what its images look like.

        Raises
        ------
        RuntimeError
            If the weights are of another model.
        """
        whole = self.library.create_model(
            self.model, load_weights=False, force_image_size=size, force_quick_gelu=bool(self.about.get("quick_gelu"))
        )
        if weights is not None:
            self.library.load_checkpoint(whole, str(weights))
        side = whole.visual.image_size
        needs = {
            "size": side if isinstance(side, int) else side[0],
            "mean": tuple(self.about.get("mean") or self.library.OPENAI_DATASET_MEAN),
            "std": tuple(self.about.get("std") or self.library.OPENAI_DATASET_STD),
            "interpolation": self.about.get("interpolation") or "bicubic",
        }
        return OpenClipTower(whole.visual), needs


class OpenClipTower(nn.Module):
    """The image side of a model of open_clip."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, M), in the space that texts share."""
        found = self.visual(images)
        return found[0] if isinstance(found, tuple) else found
