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
from PIL import Image, ImagePalette
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import TiffImageFile

from asterism.images.containers import stream_of
from asterism.images.depth import raw_mode
from asterism.images.dicom import open_raw
from asterism.images.io_errors import Unreadable
from asterism.images.raster import (
    ALPHA,
    How,
    Planes,
    Raster,
    channels_after,
    check_values,
    pages_note,
    planes_of,
    turned,
)

MAX_BLOCK = 2**28  # bytes of a strip or tile: libtiff makes room for a whole one
_NODATA = 42113  # GDAL's tag
_SENSOR = (32803, 34892)  # the colours of a sensor's single elements, and what is made of them
MOST_PAGES = 2**14
MAX_PICTURE = 2**26  # values of a pyramid's picture: of larger ones the next is taken
MAX_SLOW = 2**24  # bytes packed by a method that is unpacked in Python
_SWAPPED = ("I;16BS", "I;32BS")  # raw modes whose bytes Pillow swaps again where its library unpacks them
_CHANNELS = "CS"  # tifffile's letters of axes: channels and samples
_DEFLATE, _PACKBITS, _LZMA = (8, 32946), 32773, 34925


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
    width, height = _number(tags, Base.ImageWidth, 0), _number(tags, Base.ImageLength, 0)
    samples = _number(tags, Base.SamplesPerPixel, 1)
    planes = samples if _number(tags, Base.PlanarConfiguration, 1) == 2 else 1
    if Base.TileWidth in tags:
        across, down = _number(tags, Base.TileWidth, 1), _number(tags, Base.TileLength, 1)
        needed, held = math.ceil(width / across) * math.ceil(height / down), len(tags.get(Base.TileOffsets, ()))
    else:
        across, down = width, max(1, min(height, _number(tags, Base.RowsPerStrip, height)))
        needed, held = math.ceil(height / down), len(_many(tags.get(Base.StripOffsets, ())))
    depth = max((int(one) for one in _many(tags.get(Base.BitsPerSample, (1,)))), default=1)
    if across * down * depth * samples > 8 * MAX_BLOCK:
        raise Unreadable(f"a TIFF with blocks of {across}x{down} pixels, larger than those that are decoded")
    if held < needed * planes:
        raise Unreadable(f"image file is truncated ({needed * planes - held} of {needed * planes} parts are missing)")
    stored = sum(int(one) for one in _many(tags.get(Base.StripByteCounts, ())))
    if _number(tags, Base.Compression, 1) == 1 and Base.TileWidth not in tags and 0 < 8 * stored < width * height:
        raise Unreadable("image file is truncated (its strips hold too little)")


def is_raw(image: TiffImageFile) -> bool:
    """Whether it holds a photograph as a sensor saw it, of which Pillow would read the small preview."""
    tags = image.tag_v2
    preview = _number(tags, Base.NewSubfileType, 0) & 1 and Base.SubIFDs in tags
    file: Any = image.fp
    place = file.tell()
    file.seek(8)
    canon = file.read(4) == b"CR\2\0"
    file.seek(place)
    raw = canon or Base.DNGVersion in tags or _number(tags, Base.PhotometricInterpretation, 0) in _SENSOR
    return raw or bool(preview)


def is_whole(image: TiffImageFile) -> bool:
    """Whether Pillow reads all channels of a page, and each number as it is."""
    tags, bands, depth = image.tag_v2, len(image.getbands()), _number(image.tag_v2, Base.BitsPerSample, 1)
    signed = _number(tags, Base.SampleFormat, 1) == 2 and depth == 8
    mode, packed = "".join(raw_mode(tile) for tile in image.tile[:1]), _number(tags, Base.Compression, 1) != 1
    unnamed = mode.endswith("X")  # a further channel, which Pillow would drop
    swapped = packed and mode in _SWAPPED
    mixed = _is_planar(tags) and (bands == 2 or (depth > 8 and not packed))  # channels or bytes for one another
    whole = _number(tags, Base.SamplesPerPixel, 1) <= bands and image.mode != "RGBX"
    return whole and not (signed or unnamed or swapped or mixed)


def is_plain(image: TiffImageFile) -> bool:
    """Whether Pillow reads all that its first page holds: no further channels, floats, no-data, or stacks in one.

    Of planes of 16 bits that are packed it gives the upper 8, and of 32 bits the highest as a sign.
    """
    tags, depth = image.tag_v2, _number(image.tag_v2, Base.BitsPerSample, 1)
    coarse = (depth > 8 and _is_planar(tags)) or (depth == 32 and _number(tags, Base.SampleFormat, 1) == 1)
    about = str(tags.get(Base.ImageDescription, ""))[:4096]
    stack = any(sign in about for sign in ("ImageJ=", "<OME ", "<OME:"))
    return is_whole(image) and image.mode != "F" and _NODATA not in tags and not stack and not coarse


def _is_planar(tags: Any) -> bool:
    return _number(tags, Base.PlanarConfiguration, 1) == 2 and _number(tags, Base.SamplesPerPixel, 1) > 1


def with_palette(image: TiffImageFile) -> TiffImageFile:
    """The image with the colours of its palette, if that was written in 8 bits: Pillow would make them black."""
    if image.mode in ("P", "PA") and max(colors := image.tag_v2[Base.ColorMap], default=256) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colors))
    return image


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
        if page.photometric in _SENSOR or Base.DNGVersion in page.tags:
            return open_raw(file, how)
        _check_codecs(page)
        height, width, n_pages, n_channels = _shape(series)
        extra = tuple(page.extrasamples or ())
        alpha = page.samplesperpixel > 1 and len(extra) > 0 and int(extra[-1]) in (1, 2)
        palette = page.colormap if page.photometric == 3 else None
        if palette is not None and n_channels == 1:
            n_channels = 3
        taken = channels_after((n_pages, n_channels - alpha), how)
        n_read = 1 if _reads_some(series, how) else n_pages
        check_values(height * width * n_channels * n_read, series.dtype.itemsize)
        _check_packing(tiff, series)
        turn, inverted = _orientation(page), page.photometric == 0
        several = n_pages > 1 or len(tiff.series) > 1
        notes = (*([pages_note(how.pages)] if several else []), *([ALPHA] if alpha else []))
        deep = series.dtype.kind != "b" and series.dtype != np.uint8

    def read() -> Planes:
        with _opened(file) as tiff:
            series = _chosen(tiff)
            stack = _stack(series, how)[..., : -1 if alpha else None]
            if palette is not None and stack.shape[3] == 1:
                colors = palette if palette.max() < 256 else palette // 257
                stack = np.moveaxis(colors[:, stack[..., 0]], 0, 3).astype(np.uint8)
            return planes_of(turned(stack, turn), how, _nodata(series.keyframe), inverted=inverted)

    return Raster((width, height) if turn >= 5 else (height, width), taken, deep, notes, read)


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
    return next((level for level in first.levels if math.prod(level.shape) <= MAX_PICTURE), first)


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
    import lzma

    most = 2 * held + 2**20
    for one in [one for one in series.pages if one is not None]:
        for offset, length in zip(one.dataoffsets, one.databytecounts, strict=True):
            if (1032 if kind in _DEFLATE else 8192) * length <= 2**28:  # what so few bytes can become
                continue
            unpacker: Any = zlib.decompressobj() if kind in _DEFLATE else lzma.LZMADecompressor()
            tiff.filehandle.seek(offset)
            if len(unpacker.decompress(tiff.filehandle.read(length), most)) >= most:
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


def _orientation(page: Any) -> int:
    tag = page.tags.get(Base.Orientation)
    value = tag.value if tag is not None else 1
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


def _nodata(page: Any) -> float | None:
    """The value that means nothing, as GDAL writes it; None where there is no such, or it is no number."""
    tag = page.tags.get(_NODATA)
    text = "" if tag is None else str(tag.value)
    with suppress(ValueError):
        return float(text.strip("\0 \n"))
    return None
