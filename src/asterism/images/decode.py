"""One image file -> 8-bit pixels: bounded before it is decoded, upright, composited, never a surprise."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.JpegImagePlugin import jpeg_factory
from PIL.TiffImagePlugin import TiffImageFile

from asterism.images import kinds, raster
from asterism.images.containers import n_bytes_of, n_scans, read_pnm, stream_of, webp_size, with_end, without_texts
from asterism.images.convert import (
    as_seen,
    eight_bit,
    is_grey_mode,
    orientation,
    pixels_of,
    shows_color,
    upright_size,
    with_clear_grey,
)
from asterism.images.depth import Range, Scale, White, deep_values, is_deep, is_deep_color, lower_half, value_range
from asterism.images.io_errors import Unreadable as Unreadable
from asterism.images.io_errors import is_machine_error, retry
from asterism.images.raster import Header, How, Planes, Raster
from asterism.images.raster_readers import raster_of, raster_of_tiff
from asterism.images.tiff import check_tiff, silence_libtiff, with_palette

# A file whose header promises more is not decoded: decoded and converted it takes a gigabyte.
MAX_PIXELS = 2**27
MAX_HEAVY_PIXELS = 2**26  # of a format whose decoder takes some 16 bytes a pixel
_HEAVY = ("WEBP", "JPEG2000", "AVIF", "HEIF")
MAX_BYTES = 2**29  # of a file that has to be read as a whole
# Those that Pillow decodes in Python, a run or a number at a time.
MAX_RUN_LENGTH_PIXELS, MAX_TEXT_BYTES = 2**23, 2**26
MAX_SCANNED = 2**32  # pixels times scans of a progressive JPEG: each scan goes over the whole picture
# Decided by content, never by the file's name. A closed list: some of Pillow's formats run other programs (EPS) or are
# no pictures at all. WebP and HEIF are opened by `_open_other`.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "PPM", "MPO", "JPEG2000", "AVIF")


AS_IS = How()
T = TypeVar("T")


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of Pillow about odd files: they are reported as skipped, or are none of the user's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(file: str | bytes, how: How = AS_IS) -> Header:
    """Size and kind of an image without decoding it.

    Parameters
    ----------
    file : str or bytes
        A path, or the encoded image itself.
    how : How
        What of several pages and channels is wanted.

    Raises
    ------
    Unreadable
    StorageError
        If the machine, not the file, is in trouble, and stays so.
    """
    return _attempted(_header, file, how)


def read_range(file: str | bytes, how: How = AS_IS) -> Range | None:
    """Darkest and brightest pixel of a deep image; None, without decoding, for all others.

    Raises
    ------
    Unreadable, StorageError
        See `read_header`.
    """
    return _of_deep(file, how, lambda planes: planes.range, value_range)


def read_sample(file: str | bytes, n: int, how: How = AS_IS) -> np.ndarray | None:
    """About n pixels (m, C) of a deep image as it holds them, NaN where there is none; None for all others.

    Raises
    ------
    Unreadable, StorageError
        See `read_header`.
    """

    def of_planes(planes: Planes) -> np.ndarray:
        return planes.sample(n)

    return _of_deep(file, how, of_planes, lambda *halves: of_planes(Planes(np.atleast_3d(deep_values(*halves)))))


def _of_deep(
    file: str | bytes,
    how: How,
    of_planes: Callable[[Planes], T],
    of_image: Callable[[Image.Image, Image.Image | None], T],
) -> T | None:
    """Something of a deep image, loaded; None of others, which are not decoded."""

    def read(image: Image.Image | Raster, file: str | bytes) -> T | None:
        if isinstance(image, Raster):
            return of_planes(image.load()) if image.is_deep else None
        if not is_deep(image):
            return None
        lower = _lower_half(file) if is_deep_color(image) else None
        image.load()
        return of_image(image, lower)

    return _attempted(read, file, how)


def decode(
    file: str | bytes,
    size: tuple[int, int] | None = None,
    crop: bool = True,
    n_channels: int | None = None,
    how: How = AS_IS,
) -> np.ndarray:
    """The pixels (H, W, C) uint8 of one image that belongs to no set; see `read_image`."""
    return read_image(file, size, crop, n_channels, how=how)[1]


def read_image(
    file: str | bytes,
    size: tuple[int, int] | None = None,
    crop: bool = True,
    n_channels: int | None = None,
    white: Callable[[], White | Scale] = White,
    how: How = AS_IS,
) -> tuple[Header, np.ndarray]:
    """Decode one image, and read what it says of itself.

    Parameters
    ----------
    file : str or bytes
        A path, or the encoded image itself.
    size : (int, int), optional
        (H, W) wanted; large JPEGs are then decoded at a fraction of their size, never below twice the target.
    crop : bool
        See `asterism.images.resample.fit_image`.
    n_channels : int, optional
        1 for grey, 3 for RGB, or the number that a raster must have; None leaves it to the image.
    white : callable
        Asked what is white only if the image is deep. By default 65535 in integers, 1 in floats none of which exceeds
        1, and 255 in others.
    how : How
        What of several pages and channels is wanted.

    Returns
    -------
    header : Header
    pixels : ndarray of shape (H, W, C)
        uint8.

    Raises
    ------
    Unreadable
    StorageError
        If the machine, not the file, is in trouble, and stays so.
    """

    def read(image: Image.Image | Raster, file: str | bytes) -> tuple[Header, np.ndarray]:
        header = _header(image, file)
        if isinstance(image, Raster):
            pixels, notes = image.pixels(size, crop, n_channels, white)
            return replace(header, notes=notes), pixels
        if n_channels not in (None, 1, 3):
            raise Unreadable(f"{header.n_channels} channel{'s'[: header.n_channels - 1]} where most have {n_channels}")
        if size is not None and image.format in ("JPEG", "MPO"):
            _shrink_on_load(image, size, crop)
        _check_pixels(image.size)
        turn, loaded = orientation(image), _loaded(image, file, header, white)
        if n_channels == 1 and shows_color(loaded):
            header = replace(header, notes=(*header.notes, raster.COLORED))
        return header, pixels_of(loaded, turn, size, crop, n_channels)

    return _attempted(read, file, how)


def _loaded(image: Image.Image, file: str | bytes, header: Header, white: Callable[[], White | Scale]) -> Image.Image:
    """The decoded image in mode L or RGB, not turned."""
    if isinstance(image, TiffImageFile):
        # Pillow turns a TIFF upright by itself, but (up to 13.0 at least) reads the rows of an uncompressed one
        # under the width that it has only after the turn: give it back its stored size until then.
        image._size = (image.tag_v2[Base.ImageWidth], image.tag_v2[Base.ImageLength])
    found = white() if header.is_deep else White()
    plain = isinstance(found, White) and found.integer == 65535
    clear = "transparency" in image.info  # a value of 16 bits
    lower = _lower_half(file) if is_deep_color(image) and (clear or not plain) else None
    size = image.size
    with_clear_grey(image).load()
    if sorted(image.size) != sorted(size):
        raise Unreadable(f"{image.width}x{image.height} pixels where its header says {size[0]}x{size[1]}")
    return as_seen(eight_bit(image, found, lower), image)


def _lower_half(file: str | bytes) -> Image.Image:
    with _opened(file, AS_IS) as image:
        if isinstance(image, Raster):
            raise Unreadable("a damaged TIFF")
        return lower_half(image)


def _header(image: Image.Image | Raster, file: str | bytes) -> Header:
    if isinstance(image, Raster):
        return Header(image.size, image.n_channels, image.is_deep, image.notes)
    first = raster.pages_note("first") if isinstance(image, TiffImageFile) else raster.FRAMES
    notes = (first,) if _has_pages(image, file) else ()
    return Header(upright_size(image), 1 if is_grey_mode(image.mode) else 3, is_deep(image), notes)


def _has_pages(image: Image.Image, file: str | bytes) -> bool:
    """Whether more than what is read can be seen in the file: pages of a TIFF, frames of an animation or a burst."""
    if isinstance(image, TiffImageFile):
        return bool(image.tag_v2.next)
    if image.format != "GIF":
        return bool(getattr(image, "is_animated", False))
    with suppress(Exception), _identified(file, AS_IS) as other:  # anew: looking for the next frame moves on in it
        return bool(getattr(other, "is_animated", False))
    return False


def _shrink_on_load(image: Image.Image, size: tuple[int, int], crop: bool) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 of the size where that still is at least twice what is wanted."""
    height, width = (size[1], size[0]) if orientation(image) >= 5 else size
    scale_x, scale_y = 2 * width / image.width, 2 * height / image.height
    if crop:
        scale_x = scale_y = max(scale_x, scale_y)
    if max(scale_x, scale_y) < 1:
        image.draft(None, (math.ceil(image.width * scale_x), math.ceil(image.height * scale_y)))


# --- opening ----------------------------------------------------------------------------------------------------------


def _attempted(read: Callable[[Image.Image | Raster, str | bytes], T], file: str | bytes, how: How) -> T:
    """What is read of the image in a file; where that fails, of the file without what keeps a sound picture from it."""
    called = file if isinstance(file, str) else "an image"

    def opened(file: str | bytes) -> T:
        with _opened(file, how) as image:
            return read(image, file)

    try:
        return retry(lambda: opened(file), called)
    except Unreadable:
        mended = retry(lambda: _mended(file), called)
        if mended is None:
            raise
        return retry(lambda: opened(mended), called)


def _mended(file: str | bytes) -> bytes | None:
    """The file with the mark of its end, or without the texts that the pixels do not need; None if that is no help."""
    try:
        head, _ = _ends(file)
        if head.startswith(b"\x89PNG"):
            return without_texts(_whole(file))
        return with_end(_whole(file)) if head.startswith(b"\xff\xd8\xff") else None
    except Exception as error:
        if is_machine_error(error):
            raise
        return None


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    silence_libtiff()
    return tuple(one for one in FORMATS if one in Image.OPEN)


@contextmanager
def _opened(file: str | bytes, how: How) -> Iterator[Image.Image | Raster]:
    """An image whose header is sound and small enough; whatever fails inside the block becomes `Unreadable`."""
    try:
        if isinstance(file, str) and os.path.getsize(file) == 0:
            raise Unreadable("empty file", identified=False)
        with _identified(file, how) as image:
            if 0 in image.size:
                raise Unreadable("an image of no pixels")
            if not isinstance(image, Raster):
                _check(image, file)
            yield image if isinstance(image, Raster) or how.bands is None else _of_bands(image, file, how)
    except Unreadable:
        raise
    except (OSError, MemoryError) as error:
        if is_machine_error(error):
            raise
        raise Unreadable(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
    except Exception as error:  # decoders of damaged files raise anything: SyntaxError, struct.error, KeyError…
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _of_bands(image: Image.Image, file: str | bytes, how: How) -> Raster:
    """An image of Pillow's of which channels are picked by their numbers."""
    header, turn = _header(image, file), orientation(image)

    def read() -> Planes:
        deep = _of_deep(file, AS_IS, lambda planes: planes.values, lambda *halves: np.atleast_3d(deep_values(*halves)))
        stack = decode(file)[None] if deep is None else raster.turned(deep[None], turn)
        return raster.planes_of(stack, how)

    return Raster(header.size, raster.channels_after((1, header.n_channels), how), header.is_deep, header.notes, read)


def _identified(file: str | bytes, how: How) -> Image.Image | Raster:
    try:
        image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_formats())
    except UnidentifiedImageError:
        return _open_other(file, how)
    except Image.DecompressionBombError:  # Pillow's own limit, which is below ours of a JPEG; see `_check`
        return _open_large(file)
    if isinstance(image, TiffImageFile):
        if (found := raster_of_tiff(image, file, how)) is not None:
            image.close()
            return found
        return with_palette(image)
    tile = image.tile[0] if image.format == "PPM" else None
    if tile is not None and tile[0] in ("ppm", "ppm_plain"):
        with image:
            return _open_pnm(image, file, tile)
    return image


def _open_large(file: str | bytes) -> Image.Image:
    """What is larger than Pillow opens: a JPEG, which can be decoded at a fraction of its size."""
    if not _ends(file)[0].startswith(b"\xff\xd8\xff"):
        raise Unreadable(f"more pixels than the {MAX_PIXELS:,} that are decoded")
    source: Any = io.BytesIO(file) if isinstance(file, bytes) else file  # it opens paths too
    return jpeg_factory(source)


def _open_pnm(image: Image.Image, file: str | bytes, tile: Any) -> Image.Image:
    _check_pixels(image.size)
    data = _whole(file, MAX_TEXT_BYTES if tile[0] == "ppm_plain" else MAX_BYTES)[tile[2] :]
    maxval = tile[3][-1] if isinstance(tile[3], tuple) else 1
    mode = "L" if image.mode == "I" else image.mode
    return read_pnm(data, "plain" if tile[0] == "ppm_plain" else "binary", image.size, mode, maxval)


def _open_other(file: str | bytes, how: How) -> Image.Image | Raster:
    """What `FORMATS` do not open: WebP, HEIF, rasters, and what is named in a refusal."""
    head, tail = _ends(file)
    kind = kinds.kind_of(head, tail)
    if kind is None:
        raise Unreadable(kinds.unknown(head), identified=False) from None
    if kind.name == kinds.WEBP:
        return _open_webp(file, head)
    if kind.name in (kinds.HEIF, kinds.AVIF):
        with suppress(UnidentifiedImageError):
            return Image.open(io.BytesIO(_whole(file)), formats=_heif_formats(kind.name))
        raise Unreadable(f"{kind.name} of a kind that is not read, or damaged: convert it to PNG or JPEG")
    _check_length(file)
    if (found := raster_of(kind, file, how)) is not None:
        return found
    raise Unreadable(kind.reason, identified=kind.is_picture)


def _open_webp(file: str | bytes, head: bytes) -> Image.Image:
    """Of an animation Pillow decodes the first frame alone, on the whole canvas."""
    size = webp_size(head)
    if size is None:
        raise Unreadable("a damaged WebP")
    _check_pixels(size, MAX_HEAVY_PIXELS)
    data = _whole(file)
    if head[12:16] == b"VP8X" and head[20] & 2:  # animated: where the frame does not reach it is transparent, not black
        data = b"%b%c%b" % (data[:20], data[20] | 0x10, data[21:])
    return Image.open(io.BytesIO(data), formats=("WEBP",))


def _heif_formats(name: str) -> tuple[str, ...]:
    """The readers of HEIC or AVIF that are here."""
    try:
        import pillow_heif
    except ImportError:
        raise Unreadable(f"{name} is not read here: pip install pillow-heif, or convert it to PNG or JPEG") from None
    if "HEIF" not in Image.OPEN:
        pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    if "AVIF" not in Image.OPEN and hasattr(pillow_heif, "register_avif_opener"):
        pillow_heif.register_avif_opener(decode_threads=1)
    return tuple(one for one in ("HEIF", "AVIF") if one in Image.OPEN)


def _ends(file: str | bytes) -> tuple[bytes, bytes]:
    """The first bytes of a file and the last, which tell its kind."""
    with stream_of(file) as opened:
        head = opened.read(kinds.HEAD)
        opened.seek(max(0, n_bytes_of(file) - 18))
        return head, opened.read()


def _check_length(file: str | bytes, most: int | None = None) -> None:
    length, most = n_bytes_of(file), most or MAX_BYTES
    if length > most:
        raise Unreadable(f"{length:,} bytes, more than the {most:,} that are read of such a file")


def _whole(file: str | bytes, most: int | None = None) -> bytes:
    _check_length(file, most)
    with stream_of(file) as opened:
        return opened.read()


def _check_pixels(size: tuple[int, int], most: int | None = None) -> None:
    most = most or MAX_PIXELS
    if size[0] * size[1] > most:
        raise Unreadable(f"{size[0]}x{size[1]} pixels, more than the {most:,} that are decoded")


def _check(image: Image.Image, file: str | bytes) -> None:
    """Refuse what a header promises where that would take too much memory or time."""
    if image.format in ("JPEG", "MPO"):  # what is decoded may be an eighth of it, see `_shrink_on_load`
        _check_pixels(image.size, 2 * MAX_PIXELS)
        if "progressive" in image.info:
            pixels = image.width * image.height
            if pixels * (n_bytes_of(file) // 8) > MAX_SCANNED and pixels * n_scans(_whole(file)) > MAX_SCANNED:
                raise Unreadable(f"a progressive JPEG of {pixels:,} pixels that is gone over too often to be decoded")
        return
    _check_pixels(image.size, MAX_HEAVY_PIXELS if image.format in _HEAVY else None)
    if isinstance(image, TiffImageFile):
        check_tiff(image)
    elif image.format in ("BMP", "DIB") and [tile[0] for tile in getattr(image, "tile", ())] == ["bmp_rle"]:
        _check_pixels(image.size, MAX_RUN_LENGTH_PIXELS)
