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
_ARRAYS_OUT, _FILES_OUT, _OUT = "write its images as an .npz", "write its images as files", "move it out"
_PICTURES, _RENDER = "save its pictures as PNG or JPEG", "render it to PNG or JPEG"


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
    *_kinds("HDF5", (0, b"\x89HDF"), advice=_ARRAYS_OUT, is_picture=False),
    *_kinds("NetCDF", (0, b"CDF\1"), (0, b"CDF\2"), advice=_ARRAYS_OUT, is_picture=False),
    *_kinds("a MATLAB file", (0, b"MATLAB 5.0"), (0, b"MATLAB 7.3"), advice=_ARRAYS_OUT, is_picture=False),
    *_kinds("Parquet", (0, b"PAR1"), advice=_FILES_OUT, is_picture=False),
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
    *_kinds("sound", (8, b"WAVE"), (0, b"ID3"), (0, b"fLaC"), advice=_OUT, is_picture=False),
    *_kinds("a gzip file", (0, b"\x1f\x8b"), advice=_UNPACK, is_picture=False),
    *_kinds("a 7z archive", (0, b"7z\xbc\xaf\x27\x1c"), advice=_UNPACK, is_picture=False),
    *_kinds("a RAR archive", (0, b"Rar!\x1a\7"), advice=_UNPACK, is_picture=False),
    *_kinds("an xz file", (0, b"\xfd7zXZ\0"), advice=_UNPACK, is_picture=False),
    *_kinds("a tar archive", (257, b"ustar"), advice="pass the .tar itself, or unpack it", is_picture=False),
    *_kinds("a texture (ASTC)", (0, b"\x13\xab\xa1\x5c")),
    *_kinds("a texture (PVR)", (0, b"PVR\3")),
    *_kinds("an Affinity document", (0, b"\0\xffKA")),
    *_kinds("a Paint Shop Pro document", (0, b"Paint Shop Pro Image File")),
    *_kinds("a Clip Studio document", (0, b"CSFCHUNK")),
    *_kinds("a Paint.NET document", (0, b"PDN3")),
    *_kinds("an Aseprite sprite", (4, b"\xe0\xa5")),
    *_kinds("DPX", (0, b"SDPX"), (0, b"XPDS")),
    *_kinds("Cineon", (0, b"\x80\x2a\x5f\xd7")),
    *_kinds("MNG", (0, b"\x8aMNG"), (0, b"\x8bJNG")),
    *_kinds("JBIG2", (0, b"\x97JB2")),
    *_kinds("WordPerfect graphics", (0, b"\xffWPC")),
    *_kinds("an AutoCAD drawing", (0, b"AC10"), advice="export it as PNG"),
    *_kinds("NRRD", (0, b"NRRD000"), advice=_SLICES),
    *_kinds("MetaImage", (0, b"ObjectType = Image"), (0, b"NDims = "), advice=_SLICES),
    *_kinds("VTK", (0, b"# vtk DataFile"), advice=_SLICES),
    *_kinds("the header of an ENVI raster", (0, b"ENVI\n"), (0, b"ENVI\r"), advice="export the raster as TIFF or .npy"),
    *_kinds("a MrSID raster", (0, b"msid"), advice="export it as TIFF"),
    *_kinds("HDF4", (0, b"\x0e\3\x13\1"), advice=_ARRAYS_OUT, is_picture=False),
    *_kinds("NetCDF", (0, b"CDF\5"), advice=_ARRAYS_OUT, is_picture=False),
    *_kinds("GRIB", (0, b"GRIB"), advice=_ARRAYS_OUT, is_picture=False),
    *_kinds("a file of arrays (IDX)", (0, b"\0\0\x08\3"), advice=_ARRAYS_OUT, is_picture=False),
    *_kinds("a Python pickle", *((0, bytes((128, one))) for one in (2, 3, 4, 5)), advice=_ARRAYS_OUT, is_picture=False),
    *_kinds("an SQLite database", (0, b"SQLite format 3\0"), advice=_FILES_OUT, is_picture=False),
    *_kinds("Arrow", (0, b"ARROW1"), (0, b"FEA1"), advice=_FILES_OUT, is_picture=False),
    *_kinds("ORC", (0, b"ORC"), advice=_FILES_OUT, is_picture=False),
    *_kinds("Avro", (0, b"Obj\1"), advice=_FILES_OUT, is_picture=False),
    *_kinds("a model (safetensors)", (8, b'{"'), advice=_OUT, is_picture=False),
    *_kinds("a model (GGUF)", (0, b"GGUF"), advice=_OUT, is_picture=False),
    *_kinds("an old office document", (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), advice=_PICTURES, is_picture=False),
    *_kinds("an RTF document", (0, b"{\\rtf"), advice=_PICTURES, is_picture=False),
    *_kinds("a Blender scene", (0, b"BLENDER"), advice=_RENDER, is_picture=False),
    *_kinds(
        "a 3-D model",
        (0, b"glTF"),
        (0, b"Kaydara FBX"),
        (0, b"ply\n"),
        (0, b"ply\r"),
        (0, b"LASF"),
        advice=_RENDER,
        is_picture=False,
    ),
    *_kinds("a Flash film", (0, b"FWS"), (0, b"CWS"), (0, b"ZWS"), advice=_FRAMES, is_picture=False),
    *_kinds("a video (RealMedia)", (0, b".RMF"), advice=_FRAMES, is_picture=False),
    *_kinds("a video (Y4M)", (0, b"YUV4MPEG2"), advice=_FRAMES, is_picture=False),
    *_kinds("a video (IVF)", (0, b"DKIF"), advice=_FRAMES, is_picture=False),
    *_kinds(
        "sound",
        (0, b"MThd"),
        (8, b"AIFF"),
        (8, b"AIFC"),
        (4, b"ftypM4A"),
        *((0, bytes((255, one))) for one in (0xFA, 0xFB, 0xF2, 0xF3, 0xF1, 0xF9)),
        advice=_OUT,
        is_picture=False,
    ),
    *_kinds(
        "a font",
        (0, b"OTTO"),
        (0, b"wOFF"),
        (0, b"wOF2"),
        (0, b"ttcf"),
        *((0, bytes((0, 1, 0, 0, 0, one))) for one in range(8, 40)),
        advice=_OUT,
        is_picture=False,
    ),
    *_kinds(
        "a program",
        (0, b"\x7fELF"),
        (0, b"MZ"),
        (0, b"\xcf\xfa\xed\xfe"),
        (0, b"\xca\xfe\xba\xbe"),
        (0, b"\0asm"),
        (0, b"#!"),
        advice=_OUT,
        is_picture=False,
    ),
    *_kinds("a macOS file beside others", (0, b"\0\5\x16\7"), (4, b"Bud1"), advice=_OUT, is_picture=False),
    *_kinds("a Windows shortcut", (0, b"L\0\0\0\1\x14\2\0"), advice="copy what it points to", is_picture=False),
    *_kinds("a bzip2 file", (0, b"BZh"), advice=_UNPACK, is_picture=False),
    *_kinds("a Zstandard file", (0, b"\x28\xb5\x2f\xfd"), advice=_UNPACK, is_picture=False),
    *_kinds("an LZ4 file", (0, b"\4\x22\x4d\x18"), advice=_UNPACK, is_picture=False),
    *_kinds("a compressed file (.Z)", (0, b"\x1f\x9d"), advice=_UNPACK, is_picture=False),
    *_kinds("a cabinet", (0, b"MSCF"), advice=_UNPACK, is_picture=False),
    *_kinds("a package", (0, b"!<arch>"), (0, b"\xed\xab\xee\xdb"), advice=_UNPACK, is_picture=False),
    *_kinds("an empty ZIP archive", (0, b"PK\5\6"), advice=_OUT, is_picture=False),
    (8, b"WEBP", WEBP),
    (0, b"II*\0", TIFF),
    (0, b"MM\0*", TIFF),
    (0, b"II+\0", TIFF),
    (0, b"MM\0+", TIFF),
]
_LETTERS = bytes((*b"\t\n\r\f", *range(32, 127), *range(128, 256)))
_ICON, _CURSOR = Kind("an icon (ICO)"), Kind("a cursor (CUR)")
_ZIP, _ARRAYS = Kind("a ZIP archive", _UNPACK, False), Kind("an .npz of arrays", "pass the .npz file itself", False)
_OFFICE = Kind("an office document", _PICTURES, False)
_PAINTING = Kind("a painting with layers (KRA or ORA)", "export it as PNG")
_WEIGHTS = Kind("a model (torch)", _OUT, False)
_PAGE = Kind("a web page", "it may stand for an image that was not found: fetch that anew", False)
_SVG, _TGA, _PCX = Kind("SVG", "export it as PNG"), Kind("TGA"), Kind("PCX")
_CR3, _JPEG2000 = Kind("a Canon RAW photograph (CR3)", _RAW), Kind("JPEG 2000 of this kind")
_VIDEO = Kind("a video (MP4 or MOV)", _FRAMES, is_picture=False)
_STREAM = Kind("a video (MPEG-TS)", _FRAMES, is_picture=False)


def kind_of(head: bytes, tail: bytes = b"") -> Kind | None:
    """Name what a file is, from its first `HEAD` bytes and its last 18; None if it is none of the kinds known here."""
    if head[4:8] == b"ftyp" and head[8:11] != b"M4A":
        return _base_media_kind(head)
    if head.startswith(b"PK\3\4"):
        return _zip_kind(head)
    for offset, sign, kind in _SIGNS:
        if head.startswith(sign, offset):
            return kind
    if len(head) > 400 and all(head[at] == 0x47 for at in (0, 188, 376)):
        return _STREAM
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


def unknown(head: bytes) -> str:
    """Why a file of no known kind gives no image, from its first bytes."""
    if not head:
        return "it is empty: copy it anew"
    if not head.strip(b"\0"):
        return "it begins with zeros, as a file that was not written whole: copy it anew"
    if not head.translate(None, _LETTERS):
        return "it is text, not an image"
    return "not an image, or damaged at its beginning"


def _zip_kind(head: bytes) -> Kind:
    """What a ZIP is for, by its first member."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if name.endswith(b".npy"):
        return _ARRAYS
    if name.endswith((b"/data.pkl", b"/.format_version")):
        return _WEIGHTS
    if name == b"mimetype" and (b"krita" in head[:200] or b"image/openraster" in head[:200]):
        return _PAINTING
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
