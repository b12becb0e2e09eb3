"""What a TIFF says of itself: RAW photographs and kinds that are not read get their names, damage is seen early."""

from __future__ import annotations

import io
import math
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from asterism.images.io_errors import Unreadable

MAX_BLOCK = 2**28  # bytes of a strip or tile: libtiff makes room for a whole one
# Tags by their names in the TIFF 6.0 specification (1992) and Adobe's DNG specification.
_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _SUB_IFDS, _SAMPLE_FORMAT, _DNG_VERSION = 322, 323, 324, 330, 339, 50706
_SENSOR = (32803, 34892)  # the colours of a sensor's single elements, and what is made of them
_FORMATS = {1: "", 2: "signed ", 3: "float ", 5: "complex ", 6: "complex "}
_COMPRESSIONS = {34712: "JPEG 2000", 34887: "LERC", 50002: "JPEG XL", 52546: "JPEG XL", 34925: "LZMA", 50000: "ZSTD"}
_RAW = "a RAW photograph (DNG, NEF, ARW or the like) is not read: develop it to JPEG, PNG or TIFF"


def check_tiff(image: TiffImageFile) -> None:
    """Refuse a TIFF that holds a raw photograph, of which Pillow would read the small preview, or too little or much.

    Raises
    ------
    Unreadable
    """
    tags = image.tag_v2
    if _is_raw(tags) or _sign(image) == b"CR\2\0":
        raise Unreadable(_RAW)
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


def tiff_reason(data: bytes) -> str:
    """Why Pillow reads no image from such a TIFF."""
    try:
        stream = io.BytesIO(data)
        header = stream.read(8)
        tags = ImageFileDirectory_v2(header + stream.read(8) if header[2:3] == b"+" or header[3:4] == b"+" else header)
        stream.seek(tags.next)
        tags.load(stream)
        if _is_raw(tags):
            return _RAW
        bits, n = [int(one) for one in _many(tags.get(_BITS, (1,)))], _number(tags, _SAMPLES, 1)
        form = _FORMATS.get(int(_many(tags.get(_SAMPLE_FORMAT, (1,)))[0]), "")
        packed = _COMPRESSIONS.get(_number(tags, _COMPRESSION, 1))
        if not tags.get(_WIDTH):
            return "a damaged TIFF"
        kind = f"a TIFF of {n} {'bands' if n > 1 else 'band'} of {max(bits)}-bit {form}values".replace("  ", " ")
        kind += f", packed as {packed}," if packed else ""
        return f"{kind} is not read: save 1 or 3 bands of 8 or 16 bits, or pass the images as an array (.npz)"
    except Exception:  # whatever a damaged directory may raise
        return "a damaged TIFF"


def _is_raw(tags: Any) -> bool:
    preview = _number(tags, _SUBFILE_TYPE, 0) & 1 and _SUB_IFDS in tags
    return bool(preview) or _DNG_VERSION in tags or _number(tags, _PHOTOMETRIC, 0) in _SENSOR


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
