"""Copies of pictures: the same one again, resized, stored anew as JPEG, a little brighter, or cut by a few per cent.

Pictures whose coarse shapes agree, their lowest cosine frequencies, are laid over each other as well as shift and
stretch can, and are copies where little is left between them. So another view of a thing is no copy of it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch.nn.functional import affine_grid, grid_sample, interpolate, normalize

from asterism.images.decode import Unreadable, read_header
from asterism.images.pack import pack
from asterism.images.pack_cache import recall, remember
from asterism.images.paths import list_images
from asterism.images.shards import is_shards
from asterism.images.source import ImageSource
from asterism.runtime import usual_torch

RULE = 3  # another number where another rule finds other pairs: those that are kept are of the old one
SIDE = 56  # pixels of the pictures that are compared
COARSE, FREQUENCIES = 28, 8  # pixels, and cosine frequencies a side, of the shape that finds candidates
CANDIDATES = 16  # pictures of the most similar shape that each is compared with …
ALIKE = 0.88  # … if the cosine between the two shapes is this
STEPS, FINE_STEPS = 5, 2  # of the search for shift and stretch, in small pictures and in those of 56 pixels
SHIFT, STRETCH = 0.07, 0.09  # the most, in halves of a side and as a ratio: cuts of 5 %
GAIN, OFFSET = 0.15, 0.1  # the most by which one is brighter
ROUGHLY = 0.9  # correlation in small pictures below which two are no copies
SAME = 0.975  # correlation of two copies, laid over each other
FLAT = 0.01  # deviation of the pixels up to which a picture shows nothing that could be compared
ROWS = 256  # pictures, and pairs, at once


@usual_torch()
def duplicates(images: ImageSource) -> np.ndarray:
    """Which images are copies of others.

    Parameters
    ----------
    images : ImageSource
        N pictures; of vectors only equal ones are copies.

    Returns
    -------
    ndarray of shape (N,), int64
        Of a copy the index of the image that is to be kept, of every other image its own. Each copy is one of the kept
        image itself: where b is like a and like c, but a not like c, the three are no group unless b is kept. Kept is
        the largest file in pixels, where the images are files, else the first.

    Notes
    -----
    O(N²·64) operations for the candidates, N·1 kB of memory, and N·19 kB of small pictures in colour, which lie in a
    file of the cache where they are many.
    """
    n = len(images)
    if n < 2:
        return np.arange(n)
    digests = images.digests
    if images.is_table:
        return _first_equal(digests)
    pairs = _pairs(images, digests)
    areas = _areas(images, np.unique(pairs))
    equal = np.array([digests[one] == digests[other] for one, other in pairs.tolist()], dtype=bool)
    largest = _largest_of_equals(n, pairs[equal], areas)
    return stars(n, largest[pairs[~equal]], areas)[largest]


def _largest_of_equals(n: int, pairs: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Of each image the largest file with the same pixels, (n,); ``pairs`` join the first of such images to each."""
    groups: dict[int, list[int]] = {}
    for first, other in pairs.tolist():
        groups.setdefault(first, [first]).append(other)
    largest = np.arange(n)
    for group in groups.values():
        largest[group] = max(group, key=lambda one: (areas[one], -one))
    return largest


def stars(n: int, pairs: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Groups without chains: the largest image that is in none yet takes those that it makes a pair with.

    Parameters
    ----------
    n : int
        Number of images, N.
    pairs : int64 ndarray of shape (P, 2)
        Images that are alike.
    areas : ndarray of shape (N,)
        Of equal ones the first is kept.

    Returns
    -------
    ndarray of shape (N,), int64
        The kept image of each.
    """
    partners: dict[int, set[int]] = {}
    for first, second in pairs.tolist():
        partners.setdefault(first, set()).add(second)
        partners.setdefault(second, set()).add(first)
    kept = np.full(n, -1)
    for image in sorted(partners, key=lambda one: (-areas[one], one)):
        if kept[image] < 0:
            kept[image] = image
            for other in partners[image]:
                kept[other] = image if kept[other] < 0 else kept[other]
    return np.where(kept < 0, np.arange(n), kept)


def _first_equal(digests: list[bytes]) -> np.ndarray:
    """The first of the images with the same numbers as each."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(digest, i) for i, digest in enumerate(digests)], dtype=np.int64)


def _pairs(images: ImageSource, digests: list[bytes]) -> np.ndarray:
    """Pairs (P, 2) of copies, each once; found once, then kept in the cache.

    Images with the same pixels are told by their digests, however many they are: each is a pair with the first of them,
    and that alone is compared with other pictures.
    """
    kind = repr((RULE, images.shape, images.pixels.dtype, images.white)).encode()
    key = "copies-" + hashlib.blake2b(kind + b"".join(digests), digest_size=16).hexdigest()
    with suppress(KeyError, TypeError, ValueError, OverflowError):  # not what is kept below: looked for again
        if (known := recall(key)) is not None:
            pairs = np.array(known["pairs"], dtype=np.int64).reshape(-1, 2)
            if ((pairs >= 0) & (pairs < len(images))).all():
                return pairs
    first = _first_equal(digests)
    distinct, place = np.unique(first, return_inverse=True)
    pictures = _pictures(images, distinct)
    shapes = torch.cat([_shapes(part.float()) for part in pictures.split(ROWS)])
    likely = _copies_among(pictures, _candidates(shapes))
    likely = torch.cat([likely, *_within_heaps(images, distinct, pictures, likely)])
    again = np.flatnonzero((first != np.arange(len(first))) & shapes.any(1).numpy()[place])
    pairs = np.concatenate([distinct[likely.numpy()], np.stack([first[again], again], axis=1)])
    remember(key, {"pairs": pairs.tolist()})
    return pairs


def _pictures(images: ImageSource, chosen: np.ndarray) -> torch.Tensor:
    """Some images as (n, C, 56, 56), in units of `batch`: 1 is white."""

    def made() -> Iterator[np.ndarray]:
        for start in range(0, len(chosen), ROWS):
            batch = images.batch(chosen[start : start + ROWS]).float().cpu()
            yield interpolate(batch, size=(SIDE, SIDE), mode="bilinear", antialias=True).half().numpy()

    return pack(made(), len(chosen), (images.shape[0], SIDE, SIDE), np.float16)


def _candidates(shapes: torch.Tensor) -> torch.Tensor:
    """Pairs (P, 2) of pictures of like shape, each once."""
    found = [torch.zeros(0, 2, dtype=torch.long)]
    for start in range(0, len(shapes), ROWS):
        likeness = shapes[start : start + ROWS] @ shapes.T
        rows = torch.arange(start, start + len(likeness))
        likeness[torch.arange(len(rows)), rows] = -1
        best, others = likeness.topk(min(CANDIDATES, len(shapes) - 1), dim=1)
        chosen = best >= ALIKE
        found.append(torch.stack([rows[:, None].expand_as(others)[chosen], others[chosen]], 1).sort(1).values)
    return torch.cat(found).unique(dim=0)


def _within_heaps(
    images: ImageSource, chosen: np.ndarray, pictures: torch.Tensor, pairs: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Pairs (P, 2) of what `stars` keeps of a heap with the rest of it, where there are more copies than `CANDIDATES`.

    Each of such many finds another few of them, and none would find all.
    """
    joined = coo_array((np.ones(len(pairs)), pairs.numpy().T), shape=(len(pictures), len(pictures)))
    heaps = connected_components(joined, directed=False)[1]
    large = np.flatnonzero(np.bincount(heaps) > CANDIDATES + 1)
    areas = _areas(images, chosen[np.isin(heaps, large)])[chosen]
    for heap in large:
        members = np.flatnonzero(heaps == heap)
        rest = torch.from_numpy(members[np.argsort(-areas[members], kind="stable")])
        while len(rest) > 1:
            copies = _copies_among(pictures, torch.stack([rest[:1].expand(len(rest) - 1), rest[1:]], 1))
            yield copies
            rest = rest[1:][~torch.isin(rest[1:], copies[:, 1])]


def _shapes(pictures: torch.Tensor) -> torch.Tensor:
    """The lowest cosine frequencies of grey pictures, (B, 63), length 1; 0 for a picture that shows nothing."""
    grey = interpolate(pictures.mean(1, keepdim=True), size=(COARSE, COARSE), mode="bilinear", antialias=True)[:, 0]
    places = (torch.arange(COARSE) + 0.5) * math.pi / COARSE
    waves = torch.cos(torch.arange(FREQUENCIES)[:, None] * places)
    found = (waves @ grey @ waves.T).flatten(1)[:, 1:]
    return normalize(found) * (grey.flatten(1).std(1, keepdim=True) > FLAT)


def _copies_among(pictures: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Those of the pairs (P, 2) that are copies."""
    return pairs[torch.cat([_are_copies(pictures, part) for part in pairs.split(ROWS)])] if len(pairs) else pairs


def _are_copies(pictures: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Whether pictures are copies, (P,) of pairs (P, 2): one of the two is a cut of the other."""
    first, second = pictures[pairs[:, 0]].float(), pictures[pairs[:, 1]].float()
    found = _likeness(first, second) >= SAME
    rest = ~found
    if rest.any():
        found[rest] = _likeness(second[rest], first[rest]) >= SAME
    return found


def _likeness(whole: torch.Tensor, cut: torch.Tensor) -> torch.Tensor:
    """Correlation (P,) of pictures (P, C, 56, 56) with the best part of the whole ones; −1 where that is no cut."""
    small, part = (interpolate(one.mean(1, keepdim=True), scale_factor=0.5, mode="area") for one in (whole, cut))
    theta = torch.eye(2, 3).expand(len(cut), 2, 3).clone()
    found, parts = _laid_over(small, part, theta, STEPS)
    likely = found >= ROUGHLY
    if not likely.any():
        return torch.full_like(found, -1)
    found[likely], parts[likely] = _laid_over(whole[likely], cut[likely], parts[likely], FINE_STEPS)
    moved = (parts[:, :, 2].abs() <= SHIFT).all(1) & ((parts[:, [0, 1], [0, 1]] - 1).abs() <= STRETCH).all(1)
    return torch.where(moved & likely, found, -1.0)


def _laid_over(
    whole: torch.Tensor, cut: torch.Tensor, theta: torch.Tensor, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlation (P,) of pictures (P, C, H, H) with parts (P, 2, 3) of the whole ones, and the best of those parts.

    Gauss-Newton steps for the shift and stretch of each axis, gain and offset that leave the least squared difference
    (Lucas and Kanade 1981); −1 where gain or offset are no copy's.
    """
    theta, side = theta.clone(), cut.shape[-1]
    places = (2 * torch.arange(side) + 1) / side - 1
    y, x = (axis.expand(side, side) for axis in (places[:, None], places[None]))
    for _ in range(steps):
        laid = _laid(whole, theta)
        across = torch.gradient(laid, spacing=2 / side, dim=3)[0]
        down = torch.gradient(laid, spacing=2 / side, dim=2)[0]
        slopes = [across * x, across, down * y, down, laid, torch.ones_like(laid)]
        A = torch.stack([one.flatten(1) for one in slopes], 2)  # (P, CHW, 6)
        normal = A.mT @ A + 1e-4 * torch.eye(6)
        step = torch.linalg.solve(normal, (A.mT @ (cut - laid).flatten(1)[..., None]))[..., 0]
        theta[:, [0, 0, 1, 1], [0, 2, 1, 2]] += step[:, :4].clamp(-0.1, 0.1)
    a, b = (one.flatten(1) for one in (_laid(whole, theta), cut))
    gain = b.std(1) / a.std(1).clamp_min(1e-6)
    bright = ((gain - 1).abs() <= GAIN) & ((b.mean(1) - a.mean(1)).abs() <= OFFSET)
    a, b = (normalize(one - one.mean(1, keepdim=True)) for one in (a, b))
    return torch.where(bright, (a * b).sum(1), -1.0), theta


def _laid(whole: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    grid = affine_grid(theta, list(whole.shape), align_corners=False)
    return grid_sample(whole, grid, padding_mode="border", align_corners=False)


def _areas(images: ImageSource, asked: np.ndarray) -> np.ndarray:
    """Pixels of the files of the images asked for, (N,); 0 of all others, and of images that are no files."""
    areas, source = np.zeros(len(images)), images.origin.get("source")
    if not len(asked) or source is None or (isinstance(source, str) and is_shards(source)):
        return areas
    listing = list_images(source)
    paths = {} if listing is None else {file.name: os.fspath(file.path) for file in listing.files}
    for image in asked.tolist():
        try:
            areas[image] = math.prod(read_header(paths[images.names[image]]).size)
        except (KeyError, OSError, Unreadable):
            continue
    return areas
