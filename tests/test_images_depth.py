"""Images of more than 8 bits: one white for a whole set, said, kept for new images, refused where it is a guess."""

import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from asterism import KMeans, load
from asterism.errors import InputError
from asterism.images import open_images, reopen
from asterism.images.convert import image_pixels
from asterism.images.decode import decode, read_header
from test_cli import run

RAMP = np.linspace(0, 1, 256).reshape(16, 16)


def deep(folder: Path, highs, dtype="u2", ending="tif") -> Path:
    """Ramps from 0 to each of the highs."""
    folder.mkdir(exist_ok=True)
    for i, high in enumerate(highs):
        Image.fromarray((RAMP * high).astype(dtype)).save(folder / f"{i}.{ending}")
    return folder


def told(path, **options):
    """The opened images, and what was said of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of files that an earlier test left to the garbage
        opened = open_images(path, **options)
    return opened, [str(one.message) for one in caught]


@pytest.mark.parametrize(("dtype", "ending"), [("u2", "png"), ("u2", "tif"), ("i4", "tif")])
@pytest.mark.parametrize(("high", "bits"), [(255, 8), (130, 8), (1023, 10), (4095, 12), (3000, 12), (16383, 14)])
def test_the_brightest_pixel_of_the_set_tells_the_bits(tmp_path, dtype, ending, high, bits):
    opened, lines = told(deep(tmp_path / "a", [high, high / 2], dtype, ending))
    assert lines == [
        f"folder '{tmp_path / 'a'}': 2 of 2 images hold 16-bit values up to {high}: taken as {bits} bit "
        f"(0…{2**bits - 1})"
    ]
    brightest = opened.pixels.amax((1, 2, 3)).tolist()
    assert brightest == pytest.approx([high / (2**bits - 1) * 255, high / (2**bits - 1) * 127.5], abs=1)
    assert opened.origin["white"] == [2**bits - 1, 0]


def test_full_16_bits_are_the_rule_and_not_said(tmp_path):
    opened, lines = told(deep(tmp_path / "a", [65535, 40000, 257 * 9]))
    assert lines == []
    assert opened.pixels.amax((1, 2, 3)).tolist() == [255, 156, 9]
    _, lines = told(deep(tmp_path / "b", [65535, 4095, 4000]))  # most would be black
    assert "2 of them no value above 4095: all are taken as 16 bit" in lines[0]


def test_a_dark_float_frame_stays_darker_than_its_neighbours(tmp_path):
    opened, lines = told(deep(tmp_path / "a", [200, 0.9, 150], "f4"))
    assert opened.pixels.amax((1, 2, 3)).tolist() == [200, 1, 150]
    assert "3 of 3 images hold float values up to 200, 1 of them none above 1: taken as 0…255" in lines[0]
    opened, lines = told(deep(tmp_path / "b", [1, 0.5], "f4"))
    assert opened.pixels.amax((1, 2, 3)).tolist() == [255, 128]
    assert "up to 1: taken as 0…1" in lines[0]


def test_what_would_be_a_guess_is_refused(tmp_path):
    with pytest.raises(InputError, match="16-bit pixels of no value above 20: what is white cannot be told"):
        open_images(deep(tmp_path / "masks", [20, 3]))
    with pytest.raises(InputError, match=r"float pixels from 0 to 1\.2; 0 to 1 or 0 to 255"):
        open_images(deep(tmp_path / "floats", [1.2], "f4"))
    opened, _ = told(deep(tmp_path / "one", [1, 1.2, 0.5], "f4"))
    assert opened.names == ["0.tif", "2.tif"]  # the one is listed, the others keep their scale
    assert opened.pixels.max() == 255


def deep_png(path: Path, pixels: np.ndarray) -> None:
    """A PNG of 16-bit colours, which Pillow reads but does not write."""
    height, width, channels = pixels.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def deep_tiff(path: Path, pixels: np.ndarray, order: str) -> None:
    """An uncompressed TIFF of 16-bit colours in one strip."""
    height, width, _ = pixels.shape
    data = pixels.astype(f"{order}u2").tobytes()
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 122), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 128), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(data))]
    form = {"<": "II*\0", ">": "MM\0*"}[order].encode() + struct.pack(f"{order}I", 8)
    entries = b""
    for tag, kind, n, value in tags:
        packed = struct.pack(f"{order}HH", value, 0) if kind == 3 and n == 1 else struct.pack(f"{order}I", value)
        entries += struct.pack(f"{order}HHI", tag, kind, n) + packed
    head = form + struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    path.write_bytes(head.ljust(122, b"\0") + struct.pack(f"{order}3H", 16, 16, 16) + data)


@pytest.mark.parametrize("kind", ["png", "tiff<", "tiff>"])
def test_dark_deep_colours_are_not_taken_for_grey(tmp_path, kind):
    values = np.stack([RAMP * 90, RAMP.T * 60, RAMP[::-1] * 99], axis=2).round().astype(np.uint16)
    if kind == "png":
        deep_png(tmp_path / "a.png", values)
    else:
        deep_tiff(tmp_path / "a.tif", values, kind[-1])
    opened, lines = told(tmp_path)
    assert "up to 99: taken as 8 bit" in lines[0]
    assert (opened.pixels[0].numpy() == values).all()


def test_floats_far_below_1_are_scaled_by_their_set_and_said(tmp_path):
    opened, lines = told(deep(tmp_path / "a", [1e-6, 5e-7], "f4"))
    assert "scaled by the set's 0.5 to 99.5 %" in lines[0]
    assert opened.pixels.max() == 255
    assert 120 < opened.pixels[1].max() < 136


@pytest.mark.parametrize("kind", ["png", "png-alpha", "tiff<", "tiff>"])
def test_colours_of_12_bits_in_16(tmp_path, kind):
    values = np.stack([RAMP * 4095, RAMP.T * 2000, RAMP[::-1] * 4095], axis=2).round().astype(np.uint16)
    if kind.startswith("png"):
        alpha = np.full((16, 16, 1), 65535, np.uint16)
        deep_png(tmp_path / "a.png", np.concatenate([values, alpha], axis=2) if "alpha" in kind else values)
    else:
        deep_tiff(tmp_path / "a.tif", values, kind[-1])
    opened, lines = told(tmp_path)
    assert "up to 4095: taken as 12 bit" in lines[0]
    assert (opened.pixels[0].numpy() == np.rint(values * (255 / 4095))).all()
    assert (decode(str(next(tmp_path.iterdir()))) == values >> 8).all()  # of no set: 16 bits, as Pillow has them


def test_size_and_colour_given_find_the_same_white(tmp_path):
    found = [told(deep(tmp_path / "a", [4095, 900]), **options) for options in ({}, {"size": 16, "color": "grey"})]
    assert found[0][0].fingerprint == found[1][0].fingerprint
    assert found[0][1] == found[1][1]


def test_white_given(tmp_path):
    folder = deep(tmp_path / "a", [3000, 900])
    opened, lines = told(folder, white=3000)
    assert lines == []
    assert opened.pixels.max() == 255
    assert len(told(folder, white=1000)[0].skipped) == 1  # a larger value belongs to another scale
    assert open_images(deep(tmp_path / "f", [40.0], "f4"), white=40).pixels.max() == 255
    for wrong in ("4095", -1, float("nan"), (1, 2, 3), True):
        with pytest.raises(InputError, match="white="):
            open_images(folder, white=wrong)


def test_new_images_are_seen_with_the_white_of_the_fit(tmp_path):
    folder, new = deep(tmp_path / "a", [4095, 4000, 900, 700]), deep(tmp_path / "b", [900, 700])
    with pytest.warns(UserWarning, match="12 bit"):
        images = open_images(folder)
    fitted = KMeans(2, random_state=0, run_dir=tmp_path / "run").fit(images)
    expected = fitted.labels_[2:].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is to be found out any more
        assert fitted.predict(new).tolist() == expected
        assert load(tmp_path / "run").predict(new).tolist() == expected
        fitted.save(tmp_path / "saved")
        assert load(tmp_path / "saved").predict(new).tolist() == expected
        assert reopen(images.origin).fingerprint == images.fingerprint


def test_packed_images_say_it_again(tmp_path, monkeypatch):
    monkeypatch.setattr("asterism.images.pack.memory_budget", lambda: 0)
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    folder = deep(tmp_path / "a", [4095])
    first, second = told(folder), told(folder)
    assert first[1] == second[1] != []
    assert first[0].origin == second[0].origin


def test_pages_are_said(tmp_path):
    pages = [Image.new("L", (8, 8), value) for value in (50, 150)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    pages[1].save(tmp_path / "single.tif")
    for options in ({}, {"size": 8, "color": "grey"}):
        opened, lines = told(tmp_path, **options)
        assert "1 of 2 files hold several pages or frames, as 'stack.tif': the first of each is taken" in lines[0]
        assert opened.pixels[:, 0, 0, 0].tolist() == [150, 50]


# --- images of Pillow's -----------------------------------------------------------------------------------------------


def as_file(image: Image.Image, path: Path, **options) -> np.ndarray:
    image.save(path, **options)
    return decode(str(path))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"])
def test_an_image_in_memory_has_the_pixels_of_its_file(tmp_path, mode):
    colours = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    image = Image.fromarray(colours)
    image = Image.fromarray(colours[..., 0] * np.uint16(250)) if mode == "I;16" else image.convert(mode)
    assert (image_pixels(image) == as_file(image, tmp_path / ("x.tif" if mode == "I" else "x.png"))).all()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "F", "PA", "HSV", "La", "RGBa", "RGBX"])
def test_an_image_in_memory_of_a_mode_that_png_lacks(tmp_path, mode):
    colour = Image.new("RGBA", (4, 4), (200, 30, 60, 255))
    if mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(colour.convert("RGB"), srgb, lab, outputMode="LAB")
    elif mode == "PA":
        image = colour.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE).convert("PA")
    else:
        image = colour.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, "RGB")).convert(mode)
    grey = mode in ("F", "La")
    assert np.abs(image_pixels(image)[0, 0].astype(int) - ([84] if grey else [200, 30, 60])).max() <= 3


def test_a_turned_file_is_turned_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as image:
        assert image_pixels(image).shape == (3, 2, 1) == (*read_header(str(tmp_path / "x.png")).size, 1)
        assert image_pixels(image.rotate(90, expand=True)).shape == (3, 2, 1)  # made upright by its owner


def test_lists_and_data_sets_have_one_white():
    images = [Image.fromarray((RAMP * high).astype(np.uint16)) for high in (4095, 900)] + [Image.new("L", (16, 16))]
    for X in (images, Wrapped(images)):
        opened, lines = told(X)
        assert lines == ["X: 2 of 3 images hold 16-bit values up to 4095: taken as 12 bit (0…4095)"]
        assert opened.pixels.amax((1, 2, 3)).tolist() == [255, 56, 0]
        assert opened.origin["white"] == [4095, 0]
        assert told(X[1:], white=4095)[0].pixels.amax((1, 2, 3)).tolist() == [56, 0]
    with pytest.raises(InputError, match=r"X\[0\] cannot be used: 16-bit pixels of no value above 9"):
        open_images([Image.fromarray((RAMP * 9).astype(np.uint16))])


def test_white_that_is_given_holds_for_arrays_too():
    X = np.zeros((3, 4, 4), np.uint16)
    X[0, 0] = 900  # of its own accord 10 bits
    assert open_images(X, white=4095).pixels.max() == round(900 * 255 / 4095)
    assert open_images(X.astype(np.float32), white=4095).pixels.max() == round(900 * 255 / 4095)
    assert open_images(X.astype(np.float32) / 4095, white=4095).pixels.dtype == torch.float32  # in other units
    with pytest.raises(InputError, match="X has values up to 900 where 500 is white"):
        open_images(X, white=500)


class Wrapped(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return Wrapped(self.images[index]) if isinstance(index, slice) else (self.images[index], 0)


def test_grey_with_alpha_of_12_bits_in_16(tmp_path):
    values = (RAMP * 4095).round().astype(np.uint16)
    alpha = np.where(RAMP.T < 0.9, 65535, 0).astype(np.uint16)
    deep_png(tmp_path / "a.png", np.stack([values, alpha], axis=2))
    opened, lines = told(tmp_path)
    assert "up to 4095: taken as 12 bit" in lines[0]
    expected = np.where(alpha, np.rint(values * (255 / 4095)), 255)
    assert (opened.pixels[0, :, :, 0].numpy() == expected).all()


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("from_bytes", [False, True])
def test_files_that_pillow_has_opened_are_as_those_of_a_folder(tmp_path, channels, from_bytes):
    for name, high in (("a", 4095), ("b", 900)):
        values = np.stack([RAMP * high, RAMP.T * high, RAMP * high, RAMP * 0 + 65535], axis=2)
        values = values[..., [0, 3]] if channels == 2 else values[..., :channels]
        deep_png(tmp_path / f"{name}.png", values.round().astype(np.uint16))
    paths = sorted(tmp_path.iterdir())
    folder, _ = told(tmp_path)
    images = [Image.open(BytesIO(path.read_bytes()) if from_bytes else path) for path in paths]
    for X in (images, Wrapped(images)):
        opened, lines = told(X)
        assert lines == ["X: 2 of 2 images hold 16-bit values up to 4095: taken as 12 bit (0…4095)"]
        assert torch.equal(opened.pixels, folder.pixels.expand_as(opened.pixels))  # Pillow has no grey with such alpha
    assert images[0].load() is not None  # they can still be used


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, lambda one: np.stack([one] * 3, axis=2)])
def test_arrays_of_16_bits_in_a_data_set_have_one_white(convert):
    items = [convert((RAMP * high).astype(np.uint16)) for high in (4095, 100)]
    opened, lines = told(Wrapped(items))
    assert lines == ["X: 2 of 2 images hold 16-bit values up to 4095: taken as 12 bit (0…4095)"]
    assert opened.pixels.amax((1, 2, 3)).tolist() == [255, 6]


def test_new_data_sets_are_seen_with_the_white_of_the_fit():
    rng = np.random.default_rng(0)
    items = [(RAMP * rng.integers(800, 4095)).astype(np.uint16) for _ in range(11)] + [(RAMP * 4095).astype(np.uint16)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KMeans(2, random_state=0).fit(Wrapped(items))
        dark = [one for one in items if one.max() < 3000][:2]
        np.testing.assert_allclose(model.transform(Wrapped(dark)).max(1), [one.max() / 4095 for one in dark], atol=0.01)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "MPO", "TIFF", "AVIF", "HEIF"])
def test_frames_behind_the_first_are_told(tmp_path, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if kind not in Image.SAVE and kind not in Image.SAVE_ALL and not Image.init():
        pytest.skip(f"Pillow writes no {kind} here")
    first, second = (Image.fromarray((one * 255).astype(np.uint8)).convert("RGB") for one in (RAMP, RAMP.T))
    path = tmp_path / "burst.bin"
    first.save(path, kind, save_all=True, append_images=[second])
    assert read_header(str(path)).notes
    assert np.abs(decode(str(path)).astype(int) - np.asarray(first)).max() < 60  # the first
    first.save(path, kind)
    assert not read_header(str(path)).notes
    first.save(path, "GIF", save_all=True, append_images=[second])
    opened, lines = told(tmp_path)
    assert "1 of 1 files hold several pages or frames, as 'burst.bin': the first of each is taken" in lines[0]


def test_a_gif_is_white_where_its_first_frame_does_not_reach():
    buffer = BytesIO()
    Image.new("RGB", (4, 2), (0, 0, 200)).save(buffer, "GIF")
    data = buffer.getvalue()
    data = data[:6] + struct.pack("<HH", 6, 3) + data[10:]  # a larger canvas
    expected = np.full((3, 6, 3), 255)
    expected[:2, :4] = (0, 0, 200)
    np.testing.assert_array_equal(decode(data), expected)
    np.testing.assert_array_equal(image_pixels(Image.open(BytesIO(data))), expected)


# ------------------------------------------------------------------------------------------------ what a scale cuts off

CUT = "scale 100…1000: of the values 10 % lie below it and 50 % lie above it and are cut off"


def half_bright(folder: Path) -> dict[str, Any]:
    """Twelve images of one tenth of values below 100 and a half above 1000, in every form of deep pixels."""
    values = np.repeat([50, 100, 1000, 2000], [40, 100, 60, 200]).astype(np.uint16)
    images = np.stack([np.random.default_rng(i).permutation(values).reshape(20, 20) for i in range(12)])
    forms: dict[str, Any] = {"array": images, "floats": images.astype(np.float32), "list": [*images]}
    np.save(folder / "x.npy", images)
    np.savez(folder / "x.npz", images=images)
    for ending in ("tif", "png"):
        forms[ending] = folder / ending
        forms[ending].mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(forms[ending] / f"{i}.{ending}")
    forms["bands"] = folder / "bands"
    forms["bands"].mkdir()
    for i, image in enumerate(images):
        tifffile.imwrite(forms["bands"] / f"{i}.tif", np.stack([image] * 5), planarconfig="separate", metadata=None)
    forms["pil"] = [Image.fromarray(image) for image in images]
    return forms | {"npy": folder / "x.npy", "npz": folder / "x.npz"}


def test_what_a_declared_scale_cuts_off_is_said_of_every_kind_of_deep_pixels(tmp_path):
    for kind, X in half_bright(tmp_path).items():
        opened, lines = told(X, scale=(100, 1000))
        assert len(lines) == 1 and f"{CUT}; scale=(low, high) declares another" in lines[0], (kind, lines)
        if opened.origin["source"] is not None:  # whoever opens a run's images again was told
            assert told(opened.origin["source"], scale=opened.origin["scale"])[1] == [], kind
        assert told(X, scale=(50, 2000))[1] == [], kind
        assert "10 % lie below it and are cut off" in told(X, scale=(99, 2000))[1][0], kind
    assert told(tmp_path / "png", scale=(100, 1000))[1] == told(tmp_path / "png", scale=(100, 1000))[1]


def test_what_a_scale_cuts_off_of_long_lines_is_said_too():
    lines = np.full((3, 1, 2**20), 2000, np.uint16)
    assert "100 % lie above it" in told(lines, scale=(0, 1000))[1][0]


def test_what_the_scale_of_a_run_cuts_off_is_said_of_new_images(tmp_path):
    half_bright(tmp_path)
    np.save(tmp_path / "dark.npy", np.load(tmp_path / "x.npy") // 2)
    run("cluster", tmp_path / "dark.npy", "-k", 2, "--method", "kmeans", "--scale", "0,1000", "--out", tmp_path / "r")
    said = run("predict", tmp_path / "r", tmp_path / "x.npy", "--out", tmp_path / "p.csv").stderr
    assert "'x.npy': scale 0…1000: of the values 50 % lie above it and are cut off; --scale LOW,HIGH declares" in said
    assert run("report", tmp_path / "r").stderr == ""


@pytest.mark.parametrize(
    ("bits", "kind", "clear"),
    [(1, 0, (0,)), (2, 0, (1,)), (4, 0, (5,)), (8, 0, (3,)), (16, 0, (2000,)), (16, 2, (4000, 7, 9))],
)
def test_the_value_that_a_png_calls_transparent_is_white(tmp_path, bits, kind, clear):
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    values = np.random.default_rng(0).integers(0, min(2**bits, 4096), (16, 16, 1 + kind))
    values[::3, ::2] = clear
    cells = (values.reshape(16, -1, 1) >> np.arange(bits)[::-1]) & 1
    rows = b"".join(b"\0" + np.packbits(row.ravel()).tobytes() for row in cells)
    header = struct.pack(">IIBBBBB", 16, 16, bits, kind, 0, 0, 0)
    body = (
        chunk(b"IHDR", header) + chunk(b"tRNS", np.array(clear, ">u2").tobytes()) + chunk(b"IDAT", zlib.compress(rows))
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    hidden = (values == clear).all(2)
    for X in (tmp_path, [Image.open(tmp_path / "a.png")]):
        pixels = told(X)[0].pixels[0].numpy()
        assert (pixels[hidden] == 255).all()
        top = 4095 if bits == 16 else 2**bits - 1
        assert np.abs(pixels - np.rint(values * (255 / top)))[~hidden].max() <= 1
