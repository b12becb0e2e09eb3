"""PASCAL VOC 2012 segmentation by a fully convolutional network on a run's convolutions (DeepCluster §4.4, Table 2).

Shelhamer, Long and Darrell, "Fully convolutional networks for semantic segmentation", 2015: FCN-32s, whose fc6 and fc7
are the network's own, seen as convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.models.segmentation.fcn import FCNHead

from asterism.errors import InputError
from asterism.networks.alexnet_vgg import Dropout
from asterism.networks.initialise import build, gaussian_weights
from asterism.parameters import parameter
from asterism.parameters.constraints import POSITIVE
from asterism.training import Run
from asterism_papers.transfer.backbone import Pieces, free, input_shape, parts_of
from asterism_papers.transfer.fine_tune import FineTuning, Recipe, fine_tune, prefetched
from asterism_papers.transfer.voc import VocImages, check_apart
from asterism_papers.transfer.voc_scores import VOID, Confusion

STAGE = "voc-segment"
OBJECTS = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
           "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor")  # fmt: skip
PIXELS = 190_000  # of an image, about
# FCN's own: 100 000 images one by one, and a rate of 1e-10 with momentum .99 and a weight decay of 5e-4 for the sum
# over the pixels. With momentum .9 and for their mean that is 1e-10·190 000·(1 − .9) / (1 − .99) and 5e-4 / 190 000.
_RECIPE = Recipe(100_000, 1, 1.9e-4, 100_000, 1.0, 5e-4 / PIXELS)


class SegmentationTuning(FineTuning):
    """How the network is trained, by default as FCN; ``fc6-8`` leaves the convolutions as they are.

    FCN's doubled rate of biases is left out, and images are mirrored, which FCN's are not.
    """

    scale: float | None = parameter(POSITIVE, default=None)
    """Images are shown at this part of their size. By default in full to networks that learned at 224² or more, in
    proportion to others; the shorter side is never less than what the network learned at."""
    RECIPES: ClassVar[dict[str, Recipe]] = {"fc6-8": _RECIPE, "all": _RECIPE}

    def scale_for(self, shape: tuple[int, int, int]) -> float:
        """The part of their size that images are shown at to a network that learned on images (C, H, W)."""
        return self.scale or min(1.0, min(shape[1:]) / 224)


@dataclass(frozen=True)
class Segmented:
    """Scores of a segmentation.

    Attributes
    ----------
    mean_iou : float
        Intersection over union, pixels of all images together, mean over the classes, the background among them.
    pixel_accuracy : float
    overlaps : dict of str to float
        Of each class that occurs.
    learnt : str
        Which layers were trained.
    """

    mean_iou: float
    pixel_accuracy: float
    overlaps: dict[str, float]
    learnt: str


class Segmenter(nn.Module):
    """Images (B, C, h, w) → logits (B, classes, H, W) of another size.

    Parameters
    ----------
    convolutions : nn.Module
        Always in evaluation mode: batch norm keeps its statistics.
    head : nn.Module
        Maps → coarse logits.
    corners : bool
        Whether these lie on the corners of the maps' cells and not in their middles, as an even kernel leaves them.
    """

    def __init__(self, convolutions: nn.Module, head: nn.Module, corners: bool) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.head = head
        self.corners = corners

    def train(self, mode: bool = True) -> Segmenter:
        """Mode of the head alone."""
        super().train(mode)
        self.convolutions.eval()
        return self

    def forward(self, images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Logits, interpolated: FCN-32s upsamples by fixed bilinear weights too."""
        coarse = self.head(self.convolutions(images)).float()
        return F.interpolate(coarse, size, mode="bilinear", align_corners=self.corners)


def segmenter_of(
    encoder: nn.Module, shape: tuple[int, int, int], n_classes: int, settings: FineTuning, generator: torch.Generator
) -> tuple[Segmenter, str]:
    """The network that is trained, and in words what of it is.

    AlexNet and VGG go on with their learnt fc6 and fc7 as convolutions; instead of FCN's frame of 100 pixels these are
    padded. Another network gets torchvision's head, a 3×3 convolution and a 1×1.

    Raises
    ------
    InputError
        If the encoder has no convolutions.
    """
    parts = parts_of(encoder, shape)
    below = free(parts.convolutions, settings.learn)
    if parts.fully_connected is None:
        head = build(lambda: FCNHead(parts.n_filters, n_classes), generator, gaussian_weights)
        head[3] = Dropout(settings.dropout)  # torchvision's draws from the global generator
        return Segmenter(parts.convolutions, head, False), below + "a new 3x3 convolution and new outputs"
    head = nn.Sequential(*_as_convolutions(parts, *parts.fully_connected, n_classes, settings.dropout))
    return Segmenter(parts.convolutions, head, parts.grid[0] % 2 == 0), below + "the learnt fc6 and fc7, new outputs"


def _as_convolutions(parts: Pieces, fc6: nn.Linear, fc7: nn.Linear, n_classes: int, dropout: float) -> list[nn.Module]:
    height, width = parts.grid
    wide = nn.utils.skip_init(
        nn.Conv2d, parts.n_filters, fc6.out_features, parts.grid, padding=(height // 2, width // 2)
    )
    flat = nn.utils.skip_init(nn.Conv2d, fc7.in_features, fc7.out_features, 1)
    last = nn.utils.skip_init(nn.Conv2d, fc7.out_features, n_classes, 1)
    with torch.no_grad():
        wide.weight.copy_(fc6.weight.view(-1, parts.n_filters, height, width))
        flat.weight.copy_(fc7.weight[:, :, None, None])
        for convolution, linear in ((wide, fc6), (flat, fc7)):
            convolution.bias.copy_(linear.bias)
        nn.init.zeros_(last.weight)  # as FCN has it
        nn.init.zeros_(last.bias)
    return [parts.pool, wide, nn.ReLU(), Dropout(dropout), flat, nn.ReLU(), Dropout(dropout), last]


def segment(
    encoder: nn.Module,
    shape: tuple[int, int, int],
    train: VocImages,
    test: VocImages,
    run: Run,
    settings: SegmentationTuning | None = None,
) -> Segmented:
    """Train a segmentation on an encoder's convolutions and score it.

    Parameters
    ----------
    encoder : nn.Module
        Stays as it is.
    shape : tuple of int
        (C, H, W) of the images of its run.
    train, test : VocImages
        Opened for the task ``"Segmentation"``.
    run : Run
        With a folder it resumes.
    settings : SegmentationTuning, optional

    Raises
    ------
    InputError
        If the encoder has no convolutions, masks and images do not go together, or the lists have an image in common.

    Notes
    -----
    Cost: n_steps·batch_size images through the network; every mask is read once before. Memory: a few images.
    """
    settings = settings or SegmentationTuning()
    settings.check("transfer.")
    check_apart(train, test)
    n_classes = count_classes(train)
    if count_classes(test) > n_classes:
        raise InputError(f"a mask of {test.root}, list {test.split}, shows a class that no training mask shows")
    model, learnt = segmenter_of(encoder, shape, n_classes, settings, run.generator(STAGE, "weights"))
    model = run.runtime.place(model).train()
    wanted = input_shape(encoder, shape)

    def load(job: tuple[int, torch.Generator]) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = shown(train, job[0], wanted, settings.scale_for(wanted))
        mirrored = bool(torch.rand((), generator=job[1]) < 0.5)
        return (image.flip(2), mask.flip(1)) if mirrored else (image, mask)

    def loss_of(items: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        device = run.runtime.device  # images differ in size: one after the other
        each = [pixel_loss(model(_pixels(image, run), _size(mask)), mask[None].to(device)) for image, mask in items]
        return torch.stack(each).mean()

    changing = model.head if settings.learn == "fc6-8" else model
    fine_tune(model, changing, settings.recipe, run, STAGE, len(train), load, loss_of)
    return _scored(model, test, wanted, settings.scale_for(wanted), n_classes, learnt, run)


def _pixels(image: torch.Tensor, run: Run) -> torch.Tensor:
    return image[None].to(run.runtime.device).float() / 255


def _size(mask: torch.Tensor) -> tuple[int, int]:
    return mask.shape[0], mask.shape[1]


def count_classes(images: VocImages) -> int:
    """Classes that the masks have, the background among them: VOC's 21, or one more than the highest number.

    Raises
    ------
    InputError
        If no mask shows an object.
    """
    highest = max(int(mask[mask != VOID].max(initial=0)) for mask in map(images.mask, range(len(images))))
    if highest == 0:
        raise InputError(f"no mask in {images.root / 'SegmentationClass'}, list {images.split}, shows an object")
    return highest + 1


def shown(
    images: VocImages, index: int, shape: tuple[int, int, int], scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """An image (C, h, w), uint8, at the size that the network is shown, and its mask (H, W), int64, at its own.

    Raises
    ------
    InputError
        If they differ in size.
    """
    pixels, mask = images.pixels(index, shape[0]), images.mask(index)
    height, width = pixels.shape[:2]
    if mask.shape != (height, width):
        raise InputError(f"{images.mask_path(index)} has {mask.shape} pixels, its image {(height, width)}")
    by = max(scale, min(shape[1:]) / min(height, width))
    picture = Image.fromarray(pixels if shape[0] == 3 else pixels[:, :, 0])
    resized = np.array(picture.resize((round(width * by), round(height * by)), Image.Resampling.BILINEAR))
    tensor = torch.from_numpy(resized.reshape(*resized.shape[:2], -1)).permute(2, 0, 1)
    return tensor, torch.from_numpy(mask).long()


def pixel_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits (B, classes, H, W), mean over the pixels of masks (B, H, W) that are not void."""
    return F.cross_entropy(logits, masks, ignore_index=VOID, reduction="sum") / (masks != VOID).sum().clamp_min(1)


@torch.no_grad()
def _scored(
    model: Segmenter,
    test: VocImages,
    shape: tuple[int, int, int],
    scale: float,
    n_classes: int,
    learnt: str,
    run: Run,
) -> Segmented:
    model.eval()
    counts = Confusion(n_classes)
    batches = ([index] for index in range(len(test)))
    for ((image, mask),) in prefetched(lambda index: shown(test, index, shape, scale), batches):
        truth = mask.numpy()
        with run.runtime.autocast():
            found = model(_pixels(image, run), _size(mask)).argmax(1)[0]
        counts.add(truth, found.cpu().numpy())
    objects = OBJECTS if n_classes == len(OBJECTS) + 1 else [f"class {i}" for i in range(1, n_classes)]
    names = ["background", *objects]
    each = {name: float(one) for name, one in zip(names, counts.overlaps(), strict=True) if not np.isnan(one)}
    return Segmented(float(np.mean(list(each.values()))), counts.accuracy, each, learnt)
