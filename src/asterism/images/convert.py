"""An image of Pillow's in any mode -> 8-bit pixels, grey or RGB: the same for files and for images in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageFile, ImageOps
from PIL.ExifTags import Base
from PIL.GifImagePlugin import GifImageFile
from PIL.TiffImagePlugin import TiffImageFile

from asterism.images import depth
from asterism.images.depth import Scale, White
from asterism.images.io_errors import Unreadable
from asterism.images.resample import fit_image

TURNS = {  # EXIF orientation -> what makes it upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MOST_CHUNKS, LARGEST_EXIF = 100_000, 2**16  # of a PNG that are looked through; bytes
_EXIF_OF_PNG = ("exif", "Raw profile type exif", "XML:com.adobe.xmp")

ROUNDING, DARK = 1, 32  # of 255: so far colours may lie apart in a WebP of a grey picture that has pixels above this


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, of an image that is not loaded yet; what is none of these means nothing."""
    if image.format == "TIFF" or not isinstance(image, ImageFile.ImageFile):  # it turns itself; it was no file
        return 1
    try:
        if image.format == "PNG" and not any(key in image.info for key in _EXIF_OF_PNG):
            exif = Image.Exif()  # Pillow would decode the image to look for what stands behind its pixels
            exif.load(_exif_chunk(image.fp))  # type: ignore[arg-type]  # it is open
        else:
            exif = image.getexif()
        found = exif.get(Base.Orientation, 1)
        return int(found) if found in TURNS else 1
    except Exception:  # damaged EXIF data, in whatever way: the picture itself may be sound
        return 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) of an image as the eye will see it."""
    return image.size if orientation(image) >= 5 else image.size[::-1]


def as_seen(shown: Image.Image, image: Image.Image) -> Image.Image:
    """An image in mode L or RGB that was made of another, as a viewer shows that.

    White where the first frame of a GIF does not reach; the positive of a deep TIFF in which 0 is white, as Pillow
    turns those of 8 bits and fewer by itself.
    """
    if isinstance(image, GifImageFile) and image.tell() == 0 and image.dispose_extent is not None:
        page = Image.new(shown.mode, shown.size, "white")
        page.paste(shown.crop(image.dispose_extent), image.dispose_extent[:2])
        return page
    if not isinstance(image, TiffImageFile) or not depth.is_deep_mode(image.mode):
        return shown
    return ImageOps.invert(shown) if image.tag_v2.get(Base.PhotometricInterpretation) == 0 else shown


def with_clear_grey(image: Image.Image) -> Image.Image:
    """The image, not loaded yet, with the transparent grey of a PNG of 2 or 4 bits as one of 8, which Pillow makes."""
    bits = {"L;2": 2, "L;4": 4}.get("".join(depth.raw_mode(tile) for tile in getattr(image, "tile", ())[:1]))
    clear = image.info.get("transparency")
    if bits is not None and isinstance(clear, int) and clear < 2**bits:
        image.info["transparency"] = clear * 255 // (2**bits - 1)
    return image


def _exif_chunk(file: BinaryIO) -> bytes:
    """EXIF data of a PNG, wherever they stand in it; the file is left where it was read last."""
    place, at = file.tell(), len(b"\x89PNG\r\n\x1a\n")
    try:
        for _ in range(MOST_CHUNKS):
            file.seek(at)
            n_bytes, kind = struct.unpack(">I4s", file.read(8))
            if kind == b"eXIf" and n_bytes <= LARGEST_EXIF:
                return file.read(n_bytes)
            if kind == b"IEND":
                break
            at += 12 + n_bytes  # length, kind and checksum
        return b""
    finally:
        file.seek(place)


def has_color(pixels: np.ndarray) -> bool:
    """Whether channels, the last axis, differ: in uint8 by more than WebP's rounding, else at all but for NaN."""
    if pixels.dtype == np.uint8:
        rounding = ROUNDING if pixels.max(initial=0) > DARK else 0  # of a picture this dark a step is much
        return bool((np.abs(pixels[..., 1:].astype(np.int16) - pixels[..., :1]) > rounding).any())
    return bool((np.abs(pixels[..., 1:] - pixels[..., :1]) > 0).any())


def shows_color(image: Image.Image) -> bool:
    """`has_color` of an image in mode L or RGB, without arrays of its size."""
    red, *others = image.split()

    def highest(channel: Image.Image) -> float:
        return channel.getextrema()[1]  # type: ignore[return-value]  # of one channel it is a number

    rounding = ROUNDING if max(map(highest, (red, *others))) > DARK else 0
    return any(highest(ImageChops.difference(red, channel)) > rounding for channel in others)


def is_grey_mode(mode: str) -> bool:
    """Whether images in a mode of Pillow's hold no colour."""
    return mode in ("1", "L", "LA", "La") or depth.is_deep_mode(mode)


def image_pixels(image: Image.Image, white: White | Scale | None = None) -> np.ndarray:
    """The pixels that an image of Pillow's has as a file: upright, transparent parts on white, 8 bits.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode. One that comes from a file is turned as its EXIF data say.
    white : White or Scale
        For modes I and F; `asterism.images.depth.SetWhite` finds that of a set.

    Returns
    -------
    ndarray of shape (H, W, 1) or (H, W, 3)
        uint8.

    Raises
    ------
    Unreadable
    """
    turn = orientation(with_clear_grey(image))
    image.load()
    try:
        upright = as_seen(eight_bit(image, white), image)
    except ValueError as error:  # a mode that only a few of Pillow's functions know
        reason = f"{image.mode} is a mode of Pillow's that is not read: pass image.convert('RGB')"
        raise Unreadable(reason) from error
    return pixels_of(upright, turn, None, True, None)


def eight_bit(image: Image.Image, white: White | Scale | None = None, lower: Image.Image | None = None) -> Image.Image:
    """The image in mode L or RGB.

    Transparent pixels are laid on white, as a page or a viewer shows them. Deep ones are scaled so that white becomes
    255; 65535 by 1/257. Colour profiles are not applied.

    Parameters
    ----------
    image : PIL.Image.Image
    white : White or Scale
    lower : PIL.Image.Image, optional
        The lower half of a colour image of 16 bits, of which ``image`` is the upper.

    Raises
    ------
    Unreadable
        If deep pixels lie outside the scale: any other would be a guess.
    """
    if image.format in ("BMP", "DIB") and image.mode == "RGBA" and not image.getchannel("A").getbbox():
        image = image.convert("RGB")  # an alpha that is 0 everywhere was not written
    deep = depth.is_deep_mode(image.mode) or lower is not None
    scaled = (white or White()).scaling(lambda: depth.value_range(image, lower)) if deep else None
    mode = "L" if is_grey_mode(image.mode) else "RGB"
    if image.width * image.height <= depth.STRIP:
        return _converted(image, lower, mode, scaled)
    if image.mode == mode and not deep and not image.has_transparency_data:
        return image
    whole = Image.new(mode, image.size)
    for rows in depth.row_blocks(image.size[::-1]):  # else there would be three of them in memory
        box = (0, rows.start, image.width, rows.stop)
        part = _converted(image.crop(box), None if lower is None else lower.crop(box), mode, scaled)
        whole.paste(part, box[:2])
    return whole


def _converted(
    image: Image.Image, lower: Image.Image | None, mode: str, scaled: Callable[[np.ndarray], np.ndarray] | None
) -> Image.Image:
    if scaled is not None:
        shown = Image.fromarray(scaled(depth.deep_values(image, lower)))
        clear = image.info.get("transparency")  # of a PNG without alpha: a value, or three
        if image.mode == "RGBA":
            shown.putalpha(image.getchannel("A"))
        elif isinstance(clear, (int, tuple)):
            same = np.atleast_3d(depth.deep_values(image, lower) == np.array(clear)).all(2)
            shown.putalpha(Image.fromarray(np.where(same, 0, 255).astype(np.uint8)))
        image = shown
    if image.mode == "La":  # premultiplied
        image = image.convert("LA")
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image.convert("RGBA")).convert(mode)
    return image if image.mode == mode else image.convert(mode)


def pixels_of(
    image: Image.Image, turn: int, size: tuple[int, int] | None, crop: bool, n_channels: int | None
) -> np.ndarray:
    """Pixels (H, W, C) of an image in mode L or RGB, turned, resampled and recoloured where that is asked for."""
    upright = image.transpose(TURNS[turn]) if turn in TURNS else image
    mode = {None: upright.mode, 1: "L", 3: "RGB"}[n_channels]
    if upright.mode != mode:  # else it would be copied
        upright = upright.convert(mode)
    pixels = np.array(fit_image(upright, size, crop))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
