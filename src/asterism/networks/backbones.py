"""Pre-trained networks as feature extractors: any model of torchvision, timm, transformers or open_clip, its weights,
and the preprocessing that belongs to them.

The classifier is taken off, so that a network gives what its last layer was handed: VGG-16's fc7 after its ReLU (the
FCN paper's X, 4096 numbers), ResNet's, MobileNetV2's and SqueezeNet's last rectified maps averaged over their places.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn.functional import interpolate

from asterism.errors import InputError, reason_of
from asterism.networks.body import Body
from asterism.networks.channels import tell_of_channels, three_channels
from asterism.networks.foreign import ForeignBody, watched
from asterism.networks.handcrafted import HandCrafted
from asterism.networks.pixels import Pixels
from asterism.networks.recommended import default_network
from asterism.networks.weights import IMAGENET, PAPERS, in_torchvision, load_network
from asterism.parameters import Each, Interval, Parameters, parameter
from asterism.parameters.constraints import POSITIVE

WEIGHTLESS = "hog-color"


class Backbone(Parameters):
    """Which pre-trained network, and what its input looks like."""

    name: str | None = parameter(str, default=None, kw_only=False)
    """A model of torchvision (``vgg16``, the FCN paper's; ``resnet50`` and so on), of timm (DINOv2:
    ``vit_small_patch14_dinov2.lvd142m``), or, with their packages, of Hugging Face (``hf:OWNER/NAME`` or ``hf:FOLDER``)
    and of open_clip (``open_clip:MODEL/TAG``). ``"pixels"`` is no network: vectors that were computed elsewhere, or
    plain pixels; ``"hog-color"`` needs no weights: histograms of gradients and colours. By default the first of
    `asterism.networks.recommended.PREFERRED` whose weights are on this machine, else DINOv2-S, which is fetched; where
    ``weights`` are given, vgg16."""
    weights: str | None = parameter(str, default=None)
    """A ``.safetensors`` or ``.pth`` file. By default ``weights/NAME.safetensors`` in the data folder
    (``ASTERISM_DATA``), else what is published, from the caches of torchvision and Hugging Face, or fetched."""
    size: int | None = parameter(Interval(int, 16, None), default=None)
    """Pixels a side that images are brought to; by default what the weights were trained with (224 mostly), but 224
    where that is 518 (DINOv2). Transformers take multiples of their patch, 14 or 16 mostly."""
    turned: bool | None = parameter(bool, default=None)
    """Turn the input by 180 degrees; by default only for the one file of weights that is known to need it."""
    mean: Sequence[float] | None = parameter(Each(Interval(float, None, None), 3), default=None)
    """Subtracted from the channels of images in [0, 1]; by default as the weights need it."""
    std: Sequence[float] | None = parameter(Each(POSITIVE, 3), default=None)
    """What the channels are then divided by; by default as the weights need it."""

    @property
    def network(self) -> str:
        """The name, or that of the network that is taken on this machine."""
        return self.name or (PAPERS if self.weights else default_network())

    def build(self, shape: tuple[int, int, int], pretrained: bool = True) -> Body:
        """The network for images of a shape.

        Parameters
        ----------
        shape : tuple
            (C, H, W); vectors (1×1) are features already, whatever the name.
        pretrained : bool, default=True
            False leaves the weights to a ``load_state_dict``: nothing is looked up or fetched.

        Returns
        -------
        PretrainedNetwork or Pixels
            Images (B, C, H, W) → features (B, M), in evaluation mode, all weights frozen.

        Raises
        ------
        InputError
            If there is no model of the name.
        MissingDataError
            If the weights are nowhere on this machine and cannot be fetched.
        MissingDependencyError
            If the model is one of Hugging Face or open_clip and their package is not installed.
        """
        if self.name == "pixels" or shape[1:] == (1, 1):
            return Pixels(False)
        if pretrained:
            tell_of_channels(repr(self.name if self.name == WEIGHTLESS else self.network), shape[0])
        if self.name == WEIGHTLESS:
            return HandCrafted()
        name = self.network
        body, needs = load_network(name, self.weights, self.size, pretrained)
        wanted = {"turned": self.turned, "mean": self.mean, "std": self.std}
        needs |= {key: value for key, value in wanted.items() if value is not None}
        try:
            body = without_classifier(body, needs["size"]) if in_torchvision(name) else body
            network = PretrainedNetwork(body, **needs)
        except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:  # of an image of zeros
            usual = "; leave backbone.size out" if self.size is not None else ""
            raise InputError(
                f"{name} cannot take images of {needs['size']} pixels a side ({reason_of(error, 120)}){usual}"
            ) from error
        return network.requires_grad_(False).eval()


class Preparation(nn.Module):
    """Images (B, C, H, W) in [0, 1] → what a network's weights want, (B, 3, size, size).

    Belongs to the weights, and is saved and loaded with them. Parameters: see `Backbone`.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, size: int, turned: bool, mean: Sequence[float], std: Sequence[float], interpolation: str = "bilinear"
    ) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise InputError(f"backbone.mean={mean}, backbone.std={std}: expected 3 numbers each, those of std above 0")
        self.size, self.turned, self.bicubic = size, turned, interpolation == "bicubic"
        self.resizes = True
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(1, 3, 1, 1))

    def get_extra_state(self) -> torch.Tensor:
        """Size and turn, and a 1 where sizes change by cubic interpolation."""
        return torch.tensor([self.size, int(self.turned), *([1] if self.bicubic else [])])

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Called by ``load_state_dict``."""
        self.size, self.turned, self.bicubic = int(state[0]), bool(state[1]), len(state) > 2

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Prepared images."""
        images = three_channels(images)  # grey: the paper is silent; three equal channels
        if self.resizes and images.shape[2:] != (self.size, self.size):
            mode = "bicubic" if self.bicubic else "bilinear"
            images = interpolate(images, (self.size, self.size), mode=mode, antialias=True)
            images = images.clamp(0, 1) if self.bicubic else images
        images = (images - self.mean) / self.std
        return half_turn(images) if self.turned else images


class PretrainedNetwork(ForeignBody):
    """Images (B, C, H, W) in [0, 1] → features (B, M) of a network without its classifier.

    Parameters
    ----------
    body : nn.Module
        Of another library; it has no classifier.
    size : int
    turned : bool
    mean, std : sequence of 3 floats
        See `Backbone`.
    interpolation : {"bilinear", "bicubic"}
        How images of another size are brought to theirs.
    """

    FRONT, INNER = "prepare", "body"

    def __init__(
        self,
        body: nn.Module,
        size: int = 224,
        turned: bool = False,
        mean: Sequence[float] = IMAGENET["mean"],
        std: Sequence[float] = IMAGENET["std"],
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        self.prepare = Preparation(size, turned, mean, std, interpolation)
        self.body = body.eval()
        self.find_layers(self.input_shape)

    @property
    def input_shape(self) -> tuple[int, int, int]:  # type: ignore[override]  # read from what is loaded
        """(3, size, size): what a batch costs."""
        return 3, self.prepare.size, self.prepare.size

    def open_to_any_size(self) -> None:
        """Take images as large as they are."""
        self.prepare.resizes = False

    def maps(self, images: torch.Tensor, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Maps of the named layers, upright where the weights want their input turned."""
        found = super().maps(images, names)
        return {name: half_turn(maps) for name, maps in found.items()} if self.prepare.turned else found


def half_turn(images: torch.Tensor) -> torch.Tensor:
    """Images or maps (B, C, H, W), turned by 180 degrees."""
    return images.flip(-1, -2)


@torch.no_grad()
def without_classifier(body: nn.Module, size: int) -> nn.Module:
    """A classifier of torchvision without its last layer, the last one with weights that an image goes through."""
    ran: list[str] = []

    layers = {name: one for name, one in body.named_modules() if isinstance(one, (nn.Linear, nn.Conv2d))}
    with watched(layers, lambda name, _output: ran.append(name)):
        body.eval()(torch.zeros(1, 3, size, size))
    body.set_submodule(ran[-1], nn.Identity())
    return body
