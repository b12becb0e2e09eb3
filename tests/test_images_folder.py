"""Folders as people have them: mixed sizes and kinds, turned photos, broken files, odd names, links in circles."""

import io
import os
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from asterism import KMeans
from asterism.errors import InputError, MissingDataError
from asterism.images import decode as decode_module
from asterism.images import open_images, reopen
from asterism.images.decode import _shrink_on_load, decode
from asterism.images.listing import natural_key
from asterism.methods.choosing import choose

NOISE = np.random.default_rng(0)


def save(path: Path, values, mode: str | None = None, **options) -> Path:
    """Write an image; values are one, an array, or a colour that fills 8x8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values) if isinstance(values, np.ndarray) else values
    if not isinstance(image, Image.Image):
        image = Image.new(mode or "RGB", (8, 8), values)
    image.save(path, **options)
    return path


def only(path: Path, **options) -> np.ndarray:
    """The pixels of the one image of a folder."""
    source = open_images(path, **options)
    assert len(source) == 1
    return source.pixels[0].numpy()


def refused(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        open_images(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Seven images of one colour each, four files that are none, and what nobody wants to hear of."""
    save(tmp_path / "img10.png", (10, 0, 0))
    save(tmp_path / "img2.png", (2, 0, 0))
    save(tmp_path / "b" / "deep" / "er" / "1.bmp", (3, 0, 0))
    save(tmp_path / "b" / "cmyk.jpg", (0, 0, 0, 0), "CMYK")
    save(tmp_path / "big.jpeg", np.full((300, 200, 3), 80, np.uint8))
    save(tmp_path / "sixteen.png", np.full((8, 8), 32768, np.uint16))
    save(tmp_path / "rgba.png", (255, 0, 0, 0), "RGBA")
    whole = save(tmp_path / "broken.jpg", NOISE.integers(0, 255, (64, 64, 3), dtype=np.uint8)).read_bytes()
    (tmp_path / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "garbage.png").write_bytes(b"these are no pixels")
    (tmp_path / "empty.gif").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("taken in May")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    (tmp_path / ".thumbs").mkdir()
    save(tmp_path / ".thumbs" / "1.png", (1, 1, 1))
    (tmp_path / "nothing").mkdir()
    return tmp_path


def test_a_messy_folder_opens_in_natural_order_and_tells_what_it_skipped(messy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_images(messy)
    assert source.names == [
        "b/cmyk.jpg",
        "b/deep/er/1.bmp",
        "big.jpeg",
        "img2.png",
        "img10.png",
        "rgba.png",
        "sixteen.png",
    ]
    assert source.pixels.dtype == torch.uint8
    assert source.shape == (3, 64, 64)  # sizes differ: the default square
    values = source.pixels[:, 32, 32, 0].tolist()
    assert values == [255, 3, 80, 2, 10, 255, 128]  # no ink and no opacity are white; 32768 / 257 = 127.5
    reasons = {one.name: one.reason for one in source.skipped}
    assert set(reasons) == {"broken.jpg", "garbage.png", "empty.gif", "notes.txt"}
    assert "truncated" in reasons["broken.jpg"]
    assert reasons["empty.gif"] == "empty file"
    assert "not an image" in reasons["notes.txt"]
    assert all("\n" not in reason for reason in reasons.values())
    assert source.labels is None


def test_strict_names_the_first_damaged_image_but_minds_no_text(messy):
    assert "'broken.jpg'" in refused(messy, strict=True, size=16, color="rgb")
    for name in ("empty.gif", "garbage.png", "broken.jpg"):  # headers are looked at before anything is decoded
        assert name in refused(messy, strict=True)
        (messy / name).unlink()
    assert [one.name for one in open_images(messy, strict=True).skipped] == ["notes.txt"]


def test_size_and_color_given_skip_the_look_at_headers_and_find_the_same(messy):
    plain, given_both = open_images(messy), open_images(messy, size=64, color="rgb")
    assert plain.fingerprint == given_both.fingerprint
    assert plain.names == given_both.names
    assert plain.skipped == given_both.skipped


def test_content_decides_and_not_the_name(tmp_path):
    save(tmp_path / "a.png", (9, 9, 9)).rename(tmp_path / "subject01.happy")  # the Yale faces are GIFs named so
    save(tmp_path / "b.png", (9, 9, 9)).rename(tmp_path / "b.txt")
    assert open_images(tmp_path).names == ["b.txt", "subject01.happy"]


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "JPG"])
def test_formats(tmp_path, ending):
    save(tmp_path / f"x.{ending}", 100, "L")
    assert abs(only(tmp_path).astype(int) - 100).max() <= 1


def test_modes_become_eight_bits(tmp_path):
    def opened(values, mode=None, name="x.png", **options) -> list[int]:
        path = save(tmp_path / name, values, mode, **options)
        pixels = decode(str(path))
        path.unlink()
        return pixels[0, 0].tolist()

    assert opened(1, "1") == [255]
    assert opened((0, 128), "LA") == [127]  # black at 128/255 on white: 255 · 127/255
    assert opened((0, 0, 0, 128), "RGBA") == [127, 127, 127]
    assert opened((7, 8, 9), transparency=(7, 8, 9)) == [255, 255, 255]
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([9, 9, 9, 40, 50, 60])
    assert opened(palette) == [40, 50, 60]
    assert opened(palette, transparency=0) == [40, 50, 60]
    assert opened(palette, transparency=1) == [255, 255, 255]
    assert opened((0, 255, 255, 0), "CMYK", "x.tif") == [255, 0, 0]  # magenta and yellow make red
    assert np.abs(np.array(opened((0, 255, 255, 0), "CMYK", "x.jpg")) - [255, 0, 0]).max() <= 3
    assert opened(np.full((2, 2), 65535, np.uint16)) == [255]
    assert opened(np.full((2, 2), 257 * 9, np.uint16), name="x.tif") == [9]
    assert opened(np.full((2, 2), 257 * 9, np.int32), name="x.tif") == [9]
    assert opened(np.full((2, 2), 0.2, np.float32), name="x.tif") == [51]
    assert opened(np.full((2, 2), 51, np.float32), name="x.tif") == [51]


def test_pixels_of_unknown_scale_are_skipped_not_clipped(tmp_path):
    save(tmp_path / "float.tif", np.array([[-1, 300]], np.float32))
    save(tmp_path / "nan.tif", np.array([[np.nan, 3]], np.float32))
    save(tmp_path / "long.tif", np.array([[-1, 300]], np.int32))
    save(tmp_path / "good.png", (1, 2, 3))
    assert [one.name for one in open_images(tmp_path).skipped] == ["float.tif", "long.tif", "nan.tif"]


def test_gif_gives_its_first_frame(tmp_path):
    frames = [Image.new("L", (8, 8), value) for value in (50, 150, 250)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert (only(tmp_path) == 50).all()


UPRIGHT = {  # what the eye sees of the rows 1 2 3 / 4 5 6, from EXIF's words: where row 0 and column 0 lie
    1: [[1, 2, 3], [4, 5, 6]],  # top, left
    2: [[3, 2, 1], [6, 5, 4]],  # top, right
    3: [[6, 5, 4], [3, 2, 1]],  # bottom, right
    4: [[4, 5, 6], [1, 2, 3]],  # bottom, left
    5: [[1, 4], [2, 5], [3, 6]],  # left, top
    6: [[4, 1], [5, 2], [6, 3]],  # right, top
    7: [[6, 3], [5, 2], [4, 1]],  # right, bottom
    8: [[3, 6], [2, 5], [1, 4]],  # left, bottom
}


@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_orientation_behind_the_pixels_of_a_png(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(np.array([[10, 20, 30], [40, 50, 60]], np.uint8)).save(stream, "PNG")
    content, data = stream.getvalue(), exif.tobytes().removeprefix(b"Exif\0\0")
    late = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    (tmp_path / "x.png").write_bytes(content[:-12] + late + content[-12:])
    assert open_images(tmp_path).shape == ((1, 2, 3) if orientation == 1 else (1, 3, 2))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("ending", "compression"), [("png", None), ("tif", None), ("tif", "tiff_lzw")])
def test_exif_orientation(tmp_path, orientation, ending, compression):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / f"x.{ending}", np.array(UPRIGHT[1], np.uint8), exif=exif, compression=compression)
    assert only(tmp_path)[:, :, 0].tolist() == UPRIGHT[orientation]  # native size: the header knew it too


def test_a_turned_photo_is_cropped_upright(tmp_path):
    stored = np.zeros((400, 800), np.uint8)  # dark to the left: with orientation 6 dark above
    stored[:, 400:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "photo.jpg", stored, exif=exif)
    pixels = only(tmp_path, size=(40, 20))[:, :, 0]
    assert pixels.shape == (40, 20)
    assert pixels[:18].max() < 20
    assert pixels[22:].min() > 235


def test_crop_and_squash(tmp_path):
    bands = np.zeros((64, 128, 3), np.uint8)
    bands[:, :32, 0] = bands[:, 32:96, 1] = bands[:, 96:, 2] = 255  # red, green, blue
    save(tmp_path / "bands.png", bands)
    cropped = only(tmp_path, size=64)
    assert (cropped == [0, 255, 0]).all()
    squashed = only(tmp_path, size=64, crop=False)
    assert squashed[0, 0].tolist() == [255, 0, 0]
    assert squashed[0, 63].tolist() == [0, 0, 255]


def test_default_size_keeps_small_images_of_one_size(tmp_path):
    save(tmp_path / "a.png", np.zeros((128, 100), np.uint8))
    save(tmp_path / "b.png", np.zeros((128, 100), np.uint8))
    assert open_images(tmp_path).shape == (1, 128, 100)
    save(tmp_path / "c.png", np.zeros((127, 100), np.uint8))
    assert open_images(tmp_path).shape == (1, 64, 64)


def test_default_size_reduces_large_images_of_one_size(tmp_path):
    save(tmp_path / "a.png", np.zeros((129, 100), np.uint8))
    assert open_images(tmp_path).shape == (1, 64, 64)


def test_color_is_grey_only_if_every_image_is(tmp_path):
    save(tmp_path / "l.png", 7, "L")
    save(tmp_path / "rgb.png", (7, 7, 7))
    assert open_images(tmp_path).shape[0] == 1
    save(tmp_path / "w.png", (70, 70, 71))  # as WebP rounds grey
    assert open_images(tmp_path).shape[0] == 1
    save(tmp_path / "d.png", (1, 0, 0))  # in the dark a step is a colour
    assert open_images(tmp_path).shape[0] == 3
    (tmp_path / "d.png").unlink()
    save(tmp_path / "c.png", (7, 7, 9))
    assert open_images(tmp_path).shape[0] == 3
    assert open_images(tmp_path, color="grey").shape[0] == 1
    (tmp_path / "c.png").unlink()
    assert open_images(tmp_path, color="rgb").pixels[0, 0, 0].tolist() == [7, 7, 7]


def test_grey_that_is_stored_in_the_colours_of_webp_is_grey_for_all(tmp_path):
    (tmp_path / "webp").mkdir()
    for i in range(20):
        image = Image.fromarray(np.kron(NOISE.integers(0, 255, (8, 8), dtype=np.uint8), np.ones((4, 4), np.uint8)))
        image.convert("RGB").save(tmp_path / "webp" / f"{i}.webp", quality=80)
    assert open_images(tmp_path / "webp").shape[0] == 1
    assert "grey" in choose(str(tmp_path / "webp"), n_clusters=3).reason


def test_a_folder_and_its_array_look_the_same(tmp_path):
    X = NOISE.integers(0, 255, (3, 50, 70, 3), dtype=np.uint8)
    for i, image in enumerate(X):
        save(tmp_path / f"{i}.png", image)
    for options in ({"size": 20}, {"size": (33, 90), "crop": False}, {"size": 20, "color": "grey"}):
        assert open_images(tmp_path, **options).pixels.equal(open_images(X, **options).pixels)


def test_large_jpegs_are_decoded_small_and_look_as_if_they_were_not(tmp_path):
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)
    path = save(tmp_path / "ramp.jpg", np.tile(ramp, (1200, 1)), quality=95)
    with Image.open(path) as image:
        _shrink_on_load(image, (100, 100), crop=True)
        assert image.size == (400, 300)  # a quarter: the largest step that leaves twice the target
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(save(tmp_path / "turned.jpg", np.zeros((1200, 1600), np.uint8), exif=exif)) as image:
        _shrink_on_load(image, (400, 100), crop=False)  # the 1600 become 400, whatever the file calls width
        assert image.size == (800, 600)
    with Image.open(path) as image:
        whole = np.asarray(image.resize((100, 100), Image.Resampling.BILINEAR, box=(200, 0, 1400, 1200)))
    assert np.abs(decode(str(path), (100, 100))[:, :, 0].astype(int) - whole).max() <= 1


@pytest.mark.parametrize(
    "name", ['it\'s "quoted".png', "<script>alert(1)</script>.png", "two\nlines.png", "ünï 漢字 🌸.png"]
)
def test_odd_names_survive(tmp_path, name):
    folder, _, last = name.rpartition("/")
    save(tmp_path / folder / last, (5, 6, 7))
    source = open_images(tmp_path)
    assert source.names == [name]
    (tmp_path / folder / last).write_text("no image")
    assert repr(name) in refused(tmp_path)


def test_names_that_are_not_utf8_can_be_opened_and_written(tmp_path):
    save(tmp_path / "x.png", (5, 6, 7))
    try:
        os.rename(tmp_path / "x.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system only takes UTF-8")
    source = open_images(tmp_path)
    assert source.names == ["caf\\xe9.png"]
    assert source.names[0].encode("utf-8")
    assert source.pixels[0, 0, 0].tolist() == [5, 6, 7]


def test_links_in_circles_pipes_and_links_to_nothing(tmp_path):
    save(tmp_path / "a" / "1.png", (1, 1, 1))
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    for name in ("0_link", "z_link"):  # wherever they sort, they come after the folder itself
        (tmp_path / name).symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "linked.png").symlink_to(tmp_path / "a" / "1.png")
    os.mkfifo(tmp_path / "pipe.png")
    source = open_images(tmp_path)
    assert source.names == ["a/1.png", "linked.png"]
    reasons = {one.name: one.reason for one in source.skipped}
    assert set(reasons) == {"a/up/", "a/self", "gone.png", "0_link/", "z_link/", "pipe.png"}
    assert reasons["gone.png"] == "a link to nothing"
    assert reasons["pipe.png"] == "not a regular file"


def test_a_linked_class_folder_outside_is_followed(tmp_path):
    save(tmp_path / "elsewhere" / "1.png", (1, 1, 1))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "cats").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert open_images(tmp_path / "set").names == ["cats/1.png"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """Root may read everything, so the refusals of the system are acted."""
    save(tmp_path / "a.png", (1, 1, 1))
    save(tmp_path / "vault" / "b.png", (1, 1, 1))
    scandir = os.scandir

    def no_vault(path):
        if str(path).endswith("vault"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", no_vault)
    source = open_images(tmp_path)
    assert source.names == ["a.png"]
    assert [(one.name, one.reason) for one in source.skipped] == [
        ("vault/", "folder cannot be read: Permission denied")
    ]
    assert "Permission denied" in refused(tmp_path / "vault")


def bomb(width: int, height: int) -> bytes:
    """A PNG that promises more than it holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


def test_bombs_are_refused_by_their_header_without_a_warning(tmp_path, monkeypatch):
    save(tmp_path / "good.png", (1, 1, 1))
    (tmp_path / "bomb.png").write_bytes(bomb(60_000, 60_000))
    (tmp_path / "large.png").write_bytes(bomb(10_000, 10_000))  # Pillow only warns of this one
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_images(tmp_path)
    reasons = {one.name: one.reason for one in source.skipped}
    assert "pixels" in reasons["bomb.png"]
    assert "truncated" in reasons["large.png"]
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 10**8 - 1)
    assert "10000x10000 pixels" in {one.name: one.reason for one in open_images(tmp_path).skipped}["large.png"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # a caller's wish that must not undo the bound
    assert len(open_images(tmp_path).skipped) == 2


def test_folders_without_images_say_what_they_hold(tmp_path):
    assert "it is empty" in refused(tmp_path)
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "b.jpg").write_text("words")
    message = refused(tmp_path)
    assert "2 files" in message
    assert "'b.jpg'" in message
    assert refused(tmp_path, size=8, color="rgb") == message
    (tmp_path / "b.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60))
    assert "HEIC of a kind that is not read, or damaged: convert it to PNG or JPEG" in refused(tmp_path)


def test_paths_that_cannot_be_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("nowhere", tmp_path / "nowhere"):
        with pytest.raises(MissingDataError, match="does not exist; expected a folder of images"):
            open_images(path)
    with pytest.raises(FileNotFoundError, match="did you mean data:mnist?"):
        open_images("mnist")
    photo = save(tmp_path / "photo.jpg", (1, 2, 3))
    assert "pass the folder" in refused(photo)
    (tmp_path / "set.zip").write_bytes(b"PK")
    assert "'.zip'" in refused(tmp_path / "set.zip")
    assert "layout='NHWC'" in refused(tmp_path, layout="NHWC")


def test_origin_reopens_and_is_not_changed_by_new_pictures(tmp_path, monkeypatch):
    save(tmp_path / "photos" / "a.png", (7, 7, 7))
    monkeypatch.chdir(tmp_path)
    source = open_images("photos")
    place = str(tmp_path / "photos")
    assert source.origin == {"source": place, "size": [8, 8], "color": "grey", "crop": True, "layout": None}
    monkeypatch.chdir("/")
    assert reopen(source.origin).fingerprint == source.fingerprint
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_images("~/photos").origin == source.origin
    save(tmp_path / "photos" / "z.png", NOISE.integers(0, 255, (90, 40, 3), dtype=np.uint8))
    later = reopen(source.origin)
    assert later.shape == source.shape
    assert later.pixels[0].equal(source.pixels[0])


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True))
def test_natural_order_is_that_of_the_numbers(numbers):
    names = [f"Cam{n}/img {n}.png" for n in numbers]
    assert sorted(names, key=natural_key) == [f"Cam{n}/img {n}.png" for n in sorted(numbers)]


@settings(max_examples=30)
@given(st.lists(st.text(min_size=1)), st.randoms())
def test_natural_order_is_total(names, random):
    ordered = sorted(names, key=natural_key)
    random.shuffle(names)
    assert sorted(names, key=natural_key) == ordered


def test_natural_order_by_example():
    names = ["b/1", "a10/x", "a2/x", "A3/x", "a2/x1", "a02/x"]
    assert sorted(names, key=natural_key) == ["a02/x", "a2/x", "a2/x1", "A3/x", "a10/x", "b/1"]


def parts_of(name):
    """The key as lists of texts and numbers, which one text stands for."""
    pieces = ([(one, 0, "") for one in re.split("[0-9]+", part)] for part in name.casefold().split("/"))
    numbers = ([one.lstrip("0") for one in re.findall("[0-9]+", part)] for part in name.split("/"))
    key = []
    for texts, digits in zip(pieces, numbers, strict=True):
        key.append([texts[0]])
        for text, number in zip(texts[1:], digits, strict=True):
            key[-1] += [("", len(number), number), text]
    return [*key, [(name, 0, "")]]


@given(st.lists(st.text("aAb01 9./", min_size=1), max_size=20))
@example(["x" + "1" * 45, "x" + "1" * 46, "x" + "2" * 46, "x/1", "x" + "1" * 46 + "/", "x" + "1" * 300])
def test_one_text_orders_as_lists_of_parts_do(names):
    assert sorted(names, key=natural_key) == sorted(names, key=parts_of)
    assert all(isinstance(natural_key(one), str) and len(natural_key(one)) <= 4 * len(one) + 2 for one in names)


def test_a_run_among_the_images_is_none_of_them(tmp_path):
    for i in range(4):
        save(tmp_path / f"{i}.png", (60 * i, 0, 0))
    KMeans(2, n_init=1, random_state=0, run_dir=tmp_path / "run").fit(tmp_path)
    save(tmp_path / "run" / "filters" / "first-layer.png", (1, 2, 3))
    found = open_images(tmp_path)
    assert found.names == [f"{i}.png" for i in range(4)] and not found.skipped
    save(tmp_path / "other" / "0.png", (9, 9, 9))
    (tmp_path / "other" / "run.json").write_text('{"epochs": 3}')
    assert "other/0.png" in open_images(tmp_path).names


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_one_picture_of_many_that_has_colour_keeps_it(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("asterism.images.folder.COLOR_SAMPLES", 2)
    monkeypatch.setattr("asterism.images.folder.KEEP_SECONDS", 0)
    monkeypatch.setattr("asterism.images.pack_cache.KEEP_SECONDS", 0)
    rng = np.random.default_rng(0)
    for i in range(7):
        pixels = rng.integers(0, 255, (9, 9, 3)).astype(np.uint8) if i == 3 else np.full((9, 9, 3), 9 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.{kind}")
    for _ in range(3):
        opened = open_images(tmp_path)
        assert opened.shape == (3, 9, 9)
        assert np.array_equal(opened.pixels[3].numpy(), np.asarray(Image.open(tmp_path / f"3.{kind}")))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert open_images(tmp_path, color="grey").shape == (1, 9, 9)
    (tmp_path / f"3.{kind}").unlink()
    assert open_images(tmp_path).shape == (1, 9, 9)
