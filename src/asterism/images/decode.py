"""One image file -> 8-bit pixels: bounded before it is decoded, upright, composited, never a surprise."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from asterism.images.io_errors import is_machine_error, retry
from asterism.images.resample import fit_image

# A file whose header promises more is not decoded: 179 million pixels are half a gigabyte of RGB. Pillow's own bound.
MAX_PIXELS = 178_956_970
# Decided by content, never by the file's name. A closed list: some of Pillow's formats run other programs (EPS) or are
# no pictures at all. HEIF is there for those who registered a plugin for it.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "MPO", "JPEG2000", "AVIF", "HEIF")

_TURNS = {  # EXIF orientation -> what makes it upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


class Unreadable(Exception):
    """A file that gives no image; `reason` is one line, `identified` says whether it looked like an image at all."""

    def __init__(self, reason: str, identified: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.identified = " ".join(reason.split()), identified


@dataclass(frozen=True)
class Header:
    """What a file says of itself: (H, W) as the eye will see it, and whether it can hold colour."""

    size: tuple[int, int]
    is_grey: bool


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of Pillow about odd files: they are reported as skipped, or are none of the user's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(file: str | bytes) -> Header:
    """Size and kind of an image without decoding it.

    Parameters
    ----------
    file : str or bytes
        A path, or the encoded image itself.

    Raises
    ------
    Unreadable
    StorageError
        If the machine, not the file, is in trouble, and stays so.
    """
    return retry(lambda: _read_header(file), _called(file))


def _read_header(file: str | bytes) -> Header:
    with _opened(file) as image:
        width, height = image.size
        # A PNG without an eXIf chunk would be decoded just to look for one; a TIFF turns itself.
        looked_up = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        if looked_up and _orientation(image) >= 5:
            width, height = height, width
        return Header((height, width), image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I"))


def decode(
    file: str | bytes, size: tuple[int, int] | None = None, crop: bool = True, n_channels: int | None = None
) -> np.ndarray:
    """Decode one image.

    Parameters
    ----------
    file : str or bytes
        A path, or the encoded image itself.
    size : (int, int), optional
        (H, W) wanted; large JPEGs are then decoded at a fraction of their size, never below twice the target.
    crop : bool
        See `fit_image`.
    n_channels : int, optional
        1 for grey, 3 for RGB; None leaves it to the image.

    Returns
    -------
    ndarray of shape (H, W, C)
        uint8.

    Raises
    ------
    Unreadable
    StorageError
        If the machine, not the file, is in trouble, and stays so.
    """
    return retry(lambda: _decode(file, size, crop, n_channels), _called(file))


def _called(file: str | bytes) -> str:
    """What messages call a file."""
    return file if isinstance(file, str) else "an image"


def _decode(file: str | bytes, size: tuple[int, int] | None, crop: bool, n_channels: int | None) -> np.ndarray:
    with _opened(file) as image:
        if size is not None and image.format in ("JPEG", "MPO"):
            _shrink_on_load(image, size, crop)
        if isinstance(image, TiffImageFile):
            # Pillow turns a TIFF upright by itself, but (up to 13.0 at least) reads the rows of an uncompressed one
            # under the width that it has only after the turn: give it back its stored size until then.
            image._size = (image.tag_v2[256], image.tag_v2[257])
        image.load()
        upright = eight_bit(image)
        turn = _TURNS.get(_orientation(image))
        if turn is not None:
            upright = upright.transpose(turn)
        if n_channels is not None:
            upright = upright.convert("L" if n_channels == 1 else "RGB")
        if size is not None:
            upright = fit_image(upright, size, crop)
        pixels = np.array(upright)
        return pixels if pixels.ndim == 3 else pixels[:, :, None]


def eight_bit(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB.

    Transparent pixels are laid on white, as a page or a viewer shows them. 16 bits are scaled by 1/257, so that 65535
    becomes 255. Floats are taken as 0–1 where none exceeds 1, else as 0–255. Colour profiles are not applied.

    Raises
    ------
    Unreadable
        If 32-bit pixels lie outside these ranges: any other scale would be a guess.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_scaled_to_bytes(np.asarray(image)))
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image.convert("RGBA")).convert(mode)
    return image if image.mode == mode else image.convert(mode)


def sixteen_to_eight(values: np.ndarray) -> np.ndarray:
    """0–65535 to 0–255, rounded to nearest: 65535 / 255 = 257 exactly."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _scaled_to_bytes(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 255):  # also true for nan
            raise Unreadable(f"float pixels from {low:g} to {high:g}; 0 to 1 or 0 to 255 can be read")
        return np.rint(values * (255.0 if high <= 1 else 1.0)).astype(np.uint8)
    if low < 0 or high > 65535:
        raise Unreadable(f"32-bit pixels from {low} to {high}; 0 to 65535 can be read")
    return sixteen_to_eight(values)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data, in whatever way: the picture itself may be sound
        return 1


def _shrink_on_load(image: Image.Image, size: tuple[int, int], crop: bool) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 of the size where that still is at least twice what is wanted."""
    height, width = (size[1], size[0]) if _orientation(image) >= 5 else size
    scale_x, scale_y = 2 * width / image.width, 2 * height / image.height
    if crop:
        scale_x = scale_y = max(scale_x, scale_y)
    if max(scale_x, scale_y) < 1:
        image.draft(None, (math.ceil(image.width * scale_x), math.ceil(image.height * scale_y)))


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(one for one in FORMATS if one in Image.OPEN)


@contextmanager
def _opened(file: str | bytes) -> Iterator[Image.Image]:
    """An image whose header is sound and small enough; whatever fails inside the block becomes `Unreadable`."""
    try:
        if isinstance(file, str) and os.path.getsize(file) == 0:
            raise Unreadable("empty file", identified=False)
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_formats()) as image:
            width, height = image.size
            if width * height == 0:
                raise Unreadable("an image of no pixels")
            if width * height > MAX_PIXELS:
                raise Unreadable(f"{width}x{height} pixels, more than the {MAX_PIXELS:,} that are decoded")
            yield image
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable("not an image, or damaged at its beginning", identified=False) from None
    except (OSError, MemoryError) as error:
        if is_machine_error(error):
            raise
        raise Unreadable(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
    except Exception as error:  # decoders of damaged files raise anything: SyntaxError, struct.error, KeyError…
        raise Unreadable(f"{type(error).__name__}: {error}") from error
