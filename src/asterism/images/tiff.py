"""TIFF: what Pillow cannot read of it, tifffile does: many bands, deep ones, floats, stacks of pages, pyramids."""

from __future__ import annotations

import ctypes
import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from asterism.images.containers import stream_of
from asterism.images.depth import raw_mode
from asterism.images.dicom import open_raw
from asterism.images.io_errors import Unreadable
from asterism.images.raster import ALPHA, How, Planes, Raster, channels_after, check_values, pages_note, planes_of

MAX_BLOCK = 2**28  # bytes of a strip or tile: libtiff makes room for a whole one
# Tags by their names in the TIFF 6.0 specification (1992) and Adobe's DNG specification.
_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _SUB_IFDS, _DNG_VERSION = 322, 323, 324, 330, 50706
_DESCRIPTION, _ORIENTATION, _SAMPLE_FORMAT, _NODATA = 270, 274, 339, 42113
_SENSOR = (32803, 34892)  # the colours of a sensor's single elements, and what is made of them
MOST_PAGES = 2**14
MAX_PICTURE = 2**26  # values of a pyramid's picture: of larger ones the next is taken
MAX_SLOW = 2**24  # bytes packed by a method that is unpacked in Python
_CHANNELS = "CS"  # tifffile's letters of axes: channels and samples
_DEFLATE, _PACKBITS, _LZMA = (8, 32946), 32773, 34925
_FLIPS = {2: (1,), 3: (0, 1), 4: (0,), 5: (), 6: (1,), 7: (0, 1), 8: (0,)}  # axes, after a transposition from 5 on


# ---------------------------------------------------------------- as Pillow opens it


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


# ---------------------------------------------------------------- by tifffile


def open_tiff(file: str | bytes, how: How) -> Raster:
    """What a TIFF holds, by its directories; of one that holds what a sensor saw, the photograph.

    Raises
    ------
    Unreadable
    """
    with _opened(file) as tiff:
        series = _chosen(tiff)
        page = series.keyframe
        if page.photometric in _SENSOR or _DNG_VERSION in page.tags:
            return open_raw(file, how)
        _check_codecs(page)
        height, width, n_pages, n_channels = _shape(series)
        alpha = _has_alpha(page)
        if page.photometric == 3 and page.colormap is not None and n_channels == 1:
            n_channels = 3
        taken = channels_after((n_pages, n_channels - alpha), how)
        n_read = 1 if _reads_some(series, how) else n_pages
        check_values(height * width * n_channels * n_read, series.dtype.itemsize)
        _check_packing(tiff, series)
        turned = _orientation(page) >= 5
        several = n_pages > 1 or len(tiff.series) > 1
        notes = (*([pages_note(how.pages)] if several else []), *([ALPHA] if alpha else []))
        deep = series.dtype.kind != "b" and series.dtype != np.uint8
    size = (width, height) if turned else (height, width)
    return Raster(size, taken, deep, notes, lambda: _read(file, how))


def _read(file: str | bytes, how: How) -> Planes:
    with _opened(file) as tiff:
        series = _chosen(tiff)
        page = series.keyframe
        stack = _stack(series, how)
        if _has_alpha(page):
            stack = stack[..., :-1]
        if page.photometric == 3 and page.colormap is not None and stack.shape[3] == 1:
            stack = (np.moveaxis(page.colormap[:, stack[..., 0]], 0, 3) // 257).astype(np.uint8)
        tag = page.tags.get(_NODATA)
        planes = planes_of(stack, how, None if tag is None else _as_float(tag.value), inverted=page.photometric == 0)
        turn = _orientation(page)
        planes.values = _upright(planes.values, turn)
        planes.missing = None if planes.missing is None else _upright(planes.missing, turn)
        return planes


@contextmanager
def _opened(file: str | bytes) -> Iterator[Any]:
    """A `tifffile.TiffFile`; other files that it may name are never opened."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # what matters is raised
    with stream_of(file) as stream:
        _check_pages(stream)
        try:
            with tifffile.TiffFile(stream, _multifile=False) as tiff:
                if not tiff.series:
                    raise Unreadable("a TIFF without an image")
                yield tiff
        except (Unreadable, OSError, MemoryError):
            raise
        except Exception as error:  # of damaged files anything comes
            if "imagecodecs" not in str(error):
                raise Unreadable(f"a damaged TIFF ({type(error).__name__}: {str(error)[:150]})") from error
            packed = str(error).partition(">")[0].partition("COMPRESSION.")[2].partition(":")[0] or "this way"
            raise Unreadable(
                f"a TIFF packed as {packed} is not read: pip install imagecodecs, or save it unpacked"
            ) from error


def _check_pages(stream: Any) -> None:
    """Refuse chains of directories that do not end."""
    head = stream.read(16)
    order: Any = {b"II": "little", b"MM": "big"}.get(head[:2])
    if order is None or len(head) < 16:
        raise Unreadable("a damaged TIFF")
    big = int.from_bytes(head[2:4], order) == 43
    number, entry, link = (8, 20, 8) if big else (2, 12, 4)  # bytes
    place = int.from_bytes(head[8:16] if big else head[4:8], order)
    for _ in range(MOST_PAGES):
        stream.seek(place)
        n = int.from_bytes(stream.read(number), order)
        if n > 4096:
            raise Unreadable("a damaged TIFF (a directory without end)")
        stream.seek(place + number + entry * n)
        place = int.from_bytes(stream.read(link), order)
        if place == 0 or place >= 2**62:
            break
    else:
        raise Unreadable(f"a TIFF of more than {MOST_PAGES:,} pages: export those that are wanted")
    stream.seek(0)


def _chosen(tiff: Any) -> Any:
    """The first series; of a pyramid, its largest picture that is not too large."""
    first = tiff.series[0]
    for level in first.levels:
        if math.prod(level.shape) <= MAX_PICTURE:
            return level
    return first


def _shape(series: Any) -> tuple[int, int, int, int]:
    """Height, width, number of pages and of channels."""
    sides = dict(zip(series.axes, series.shape, strict=True))
    if "Y" not in sides or "X" not in sides or len(sides) < len(series.axes) or min(series.shape) < 1:
        raise Unreadable(f"a TIFF with axes {series.axes}, {series.shape}: an image has rows and columns")
    n_channels = math.prod(sides[axis] for axis in sides if axis in _CHANNELS)
    return sides["Y"], sides["X"], math.prod(series.shape) // (sides["Y"] * sides["X"] * n_channels), n_channels


def _reads_some(series: Any, how: How) -> bool:
    """Whether the pages that are wanted can be read without the others."""
    lead = series.shape[: len(series.shape) - len(series.keyframe.shape)]
    fits = series.shape[len(lead) :] == series.keyframe.shape and math.prod(lead) == len(series.pages)
    return how.pages == "first" and fits and len(series.pages) > 1


def _stack(series: Any, how: How) -> np.ndarray:
    """Its pixels (pages, H, W, C)."""
    axes, shape = series.axes, series.shape
    if _reads_some(series, how):
        lead = shape[: len(shape) - len(series.keyframe.shape)]
        numbers = np.arange(math.prod(lead)).reshape(lead)
        first = tuple(slice(None) if axis in _CHANNELS else slice(0, 1) for axis in axes[: len(lead)])
        kept = numbers[first]
        pages = [series.pages[int(i)] for i in kept.ravel()]
        parts = [np.zeros(series.keyframe.shape, series.dtype) if one is None else one.asarray() for one in pages]
        array = np.stack(parts).reshape(*kept.shape, *series.keyframe.shape)
    else:
        array = series.asarray(maxworkers=1)
    places = {axis: i for i, axis in enumerate(axes)}
    others = [i for axis, i in places.items() if axis not in "YX" + _CHANNELS]
    channels = [i for axis, i in places.items() if axis in _CHANNELS]
    array = array.transpose(*others, places["Y"], places["X"], *channels)
    height, width = array.shape[len(others) : len(others) + 2]
    return array.reshape(math.prod(array.shape[: len(others)]), height, width, -1)


def _check_packing(tiff: Any, series: Any) -> None:
    """Refuse packed pixels that would become far more than the header says, or take minutes."""
    page = series.keyframe
    held = math.prod(page.chunks) * page.dtype.itemsize if page.chunks else page.nbytes
    if held > 2**29:
        raise Unreadable(f"a TIFF with blocks of {held:,} bytes, larger than those that are decoded")
    kind = int(page.compression)
    if kind == _PACKBITS and sum(page.databytecounts) > MAX_SLOW and find_spec("imagecodecs") is None:
        raise Unreadable("a large TIFF packed as PACKBITS is not read: pip install imagecodecs, or save it unpacked")
    if kind not in (*_DEFLATE, _LZMA):
        return
    for one in [one for one in series.pages if one is not None]:
        for offset, length in zip(one.dataoffsets, one.databytecounts, strict=True):
            if (1032 if kind in _DEFLATE else 8192) * length <= 2**28:  # what so few bytes can become
                continue
            tiff.filehandle.seek(offset)
            if _unpacks_to_more(tiff.filehandle.read(length), kind, 2 * held + 2**20):
                raise Unreadable("a TIFF whose packed pixels are more than it says")


def _check_codecs(page: Any) -> None:
    """Raise at once what reading would raise."""
    if page.dtype is None or page.dtype.kind not in "buif":
        raise Unreadable(f"a TIFF of {page.bitspersample}-bit values of type {page.dtype}: only numbers are read")
    from tifffile import TIFF

    for codecs, key in ((TIFF.DECOMPRESSORS, page.compression), (TIFF.UNPREDICTORS, page.predictor)):
        try:
            codecs[key]
        except KeyError as error:
            raise ValueError(str(error)) from error


def _unpacks_to_more(packed: bytes, kind: int, most: int) -> bool:
    import lzma

    unpacker: Any = zlib.decompressobj() if kind in _DEFLATE else lzma.LZMADecompressor()
    return len(unpacker.decompress(packed, most)) >= most


def _has_alpha(page: Any) -> bool:
    extra = tuple(page.extrasamples or ())
    return page.samplesperpixel > 1 and len(extra) > 0 and int(extra[-1]) in (1, 2)


def _orientation(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    value = tag.value if tag is not None else 1
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(array: np.ndarray, turn: int) -> np.ndarray:
    if turn == 1:
        return array
    turned = array.swapaxes(0, 1) if turn >= 5 else array
    return np.ascontiguousarray(np.flip(turned, _FLIPS[turn]) if _FLIPS[turn] else turned)


def _as_float(value: Any) -> float | None:
    try:
        return float(str(value).strip("\0 \n"))
    except ValueError:
        return None
