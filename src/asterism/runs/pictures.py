"""`Kept`: what a page is drawn from, kept with the run at its end, so that the page stays whole without the images.

Thumbnails, the features that the map is drawn from (after the first page its places), and a hash of each image.
"""

from __future__ import annotations

import base64
import io
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from asterism.errors import StorageError
from asterism.files import replacing
from asterism.images.sprites import WEBP, Sprites, sprites_of

FILE = "pictures.safetensors"
LARGEST_FILE = 2**27  # bytes; twenty thousand photographs take about 25 MB
LARGEST_SHEET = 2**13  # pixels a side
WIDEST_FEATURES = 50  # numbers an image, of what the map is drawn from
MAP_WHOLE = 20_000  # so many images are all placed on the map …
MAP_SAMPLE = 10_000  # … of more, so many at random


def chosen_for_map(n: int, seed: int) -> np.ndarray:
    """Which images the map shows: all, or a sample that depends on the seed only; sorted indices."""
    if n <= MAP_WHOLE:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MAP_SAMPLE, replace=False))


@dataclass
class Stack:
    """Pictures of some images, as a section shows them: ``indices`` of shape (n,), and the sprites."""

    indices: np.ndarray
    sprites: Sprites


@dataclass
class Kept:
    """What a run keeps for its pages.

    Attributes
    ----------
    fingerprint : str
        Of the images that it was made from.
    shown : ndarray of shape (m,), int64
        Images on the map.
    points : ndarray of shape (m, 2), float64, or None
        Their places in the unit square; None before the first page.
    features : ndarray of shape (m, d), float32, or None
        What the places are computed from, with d up to 50; None where that would have taken long.
    hashes : ndarray of shape (N,), uint64, or None
        Of the pixels of each image.
    stacks : dict of str to Stack
        Pictures, by the section that they are made for.
    """

    fingerprint: str
    shown: np.ndarray
    points: np.ndarray | None
    features: np.ndarray | None
    hashes: np.ndarray | None
    stacks: dict[str, Stack]

    def sprites(self, indices: np.ndarray, side: int, exact: bool = False) -> Sprites | None:
        """Pictures of images, as far as they are kept; None if none of them is.

        Parameters
        ----------
        indices : integer ndarray of shape (n,)
        side : int
            Longest side that is wanted, in pixels; pictures may be smaller, and one that is not kept is blank.
        exact : bool, default=False
            None unless just these are kept.
        """
        same = (one for one in self.stacks.values() if np.array_equal(one.indices, indices))
        if (stack := next(same, None)) is not None:
            return stack.sprites
        if exact:
            return None
        known = [one for one in self.stacks.values() if np.isin(indices, one.indices).any()]
        if not known:
            return None
        size = min((one.sprites.size for one in known), key=lambda size: abs(max(size) - side))
        pictures: dict[int, np.ndarray] = {}
        for stack in known:
            wanted = set(indices.tolist()).difference(pictures)
            pictures.update(_cut(stack, wanted, size))
        blank = np.zeros((size[1], size[0], 3), dtype=np.uint8)
        return sprites_of([pictures.get(int(i), blank) for i in indices])


def keep(run: Path, kept: Kept) -> None:
    """Write what a run keeps; a run that cannot be written to keeps nothing."""
    arrays: dict[str, np.ndarray] = {"shown": kept.shown.astype(np.int64)}
    for name in ("points", "features", "hashes"):
        if (found := getattr(kept, name)) is not None:
            arrays[name] = found
    for name, stack in kept.stacks.items():
        sheets = [base64.b64decode(sheet.partition(",")[2]) for sheet in stack.sprites.sheets]
        arrays[f"{name}.indices"] = stack.indices.astype(np.int64)
        arrays[f"{name}.size"] = np.array(stack.sprites.size, dtype=np.int64)
        arrays[f"{name}.lengths"] = np.array([len(sheet) for sheet in sheets], dtype=np.int64)
        arrays[f"{name}.sheets"] = np.frombuffer(b"".join(sheets), dtype=np.uint8)
    if sum(one.nbytes for one in arrays.values()) > LARGEST_FILE:
        arrays.pop("hashes", None)
    with suppress(StorageError, SafetensorError), replacing(run / FILE) as path:
        save_file(
            {name: np.ascontiguousarray(one) for name, one in arrays.items()},
            path,
            metadata={"fingerprint": kept.fingerprint},
        )


def read_kept(run: Path, n: int, fingerprint: str | None) -> Kept | None:
    """What a run of N images keeps; None if it keeps nothing, or nothing that can be used."""
    path = run / FILE
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return None
        with safe_open(path, framework="np") as file:
            if (file.metadata() or {}).get("fingerprint") != (fingerprint or ""):
                return None
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        return _checked(arrays, n, fingerprint or "")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, Image.DecompressionBombError):
        return None


def hand_on(run: Path, other: Path) -> None:
    """Keep with another run what this one keeps, if it does."""
    with suppress(OSError, StorageError):
        if (run / FILE).is_symlink() or not (run / FILE).is_file() or (run / FILE).stat().st_size > LARGEST_FILE:
            return
        with replacing(other / FILE) as path:
            shutil.copyfile(run / FILE, path)


def _checked(arrays: dict[str, np.ndarray], n: int, fingerprint: str) -> Kept:
    """What was read, in type and range.

    Raises
    ------
    KeyError, ValueError
        If it is not what `keep` writes.
    """
    shown, points = _indices(arrays["shown"], n), arrays.get("points")
    if points is not None and (points.dtype != np.float64 or points.shape != (len(shown), 2)):
        raise ValueError("points")
    if points is not None and not ((points >= 0) & (points <= 1)).all():
        raise ValueError("points")
    features = arrays.get("features")
    if features is not None and (features.dtype != np.float32 or features.ndim != 2 or len(features) != len(shown)):
        raise ValueError("features")
    if features is not None and not (0 < features.shape[1] <= WIDEST_FEATURES and np.isfinite(features).all()):
        raise ValueError("features")
    hashes = arrays.get("hashes")
    if hashes is not None and (hashes.dtype != np.uint64 or hashes.shape != (n,)):
        raise ValueError("hashes")
    stacks = {}
    for name in sorted(key.removesuffix(".indices") for key in arrays if key.endswith(".indices")):
        indices = _indices(arrays[f"{name}.indices"], n)
        width, height = _whole(arrays[f"{name}.size"], (2,)).tolist()
        lengths, sheets = _whole(arrays[f"{name}.lengths"]), arrays[f"{name}.sheets"]
        if not (0 < width <= 256 and 0 < height <= 256) or sheets.dtype != np.uint8 or lengths.sum() != len(sheets):
            raise ValueError(name)
        ends = np.cumsum(lengths)
        parts = [sheets[end - length : end].tobytes() for end, length in zip(ends, lengths, strict=True)]
        sprites = Sprites(width, height, [WEBP + base64.b64encode(part).decode("ascii") for part in parts])
        if len(parts) != -(-len(indices) // sprites.per_sheet) or not all(map(_is_sheet, parts)):
            raise ValueError(name)
        stacks[name] = Stack(indices, sprites)
    return Kept(fingerprint, shown, points, features, hashes, stacks)


def _whole(array: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    if array.dtype != np.int64 or array.ndim != 1 or (shape and array.shape != shape) or (array < 0).any():
        raise ValueError("not whole numbers")
    return array


def _indices(array: np.ndarray, n: int) -> np.ndarray:
    if (_whole(array) >= n).any():
        raise ValueError("no such image")
    return array


def _is_sheet(content: bytes) -> bool:
    """Whether bytes are one picture of a sheet's size; nothing is decoded."""
    with Image.open(io.BytesIO(content), formats=["WEBP"]) as sheet:
        return max(sheet.size) <= LARGEST_SHEET and getattr(sheet, "n_frames", 1) == 1


def _cut(stack: Stack, wanted: set[int], size: tuple[int, int]) -> dict[int, np.ndarray]:
    """Pictures (h, w, 3) of the wanted images, by their indices."""
    sprites, found = stack.sprites, {}
    width, height = sprites.cell
    for number, sheet in enumerate(sprites.sheets):
        on_it = stack.indices[number * sprites.per_sheet : (number + 1) * sprites.per_sheet]
        if wanted.isdisjoint(on_it.tolist()):
            continue
        try:
            with Image.open(io.BytesIO(base64.b64decode(sheet.removeprefix(WEBP))), formats=["WEBP"]) as opened:
                pixels = opened.convert("RGB")
        except OSError:  # damaged behind its header
            continue
        for place, image in enumerate(on_it.tolist()):
            if image in wanted:
                left, top = place % sprites.columns * width, place // sprites.columns * height
                picture = pixels.crop((left, top, left + sprites.width, top + sprites.height))
                found[image] = np.asarray(picture if picture.size == size else picture.resize(size))
    return found
