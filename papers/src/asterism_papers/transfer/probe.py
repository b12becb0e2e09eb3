"""Linear and nearest-neighbour probes: how much of the classes frozen features hold (DeepCluster §4.3, Table 1).

A linear classifier is trained on each convolutional layer's maps, averaged to a coarse grid so that every layer has
some 9 600 numbers (docs/papers/deepcluster.md). Labels train this classifier and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from asterism.clustering.graph import neighbors
from asterism.errors import InputError
from asterism.features import extract
from asterism.features.extract import feature_batches
from asterism.images import ImageSource
from asterism.networks.body import network_of
from asterism.networks.initialise import build
from asterism.parameters import Parameters, parameter
from asterism.parameters.constraints import NON_NEGATIVE, NON_NEGATIVE_INT, POSITIVE, POSITIVE_INT
from asterism.runtime import capable_device, usual_torch
from asterism.training import Run

# Side of the grid, and average pooling (kernel, stride, padding) that gives it from AlexNet's maps at 224².
GRIDS = {"conv1": (10, (6, 6, 3)), "conv2": (6, (4, 4, 0)), "conv5": (6, (2, 2, 0))}
OTHER_GRID = (5, (3, 3, 1))  # conv3 and conv4
ALEXNET_SIDES = {"conv1": 55, "conv2": 27, "conv3": 13, "conv4": 13, "conv5": 13}
ALL = "features"  # what `transform` gives, probed as a layer
POOLED = (
    "pooled"  # the last layer's maps, averaged over their places: one space for a network before and after training
)
MARGIN = 7 / 8  # side of the ten crops: 224 of 256
STANDARDISED = 2048  # images that mean and deviation of each feature are taken from
STEPS = 16  # an epoch at least, ours: a few hundred images in batches of 256 are learnt from in no time, and not well
TEMPERATURE = 0.07  # of the votes of nearest neighbours


class LinearProbe(Parameters, kw_only=False):
    """How the linear classifiers are trained."""

    n_epochs: int = parameter(POSITIVE_INT, default=20)
    """90 in the released code for ImageNet."""
    batch_size: int = parameter(POSITIVE_INT, default=256)
    """Of fewer than 4096 images a sixteenth."""
    lr: float = parameter(POSITIVE, default=0.01)
    """Falls to 0 along a cosine. Features are standardised, which the released code does not do, and the rate is for
    1000 of them: with D it is lr·1000/D."""
    weight_decay: float | None = parameter(NON_NEGATIVE, default=None)
    """None chooses among 1e-4, 1e-3 and 1e-2 by the accuracy on a held-out tenth of the training images: the paper too
    chooses by cross-validation on the training set (§4.3)."""
    ten_crops: bool = parameter(bool, default=False)
    """Train on random crops of 7/8 of the side and flips, and average the test images' probabilities over the corners,
    the centre and their mirror images. Every epoch then costs a forward pass."""
    hidden: int = parameter(NON_NEGATIVE_INT, default=0)
    """Units of a hidden layer: an MLP instead of a linear classifier."""
    CHOICES: ClassVar[tuple[float, ...]] = (1e-4, 1e-3, 1e-2)

    @property
    def decays(self) -> tuple[float, ...]:
        """The weight decays that are tried."""
        return self.CHOICES if self.weight_decay is None else (self.weight_decay,)


@dataclass(frozen=True)
class Probed:
    """What a probe found for a layer: accuracy on the test images, and the weight decay that was chosen."""

    layer: str
    accuracy: float
    n_features: int
    weight_decay: float


def pooled(maps: torch.Tensor, layer: str) -> torch.Tensor:
    """A layer's maps on the grid of docs/papers/deepcluster.md, flat.

    Parameters
    ----------
    maps : torch.Tensor of shape (B, filters, h, w)
    layer : str

    Returns
    -------
    torch.Tensor of shape (B, filters·g²)
        g is 10 for conv1, 6 for conv2 and conv5, else 5: by the paper's own pooling on maps of AlexNet at 224², by
        adaptive averaging on maps of another size; never more than the map has.
    """
    grid, (kernel, stride, padding) = GRIDS.get(layer, OTHER_GRID)
    if ALEXNET_SIDES.get(layer) == maps.shape[2] == maps.shape[3]:
        return F.avg_pool2d(maps, kernel, stride, padding).flatten(1)
    sides = (min(grid, maps.shape[2]), min(grid, maps.shape[3]))
    return F.adaptive_avg_pool2d(maps.to(capable_device(maps.device)), sides).flatten(1).to(maps.device)


def layers_of(encoder: nn.Module) -> tuple[str, ...]:
    """What can be probed: an encoder's layers, ``"pooled"`` (the last one, averaged) and its output, ``"features"``."""
    layers = network_of(encoder).layer_names
    return (*layers, *([POOLED] if layers else []), ALL)


def layer_features(encoder: nn.Module, images: torch.Tensor, layers: Sequence[str]) -> list[torch.Tensor]:
    """Features (B, D) of each of the layers, for images (B, C, H, W), by one pass through the convolutions."""
    body = network_of(encoder)
    wanted = {name: body.layer_names[-1] if name == POOLED else name for name in layers if name != ALL}
    maps = body.maps(images, wanted.values()) if wanted else {}

    def of(name: str) -> torch.Tensor:
        if name == ALL:
            return encoder(images)
        return maps[wanted[name]].mean((2, 3)) if name == POOLED else pooled(maps[name], name)

    return [of(name) for name in layers]


@usual_torch()
def linear_probe(
    encoder: nn.Module,
    train: ImageSource,
    test: ImageSource,
    run: Run,
    layers: Iterable[str] | None = None,
    settings: LinearProbe | None = None,
) -> list[Probed]:
    """Train linear classifiers on frozen layers and score them.

    Parameters
    ----------
    encoder : nn.Module
        On the run's device; stays as it is.
    train, test : ImageSource
        With labels.
    run : Run
    layers : iterable of str, optional
        Of `layers_of`; by default all.
    settings : LinearProbe, optional

    Returns
    -------
    list of Probed

    Raises
    ------
    InputError
        If there is no such layer, no labels, or too few images.

    Notes
    -----
    All classifiers learn at once from the same batches. Without crops: one forward pass over both sets, whose features
    are held in float16 (24 kB an image for all layers of AlexNet a quarter as wide), then O(n_epochs·N·ΣD·classes).
    """
    settings = settings or LinearProbe()
    settings.check("probe.")
    there = layers_of(encoder)
    names = list(there if layers is None else layers)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise InputError(f"there is no layer {unknown[0]!r}; there are {', '.join(there)}")
    labels, test_labels = _labels(train, "training"), _labels(test, "test")
    if len(train) < 2 or len(test) < 1:
        raise InputError(
            f"a probe learns from two images at least and is tested on one; there are {len(train)} and {len(test)}"
        )
    n_classes = int(max(labels.max(), test_labels.max())) + 1
    known = _Features(encoder, names, train, run, settings.ten_crops)
    kept, held = torch.arange(len(train)), None
    if settings.weight_decay is None:
        order = torch.randperm(len(train), generator=run.generator("probe", "held out"))
        n_held = max(1, len(order) // 10)
        kept, held = order[n_held:], order[:n_held]
    candidates = _fit(known, labels, kept, n_classes, settings, run)
    best = [0] * len(names)
    if held is not None:  # the weight decay is chosen layer by layer, on training images that no classifier saw
        best = [max(range(len(one)), key=one.__getitem__) for one in _accuracies(known, held, labels, candidates)]
    asked = _Features(encoder, names, test, run, settings.ten_crops, known)
    chosen = [[some[i]] for some, i in zip(candidates, best, strict=True)]
    found = _accuracies(asked, torch.arange(len(test)), test_labels, chosen)
    return [
        Probed(name, accuracy, known.widths[i], settings.decays[best[i]])
        for i, (name, (accuracy,)) in enumerate(zip(names, found, strict=True))
    ]


def _labels(images: ImageSource, which: str) -> torch.Tensor:
    if images.labels is None:
        raise InputError(f"the {which} images have no classes: a probe needs them to train its linear classifier")
    return torch.from_numpy(np.asarray(images.labels))


class _Features:
    """Standardised features of several layers: held if they are always the same, computed anew for each crop."""

    def __init__(
        self,
        encoder: nn.Module,
        layers: list[str],
        images: ImageSource,
        run: Run,
        crops: bool,
        standard: _Features | None = None,
    ) -> None:
        self.encoder, self.layers, self.images, self.run = encoder, layers, images, run
        encoder.eval()
        with torch.no_grad():
            one = layer_features(encoder, images.batch(slice(0, 1), run.runtime.device), layers)
        self.widths = [part.shape[1] for part in one]
        few = images.subset(np.arange(min(len(images), STANDARDISED)))
        sample = extract(encoder, few, run.runtime, self._together)
        self.mean: torch.Tensor = sample.mean(0) if standard is None else standard.mean
        spread = sample.std(0).clamp_min(1e-3 * sample.std())  # a feature that hardly varies is not blown up
        spread = torch.where(spread > 0, spread, 1)  # of a network whose features are all the same
        self.scale: torch.Tensor = 1 / spread if standard is None else standard.scale
        self._rows: torch.Tensor | None = None
        if not crops:
            standardised = (
                self._standard(rows).half() for _, rows in feature_batches(encoder, images, run.runtime, self._together)
            )
            self._rows = run.runtime.gather_rows(torch.cat(list(standardised)), len(images))

    def _together(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat(layer_features(self.encoder, images, self.layers), 1)  # (B, ΣD)

    def _standard(self, rows: torch.Tensor) -> torch.Tensor:
        return (rows.float().cpu() - self.mean) * self.scale

    @torch.no_grad()
    def _of(self, images: torch.Tensor) -> torch.Tensor:
        with self.run.runtime.autocast():
            return self._standard(self._together(images))

    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Features (B, D) of each layer, of random crops of the images if asked for."""
        if self._rows is not None:
            return self._rows[indices].float().split(self.widths, 1)
        images = self.images.batch(indices, self.run.runtime.device)
        places = torch.rand(len(indices), 2, generator=generator) * 2 - 1
        mirror = torch.rand(len(indices), generator=generator) < 0.5
        return self._of(cut(images, places, mirror)).split(self.widths, 1)

    def views(self, indices: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """Features (B, D) of each layer: of the images, or of their ten crops in turn."""
        if self._rows is not None:
            yield self._rows[indices].float().split(self.widths, 1)
            return
        images, n = self.images.batch(indices, self.run.runtime.device), len(indices)
        for corner in ((0.0, 0.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)):
            for flip in (False, True):
                view = cut(images, torch.tensor([corner]).expand(n, 2), torch.full((n,), flip))
                yield self._of(view).split(self.widths, 1)


def cut(images: torch.Tensor, places: torch.Tensor, mirror: torch.Tensor) -> torch.Tensor:
    """Crops of 7/8 of the side, scaled back to the image's size.

    Parameters
    ----------
    images : torch.Tensor of shape (B, C, H, W)
    places : torch.Tensor of shape (B, 2)
        −1 is left or top, 1 right or bottom.
    mirror : torch.Tensor of shape (B,), bool
    """
    grid = torch.zeros(len(images), 2, 3)
    grid[:, 0, 0] = torch.where(mirror, -MARGIN, MARGIN)
    grid[:, 1, 1] = MARGIN
    grid[:, :, 2] = places * (1 - MARGIN)
    points = F.affine_grid(grid.to(images.device, images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, points, padding_mode="border", align_corners=False)


def _fit(
    features: _Features, labels: torch.Tensor, chosen: torch.Tensor, n_classes: int, settings: LinearProbe, run: Run
) -> list[list[nn.Module]]:
    """Softmax regression by SGD with momentum 0.9 from weights of 0: a classifier for each layer and weight decay."""
    groups: list[dict] = []
    classifiers = [
        [_classifier(width, settings.hidden, n_classes, run) for _ in settings.decays] for width in features.widths
    ]
    for width, some in zip(features.widths, classifiers, strict=True):
        for decay, one in zip(settings.decays, some, strict=True):
            groups.append({"params": list(one.parameters()), "weight_decay": decay, "lr": settings.lr * 1000 / width})
    optimizer = torch.optim.SGD(groups, lr=settings.lr, momentum=0.9)
    rates = [group["lr"] for group in optimizer.param_groups]
    features.encoder.eval()
    batch_size = min(settings.batch_size, max(1, len(chosen) // STEPS))
    for epoch in range(settings.n_epochs):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * epoch / settings.n_epochs))
        generator = run.generator("probe", epoch)
        for indices in chosen[torch.randperm(len(chosen), generator=generator)].split(batch_size):
            layers = features.batch(indices, generator)
            losses = [
                F.cross_entropy(one(layer), labels[indices])
                for layer, some in zip(layers, classifiers, strict=True)
                for one in some
            ]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
    return classifiers


def _classifier(n_features: int, hidden: int, n_classes: int, run: Run) -> nn.Module:
    """A linear layer of zeros; with a hidden layer below, drawn as torch's own are."""
    below: list[nn.Module] = []
    if hidden:
        below = [build(lambda: nn.Linear(n_features, hidden), run.generator("probe", "hidden")), nn.ReLU()]
    last = nn.utils.skip_init(nn.Linear, hidden or n_features, n_classes)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*below, last)


@torch.no_grad()
def _accuracies(
    features: _Features, indices: torch.Tensor, labels: torch.Tensor, classifiers: list[list[nn.Module]]
) -> list[list[float]]:
    """Share of images whose probabilities, averaged over their views, are highest for their class."""
    right = torch.zeros(len(classifiers), len(classifiers[0]))
    features.encoder.eval()
    for part in indices.split(512):
        summed: list[Any] = [0] * len(classifiers)  # of each layer (classifiers, B, classes)
        for layers in features.views(part):
            for i, (x, some) in enumerate(zip(layers, classifiers, strict=True)):
                summed[i] = summed[i] + torch.stack([one(x).softmax(1) for one in some])
        for i, one in enumerate(summed):
            right[i] += (one.argmax(2) == labels[part]).sum(1)
    return (right / len(indices)).tolist()


@usual_torch()
def knn_probe(
    encoder: nn.Module, train: ImageSource, test: ImageSource, run: Run, n_neighbors: int = 20, layer: str = ALL
) -> float:
    """Accuracy of a vote: each test image goes with its nearest training images, weighted by exp(cosine / 0.07).

    Distances are taken in the features of ``layer``, one of `layers_of`. O(N_train·N_test·D) time.
    """

    def features(images: torch.Tensor) -> torch.Tensor:
        return layer_features(encoder, images, [layer])[0]

    labels, test_labels = _labels(train, "training"), _labels(test, "test")
    known, asked = (F.normalize(extract(encoder, one, run.runtime, features)) for one in (train, test))
    found, squared = neighbors(asked, known, n_neighbors)  # (Q, K)
    weights = np.exp((1 - squared / 2) / TEMPERATURE)
    votes = np.zeros((len(test), int(max(labels.max(), test_labels.max())) + 1))
    for column in range(found.shape[1]):
        votes[np.arange(len(test)), labels.numpy()[found[:, column]]] += weights[:, column]
    return float((votes.argmax(1) == test_labels.numpy()).mean())
