"""The bytes of an image before Pillow decodes them: what they claim, and what keeps Pillow from a sound picture.

Pillow's reader of WebP makes room for the canvas as it opens a file, its readers of some PNM are slow Python, and its
reader of PNG gives up at a long text.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO

import numpy as np
from PIL import Image

from asterism.images.io_errors import Unreadable

_PNG = b"\x89PNG\r\n\x1a\n"
_KEPT_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"eXIf", b"IDAT", b"IEND")  # what the pixels need
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


def stream_of(file: str | bytes) -> BinaryIO:
    """An encoded image to read from, given by its path or as it is; to be closed."""
    return io.BytesIO(file) if isinstance(file, bytes) else open(file, "rb")


def n_bytes_of(file: str | bytes) -> int:
    """Its length."""
    return len(file) if isinstance(file, bytes) else os.path.getsize(file)


def webp_size(head: bytes) -> tuple[int, int] | None:
    """(width, height) of the whole canvas that the first 30 bytes of a WebP tell; None of a damaged one."""
    name, body = head[12:16], head[20:30]
    if len(body) < 10:
        return None
    if name == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if name == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if name == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    return None


def without_texts(data: bytes) -> bytes | None:
    """A PNG without the chunks that its pixels do not need (texts, profiles); None if it has none or is no PNG."""
    if not data.startswith(_PNG):
        return None
    kept, at = [_PNG], len(_PNG)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in _KEPT_CHUNKS:
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    plain = b"".join(kept)
    return plain if len(plain) < len(data) else None


def with_end(data: bytes) -> bytes | None:
    """A JPEG that lacks nothing but the mark of its end, with that mark; None for all others.

    Where more is missing libjpeg fills up with mid-grey blocks: then the last block of the image is one.
    """
    if not data.startswith(b"\xff\xd8") or data.rstrip(b"\0").endswith(_END_OF_IMAGE):
        return None
    whole = data + _END_OF_IMAGE
    with Image.open(io.BytesIO(whole), formats=("JPEG",)) as image:
        if "progressive" in image.info:  # what is missing there is sharpness, which nothing shows
            return None
        width, height = image.size
        last = np.asarray(image.crop((width - 1 - (width - 1) % 8, height - 1 - (height - 1) % 8, width, height)))
    return None if np.abs(last.astype(int) - 128).max() <= 1 else whole


def n_scans(data: bytes) -> int:
    """How often a progressive JPEG goes over its picture."""
    return data.count(_START_OF_SCAN)


def read_pnm(data: bytes, kind: str, size: tuple[int, int], mode: str, maxval: int) -> Image.Image:
    """The pixels of a PNM that Pillow would read number by number.

    Parameters
    ----------
    data : bytes
        What follows the header.
    kind : {"binary", "plain"}
        Bytes, or numbers as text.
    size : (int, int)
        (width, height).
    mode : {"1", "L", "RGB"}
    maxval : int
        What the file says is white.

    Returns
    -------
    PIL.Image.Image
        Mode L or RGB: 8 bits, rounded.

    Raises
    ------
    Unreadable
        If numbers are missing or lie outside 0 to ``maxval``.
    """
    width, height = size
    n = width * height * (3 if mode == "RGB" else 1)
    if kind == "plain":
        if b"#" in data:
            data = b"\n".join(line.partition(b"#")[0] for line in data.replace(b"\r", b"\n").split(b"\n"))
        if mode == "1":  # digits may stand side by side
            values = np.frombuffer(b"".join(data.split()), np.uint8).astype(np.int16) - ord("0")
        else:
            values = np.fromstring(data, np.int64, sep=" ")
    else:
        wide = maxval > 255
        values = np.frombuffer(data[: n * (1 + wide)], ">u2" if wide else np.uint8, len(data) // 2 if wide else -1)
    values = values[:n]
    if len(values) < n:
        raise Unreadable(f"image file is truncated ({n - len(values)} of {n} numbers are missing)")
    if values.min() < 0 or values.max() > maxval:
        raise Unreadable(f"numbers from {values.min()} to {values.max()} where {maxval} is white")
    if mode == "1":
        values, maxval = 1 - values, 1  # 1 is black there
    table = np.rint(np.arange(maxval + 1) * (255 / maxval)).astype(np.uint8)
    pixels = table[values].reshape((height, width, 3) if mode == "RGB" else (height, width))
    return Image.fromarray(pixels)
