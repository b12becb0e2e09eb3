"""What a file is that is not read: its kind by name, from its first bytes, and what to do with it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

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
        return self.advice == _RAW

    @property
    def reason(self) -> str:
        """Why such a file gives no image, and what to do, in one line."""
        return f"{self.name} is not read: {self.advice}"


_FRAMES, _UNPACK, _SLICES = "export its frames as PNG or JPEG", "unpack it", "export its slices as PNG or .npy"


def _kinds(text: str, *signs: tuple[int, bytes], advice: str | None = None, is_picture: bool = True) -> list:
    kind = Kind(text, is_picture=is_picture) if advice is None else Kind(text, advice, is_picture)
    return [(offset, sign, kind) for offset, sign in signs]


WEBP, HEIF, AVIF, TIFF = Kind("WebP"), Kind("HEIC"), Kind("AVIF"), Kind("a TIFF of this kind")
DICOM = Kind("DICOM", _SLICES)
NUMPY = Kind("a numpy array beside images", "pass the .npy file itself", is_picture=False)
_RAW = "develop it to JPEG, PNG or TIFF"
_SIGNS: list[tuple[int, bytes, Kind]] = [
    *_kinds("a Canon RAW photograph (CR2)", (8, b"CR\2\0"), (6, b"HEAPCCDR"), advice=_RAW),
    *_kinds("a Fujifilm RAW photograph (RAF)", (0, b"FUJIFILMCCD-RAW"), advice=_RAW),
    *_kinds("an Olympus RAW photograph (ORF)", (0, b"IIRO"), (0, b"IIRS"), (0, b"MMOR"), advice=_RAW),
    *_kinds("a Panasonic RAW photograph (RW2)", (0, b"IIU\0"), advice=_RAW),
    *_kinds("a Sigma RAW photograph (X3F)", (0, b"FOVb"), advice=_RAW),
    *_kinds("a Minolta RAW photograph (MRW)", (0, b"\0MRM"), advice=_RAW),
    *_kinds("a Photoshop document (PSD)", (0, b"8BPS")),
    *_kinds("a GIMP document (XCF)", (0, b"gimp xcf")),
    *_kinds("JPEG XL (JXL)", (0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL \r\n\x87\n")),
    *_kinds("JPEG XR", (0, b"II\xbc\1"), (0, b"II\xbc\0")),
    *_kinds("JPEG-LS", (0, b"\xff\xd8\xff\xf7")),
    *_kinds("DjVu", (0, b"AT&TFORM")),
    *_kinds("an icon (ICNS)", (0, b"icns")),
    *_kinds("a texture (DDS)", (0, b"DDS ")),
    *_kinds("a texture (KTX)", (0, b"\xabKTX")),
    *_kinds("OpenEXR", (0, b"v/1\1")),
    *_kinds("Radiance HDR", (0, b"#?RADIANCE"), (0, b"#?RGBE")),
    *_kinds("QOI", (0, b"qoif")),
    *_kinds("BPG", (0, b"BPG\xfb")),
    *_kinds("FLIF", (0, b"FLIF")),
    *_kinds("farbfeld", (0, b"farbfeld")),
    *_kinds("PAM", (0, b"P7\n"), (0, b"P7\r")),
    *_kinds("a colour PFM", (0, b"PF\n"), (0, b"PF\r")),
    *_kinds("Sun raster", (0, b"\x59\xa6\x6a\x95")),
    *_kinds("SGI", (0, b"\1\xda\0\1"), (0, b"\1\xda\1\1"), (0, b"\1\xda\1\2"), (0, b"\1\xda\0\2")),
    *_kinds("XPM", (0, b"/* XPM")),
    *_kinds("ILBM", (8, b"ILBM")),
    *_kinds("a Windows metafile (WMF)", (0, b"\xd7\xcd\xc6\x9a"), (0, b"\1\0\x09\0\0\3")),
    *_kinds("a Windows metafile (EMF)", (40, b" EMF")),
    *_kinds("CorelDRAW", (8, b"CDR")),
    *_kinds("a brush (GBR)", (20, b"GIMP")),
    *_kinds("Photo CD", (2048, b"PCD_")),
    *_kinds("Microsoft Paint (MSP)", (0, b"DanM"), (0, b"LinS")),
    *_kinds("XBM", (0, b"#define ")),
    *_kinds("IM", (0, b"Image type:")),
    *_kinds("a texture (VTF)", (0, b"VTF\0")),
    *_kinds("an InDesign document", (0, b"\x06\x06\xed\xf5\xd8\x1d\x46\xe5")),
    *_kinds("EPS", (0, b"%!PS"), (0, b"\xc5\xd0\xd3\xc6"), advice="export it as PNG"),
    *_kinds("FITS", (0, b"SIMPLE  ="), advice="export it as PNG or .npy"),
    (128, b"DICM", DICOM),
    *_kinds("NIfTI", (344, b"n+1\0"), (344, b"ni1\0"), (4, b"n+2\0"), advice=_SLICES),
    *_kinds("Zeiss CZI", (0, b"ZISRAWFILE"), advice=_SLICES),
    *_kinds("Nikon ND2", (0, b"\xda\xce\xbe\x0a"), advice=_SLICES),
    *_kinds("MRC", (208, b"MAP "), advice=_SLICES),
    *_kinds("HDF5", (0, b"\x89HDF"), advice="write its images as an .npz", is_picture=False),
    *_kinds("NetCDF", (0, b"CDF\1"), (0, b"CDF\2"), advice="write its images as an .npz", is_picture=False),
    *_kinds(
        "a MATLAB file", (0, b"MATLAB 5.0"), (0, b"MATLAB 7.3"), advice="write its images as an .npz", is_picture=False
    ),
    *_kinds("Parquet", (0, b"PAR1"), advice="write its images as files", is_picture=False),
    (0, b"\x93NUMPY", NUMPY),
    *_kinds("a PDF document", (0, b"%PDF-"), advice="export its pages as PNG or JPEG", is_picture=False),
    *_kinds("a video (AVI)", (8, b"AVI "), advice=_FRAMES, is_picture=False),
    *_kinds("a video (WebM or Matroska)", (0, b"\x1aE\xdf\xa3"), advice=_FRAMES, is_picture=False),
    *_kinds("a video (FLV)", (0, b"FLV\1"), advice=_FRAMES, is_picture=False),
    *_kinds("a video (WMV)", (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), advice=_FRAMES, is_picture=False),
    *_kinds("a video (MPEG)", (0, b"\0\0\1\xba"), (0, b"\0\0\1\xb3"), advice=_FRAMES, is_picture=False),
    *_kinds("a video (Ogg)", (0, b"OggS"), advice=_FRAMES, is_picture=False),
    *_kinds("a video (MOV)", (4, b"moov"), (4, b"mdat"), (4, b"wide"), advice=_FRAMES, is_picture=False),
    *_kinds("an animation (FLI)", (4, b"\x11\xaf"), (4, b"\x12\xaf"), advice=_FRAMES, is_picture=False),
    *_kinds("an animated cursor", (8, b"ACON"), advice=_FRAMES, is_picture=False),
    *_kinds("a pointer of Git LFS", (0, b"version https://git-lfs"), advice="run git lfs pull", is_picture=False),
    *_kinds("sound", (8, b"WAVE"), (0, b"ID3"), (0, b"fLaC"), advice="move it out", is_picture=False),
    *_kinds("a gzip file", (0, b"\x1f\x8b"), advice=_UNPACK, is_picture=False),
    *_kinds("a 7z archive", (0, b"7z\xbc\xaf\x27\x1c"), advice=_UNPACK, is_picture=False),
    *_kinds("a RAR archive", (0, b"Rar!\x1a\7"), advice=_UNPACK, is_picture=False),
    *_kinds("an xz file", (0, b"\xfd7zXZ\0"), advice=_UNPACK, is_picture=False),
    *_kinds("a tar archive", (257, b"ustar"), advice="pass the .tar itself, or unpack it", is_picture=False),
    (8, b"WEBP", WEBP),
    (0, b"II*\0", TIFF),
    (0, b"MM\0*", TIFF),
    (0, b"II+\0", TIFF),
    (0, b"MM\0+", TIFF),
]
_ICON, _CURSOR = Kind("an icon (ICO)"), Kind("a cursor (CUR)")
_ZIP, _ARRAYS = Kind("a ZIP archive", _UNPACK, False), Kind("an .npz of arrays", "pass the .npz file itself", False)
_OFFICE = Kind("an office document", "save its pictures as PNG or JPEG", False)
_PAGE = Kind("a web page", "it may stand for an image that was not found: fetch that anew", False)
_SVG, _TGA, _PCX = Kind("SVG", "export it as PNG"), Kind("TGA"), Kind("PCX")
_CR3, _JPEG2000 = Kind("a Canon RAW photograph (CR3)", _RAW), Kind("JPEG 2000 of this kind")
_VIDEO = Kind("a video (MP4 or MOV)", _FRAMES, is_picture=False)


def kind_of(head: bytes, tail: bytes = b"") -> Kind | None:
    """Name what a file is, from its first `HEAD` bytes and its last 18; None if it is none of the kinds known here."""
    if head[4:8] == b"ftyp":
        return _base_media_kind(head)
    if head.startswith(b"PK\3\4"):
        return _zip_kind(head)
    for offset, sign, kind in _SIGNS:
        if head.startswith(sign, offset):
            return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:HEAD].lower()
    if text.startswith((b"<?xml", b"<svg", b"<!--", b"<!doctype svg")) and b"<svg" in text:
        return _SVG
    if text.startswith((b"<!doctype html", b"<html")):
        return _PAGE
    if head.startswith((b"\0\0\1\0", b"\0\0\2\0")) and len(head) >= 22 and head[4:6] != b"\0\0" and head[9] == 0:
        return _ICON if head[2] == 1 else _CURSOR
    if tail.startswith(b"TRUEVISION-XFILE") or _is_tga(head):
        return _TGA
    if len(head) >= 128 and head[0] == 10 and head[1] in (0, 2, 3, 4, 5) and head[2] <= 1 and head[3] in (1, 2, 4, 8):
        return _PCX
    return None


def _zip_kind(head: bytes) -> Kind:
    """What a ZIP is for, by its first member."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if name.endswith(b".npy"):
        return _ARRAYS
    is_document = name.startswith((b"[Content_Types]", b"_rels/", b"docProps/", b"word/", b"ppt/", b"xl/"))
    return _OFFICE if is_document or (name == b"mimetype" and b"opendocument" in head[:200]) else _ZIP


def _base_media_kind(head: bytes) -> Kind:
    """The family of MP4: photographs and videos, told apart by the brands that a file claims."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return AVIF
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}:
        return HEIF
    if b"crx " in brands:
        return _CR3
    return _JPEG2000 if brands & {b"jp2 ", b"jpx ", b"jpm "} else _VIDEO


def _is_tga(head: bytes) -> bool:
    """Whether 18 bytes can be the header of a TGA file, which has no sign of its own."""
    if len(head) < 18:
        return False
    map_type, kind, first, n, map_bits, _, _, width, height, bits, flags = struct.unpack("<xBBHHBHHHHBB", head[:18])
    plain = map_type == 0 and kind in (2, 3, 10, 11) and first == n == map_bits == 0 and bits in (8, 15, 16, 24, 32)
    mapped = map_type == 1 and kind in (1, 9) and 0 < n <= 256 and map_bits in (15, 16, 24, 32) and bits == 8
    return (plain or mapped) and width > 0 and height > 0 and flags < 64
