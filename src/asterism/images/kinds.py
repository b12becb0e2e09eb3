"""What a file is that is not read: its kind by name, from its first bytes, and what to do with it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

from asterism.files import read_table

HEAD = 4096  # bytes that tell the kind of a file


@dataclass(frozen=True)
class Kind:
    """A kind of file by name; `advice` says how to get images of it, `is_picture` whether it holds one."""

    name: str
    advice: str = "convert it to PNG or JPEG"
    is_picture: bool = True

    @property
    def is_raw(self) -> bool:
        """Whether it is what a camera's sensor saw."""
        return "RAW photograph" in self.name

    @property
    def reason(self) -> str:
        """Why such a file gives no image, and what to do, in one line."""
        return f"{self.name} is not read: {self.advice}"


# Names of those that are read in one way or another.
WEBP, HEIF, AVIF, TIFF = "WebP", "HEIC", "AVIF", "a TIFF of this kind"
DICOM, NUMPY = "DICOM", "a numpy array beside images"
_LETTERS = bytes((*b"\t\n\r\f", *range(32, 127), *range(128, 256)))


def kind_of(head: bytes, tail: bytes = b"") -> Kind | None:
    """Name what a file is, from its first `HEAD` bytes and its last 18; None if it is none of the kinds known here."""
    if head[4:8] == b"ftyp" and head[8:11] != b"M4A":
        return _base_media_kind(head)
    if head.startswith(b"PK\3\4"):
        return _zip_kind(head)
    for offset, sign, kind in _signs():
        if head.startswith(sign, offset):
            return kind
    if head.startswith(b"\0\1\0\0\0") and len(head) > 5 and 8 <= head[5] < 40:
        return Kind("a font", "move it out", is_picture=False)
    if len(head) > 400 and all(head[at] == 0x47 for at in (0, 188, 376)):
        return Kind("a video (MPEG-TS)", "export its frames as PNG or JPEG", is_picture=False)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:HEAD].lower()
    if text.startswith((b"<?xml", b"<svg", b"<!--", b"<!doctype svg")) and b"<svg" in text:
        return Kind("SVG", "export it as PNG")
    if text.startswith((b"<!doctype html", b"<html")):
        return Kind("a web page", "it may stand for an image that was not found: fetch that anew", is_picture=False)
    if head.startswith((b"\0\0\1\0", b"\0\0\2\0")) and len(head) >= 22 and head[4:6] != b"\0\0" and head[9] == 0:
        return Kind("an icon (ICO)" if head[2] == 1 else "a cursor (CUR)")
    if tail.startswith(b"TRUEVISION-XFILE") or _is_tga(head):
        return Kind("TGA")
    if len(head) >= 128 and head[0] == 10 and head[1] in (0, 2, 3, 4, 5) and head[2] <= 1 and head[3] in (1, 2, 4, 8):
        return Kind("PCX")
    return None


def unknown(head: bytes) -> str:
    """Why a file of no known kind gives no image, from its first bytes."""
    if not head:
        return "it is empty: copy it anew"
    if not head.strip(b"\0"):
        return "it begins with zeros, as a file that was not written whole: copy it anew"
    if not head.translate(None, _LETTERS):
        return "it is text, not an image"
    return "not an image, or damaged at its beginning"


@cache
def _signs() -> list[tuple[int, bytes, Kind]]:
    """What files begin with: where it stands, the bytes (``\\xNN`` in the table: a byte), and what they tell."""
    return [
        (int(offset), sign.encode("latin-1").decode("unicode_escape").encode("latin-1"), kind)
        for row in read_table("asterism.images", "kinds.csv")
        for kind in [Kind(row["kind"], row["advice"], row["picture"] == "yes")]
        for offset, sign in (one.split(":", 1) for one in row["signs"].split())
    ]


def _zip_kind(head: bytes) -> Kind:
    """What a ZIP is for, by its first member."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if name.endswith(b".npy"):
        return Kind("an .npz of arrays", "pass the .npz file itself", is_picture=False)
    if name.endswith((b"/data.pkl", b"/.format_version")):
        return Kind("a model (torch)", "move it out", is_picture=False)
    if name == b"mimetype" and (b"krita" in head[:200] or b"image/openraster" in head[:200]):
        return Kind("a painting with layers (KRA or ORA)", "export it as PNG")
    is_document = name.startswith((b"[Content_Types]", b"_rels/", b"docProps/", b"word/", b"ppt/", b"xl/"))
    if is_document or (name == b"mimetype" and b"opendocument" in head[:200]):
        return Kind("an office document", "save its pictures as PNG or JPEG", is_picture=False)
    return Kind("a ZIP archive", "unpack it", is_picture=False)


def _base_media_kind(head: bytes) -> Kind:
    """The family of MP4: photographs and videos, told apart by the brands that a file claims."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return Kind(AVIF)
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}:
        return Kind(HEIF)
    if b"crx " in brands:
        return Kind("a Canon RAW photograph (CR3)", "develop it to JPEG, PNG or TIFF")
    if brands & {b"jp2 ", b"jpx ", b"jpm "}:
        return Kind("JPEG 2000 of this kind")
    return Kind("a video (MP4 or MOV)", "export its frames as PNG or JPEG", is_picture=False)


def _is_tga(head: bytes) -> bool:
    """Whether 18 bytes can be the header of a TGA file, which has no sign of its own."""
    if len(head) < 18:
        return False
    map_type, kind, first, n, map_bits, _, _, width, height, bits, flags = struct.unpack("<xBBHHBHHHHBB", head[:18])
    plain = map_type == 0 and kind in (2, 3, 10, 11) and first == n == map_bits == 0 and bits in (8, 15, 16, 24, 32)
    mapped = map_type == 1 and kind in (1, 9) and 0 < n <= 256 and map_bits in (15, 16, 24, 32) and bits == 8
    return (plain or mapped) and width > 0 and height > 0 and flags < 64
