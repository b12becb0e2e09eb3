"""Finding the same object again: R-MAC descriptors and the benchmarks' scores (DeepCluster §5.3, Table 5).

R-MAC (Tolias, Sicre and Jégou, ICLR 2016) takes the maximum of every map within square regions of several sizes, and
adds up the regions' vectors after whitening: a descriptor that knows what is in the image and not where.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from asterism.clustering.graph import neighbors
from asterism.errors import InputError
from asterism.features.extract import feature_batches
from asterism.features.reduce import Reduction, fit_reduction
from asterism.images import ImageSource
from asterism.networks.body import Body
from asterism.training import Run

LEVELS = 3
OVERLAP = 0.4  # of neighbouring regions of the first level, as nearly as whole numbers allow
FLOOR = 1e-5  # of the largest variance, in whitening (docs/papers/deepcluster.md)
MORE_REGIONS = 7  # along the longer side at most, at the first level


@dataclass(frozen=True)
class Retrieval:
    """Scores over all images as queries.

    Attributes
    ----------
    mean_average_precision : float
        Of the other images of the query's class, the query itself left out.
    n_s : float
        UKBench's score: images of the query's object among the first four, the query counted; at most 4.
    """

    mean_average_precision: float
    n_s: float


def regions(height: int, width: int, levels: int = LEVELS) -> list[tuple[int, int, int]]:
    """The square regions of R-MAC on a map.

    Level l has l regions along the shorter side, each of side 2·min(height, width) / (l + 1), and as many more along
    the longer side as bring the overlap of the first level's nearest to 40 %.

    Returns
    -------
    list of (top, left, side)
    """
    short, long = min(height, width), max(height, width)
    more = 0
    if long > short:
        candidates = range(2, MORE_REGIONS + 1)
        overlaps = [1 - (long - short) / (n - 1) / short for n in candidates]
        more = min(range(len(overlaps)), key=lambda i: abs(overlaps[i] - OVERLAP)) + 1
    more_down, more_right = (more, 0) if height > width else (0, more)
    found = []
    for level in range(1, levels + 1):
        side = max(1, 2 * short // (level + 1))
        tops = _spread(height - side, level + more_down)
        lefts = _spread(width - side, level + more_right)
        found += [(top, left, side) for top in tops for left in lefts]
    return found


def _spread(room: int, n: int) -> list[int]:
    """n places from 0 to ``room``, evenly, at whole numbers."""
    return [0] if n == 1 else [int(room * i / (n - 1)) for i in range(n)]


def region_vectors(maps: torch.Tensor) -> torch.Tensor:
    """The maximum of each map in each region, scaled to length 1.

    Parameters
    ----------
    maps : torch.Tensor of shape (B, filters, h, w)

    Returns
    -------
    torch.Tensor of shape (B, regions, filters)
    """
    found = [
        maps[:, :, top : top + side, left : left + side].amax((2, 3))
        for top, left, side in regions(maps.shape[2], maps.shape[3])
    ]
    return F.normalize(torch.stack(found, 1), dim=2)


def layer_maps(body: Body, layer: str, images: torch.Tensor) -> torch.Tensor:
    """A layer's maps of images of any size.

    Raises
    ------
    InputError
        If they are so small that nothing is left of them.
    """
    try:
        return body.maps(images, [layer])[layer]
    except RuntimeError as error:
        if not re.search("is too small|greater than actual input size", str(error)):
            raise
        height, width = images.shape[2:]
        raise InputError(
            f"{height}x{width} pixels are too few for the network's {layer}: choose a larger size, or an earlier layer"
        ) from None


def fit_whitening(body: Body, layer: str, images: ImageSource, run: Run) -> Reduction:
    """PCA-whitening of the region vectors of images: of another set than the one that is searched
    (docs/papers/deepcluster.md).

    One forward pass a reading of the vectors, three in all: they are not kept.
    """

    def blocks():  # an iterator of (B·regions, filters)
        for _, vectors in feature_batches(body, images, run.runtime, lambda x: _flat_regions(body, layer, x)):
            yield vectors.flatten(0, 1)

    n_filters = next(blocks()).shape[1]
    return fit_reduction(blocks, n_filters, floor=FLOOR, reduce=run.runtime.sum_over_ranks, rank=run.runtime.rank)


def _flat_regions(body: Body, layer: str, images: torch.Tensor) -> torch.Tensor:
    return region_vectors(layer_maps(body, layer, images))


def rmac(body: Body, layer: str, images: ImageSource, whitening: Reduction, run: Run) -> torch.Tensor:
    """Descriptors (N, filters) of length 1: region vectors, whitened, length 1, summed, length 1."""

    def describe(batch: torch.Tensor) -> torch.Tensor:
        vectors = _flat_regions(body, layer, batch)  # (B, regions, filters)
        whitened = whitening(vectors.flatten(0, 1)).view(len(vectors), vectors.shape[1], -1)
        return F.normalize(whitened.sum(1))

    parts = [rows.cpu() for _, rows in feature_batches(body, images, run.runtime, describe)]
    return run.runtime.gather_rows(torch.cat(parts), len(images))


def average_precision(relevant: np.ndarray, n_relevant: int | None = None) -> float:
    """Area below precision over recall by the trapezoidal rule, as the Oxford benchmark's program computes it.

    Parameters
    ----------
    relevant : bool ndarray of shape (n,)
        Whether the images found are right, best first; images that do not count are left out before.
    n_relevant : int, optional
        How many there are to be found; by default all lie in ``relevant``.
    """
    wanted = int(relevant.sum()) if n_relevant is None else n_relevant
    if wanted == 0:
        return 0.0
    ranks = np.flatnonzero(relevant)  # of the hits, from 0
    hits = np.arange(len(ranks))
    before = np.where(ranks == 0, 1.0, hits / np.maximum(ranks, 1))  # precision just before the hit
    after = (hits + 1) / (ranks + 1)
    return float(((before + after) / 2).sum() / wanted)


def retrieval(descriptors: torch.Tensor, labels: np.ndarray) -> Retrieval:
    """Search every image among the others.

    Parameters
    ----------
    descriptors : torch.Tensor of shape (N, D)
    labels : ndarray of shape (N,)
        Objects.

    Raises
    ------
    InputError
        If no object has two images.

    Notes
    -----
    O(N²·D) time and O(N²) memory for the full rankings: these benchmarks have some thousand images.
    """
    n = len(descriptors)
    sizes = np.bincount(labels)
    if n < 2 or sizes.max() < 2:
        raise InputError("no object has two images: there is nothing to be found again")
    found, _ = neighbors(descriptors, descriptors, n - 1, exclude=np.arange(n))  # (N, N − 1), itself left out
    right = labels[found] == labels[:, None]
    queries = np.flatnonzero(sizes[labels] > 1)
    precisions = [average_precision(right[i]) for i in queries]
    return Retrieval(float(np.mean(precisions)), float(1 + right[:, :3].sum(1).mean()))
