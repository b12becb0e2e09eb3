"""Mutated images of every kind that is read: seeds, mutations with a fixed seed, and what reading them takes."""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from PIL import Image, PngImagePlugin, features

EXTREMES = (0, 1, 2, 7, 255, 256, 4096, 20_000, 65_535, 65_536, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)


def _saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    if "append_images" in options:  # copies: an encoder leaves its settings in an image
        options["append_images"] = [one.copy() for one in options["append_images"]]
    image.copy().save(buffer, kind, **options)
    return buffer.getvalue()


def seeds() -> dict[str, bytes]:
    """One small sound image, or a few, of every kind."""
    draws = np.random.default_rng(0)
    noise = draws.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    smooth = np.add.outer(np.arange(24) * 5, np.arange(32) * 4).astype(np.uint8)
    rgb, grey = Image.fromarray(noise), Image.fromarray(smooth)
    rgba = rgb.convert("RGBA")
    rgba.putalpha(grey)
    palette = grey.convert("P")
    deep, floats = Image.fromarray(smooth.astype(np.uint16) * 200), Image.fromarray(smooth.astype(np.float32) / 255)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    frames = [grey.convert("RGB"), rgb, grey.convert("RGB").rotate(90)]
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "word " * 50, zip=True)
    several = {"save_all": True, "append_images": frames[1:]}
    found = {
        "png": _saved(rgb, "PNG", pnginfo=text, exif=exif),
        "png-palette": _saved(palette, "PNG", transparency=3),
        "png-rgba": _saved(rgba, "PNG", icc_profile=b"profile" * 30),
        "png-16": _saved(deep, "PNG"),
        "png-1": _saved(grey.convert("1"), "PNG"),
        "apng": _saved(frames[0], "PNG", **several),
        "jpeg": _saved(rgb, "JPEG", exif=exif),
        "jpeg-progressive": _saved(rgb, "JPEG", progressive=True, comment=b"words" * 9),
        "jpeg-grey": _saved(grey, "JPEG", quality=90),
        "jpeg-cmyk": _saved(rgb.convert("CMYK"), "JPEG"),
        "mpo": _saved(frames[0], "MPO", **several),
        "gif": _saved(palette, "GIF"),
        "gif-animated": _saved(frames[0], "GIF", **several),
        "webp": _saved(rgb, "WEBP", exif=exif),
        "webp-lossless": _saved(rgba, "WEBP", lossless=True),
        "webp-animated": _saved(frames[0], "WEBP", **several),
        "webp-animated-lossless": _saved(rgba, "WEBP", lossless=True, **several),
        "bmp": _saved(rgb, "BMP"),
        "bmp-palette": _saved(palette, "BMP"),
        "bmp-rle": _rle_bitmap(),
        "dib": _saved(rgb, "DIB"),
        "ppm": _saved(rgb, "PPM"),
        "pgm-16": _saved(deep, "PPM"),
        "pgm-12": b"P5 32 24 4095\n" + smooth.astype(">u2").tobytes(),
        "ppm-plain": b"P3 8 6 255\n" + b" ".join(b"%d" % one for one in noise[:6, :8].ravel()),
        "pbm-plain": b"P1 # words\n8 2\n" + b"0 1 1 0 " * 4,
        "pfm": _saved(floats, "PPM"),
        "tiff-float": _saved(floats, "TIFF"),
        "tiff-16": _saved(deep, "TIFF"),
        "tiff-32": _saved(Image.fromarray(smooth.astype(np.int32)), "TIFF"),
        "tiff-pages": _saved(frames[0], "TIFF", **several),
        "tiff-big": _saved(rgb, "TIFF", big_tiff=True),
        "tiff-exif": _saved(rgb, "TIFF", exif=exif),
        "tiff-cmyk": _saved(rgb.convert("CMYK"), "TIFF", compression="tiff_lzw"),
    }
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd", "webp"):
        try:
            found[f"tiff-{compression}"] = _saved(rgb, "TIFF", compression=compression)
        except OSError:  # a libtiff without it
            continue
    for compression in ("group3", "group4", "tiff_ccitt"):
        found[f"tiff-{compression}"] = _saved(grey.convert("1"), "TIFF", compression=compression)
    if features.check("jpg_2000"):
        found["jp2"] = _saved(rgb, "JPEG2000")
        found["jp2-tiles"] = _saved(rgb, "JPEG2000", tile_size=(16, 16), num_resolutions=3)
    if features.check("avif"):
        found["avif"] = _saved(rgb, "AVIF", speed=10)
        found["avif-animated"] = _saved(frames[0], "AVIF", speed=10, **several)
    with suppress(ImportError):
        import pillow_heif

        buffer = io.BytesIO()
        pillow_heif.from_pillow(rgb).save(buffer, quality=80)
        found["heic"] = buffer.getvalue()
    return found | _rasters(noise, smooth)


def _rasters(noise: np.ndarray, smooth: np.ndarray) -> dict[str, bytes]:
    """What Pillow does not read: TIFF of many bands, pages, floats, in tiles and packed; arrays, DICOM, a RAW photo."""
    deep, bands = smooth.astype(np.uint16) * 200, np.stack([smooth * 3, smooth, smooth.T.reshape(24, 32)] * 2)
    floats, separate = smooth.astype(np.float32) / 255, {"photometric": "minisblack", "planarconfig": "separate"}
    tiles = {"tile": (16, 16)}
    nodata = [(42113, "s", 0, "0", True), (274, "H", 1, 6, True)]
    options = {
        "bands": (bands, separate),
        "bands-16": (bands.astype(np.uint16) * 200, separate | tiles | {"compression": "zlib"}),
        "bands-last": (np.moveaxis(bands, 0, 2), {"photometric": "minisblack", "planarconfig": "contig"}),
        "alpha-16": (np.dstack([noise, smooth]).astype(np.uint16), {"photometric": "rgb", "extrasamples": [2]}),
        "stack": (bands[:, None], {"photometric": "minisblack"}),
        "imagej": (bands.astype(np.uint16), {"imagej": True}),
        "ome": (bands, {"ome": True, "photometric": "minisblack"}),
        "pyramid": (noise, {"subifds": 1} | tiles),
        "float": (floats, {"compression": "zlib", "extratags": nodata}),
        "half": (floats.astype(np.float16), tiles | {"compression": "lzma"}),
        "double": (floats.astype(np.float64), {"bigtiff": True, "byteorder": ">", "rowsperstrip": 5}),
        "signed": (deep.astype(np.int32), {"compression": "zlib"}),
        "difference": (deep, {"compression": "zlib", "predictor": 2} | tiles),
        "palette": (smooth[None].repeat(2, 0), {"colormap": np.arange(768, dtype=np.uint16).reshape(3, 256)}),
        "white": (deep, {"photometric": "miniswhite"}),
    }
    found = {"npy": _array(deep), "npy-float": _array(floats), "npy-bands": _array(bands), "npy-order": _array(noise.T)}
    with suppress(ImportError):
        import tifffile

        for name, (values, how) in options.items():
            buffer = io.BytesIO()
            with tifffile.TiffWriter(
                buffer, **{one: how.pop(one) for one in ("bigtiff", "imagej", "ome", "byteorder") if one in how}
            ) as writer:
                writer.write(values, **how)
                if "subifds" in how:
                    writer.write(values[::2, ::2], subfiletype=1, **tiles)
            found[f"tifffile-{name}"] = buffer.getvalue()
        with suppress(ImportError):
            import rawpy  # noqa: F401

            found["dng"] = dng()
    with suppress(ImportError):
        found["dicom"] = dicom(deep, WindowCenter=2000, WindowWidth=4000, RescaleSlope=2, RescaleIntercept=-99)
        found["dicom-signed"] = dicom(smooth.astype(np.int16) * 100, True, "MONOCHROME1")
        found["dicom-colours"] = dicom(noise, photometric="RGB")
        found["dicom-frames"] = dicom(bands)
        found["dicom-packed"] = dicom(bands[0], packed=True)
    return found


def _array(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def dicom(pixels, signed=False, photometric="MONOCHROME2", packed=False, **tags) -> bytes:
    """A file of one image (H, W), of colours (H, W, 3) or of frames (N, H, W)."""
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    colours = pixels.ndim == 3 and pixels.shape[-1] == 3
    if pixels.ndim == 3 and not colours:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[:2] if colours else pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 3 if colours else 1, photometric
    if colours:
        data.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, int(signed)
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    if packed:
        data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dng() -> bytes:
    """A small DNG: a mosaic of 12-bit values, red brightest."""
    import tifffile

    mosaic = np.full((64, 96), 600, np.uint16)
    mosaic[::2, ::2] = 3000
    tags = [
        (50706, "B", 4, (1, 4, 0, 0), True),
        (50708, "s", 0, "Asterism Test", True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, (0, 1, 1, 2), True),
        (50717, "I", 1, 4095, True),
        (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
    ]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, mosaic, photometric="cfa", extratags=tags, metadata=None, subfiletype=0)
    return buffer.getvalue()


def _rle_bitmap() -> bytes:
    body = b"".join(b"\x10\x07\x03\x05\x01\x02\x03\0\x0d\x09\0\0" for _ in range(24)) + b"\0\1"
    colours = bytes(range(256)) * 4
    header = struct.pack("<IiiHHIIiiII", 40, 32, 24, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(body), 0, 0, 54 + 1024) + header + colours + body


def _resigned(data: bytes) -> bytes:
    """A PNG with the check sums of its chunks made right, so that what is in them is looked at."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if at + 12 + length > len(data):
            break
        chunk = data[at + 4 : at + 8 + length]
        out += data[at : at + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        at += 12 + length
    return bytes(out) + data[at:]


def mutated(data: bytes, others: list[bytes], draws: np.random.Generator) -> bytes:
    """One change or a few, most of them near the beginning, where the numbers stand."""
    changed = bytearray(data)
    for _ in range(draws.geometric(0.6)):
        if len(changed) < 16:
            break
        reach = min(len(changed), int(draws.choice((40, 120, 400, len(changed)))))
        at = int(draws.integers(0, reach))
        match draws.integers(0, 9):
            case 0 | 1:
                changed[at] = draws.integers(0, 256)
            case 2:
                changed[at] ^= 1 << int(draws.integers(0, 8))
            case 3 | 4:
                form = str(draws.choice([">I", "<I", ">H", "<H"]))
                value = int(draws.choice(EXTREMES)) % 2 ** (8 * struct.calcsize(form))
                changed[at : at + struct.calcsize(form)] = struct.pack(form, value)
            case 5:
                del changed[at : at + int(draws.integers(1, 40))]
            case 6:
                changed[at:at] = changed[at : at + int(draws.integers(1, 400))] * int(draws.integers(1, 20))
            case 7:
                other = others[draws.integers(0, len(others))]
                start = int(draws.integers(0, len(other)))
                changed[at : at + 30] = other[start : start + int(draws.integers(1, 200))]
            case 8:
                del changed[max(16, int(draws.integers(0, len(changed)))) :]
    if data.startswith(b"\x89PNG") and draws.random() < 0.8:
        return _resigned(bytes(changed))
    return bytes(changed)


def mutations(n: int, seed: int = 0, begins: str = "") -> Iterator[tuple[str, bytes]]:
    """Name and bytes of n mutated images, kind after kind, of those whose name begins so."""
    found, draws = seeds(), np.random.default_rng(seed)
    found = {name: data for name, data in found.items() if name.startswith(tuple(begins.split(",")))}
    names, others = list(found), list(found.values())
    for i in range(n):
        name = names[i % len(names)]
        yield f"{i}-{name}", mutated(found[name], others, draws)


HOWS = ({}, {"pages": "mean"}, {"pages": "channels"}, {"bands": (1,)}, {"pages": "max", "declared": True})


def measure(n: int, seed: int, keep: str | None = None, begins: str = "") -> dict:
    """Read all: what came of it, the slowest in seconds of the processor, and the peak of memory in MiB."""
    from asterism.images.decode import Unreadable, decode, read_header, read_sample
    from asterism.images.raster import How

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    decode(seeds()["png"])  # what is loaded once counts for no file
    before, counts = peak(), {"read": 0, "refused": 0}
    slow: list[tuple[float, str, str]] = []
    large: list[tuple[int, str, str]] = []
    wrong: list[tuple[str, str]] = []
    for i, (name, data) in enumerate(mutations(n, seed, begins)):
        if keep:
            with open(f"{keep}/last", "wb") as file:  # what ends the process is there afterwards
                file.write(data)
        how = How(**HOWS[i // 7 % len(HOWS)], arrays=True)
        began, level, came = time.process_time(), peak(), ""
        try:
            header = read_header(data, how)
            pixels = decode(data, how=how)
            came = f"read {pixels.shape}"
            if pixels.shape[:2] != header.size:
                wrong.append((name, f"header {header.size}, pixels {pixels.shape}"))
            read_sample(data, 500, how)
            decode(data, (16, 16), True, 3 if header.n_channels in (1, 3) else None, how=how)
            counts["read"] += 1
        except Unreadable as error:
            came = error.reason
            counts["refused"] += 1
        except Exception as error:
            wrong.append((name, f"{type(error).__name__}: {error}"))
        seconds = time.process_time() - began
        slow = sorted([*slow, (round(seconds, 3), name, came)])[-5:]
        if peak() > level + 20:
            large.append((peak() - before, name, came))
        if keep and (seconds > 1 or peak() > level + 200 or (wrong and wrong[-1][0] == name)):
            with open(f"{keep}/{name}", "wb") as file:
                file.write(data)
    return {**counts, "wrong": wrong, "slowest": slow[::-1], "largest": large, "peak": peak() - before}


if __name__ == "__main__":
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (libraries say much of damaged files)
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]), indent=1))
