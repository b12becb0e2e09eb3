"""PASCAL VOC 2007 classification: which of twenty classes an image shows (DeepCluster §4.4, Table 2).

Random crops in training and random crops in the test, whose scores are added up (docs/papers/deepcluster.md).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from asterism.errors import InputError
from asterism.networks.alexnet_vgg import Dropout
from asterism.parameters import Interval, parameter
from asterism.training import Run
from asterism_papers.transfer.backbone import Pieces, free, input_shape, parts_of
from asterism_papers.transfer.fine_tune import FineTuning, Recipe, drawn_linear, fine_tune, prefetched
from asterism_papers.transfer.voc import VocImages, check_apart, check_classes
from asterism_papers.transfer.voc_scores import area, eleven_point, ranked

N_CROPS = 10
CROPS = (0.1, 0.5)  # least and largest share of the image's area that a crop covers
STD, BIAS = 0.01, 0.1  # of new layers
STAGE = "voc-classify"


class ClassificationTuning(FineTuning):
    """How the classifier is trained.

    The numbers are those of the released scripts: of the PyTorch one for ``fc6-8``, of the Caffe one for ``all``. Crops
    are the PyTorch script's for both; the Caffe one scales the whole image by .5 to 2 first
    (docs/papers/deepcluster.md).
    """

    batch_size: int | None = parameter(Interval(int, 2, None), default=None, kw_only=False)
    """Images a step; by default the recipe's."""
    RECIPES: ClassVar[dict[str, Recipe]] = {
        "fc6-8": Recipe(80_000, 16, 0.003, 5_000, 0.5, 1e-6, 10.0),
        "all": Recipe(150_000, 16, 0.001, 20_000, 0.5, 1e-6, 10.0),
    }


@dataclass(frozen=True)
class Classified:
    """Scores of a classifier.

    Attributes
    ----------
    mean_ap : float
        Mean over the classes of VOC 2007's 11-point average precision.
    mean_area : float
        The same with the area below precision over recall, as the released PyTorch script has it.
    precisions : dict of str to float
        11-point average precision of each class that the test images show.
    learnt : str
        Which layers were trained.
    """

    mean_ap: float
    mean_area: float
    precisions: dict[str, float]
    learnt: str


class Classifier(nn.Module):
    """Images (B, C, H, W) → logits (B, classes).

    Parameters
    ----------
    convolutions : nn.Module
        Always in evaluation mode: batch norm keeps its statistics, as in the released scripts.
    head : nn.Module
    """

    def __init__(self, convolutions: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.head = head

    def train(self, mode: bool = True) -> Classifier:
        """Mode of the head alone."""
        super().train(mode)
        self.convolutions.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(self.convolutions(images))


def classifier_of(
    encoder: nn.Module, shape: tuple[int, int, int], n_classes: int, settings: FineTuning, generator: torch.Generator
) -> tuple[Classifier, str]:
    """The network that is trained, and in words what of it is.

    AlexNet and VGG get fc6, fc7 and fc8 of their own widths, drawn anew (N(0, .01), bias .1), as in the released
    scripts. Ours: another convolutional network gets one new layer on its averaged last maps, a network without
    convolutions one on its features; these are of any scale and are brought to mean 0 and deviation 1 by a batch norm
    without weights.

    Parameters
    ----------
    encoder : nn.Module
    shape : tuple of int
        (C, H, W) of the run's images.
    n_classes : int
    settings : FineTuning
    generator : torch.Generator
    """
    try:
        parts = parts_of(encoder, shape)
    except InputError:
        return _without_convolutions(encoder, shape, n_classes, settings, generator)
    head, names = _head(parts, n_classes, settings.dropout, generator)
    below = free(parts.convolutions, settings.learn)
    return Classifier(parts.convolutions, nn.Sequential(parts.pool, *head)), below + names


def _head(parts: Pieces, n_classes: int, dropout: float, generator: torch.Generator) -> tuple[list[nn.Module], str]:
    if parts.fully_connected is None:
        averaged = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(parts.n_filters, affine=False)]
        last = drawn_linear(parts.n_filters, n_classes, generator, STD, BIAS)
        return [*averaged, last], f"a new linear layer on the {parts.n_filters} averaged maps"
    fc6, fc7 = parts.fully_connected
    new = [drawn_linear(one.in_features, one.out_features, generator, STD, BIAS) for one in (fc6, fc7)]
    last = drawn_linear(fc7.out_features, n_classes, generator, STD, BIAS)
    layers = [nn.Flatten(), Dropout(dropout), new[0], nn.ReLU(), Dropout(dropout), new[1], nn.ReLU(), last]
    return layers, "new fc6, fc7 and fc8"


@torch.no_grad()
def _without_convolutions(
    encoder: nn.Module, shape: tuple[int, int, int], n_classes: int, settings: FineTuning, generator: torch.Generator
) -> tuple[Classifier, str]:
    encoder = copy.deepcopy(encoder).cpu().eval()
    if shape[1:] == (1, 1):
        raise InputError("a run on vectors cannot be shown photos: take a run on images")
    n_features = encoder(torch.zeros(1, *shape)).shape[1]
    below = "the whole network and " if free(encoder, settings.learn) else ""
    last = drawn_linear(n_features, n_classes, generator, STD, BIAS)
    head = nn.Sequential(nn.BatchNorm1d(n_features, affine=False), last)
    return Classifier(encoder, head), f"{below}a new linear layer on the {n_features} features"


def classify(
    encoder: nn.Module,
    shape: tuple[int, int, int],
    train: VocImages,
    test: VocImages,
    run: Run,
    settings: FineTuning | None = None,
) -> Classified:
    """Train a classifier on an encoder and score it.

    Parameters
    ----------
    encoder : nn.Module
        Stays as it is.
    shape : tuple of int
        (C, H, W) of the images of its run: crops are brought to this size.
    train, test : VocImages
    run : Run
        With a folder it resumes.
    settings : ClassificationTuning, optional

    Raises
    ------
    InputError
        If the lists show no class, or have an image in common.

    Notes
    -----
    Cost: n_steps·batch_size images are decoded and learnt from, and ten crops of each test image looked at; memory: a
    few batches.
    """
    settings = settings or ClassificationTuning()
    settings.check("transfer.")
    check_apart(train, test)
    classes = train.classes
    if not classes:
        raise InputError(f"no object is annotated in {train.root}, list {train.split}")
    labels = train.labels(classes)
    check_classes(test, classes)
    model, learnt = classifier_of(encoder, shape, len(classes), settings, run.generator(STAGE, "weights"))
    model = run.runtime.place(model).train()
    side = input_shape(encoder, shape)

    def load(job: tuple[int, torch.Generator]) -> tuple[int, torch.Tensor]:
        return job[0], random_crop(train.pixels(job[0], side[0]), side, job[1])

    def loss_of(items: list[tuple[int, torch.Tensor]]) -> torch.Tensor:
        indices, crops = zip(*items, strict=True)
        logits = model(_batch(list(crops)).to(run.runtime.device))
        return masked_loss(logits, labels[list(indices)].to(logits.device))

    changing = model.head if settings.learn == "fc6-8" else model
    fine_tune(model, changing, settings.recipe, run, STAGE, len(train), load, loss_of)
    return _scored(score_images(model, test, side, run), test, classes, learnt)


def masked_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, summed over the classes and averaged over the images; labels of −1 are left out.

    Parameters
    ----------
    logits, labels : torch.Tensor of shape (B, classes)
    """
    each = F.binary_cross_entropy_with_logits(logits, labels.clamp_min(0), reduction="none")
    return (each * (labels >= 0)).sum() / len(labels)


def random_crop(image: np.ndarray, shape: tuple[int, int, int], generator: torch.Generator) -> torch.Tensor:
    """A square of a tenth to a half of an image's area, at any place, perhaps mirrored, brought to a size.

    A square that is higher or wider than the image is cut down to fit; torchvision draws anew.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), uint8
    shape : tuple of int
        (C, h, w) wanted.
    generator : torch.Generator

    Returns
    -------
    torch.Tensor of shape (C, h, w), uint8
    """
    height, width = image.shape[:2]
    share, down, right, mirror = torch.rand(4, generator=generator).tolist()
    side = min((CROPS[0] + (CROPS[1] - CROPS[0]) * share) ** 0.5 * (height * width) ** 0.5, height, width)
    left, top = right * (width - side), down * (height - side)
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    box = (left, top, left + side, top + side)
    cropped = np.array(picture.resize((shape[2], shape[1]), Image.Resampling.BILINEAR, box=box))
    cropped = cropped.reshape(shape[1], shape[2], -1)[:, :: -1 if mirror < 0.5 else 1]
    return torch.from_numpy(np.ascontiguousarray(cropped)).permute(2, 0, 1)


def _batch(crops: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(crops).float().div_(255).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def score_images(model: Classifier, test: VocImages, shape: tuple[int, int, int], run: Run) -> np.ndarray:
    """Logits of each image, averaged over ten random crops: (N, classes)."""
    model.eval()

    def load(index: int) -> list[torch.Tensor]:
        image, generator = test.pixels(index, shape[0]), run.generator(STAGE, "test", index)
        return [random_crop(image, shape, generator) for _ in range(N_CROPS)]

    def batches() -> Iterator[list[int]]:
        yield from (list(range(start, min(start + 16, len(test)))) for start in range(0, len(test), 16))

    parts = []
    for items in prefetched(load, batches()):
        with run.runtime.autocast():
            logits = model(_batch([crop for crops in items for crop in crops]).to(run.runtime.device))
        parts.append(logits.float().view(len(items), N_CROPS, -1).mean(1).cpu())
    return torch.cat(parts).numpy()


def _scored(scores: np.ndarray, test: VocImages, classes: list[str], learnt: str) -> Classified:
    labels = test.labels(classes).numpy()
    orders = {name: ranked(scores[:, i], labels[:, i]) for i, name in enumerate(classes)}
    shown = {name: order for name, order in orders.items() if order.any()}
    precisions = {name: eleven_point(order, int(order.sum())) for name, order in shown.items()}
    areas = [area(order, int(order.sum())) for order in shown.values()]
    return Classified(float(np.mean(list(precisions.values()))), float(np.mean(areas)), precisions, learnt)
