"""PASCAL VOC 2007 detection by Fast R-CNN on a run's convolutions (DeepCluster §4.4, Tables 2 and 4).

Girshick, "Fast R-CNN", ICCV 2015; its settings are those of the released py-faster-rcnn, which the paper names and says
no more of. Where no proposals are given, a region proposal network learns to make them: Faster R-CNN (Ren et al.,
2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn

from asterism.errors import InputError
from asterism.parameters import Interval, parameter
from asterism.training import Run
from asterism_papers.transfer.backbone import input_shape
from asterism_papers.transfer.detector import Detector, detector_of
from asterism_papers.transfer.fine_tune import FineTuning, Recipe, fine_tune, prefetched
from asterism_papers.transfer.proposals import Proposals, proposals_of
from asterism_papers.transfer.voc import Thing, VocImages, check_apart, check_classes
from asterism_papers.transfer.voc_scores import Detections, Truth, detection_precisions

SHORTER, LONGER = 600, 1000  # sides of the images that a network for 224² is shown
STAGE = "voc-detect"
_RECIPE = Recipe(40_000, 2, 0.001, 30_000, 0.1, 5e-4)


class DetectionTuning(FineTuning):
    """How the detector is trained, by default as Fast R-CNN for VOC 2007; ``fc6-8`` leaves the convolutions alone.

    That is 40 000 steps of 2 images, rate .001, a tenth of it after 30 000, weight decay 5e-4. Its doubled rate of
    biases is left out.
    """

    shorter_side: int | None = parameter(Interval(int, 16, None), default=None)
    """Of the images, in pixels. By default 600 for networks that learned at 224², others in proportion; the longer side
    is at most 5/3 of it."""
    RECIPES: ClassVar[dict[str, Recipe]] = {"fc6-8": _RECIPE, "all": _RECIPE}

    def side_for(self, shape: tuple[int, int, int]) -> int:
        """The shorter side for a network that learned on images (C, H, W)."""
        return self.shorter_side or max(16, round(SHORTER / 224 * min(shape[1:])))


@dataclass(frozen=True)
class Detected:
    """Scores of a detector.

    Attributes
    ----------
    mean_ap : float
        Mean over the classes of the 11-point average precision at an overlap of a half.
    precisions : dict of str to float
        Of each class that is there to be found.
    learnt : str
        Which layers were trained.
    proposals : str
        Where the boxes that were looked into came from.
    """

    mean_ap: float
    precisions: dict[str, float]
    learnt: str
    proposals: str


@dataclass(frozen=True)
class Scene:
    """An image as the detector is shown it: pixels (C, h, w) uint8, boxes in these pixels, how much it was scaled."""

    pixels: torch.Tensor
    boxes: torch.Tensor  # (m, 4) of the objects
    labels: torch.Tensor  # (m,) from 1
    proposals: torch.Tensor | None  # (n, 4)
    scale: float
    generator: torch.Generator


def detect(
    encoder: nn.Module,
    shape: tuple[int, int, int],
    train: VocImages,
    test: VocImages,
    run: Run,
    settings: DetectionTuning | None = None,
    proposals: Proposals | None = None,
) -> Detected:
    """Train a detector on an encoder's convolutions and score it.

    Parameters
    ----------
    encoder : nn.Module
        Stays as it is.
    shape : tuple of int
        (C, H, W) of the images of its run.
    train, test : VocImages
    run : Run
        With a folder it resumes.
    settings : DetectionTuning, optional
    proposals : dict, optional
        See `read_proposals`: for every image of both lists. Without, a region proposal network makes them.

    Raises
    ------
    InputError
        If the encoder has no convolutions, no object is annotated, an image has no proposals, or the lists have one in
        common.

    Notes
    -----
    Cost: n_steps·batch_size images of the larger size through the convolutions, 64 boxes of each through the head;
    memory: a few images, and all proposals (16 bytes each).
    """
    settings = settings or DetectionTuning()
    settings.check("transfer.")
    check_apart(train, test)
    kept = [i for i, things in enumerate(train.things) if any(not thing.difficult for thing in things)]
    if not kept:
        raise InputError(f"no object is annotated in {train.root}, list {train.split}")
    classes, side = train.classes, settings.side_for(input_shape(encoder, shape))
    check_classes(test, classes)
    given = [None if proposals is None else proposals_of(proposals, one.ids) for one in (train, test)]
    model, learnt = detector_of(
        encoder, shape, len(classes), settings, side, proposals is not None, run.generator(STAGE, "weights")
    )
    model = run.runtime.place(model).train()

    def load(job: tuple[int, torch.Generator]) -> Scene:
        index = kept[job[0]]
        mirrored = bool(torch.rand((), generator=job[1]) < 0.5)
        boxes = None if given[0] is None else given[0][index]
        return scene(train, index, shape[0], side, classes, boxes, job[1], mirrored)

    def loss_of(scenes: list[Scene]) -> torch.Tensor:
        model.draw_from(scenes[0].generator)
        _, losses = model(*_inputs(scenes, run), _targets(scenes, run))
        return torch.stack(list(losses.values())).sum()

    changing = model.learnt if settings.learn == "fc6-8" else model
    fine_tune(model, changing, settings.recipe, run, STAGE, len(kept), load, loss_of)
    found = find_objects(model, test, shape[0], side, given[1], run)
    made = "given" if proposals is not None else "none were given: a region proposal network's (Faster R-CNN)"
    return _scored(found, test, classes, learnt, made)


def scene(
    images: VocImages,
    index: int,
    n_channels: int,
    side: int,
    classes: list[str],
    proposals: np.ndarray | None,
    generator: torch.Generator,
    mirrored: bool = False,
) -> Scene:
    """Decode an image, bring its shorter side to ``side`` pixels, and its objects and proposals with it.

    Objects that are difficult are left out, as Fast R-CNN does.
    """
    pixels = images.pixels(index, n_channels)
    height, width = pixels.shape[:2]
    scale = min(side / min(height, width), side * LONGER / SHORTER / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(pixels if n_channels == 3 else pixels[:, :, 0])
    resized = np.array(picture.resize(size, Image.Resampling.BILINEAR)).reshape(size[1], size[0], -1)
    things = [thing for thing in images.things[index] if not thing.difficult]
    boxes = torch.tensor([thing.box for thing in things]).reshape(-1, 4) * scale
    rest = None if proposals is None else torch.from_numpy(proposals).float() * scale
    if mirrored:
        resized = resized[:, ::-1]
        boxes, rest = mirror(boxes, size[0]), None if rest is None else mirror(rest, size[0])
    labels = torch.tensor([classes.index(thing.name) + 1 for thing in things], dtype=torch.int64)
    tensor = torch.from_numpy(np.ascontiguousarray(resized)).permute(2, 0, 1)
    return Scene(tensor, boxes, labels, rest, scale, generator)


def mirror(boxes: torch.Tensor, width: float) -> torch.Tensor:
    """Boxes (n, 4) of an image that is mirrored left to right."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], 1)


def _inputs(scenes: Sequence[Scene], run: Run) -> tuple[list[torch.Tensor], list[torch.Tensor] | None]:
    device = run.runtime.device
    images = [one.pixels.to(device).float() / 255 for one in scenes]
    given = [one.proposals.to(device) for one in scenes if one.proposals is not None]
    return images, given or None


def _targets(scenes: Sequence[Scene], run: Run) -> list[dict[str, torch.Tensor]]:
    device = run.runtime.device
    return [{"boxes": one.boxes.to(device), "labels": one.labels.to(device)} for one in scenes]


@torch.no_grad()
def find_objects(
    model: Detector, test: VocImages, n_channels: int, side: int, given: list[np.ndarray] | None, run: Run
) -> list[Detections]:
    """What the detector finds in each image, in the pixels of the image as it lies on disk."""
    model.eval()
    unused = torch.Generator()  # in a test nothing is drawn

    def load(index: int) -> Scene:
        return scene(test, index, n_channels, side, test.classes, None if given is None else given[index], unused)

    found = []
    for scenes in prefetched(load, ([index] for index in range(len(test)))):
        with run.runtime.autocast():
            results, _ = model(*_inputs(scenes, run), None)
        for one, result in zip(scenes, results, strict=True):
            boxes = (result["boxes"].float() / one.scale).cpu().numpy()
            found.append(Detections(boxes, result["labels"].cpu().numpy() - 1, result["scores"].float().cpu().numpy()))
    return found


def _scored(found: list[Detections], test: VocImages, classes: list[str], learnt: str, made: str) -> Detected:
    each = detection_precisions(found, [truth_of(things, classes) for things in test.things], len(classes))
    precisions = {name: value for name, value in zip(classes, each, strict=True) if not np.isnan(value)}
    return Detected(float(np.mean(list(precisions.values()))), precisions, learnt, made)


def truth_of(things: list[Thing], classes: list[str]) -> Truth:
    """The objects of an image as arrays."""
    return Truth(
        np.array([thing.box for thing in things], np.float32).reshape(-1, 4),
        np.array([classes.index(thing.name) for thing in things], np.int64),
        np.array([thing.difficult for thing in things], bool),
    )
