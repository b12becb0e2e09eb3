"""Fast and Faster R-CNN from torchvision's parts, on the convolutions of a run."""

from __future__ import annotations

import math

import torch
from torch import nn
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign

from asterism.networks.alexnet_vgg import Dropout
from asterism.networks.initialise import build, gaussian_weights
from asterism_papers.transfer.backbone import Pieces, free, parts_of
from asterism_papers.transfer.fine_tune import FineTuning

BOXES, OBJECTS = 64, 0.25  # boxes of an image that are learnt from, and the share of objects among them
OBJECT, LEAST = 0.5, 0.1  # overlaps that make a box an object, and a given box background
THRESHOLD, SUPPRESSED, KEPT = 0.05, 0.3, 100  # least score, overlap of suppression, detections an image
ANCHORS = (128 / 600, 256 / 600, 512 / 600)  # sides, of the image's shorter side
NEW_UNITS, NEW_GRID = 1024, 7  # of fc6 and fc7 where a network has none (torchvision's)


class Detector(nn.Module):
    """Images of any size, and boxes to look into → objects.

    Parameters
    ----------
    convolutions : nn.Module
        Always in evaluation mode: batch norm keeps its statistics.
    heads : RoIHeads
    proposer : RegionProposalNetwork, optional
        Makes the boxes where none are given.
    """

    def __init__(self, convolutions: nn.Module, heads: RoIHeads, proposer: RegionProposalNetwork | None) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.learnt = nn.ModuleList([heads] if proposer is None else [heads, proposer])

    def train(self, mode: bool = True) -> Detector:
        """Mode of the heads alone."""
        super().train(mode)
        self.convolutions.eval()
        return self

    def draw_from(self, generator: torch.Generator) -> None:
        """Have the boxes that are learnt from drawn by this generator."""
        for part in self.learnt:
            part.fg_bg_sampler.generator = generator  # type: ignore[union-attr]

    def forward(
        self,
        images: list[torch.Tensor],
        proposals: list[torch.Tensor] | None,
        targets: list[dict[str, torch.Tensor]] | None,
    ) -> tuple[list[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
        """Objects of each image (in evaluation mode) and losses (in training).

        Parameters
        ----------
        images : list of torch.Tensor of shape (C, h, w)
        proposals : list of torch.Tensor of shape (n, 4), optional
        targets : list of dict, optional
            ``boxes`` (m, 4) and ``labels`` (m,) from 1, in training.
        """
        sizes = [(int(one.shape[1]), int(one.shape[2])) for one in images]
        batch = images[0].new_zeros(len(images), len(images[0]), *(max(side) for side in zip(*sizes, strict=True)))
        for place, image, (height, width) in zip(batch, images, sizes, strict=True):
            place[:, :height, :width] = image
        maps, losses = {"0": self.convolutions(batch)}, {}
        if proposals is None:
            proposals, losses = self.learnt[1](ImageList(batch, sizes), maps, targets)
        objects, more = self.learnt[0](maps, list(proposals), sizes, targets)
        return objects, {**losses, **more}


class SeededSampler:
    """`BalancedPositiveNegativeSampler` of torchvision with a generator of its own instead of torch's global one."""

    def __init__(self, n: int, share: float) -> None:
        self.n, self.share = n, share
        self.generator: torch.Generator | None = None

    def __call__(self, labels: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Which boxes of each image are learnt from as objects, and which as background.

        Parameters
        ----------
        labels : list of torch.Tensor of shape (n_boxes,)
            Above 0: an object; 0: background; below: neither.
        """
        objects, background = [], []
        for one in labels:
            chosen = self._chosen(one >= 1, int(self.n * self.share))
            objects.append(chosen)
            background.append(self._chosen(one == 0, self.n - int(chosen.sum())))
        return objects, background

    def _chosen(self, candidates: torch.Tensor, n: int) -> torch.Tensor:
        where = candidates.nonzero()[:, 0]
        drawn = torch.randperm(len(where), generator=self.generator)[:n].to(where.device)
        return torch.zeros_like(candidates, dtype=torch.uint8).index_fill_(0, where[drawn], 1)


class Anchors(AnchorGenerator):
    """`AnchorGenerator` with the network's own stride, a power of 2 as in RoIAlign.

    torchvision divides the image's side by the maps' and rounds down, which is 1 and not 2 for 75 pixels and maps of
    38: the anchors then lie over the upper left of the image alone.
    """

    def forward(self, image_list: ImageList, feature_maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Anchors (n, 4) of each image."""
        images, grid, device = image_list.tensors.shape[-2:], feature_maps[0].shape[-2:], feature_maps[0].device
        strides = [2 ** round(math.log2(image / side)) for image, side in zip(images, grid, strict=True)]
        self.set_cell_anchors(feature_maps[0].dtype, device)
        (anchors,) = self.grid_anchors([list(grid)], [[torch.tensor(one, device=device) for one in strides]])
        return [anchors for _ in image_list.image_sizes]


class NearMisses(Matcher):
    """Fast R-CNN's background: boxes that overlap an object by less than a half, but by a tenth at least."""

    def __call__(self, overlaps: torch.Tensor) -> torch.Tensor:
        """The object of each box (n,), or −1 for background, −2 for none of both."""
        found = super().__call__(overlaps)
        found[overlaps.amax(0) < LEAST] = self.BETWEEN_THRESHOLDS
        return found


def detector_of(
    encoder: nn.Module,
    shape: tuple[int, int, int],
    n_classes: int,
    settings: FineTuning,
    side: int,
    boxes_given: bool,
    generator: torch.Generator,
) -> tuple[Detector, str]:
    """The network that is trained, and in words what of it is.

    AlexNet and VGG go on with their learnt fc6 and fc7, as Fast R-CNN does; another network gets new ones of 1024
    units. Deviations from Fast R-CNN that torchvision's parts bring: RoIAlign instead of RoIPool, a smooth L1 loss
    whose corner lies at 1/9.

    Parameters
    ----------
    encoder : nn.Module
    shape : tuple of int
        (C, H, W) of the run's images.
    n_classes : int
    settings : FineTuning
    side : int
        Shorter side of the images, which the anchors go by.
    boxes_given : bool
        Whether proposals come from elsewhere.
    generator : torch.Generator

    Raises
    ------
    InputError
        If the encoder has no convolutions.
    """
    parts = parts_of(encoder, shape)
    head, n_units, grid, names = _head(parts, settings.dropout, generator)
    predictor = build(lambda: FastRCNNPredictor(n_units, n_classes + 1), generator, _near_zero)
    nn.init.normal_(predictor.bbox_pred.weight, 0, 0.001, generator=generator)
    align = MultiScaleRoIAlign(["0"], list(grid), sampling_ratio=2)
    heads = RoIHeads(align, head, predictor, OBJECT, OBJECT, BOXES, OBJECTS, None, THRESHOLD, SUPPRESSED, KEPT)
    heads.fg_bg_sampler = SeededSampler(BOXES, OBJECTS)
    if boxes_given:
        heads.proposal_matcher = NearMisses(OBJECT, OBJECT)
    proposer = None if boxes_given else _proposer(parts.n_filters, side, generator)
    words = free(parts.convolutions, settings.learn) + names + ("" if boxes_given else " and a region proposal network")
    return Detector(parts.convolutions, heads, proposer), words


def _head(parts: Pieces, dropout: float, generator: torch.Generator) -> tuple[nn.Module, int, tuple[int, int], str]:
    """From the maps in a box to features: the head, its width, the grid it wants, its name."""
    learned = parts.fully_connected
    if learned is not None:
        fc6, fc7, grid, name = *learned, parts.grid, "the learnt fc6 and fc7, new outputs"
    else:
        grid, name = (NEW_GRID, NEW_GRID), "new fc6 and fc7, new outputs"
        fc6 = build(lambda: nn.Linear(parts.n_filters * NEW_GRID**2, NEW_UNITS), generator, gaussian_weights)
        fc7 = build(lambda: nn.Linear(NEW_UNITS, NEW_UNITS), generator, gaussian_weights)
    layers = [nn.Flatten(), fc6, nn.ReLU(), Dropout(dropout), fc7, nn.ReLU(), Dropout(dropout)]
    return nn.Sequential(*layers), fc7.out_features, grid, name


def _proposer(n_filters: int, side: int, generator: torch.Generator) -> RegionProposalNetwork:
    """The region proposal network of Faster R-CNN, its anchors in proportion to the images."""
    anchors = Anchors((tuple(max(8, round(one * side)) for one in ANCHORS),), ((0.5, 1.0, 2.0),))
    head = build(lambda: RPNHead(n_filters, anchors.num_anchors_per_location()[0]), generator, _near_zero)
    proposer = RegionProposalNetwork(
        anchors, head, 0.7, 0.3, 256, 0.5, {"training": 2000, "testing": 1000}, {"training": 2000, "testing": 300}, 0.7
    )
    proposer.fg_bg_sampler = SeededSampler(256, 0.5)
    return proposer


@torch.no_grad()
def _near_zero(layer: nn.Module, generator: torch.Generator) -> None:
    """Weights N(0, .01), biases 0, as both papers have their new layers."""
    layer.weight.normal_(0, 0.01, generator=generator)  # type: ignore[operator]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
