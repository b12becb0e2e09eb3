"""Sound files of odd make are read, known kinds that are not read are named, and no file takes more than it may."""

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from asterism.images import decode as decode_module
from asterism.images import open_images
from asterism.images.decode import Unreadable, decode, read_header
from asterism.images.kinds import kind_of
from asterism.images.raster import How

sys.path.insert(0, str(Path(__file__).parent))
import mutations

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(48) * 4, np.arange(40)).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.copy().save(buffer, kind, **options)
    return buffer.getvalue()


def refusal(data: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        decode(data)
    with pytest.raises(Unreadable) as listed:
        read_header(data)
    assert listed.value.reason == caught.value.reason  # a look at the header says the same
    return caught.value


# --- kinds ------------------------------------------------------------------------------------------------------------

BASE = Image.fromarray(NOISE)
BY_PILLOW = {"ICO": "ICO", "TGA": "TGA", "PCX": "PCX", "DDS": "DDS", "EPS": "EPS", "PDF": "PDF"}
BY_SIGN = {
    "ICNS": b"icns\0\0\1\0",
    "PSD": b"8BPS\0\1",
    "XCF": b"gimp xcf v011\0",
    "JXL": b"\xff\x0a\xfa\x7f",
    "SVG": b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- words -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "CR2": b"II*\0\x10\0\0\0CR\2\0",
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "RAF": b"FUJIFILMCCD-RAW 0201",
    "ORF": b"IIRO\x08\0\0\0",
    "RW2": b"IIU\0\x18\0\0\0",
    "X3F": b"FOVb\0\0",
    "MP4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "MOV": b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
    "AVI": b"RIFF\0\1\0\0AVI LIST",
    "WebM": b"\x1aE\xdf\xa3\x9fB\x86\x81\1",
    "DICOM": bytes(128) + b"DICM\2\0",
    "NIfTI": struct.pack("<I", 348) + bytes(340) + b"n+1\0",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "DjVu": b"AT&TFORM\0\0",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0",
    "EMF": b"\1\0\0\0\x6c\0\0\0" + bytes(32) + b" EMF",
    "OpenEXR": b"v/1\1\2\0\0\0",
    "GBR": struct.pack(">5I", 28, 2, 4, 4, 1) + b"GIMP",
    "Photo CD": bytes(2048) + b"PCD_IPI",
    "MSP": b"DanM\0\0",
    "XBM": b"#define a_width 8\n#define a_height 8\n",
    "VTF": b"VTF\0\7\0",
    "InDesign": b"\x06\x06\xed\xf5\xd8\x1d\x46\xe5",
    "MATLAB": b"MATLAB 7.3 MAT-file",
    "FLI": struct.pack("<IHH", 900, 0xAF11, 3),
    "animated cursor": b"RIFF\0\1\0\0ACONLIST",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    "web page": b"\r\n<!DOCTYPE html>\n<html><title>404</title>",
    "ZIP": b"PK\3\4\x14\0",
    "DPX": b"SDPX\0\0\0\0",
    "Affinity": b"\0\xffKA\x0b",
    "Aseprite": struct.pack("<IH", 500, 0xA5E0),
    "NRRD": b"NRRD0004\ntype: float\n",
    "ENVI": b"ENVI\nsamples = 10\n",
    "pickle": pickle.dumps({"images": NOISE}),
    "SQLite": b"SQLite format 3\0\x10\0",
    "safetensors": struct.pack("<Q", 1000) + b'{"a":{"dtype":"F32"',
    "IDX": b"\0\0\x08\3" + struct.pack(">3I", 10, 28, 28),
    "old office": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "Blender": b"BLENDER-v300REND",
    "3-D": b"glTF\2\0\0\0",
    "sound": b"\xff\xfb\x90\x64\0\0",
    "font": b"\0\1\0\0\0\x0f\0\x80GDEF",
    "program": b"\x7fELF\2\1\1",
    "MPEG-TS": (b"\x47\x40\0\x10" + bytes(184)) * 3,
    "macOS": b"\0\5\x16\7\0\2\0\0Mac OS X",
    "Windows shortcut": b"L\0\0\0\1\x14\2\0",
    "Zstandard": b"\x28\xb5\x2f\xfd\x24\5",
}


NO_PICTURES = ("PDF", "MP4", "MOV", "AVI", "WebM", "HDF5", "ZIP") + (
    "MATLAB",
    "FLI",
    "animated cursor",
    "Git LFS",
    "web page",
    *list(BY_SIGN)[list(BY_SIGN).index("pickle") :],
)


@pytest.mark.parametrize("kind", [*BY_PILLOW, *BY_SIGN])
def test_known_kinds_are_named_and_never_called_damaged(kind):
    data = saved(BASE, kind) if kind in BY_PILLOW else BY_SIGN[kind].ljust(600, b"\0")
    error = refusal(data)
    assert kind in error.reason
    assert "damaged" not in error.reason
    assert " is not read: " in error.reason  # and what to do
    assert error.identified is (kind not in NO_PICTURES)


def test_zips_are_named_by_what_they_are_for():
    def packed(*names: str) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name in names:
                archive.writestr(name, "application/vnd.oasis.opendocument.text")
        return stream.getvalue()

    arrays = io.BytesIO()
    np.savez_compressed(arrays, images=NOISE)
    assert refusal(arrays.getvalue()).reason == "an .npz of arrays is not read: pass the .npz file itself"
    for name in ("[Content_Types].xml", "word/document.xml", "mimetype"):
        assert "office document" in refusal(packed(name)).reason
    assert "a ZIP archive is not read: unpack it" in refusal(packed("a.png", "b.npy")).reason


def test_zips_of_other_things_are_named():
    def first(name: str, content: str = "x") -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(name, content)
        return stream.getvalue()

    weights = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, weights)
    assert refusal(weights.getvalue()).reason == "a model (torch) is not read: move it out"
    for mime in ("application/x-krita", "image/openraster"):
        assert "a painting with layers" in refusal(first("mimetype", mime)).reason


def test_what_is_of_no_kind_is_still_told_apart():
    assert refusal(b"taken in May\n" * 9).reason == "it is text, not an image"
    assert refusal("gr\u00fcn\n".encode() * 9).reason == "it is text, not an image"
    assert refusal(bytes(9000)).reason.startswith("it begins with zeros, as a file that was not written whole")
    assert refusal(b"\1\2\3" * 99).reason == "not an image, or damaged at its beginning"


def test_words_and_noise_are_no_kind():
    draws = np.random.default_rng(0)
    for data in (b"taken in May", b"", b"\n\n", b"<body><p/></body>", b"x" * 9000):
        assert kind_of(data) is None
    named = [kind_of(draws.bytes(400)) for _ in range(2000)]
    assert sum(one is not None for one in named) <= 2


def tiff(tags: dict[int, tuple[int, ...]], form: int = 3) -> bytes:
    """A TIFF with these tags, numbers of 16 bits."""
    entries, extra = b"", b""
    place = 8 + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        body = struct.pack(f"<{len(values)}H", *values)
        if len(body) > 4:
            body, extra = struct.pack("<I", place + len(extra)), extra + body
        entries += struct.pack("<HHI", tag, form, len(values)) + body.ljust(4, b"\0")
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + extra + bytes(4000)


TIFF = {256: (8,), 257: (8,), 258: (8,), 259: (1,), 262: (1,), 273: (400,), 277: (1,), 278: (8,), 279: (64,)}


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({259: (34892,), 277: (5,), 258: (8,) * 5}, "a TIFF packed as JPEG_LOSSY is not read: pip install imagecodecs"),
        ({258: (64,), 339: (6,)}, "complex64"),
        ({262: (32803,), 258: (14,)}, "RAW photograph"),
        ({50706: (1, 4)}, "RAW photograph"),
        ({254: (1,), 330: (200,)}, "RAW photograph"),
    ],
)
def test_tiffs_that_are_not_read_say_what_they_hold(tags, words):
    assert decode(tiff(TIFF)).shape == (8, 8, 1)
    error = refusal(tiff({**TIFF, **tags}))
    assert words in error.reason
    assert "damaged" not in error.reason


# --- sound files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["zTXt", "iTXt", "tEXt", "iCCP"])
def test_pngs_with_long_texts_and_profiles(place):
    info, options = PngImagePlugin.PngInfo(), {}
    exif = Image.Exif()
    exif[0x0112] = 6
    if place == "iCCP":
        options["icc_profile"] = bytes(3_000_000)
    elif place == "iTXt":
        info.add_itxt("workflow", "x" * 2_000_000, zip=True)
    else:
        info.add_text("workflow", "x" * 2_000_000, zip=place == "zTXt")
    data = saved(BASE, "PNG", pnginfo=info, exif=exif, **options)
    assert read_header(data).size == (32, 24)
    assert (decode(data) == np.rot90(NOISE, -1)).all()


def test_a_png_with_a_damaged_text_keeps_its_pixels_and_one_with_damaged_pixels_is_refused():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "these words")
    data = saved(BASE, "PNG", pnginfo=info)
    assert (decode(data.replace(b"these words", b"other words")) == NOISE).all()
    broken = bytearray(data)
    broken[data.index(b"IDAT") + 30] ^= 255
    refusal_of_pixels = pytest.raises(Unreadable)
    with refusal_of_pixels:
        decode(bytes(broken))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_without_its_last_two_bytes_is_whole_and_one_without_its_last_rows_is_not(mode):
    data = saved(Image.fromarray(SMOOTH).convert(mode), "JPEG", quality=90)
    assert (decode(data[:-2]) == decode(data)).all()
    for cut in (0.9, 0.7):
        with pytest.raises(Unreadable, match="(?i)truncated"):
            decode(data[: int(len(data) * cut)])
    progressive = saved(Image.fromarray(SMOOTH), "JPEG", progressive=True)
    with pytest.raises(Unreadable, match="truncated"):
        decode(progressive[: len(progressive) // 2])


@pytest.mark.parametrize("ending", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", [0, 9, 65535, "6", (6, 6), 6.5, b"\x06", -3])
def test_an_orientation_that_means_nothing_turns_nothing(ending, value):
    exif = Image.Exif()
    exif[0x0112] = value
    try:
        with decode_module.quiet():
            data = saved(BASE, ending, exif=exif)
    except Exception:  # a value that cannot be written there
        return
    with decode_module.quiet():
        assert decode(data).shape[:2] == read_header(data).size
        assert isinstance(value, tuple) or read_header(data).size == (24, 32)


def test_orientations_of_xmp_and_raw_profiles_are_seen_by_header_and_pixels():
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    data = saved(BASE, "PNG", pnginfo=info)
    assert decode(data).shape[:2] == read_header(data).size == (32, 24)
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'
    jpeg = saved(BASE, "JPEG")
    jpeg = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + jpeg[2:]
    assert decode(jpeg).shape[:2] == read_header(jpeg).size == (32, 24)


@pytest.mark.parametrize("maxval", [1, 15, 254, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_pnm_of_any_white(kind, maxval):
    values = (NOISE if kind in ("P3", "P6") else NOISE[..., 0]).astype(int) * maxval // 255
    plain = kind in ("P2", "P3")
    body = "\n# words\n".join(str(one) for one in values.ravel()).encode() if plain else b""
    body = body or values.astype(">u2" if maxval > 255 else "u1").tobytes()
    data = f"{kind} 32 24\n{maxval}\n".encode() + body
    expected = np.rint(values * (255 / maxval))
    assert np.abs(decode(data).reshape(values.shape).astype(int) - expected).max() <= (1 if maxval == 65535 else 0)
    with pytest.raises(Unreadable, match="truncated"):
        decode(data[:-200])


def test_a_plain_bitmap():
    assert decode(b"P1 # words\n4 2\n1 0 01\n0 0 11")[..., 0].tolist() == [[0, 255, 255, 0], [255, 255, 0, 0]]


def test_heic_and_avif_are_read_out_of_the_box(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.fromarray(SMOOTH).convert("RGB").resize((64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    try:
        pillow_heif.from_pillow(image).save(buffer, quality=90)
    except Exception as error:
        pytest.skip(f"no encoder for HEIC here: {error}")
    (tmp_path / "a.heic").write_bytes(buffer.getvalue())
    image.save(tmp_path / "b.png")
    if "AVIF" in Image.SAVE:
        (tmp_path / "c.avif").write_bytes(saved(image, "AVIF", quality=90))
    opened = open_images(tmp_path)
    assert opened.skipped == []
    assert np.abs(opened.pixels.float() - opened.pixels[1].float()).mean((1, 2, 3)).max() < 3
    assert read_header(buffer.getvalue()).size == (48, 64)
    assert "HEIC" in refusal(buffer.getvalue()[:200]).reason


def test_a_heic_whose_pixels_are_not_those_of_its_header_is_refused():
    pytest.importorskip("pillow_heif")
    data = bytearray(mutations.seeds()["heic"])
    corner = data.index(b"clap") + 20  # where its picture lies in the pixels that are coded
    data[corner : corner + 4] = struct.pack(">i", -99)
    assert read_header(bytes(data)).size == (24, 32)
    with pytest.raises(Unreadable, match="pixels where its header says"):
        decode(bytes(data))


# --- bounds -----------------------------------------------------------------------------------------------------------


def animated(canvas: tuple[int, int] | None = None, **options) -> bytes:
    frames = [Image.fromarray(NOISE), Image.fromarray(NOISE[::-1].copy())]
    data = bytearray(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], **options))
    if canvas is not None:
        at = data.index(b"VP8X") + 12
        data[at : at + 6] = b"".join((side - 1).to_bytes(3, "little") for side in canvas)
    return bytes(data)


def test_of_an_animated_webp_the_first_frame_is_decoded():
    data = animated(lossless=True)
    assert (decode(data) == NOISE).all()
    wide = decode(animated((40, 30), lossless=True))
    assert (wide[:24, :32] == NOISE).all()
    assert (wide[24:] == 255).all()  # nothing is there
    assert read_header(animated((40, 30))).size == (30, 40)
    assert "pixels, more than" in refusal(animated((12_000, 12_000))).reason


def rle_bitmap(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 6, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + bytes(1024) + b"\1\1\0\0\0\1"


HUGE = {
    "rle": rle_bitmap(2**26, 1),
    "webp": animated((2**24, 2**24)),
    "plain": b"P3 9000 9000 255\n" + b"1 " * 9000,
    "binary": b"P5 60000 60000 4095\n" + bytes(9000),
    "strips": tiff({**TIFF, 257: (60_000,), 256: (2000,)}),
    "block": tiff({**TIFF, 256: (60_000,), 257: (2000,), 278: (2000,), 258: (16,)}),
    "scans": saved(BASE, "JPEG", progressive=True).replace(
        struct.pack(">HH", 24, 32), struct.pack(">HH", 11_000, 11_000), 1
    )[:-2]
    + bytes.fromhex("ffda0008010100003f00") * 2000
    + b"\xff\xd9",
}


@pytest.mark.parametrize("kind", HUGE)
def test_what_would_take_too_much_is_refused_by_its_header(kind, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", None)  # nothing is decoded
    with decode_module.quiet(), pytest.raises(Unreadable, match="pixels|truncated|numbers"):
        decode(HUGE[kind])


def test_large_images_are_converted_in_parts_and_come_out_the_same(monkeypatch):
    from asterism.images import convert, depth

    clear = Image.fromarray(NOISE).convert("RGBA")
    clear.putalpha(Image.fromarray(NOISE[..., 0].copy()))
    images = [clear, clear.convert("P"), Image.fromarray(NOISE[..., 0] * np.uint16(200)), clear.convert("CMYK")]
    whole = [np.array(convert.eight_bit(image)) for image in images]
    monkeypatch.setattr(depth, "STRIP", 100)
    for image, expected in zip(images, whole, strict=True):
        assert (np.array(convert.eight_bit(image)) == expected).all()


def test_the_bound_holds_for_what_is_decoded_of_a_jpeg(monkeypatch):
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 30_000)
    data = saved(Image.new("L", (240, 200)), "JPEG")
    with pytest.raises(Unreadable, match="pixels, more than"):
        decode(data)
    assert decode(data, (16, 16)).shape == (16, 16, 1)


def test_a_damaged_tiff_says_nothing_of_its_own(capfd):
    packed = saved(Image.fromarray(SMOOTH), "TIFF", compression="tiff_adobe_deflate")
    decode_module._formats.cache_clear()
    with decode_module.quiet(), pytest.raises(Unreadable):
        decode(packed[:20] + bytes(99) + packed[119:])
    assert capfd.readouterr() == ("", "")


# --- mutated images ---------------------------------------------------------------------------------------------------


def test_every_seed_is_sound():
    how = How(arrays=True)
    for name, data in mutations.seeds().items():
        assert decode(data, how=how).shape[:2] == read_header(data, how).size, name


def test_mutated_images_are_read_or_refused():
    with decode_module.quiet():
        found = mutations.measure(400, seed=0)
    assert found["wrong"] == []
    assert found["read"] + found["refused"] == 400


@pytest.mark.slow
def test_20_000_mutated_images_are_read_or_refused_in_little_time_and_memory():
    command = [sys.executable, "-W", "ignore", mutations.__file__, "20000", "1"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["wrong"] == []
    assert found["read"] + found["refused"] == 20_000
    assert found["slowest"][0][0] < 5  # seconds of processor time, three readings of the file
    assert found["peak"] < 1200  # MiB


def test_a_jpeg_may_be_larger_than_pillow_opens(monkeypatch, tmp_path):
    files = {}
    for kind in ("JPEG", "PNG"):
        file = io.BytesIO()
        Image.new("RGB", (64, 48), "red").save(file, kind)
        files[kind] = file.getvalue()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_header(files["JPEG"]).size == (48, 64)
    assert decode(files["JPEG"], (8, 8)).shape == (8, 8, 3)
    (tmp_path / "a.jpg").write_bytes(files["JPEG"])
    assert open_images(tmp_path, size=8).shape == (3, 8, 8)
    with pytest.raises(Unreadable, match="more pixels than"):
        decode(files["PNG"])


@pytest.mark.parametrize("alpha", [0, 255])
def test_a_bmp_whose_alpha_was_not_written_is_no_white_page(tmp_path, alpha):
    pixels = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8)
    cells = np.dstack([pixels[::-1, :, ::-1], np.full((12, 12), alpha, np.uint8)]).tobytes()
    header = struct.pack("<IiiHHIIiiII", 108, 12, 12, 1, 32, 3, len(cells), 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000).ljust(68, b"\0")
    (tmp_path / "a.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 122 + len(cells), 0, 0, 122) + header + cells)
    for X in (tmp_path, [Image.open(tmp_path / "a.bmp")]):
        assert np.array_equal(open_images(X).pixels[0].numpy(), pixels)
