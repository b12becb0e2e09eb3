"""What a TIFF that Pillow opens says of itself: whether Pillow reads all of it; damage is seen early."""

from __future__ import annotations

import ctypes
import logging
import math
from contextlib import suppress
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from asterism.images.depth import raw_mode
from asterism.images.io_errors import Unreadable

MAX_BLOCK = 2**28  # bytes of a strip or tile: libtiff makes room for a whole one
# Tags by their names in the TIFF 6.0 specification (1992) and Adobe's DNG specification.
_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _SUB_IFDS, _DNG_VERSION = 322, 323, 324, 330, 50706
_DESCRIPTION, _SAMPLE_FORMAT, _NODATA = 270, 339, 42113
_SENSOR = (32803, 34892)  # the colours of a sensor's single elements, and what is made of them


def silence_libtiff() -> None:
    """Keep Pillow and its library from writing to the terminal about damaged files: these become one line each."""
    logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL + 1)  # what matters is raised
    with suppress(OSError, AttributeError):  # a Pillow without the library, or with one that is built in
        library = ctypes.CDLL(Image.core.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def check_tiff(image: TiffImageFile) -> None:
    """Refuse a TIFF that holds too little or too much; raises `Unreadable`."""
    tags = image.tag_v2
    width, height = _number(tags, _WIDTH, 0), _number(tags, _HEIGHT, 0)
    planes = _number(tags, _SAMPLES, 1) if _number(tags, _PLANAR, 1) == 2 else 1
    if _TILE_WIDTH in tags:
        across, down = _number(tags, _TILE_WIDTH, 1), _number(tags, _TILE_LENGTH, 1)
        needed, held = math.ceil(width / across) * math.ceil(height / down), len(tags.get(_TILE_OFFSETS, ()))
    else:
        across, down = width, max(1, min(height, _number(tags, _ROWS_PER_STRIP, height)))
        needed, held = math.ceil(height / down), len(_many(tags.get(_STRIP_OFFSETS, ())))
    depth = max((int(one) for one in _many(tags.get(_BITS, (1,)))), default=1) * _number(tags, _SAMPLES, 1)
    if across * down * depth > 8 * MAX_BLOCK:
        raise Unreadable(f"a TIFF with blocks of {across}x{down} pixels, larger than those that are decoded")
    if held < needed * planes:
        raise Unreadable(f"image file is truncated ({needed * planes - held} of {needed * planes} parts are missing)")
    stored = sum(int(one) for one in _many(tags.get(_STRIP_BYTES, ())))
    if _number(tags, _COMPRESSION, 1) == 1 and _TILE_WIDTH not in tags and 0 < 8 * stored < width * height:
        raise Unreadable("image file is truncated (its strips hold too little)")


def is_raw(image: TiffImageFile) -> bool:
    """Whether it holds a photograph as a sensor saw it, of which Pillow would read the small preview."""
    tags = image.tag_v2
    preview = _number(tags, _SUBFILE_TYPE, 0) & 1 and _SUB_IFDS in tags
    raw = bool(preview) or _DNG_VERSION in tags or _number(tags, _PHOTOMETRIC, 0) in _SENSOR
    return raw or _sign(image) == b"CR\2\0"


def is_whole(image: TiffImageFile) -> bool:
    """Whether Pillow reads all channels of a page."""
    tags, bands = image.tag_v2, len(image.getbands())
    signed = _number(tags, _SAMPLE_FORMAT, 1) == 2 and _number(tags, _BITS, 1) == 8
    unnamed = any(raw_mode(tile).endswith("X") for tile in image.tile[:1])  # a further channel, which Pillow would drop
    return _number(tags, _SAMPLES, 1) <= bands and image.mode != "RGBX" and not signed and not unnamed


def is_plain(image: TiffImageFile) -> bool:
    """Whether Pillow reads all that its first page holds: no further channels, floats, no-data, or stacks in one."""
    tags = image.tag_v2
    about = str(tags.get(_DESCRIPTION, ""))[:4096]
    stack = any(sign in about for sign in ("ImageJ=", "<OME ", "<OME:"))
    return is_whole(image) and image.mode != "F" and _NODATA not in tags and not stack


def _sign(image: TiffImageFile) -> bytes:
    """Where a Canon RAW file says that it is one."""
    file = image.fp
    if file is None:
        return b""
    place = file.tell()
    file.seek(8)
    found = file.read(4)
    file.seek(place)
    return bytes(found)


def _many(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _number(tags: Any, tag: int, default: int) -> int:
    found = _many(tags.get(tag, default))
    return int(found[0]) if found else default
