"""Face verification as Labelled Faces in the Wild asks for it: are these two photographs of one person? (JULE, Table 7)

Huang, Ramesh, Berg and Learned-Miller, "Labeled Faces in the Wild", 2007, View 2, image-restricted: ten folds of given
pairs, half of them of one person; nothing is known of a pair but its answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from asterism.errors import InputError, MissingDataError
from asterism.features import extract
from asterism.images import ImageSource, open_images
from asterism.images.decode import Unreadable, decode, quiet
from asterism.images.resample import fit_array
from asterism.runtime import Runtime

LAYOUT = "lfw/NAME/NAME_0001.jpg and lfw/pairs.txt, from http://vis-www.cs.umass.edu/lfw"
FACE = 0.6  # of the side of LFW's photographs, 150 of 250 pixels: the middle, where its detector's face is
IMAGES_AT_ONCE = 1024


@dataclass(frozen=True)
class Pairs:
    """The pairs of View 2.

    Attributes
    ----------
    left, right : (P,) int array
        Numbers of images.
    same : (P,) bool array
        Whether the two are of one person.
    fold : (P,) int array
        From 0.
    images : list of str
        ``NAME/NAME_0001``, each once.
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    images: list[str]


@dataclass(frozen=True)
class Verification:
    """What LFW reports.

    Attributes
    ----------
    accuracy : float
        Mean over the folds, each with the threshold that was best on the others.
    standard_error : float
        σ / √folds, with σ the folds' standard deviation (n − 1).
    folds : list of float
        Accuracy of each.
    thresholds : list of float
        Least cosine that is called the same person.
    n_pairs : int
    """

    accuracy: float
    standard_error: float
    folds: list[float]
    thresholds: list[float]
    n_pairs: int


# ---------------------------------------------------------------- what lies on disk


def read_pairs(path: Path) -> Pairs:
    """Read ``pairs.txt``: ``folds pairs``, then for each fold so many pairs of one person and as many of two.

    A pair of one person is a line ``NAME i j``, one of two ``NAME i OTHER j``.

    Raises
    ------
    MissingDataError
        If it is not there.
    InputError
        If it is no such file; names the line.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise MissingDataError(f"{path} cannot be read; it holds LFW's pairs of View 2: {LAYOUT}") from error
    try:
        n_folds, n_each = (int(one) for one in lines[0])
        if len(lines) != 1 + 2 * n_folds * n_each:
            raise ValueError(f"{len(lines) - 1} pairs instead of the {2 * n_folds * n_each} of its first line")
        number: dict[str, int] = {}
        found = []
        for i, words in enumerate(lines[1:]):
            fold, place = divmod(i, 2 * n_each)
            same = place < n_each
            if len(words) != (3 if same else 4):
                raise ValueError(f"line {i + 2} is no pair of {'one person' if same else 'two persons'}: {words}")
            first, second = (words[0], words[1]), (words[0 if same else 2], words[-1])
            ends = [number.setdefault(f"{name}/{name}_{int(n):04d}", len(number)) for name, n in (first, second)]
            found.append((*ends, same, fold))
        if n_folds < 2 or n_each < 1:
            raise ValueError(f"{n_folds} folds of {n_each} pairs; a threshold is found on other folds: two at least")
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} is no list of LFW's pairs: {error}") from error
    left, right, same_person, folds = (np.array(column) for column in zip(*found, strict=True))
    return Pairs(left, right, same_person, folds, list(number))


def open_lfw(folder: Path) -> tuple[Path, Pairs]:
    """Where the photographs lie, and the pairs.

    Parameters
    ----------
    folder : Path
        Holds ``NAME/NAME_0001.jpg``, or one folder that does (``lfw``, ``lfw_funneled``, ``lfw-deepfunneled``), and
        ``pairs.txt`` there or beside it.

    Raises
    ------
    MissingDataError
        If something is not there; says what is expected where.
    InputError
        See `read_pairs`.
    """
    if not folder.is_dir():
        raise MissingDataError(f"there is no folder {folder}; expected: {LAYOUT}")
    lists = [one / "pairs.txt" for one in (folder, folder.parent) if (one / "pairs.txt").is_file()]
    if not lists:
        raise MissingDataError(f"there is no pairs.txt in {folder} or beside it; expected: {LAYOUT}")
    pairs = read_pairs(lists[0])
    inner = [one for one in sorted(folder.iterdir()) if one.is_dir() and one.name.startswith("lfw")]
    for root in (folder, *inner):
        if (root / f"{pairs.images[0]}.jpg").is_file():
            missing = [name for name in pairs.images if not (root / f"{name}.jpg").is_file()]
            if missing:
                lacking = f"{len(missing)} of the {len(pairs.images)} photographs of the pairs"
                raise MissingDataError(f"{root} lacks {lacking}, {missing[0]}.jpg for one")
            return root, pairs
    raise MissingDataError(f"{folder} does not hold {pairs.images[0]}.jpg; expected: {LAYOUT}")


def faces(root: Path, names: list[str], shape: tuple[int, int, int], face: float = FACE) -> Iterator[ImageSource]:
    """The photographs' middles at a network's size, some at a time.

    Parameters
    ----------
    root : Path
    names : list of str
        ``NAME/NAME_0001``.
    shape : (int, int, int)
        (C, H, W) of the network's images.
    face : float, default=0.6
        Side of the middle that is cut out, as a part of the photograph's. The paper is silent on the crop.

    Yields
    ------
    ImageSource
        Of at most 1024 photographs, in order.

    Raises
    ------
    InputError
        For a file that is no image.
    """
    channels, *size = shape
    for start in range(0, len(names), IMAGES_AT_ONCE):
        block = np.empty((min(IMAGES_AT_ONCE, len(names) - start), *size, channels), dtype=np.uint8)
        for place, name in enumerate(names[start : start + IMAGES_AT_ONCE]):
            path = root / f"{name}.jpg"
            try:
                with quiet():
                    whole = decode(str(path), n_channels=channels)
            except Unreadable as error:
                raise InputError(f"{path}: {error.reason}") from error
            block[place] = fit_array(_middle(whole, face), (size[0], size[1]), True)
        yield open_images(block, layout="NHWC")


def _middle(image: np.ndarray, share: float) -> np.ndarray:
    height, width = (max(1, round(share * side)) for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


# ---------------------------------------------------------------- the protocol


def verify(
    encoder: nn.Module, shape: tuple[int, int, int], folder: Path, runtime: Runtime, face: float = FACE
) -> Verification:
    """Score a network on LFW by the cosine of the two features of each pair.

    Parameters
    ----------
    encoder : nn.Module
        Images (B, C, H, W) → features (B, D), on the runtime's device.
    shape : (int, int, int)
        (C, H, W) that it takes.
    folder : Path
        See `open_lfw`.
    runtime : Runtime
    face : float
        See `faces`.

    Raises
    ------
    MissingDataError, InputError
    """
    if not 0 < face <= 1:
        raise InputError(f"face={face} is no share of a photograph's side: above 0, and at most 1")
    root, pairs = open_lfw(folder)
    features = torch.cat([extract(encoder, part, runtime) for part in faces(root, pairs.images, shape, face)])
    features = F.normalize(features)
    cosine = (features[pairs.left] * features[pairs.right]).sum(1).numpy()
    return cross_validate(cosine, pairs.same, pairs.fold)


def cross_validate(similarity: np.ndarray, same: np.ndarray, fold: np.ndarray) -> Verification:
    """Accuracy of each fold with the threshold that is best on all others.

    Parameters
    ----------
    similarity : (P,) float array
    same : (P,) bool array
    fold : (P,) int array
    """
    accuracies, thresholds = [], []
    for one in np.unique(fold):
        held = fold == one
        threshold = best_threshold(similarity[~held], same[~held])
        accuracies.append(float(((similarity[held] >= threshold) == same[held]).mean()))
        thresholds.append(threshold)
    spread = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0
    error = spread / math.sqrt(len(accuracies))
    return Verification(float(np.mean(accuracies)), error, accuracies, thresholds, len(same))


def best_threshold(similarity: np.ndarray, same: np.ndarray) -> float:
    """The threshold of the most right answers, midway between two similarities; of several such the middle one.

    Parameters
    ----------
    similarity : (P,) float array
    same : (P,) bool array

    Returns
    -------
    float
        A pair is called the same person from it on.
    """
    order = np.argsort(-similarity, kind="stable")
    values, answers = similarity[order], same[order]
    # right answers where the i most similar are called the same, i = 0 … P
    right = np.r_[0, np.cumsum(answers)] + np.r_[np.cumsum(~answers[::-1])[::-1], 0]
    cuts = np.r_[True, values[1:] < values[:-1], True]  # equal similarities cannot be told apart
    best = np.flatnonzero(cuts & (right == right[cuts].max()))
    i = int(best[len(best) // 2])
    if i == 0:
        return float(np.nextafter(values[0], np.inf))
    return float(values[-1]) if i == len(values) else float((values[i - 1] + values[i]) / 2)
