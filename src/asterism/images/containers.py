"""What is done to the bytes of an image before Pillow decodes them: only one picture, and no more work than it needs.

Pillow's reader of WebP makes the canvas of a whole animation, its readers of some PNM are slow Python, and its reader
of PNG gives up at a long text. Each function here takes the bytes of a file and gives those of a plain still image.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
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


def _riff_chunks(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each chunk of a RIFF file between two places; the last may be cut off."""
    while start + 8 <= stop:
        length = int.from_bytes(data[start + 4 : start + 8], "little")
        yield data[start : start + 4], data[start + 8 : min(start + 8 + length, stop)]
        start += 8 + length + length % 2


def _riff_chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _frame_size(name: bytes, body: bytes) -> tuple[int, int]:
    """(width, height) that a compressed frame of WebP says itself."""
    if name == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) >= 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if name == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    raise Unreadable("a WebP whose first frame is damaged")


@dataclass(frozen=True)
class Still:
    """One picture of a WebP: a file of its own, the (width, height) of the canvas, and where on it the picture lies."""

    data: bytes
    canvas: tuple[int, int]
    corner: tuple[int, int] = (0, 0)
    frame: tuple[int, int] = (0, 0)

    @property
    def covers(self) -> bool:
        """Whether the picture is as large as the canvas."""
        return self.frame == self.canvas and self.corner == (0, 0)


def first_webp_frame(data: bytes) -> Still:
    """A WebP as a still one: the first frame of an animation, with its transparency and EXIF data; else as it is.

    Raises
    ------
    Unreadable
    """
    canvas, exif, still = None, b"", None
    for name, body in _riff_chunks(data, 12, len(data)):
        if name == b"VP8X" and len(body) >= 10:
            canvas = int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
        elif name == b"EXIF":
            exif = _riff_chunk(name, body)
        elif name in (b"VP8 ", b"VP8L") and still is None:
            frame = _frame_size(name, body)
            if canvas not in (None, frame):
                raise Unreadable("a WebP whose picture is not as large as it says")
            return Still(data, frame, frame=frame)
        elif name == b"ANMF" and still is None and len(body) > 16:
            still = _frame(body)
    if still is None or canvas is None:
        raise Unreadable("a WebP without a picture")
    picture, frame, corner = still
    if frame[0] + corner[0] > canvas[0] or frame[1] + corner[1] > canvas[1]:
        raise Unreadable("a WebP whose first frame lies outside its canvas")
    flags = 0x10 | (0x08 if exif else 0)  # transparency, EXIF
    sides = b"".join((side - 1).to_bytes(3, "little") for side in frame)
    body = b"WEBP" + _riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + sides) + picture + exif
    return Still(b"RIFF" + struct.pack("<I", len(body)) + body, canvas, corner, frame)


def _frame(body: bytes) -> tuple[bytes, tuple[int, int], tuple[int, int]]:
    """Of a frame of an animation: the chunks of its picture, (width, height), and the corner where it lies."""
    corner = 2 * int.from_bytes(body[0:3], "little"), 2 * int.from_bytes(body[3:6], "little")
    alpha = b""
    for name, content in _riff_chunks(body, 16, len(body)):
        if name == b"ALPH":
            alpha = _riff_chunk(name, content)
        elif name in (b"VP8 ", b"VP8L"):
            return alpha + _riff_chunk(name, content), _frame_size(name, content), corner
    raise Unreadable("a WebP without a picture")


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
