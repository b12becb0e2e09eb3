"""Images of any number of channels and depths: TIFF stacks and bands, DICOM, RAW, arrays in a folder."""

import io
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from asterism import KMeans, load
from asterism.errors import InputError
from asterism.images import open_images, reopen
from asterism.images.decode import decode, read_header
from asterism.images.depth import Scale, White
from asterism.images.io_errors import Unreadable
from asterism.images.raster import How, planes_of

DRAWS = np.random.default_rng(0)
FIVE = DRAWS.integers(0, 3000, (6, 5, 32, 32)).astype(np.uint16)  # (N, C, H, W)


def told(path, **options):
    """The opened images, and what was said of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of files that an earlier test left to the garbage
        opened = open_images(path, **options)
    return opened, " | ".join(str(one.message) for one in caught)


def bands(folder: Path, images=FIVE, **how) -> Path:
    folder.mkdir(exist_ok=True)
    for i, one in enumerate(images):
        how = {"photometric": "minisblack", "planarconfig": "separate", **how}
        tifffile.imwrite(folder / f"{i}.tif", one, metadata=None, **how)
    return folder


def percentiled(images, channel) -> np.ndarray:
    low, high = np.percentile(images[:, channel], [0.5, 99.5])
    return np.rint(np.clip((images[:, channel] - low) * (255 / (high - low)), 0, 255))


# --- bands ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzma"},
        {"tile": (16, 16)},
        {"rowsperstrip": 3},
    ],
)
@pytest.mark.parametrize("planar", ["separate", "contig"])
def test_bands_of_any_layout_are_scaled_by_percentiles_of_the_set(tmp_path, planar, how):
    images = FIVE if planar == "separate" else FIVE.transpose(0, 2, 3, 1)
    opened, lines = told(bands(tmp_path / "a", images, planarconfig=planar, **how))
    assert opened.shape == (5, 32, 32)
    for channel in range(5):
        assert np.abs(opened.pixels[..., channel].numpy() - percentiled(FIVE, channel)).max() <= 1
    assert "5 channels, each scaled by the set's 0.5 to 99.5 % of values" in lines
    assert opened.origin["color"] == "bands"
    assert reopen(opened.origin).fingerprint == opened.fingerprint


def test_a_declared_scale_a_white_and_chosen_bands(tmp_path):
    folder = bands(tmp_path / "a")
    opened, lines = told(folder, scale=(0, 3000), bands=(4, 3, 2))
    assert lines == ""
    assert opened.origin["color"] == "rgb"
    expected = np.rint(FIVE[:, [3, 2, 1]].transpose(0, 2, 3, 1) * np.float32(255 / 3000))
    assert np.abs(opened.pixels.numpy() - expected).max() <= 1
    assert told(folder, white=4095)[0].pixels.max() == round(int(FIVE.max()) * 255 / 4095)
    assert open_images(folder, bands=5).shape == (1, 32, 32)
    lows, highs = [0] * 5, [1000, 2000, 3000, 4000, 5000]
    tops = open_images(folder, scale=(lows, highs)).pixels.amax((0, 1, 2)).tolist()
    assert tops == [255, 255, 255, 191, 153]
    for options, words in (
        ({"bands": (1, 6)}, "5 channels, and bands="),
        ({"color": "rgb"}, r"5 channels where red, green and blue are wanted; bands=\(3, 2, 1\)"),
        ({"scale": ([0, 0], [1, 1])}, "5 channels where the scale has 2"),
    ):
        with pytest.raises(InputError, match=words):
            open_images(folder, **options)


@pytest.mark.parametrize(
    "options",
    [{"scale": "low"}, {"scale": (5, 1)}, {"scale": (0,)}, {"scale": (0, float("nan"))}, {"pages": "last"}]
    + [{"bands": 0}, {"bands": "4,3"}, {"bands": ()}, {"bands": (True,)}, {"scale": ([], [])}],
)
def test_options_that_make_no_sense_are_named(tmp_path, options):
    with pytest.raises(InputError, match=f"{next(iter(options))}="):
        open_images(bands(tmp_path / "a"), **options)


def test_new_images_are_seen_with_the_scale_of_the_fit(tmp_path):
    folder = bands(tmp_path / "a")
    dark = bands(tmp_path / "b", FIVE[:2] // 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = KMeans(2, random_state=0, run_dir=tmp_path / "run").fit(str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = [one._open(str(dark), reset=False).pixels for one in (fitted, load(tmp_path / "run"))]
        assert fitted.predict(str(folder)).tolist() == fitted.labels_.tolist()
    assert seen[0].equal(seen[1])
    assert seen[0].float().mean() < 40  # a quarter as bright


def test_eight_bits_are_taken_as_they_are_and_four_bands_are_no_alpha(tmp_path):
    four = DRAWS.integers(0, 200, (3, 24, 24, 4)).astype(np.uint8)
    for i, one in enumerate(four):
        tifffile.imwrite(tmp_path / f"{i}.tif", one, photometric="rgb", extrasamples=["unspecified"])
    opened, _ = told(tmp_path)
    assert (opened.pixels.numpy() == four).all()
    for i, one in enumerate(four):
        tifffile.imwrite(tmp_path / f"{i}.tif", one, photometric="rgb", extrasamples=["unassalpha"])
    assert open_images(tmp_path).shape[0] == 3  # an alpha is laid on white


def test_most_files_tell_the_channels_and_the_others_are_listed(tmp_path):
    folder = bands(tmp_path / "a")
    tifffile.imwrite(folder / "odd.tif", FIVE[0][:2], photometric="minisblack", planarconfig="separate", metadata=None)
    tifffile.imwrite(folder / "grey.tif", FIVE[0][0], metadata=None)
    opened, _ = told(folder)
    assert opened.shape[0] == 5
    assert {one.name: one.reason.split(";")[0] for one in opened.skipped} == {
        "odd.tif": "2 channels where 5 are wanted",
        "grey.tif": "1 channel where most have 5",
    }


@pytest.mark.parametrize("dtype", ["i2", "u4", "i4", "f4", "f8", "f2", "i1"])
def test_values_that_have_no_white_are_scaled_by_the_set(tmp_path, dtype):
    values = np.linspace(-100, 120, 256).reshape(16, 16) if dtype not in ("u4",) else np.linspace(0, 1e6, 256)
    for i in range(3):
        tifffile.imwrite(tmp_path / f"{i}.tif", (values.reshape(16, 16) / (1 + i)).astype(dtype), metadata=None)
    opened, lines = told(tmp_path)
    assert "deep pixels, scaled by the set's 0.5 to 99.5 %" in lines
    tops = opened.pixels.amax((1, 2, 3)).tolist()
    assert tops[0] == 255 > tops[1] > tops[2]


def test_values_that_are_missing_are_black_and_do_not_count(tmp_path):
    values = np.linspace(10, 20, 256).reshape(16, 16).astype(np.float32)
    for i, (odd, extra) in enumerate([(np.nan, []), (-9999, [(42113, "s", 0, "-9999", True)]), (np.inf, [])]):
        one = values.copy()
        one[:4] = odd
        tifffile.imwrite(tmp_path / f"{i}.tif", one, metadata=None, extratags=extra)
    opened, lines = told(tmp_path, scale="percentile")
    assert "3 of 3 files hold pixels without a value (NaN or no-data), as '0.tif': these are taken as black" in lines
    assert (opened.pixels[:, :4] == 0).all()
    assert (opened.pixels[:, 8:] > 50).all()
    tifffile.imwrite(tmp_path / "3.tif", np.full((16, 16), np.nan, np.float32), metadata=None)
    assert "without a single value" in told(tmp_path, scale=(10, 20))[0].skipped[0].reason


def test_what_is_white_where_low_is_bright_and_what_is_turned(tmp_path):
    values = (np.arange(32 * 16).reshape(32, 16) * 3).astype(np.float32) / 2000
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite", metadata=None)
    assert (decode(str(tmp_path / "a.tif"))[..., 0] == 255 - np.rint(values * 255)).all()
    for turn in range(1, 9):
        tag = [(274, "H", 1, turn, True)]
        tifffile.imwrite(tmp_path / "deep.tif", values, metadata=None, extratags=tag)
        tifffile.imwrite(tmp_path / "byte.tif", np.rint(values * 255).astype(np.uint8), metadata=None, extratags=tag)
        deep, byte = (decode(str(tmp_path / f"{one}.tif")) for one in ("deep", "byte"))
        assert (deep == byte).all(), turn  # the second is Pillow's
        assert read_header(str(tmp_path / "deep.tif")).size == deep.shape[:2]


# --- stacks -----------------------------------------------------------------------------------------------------------

STACK = DRAWS.integers(0, 255, (4, 24, 20)).astype(np.uint8)


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ("first", STACK[0][..., None]),
        ("max", STACK.max(0)[..., None]),
        ("mean", np.rint(STACK.mean(0))[..., None]),
        ("channels", STACK.transpose(1, 2, 0)),
    ],
)
def test_pages_are_chosen_and_said(tmp_path, pages, expected):
    tifffile.imwrite(tmp_path / "stack.tif", STACK, photometric="minisblack", metadata=None)
    opened, lines = told(tmp_path, pages=pages)
    assert (opened.pixels[0].numpy() == expected).all()
    assert "1 of 1 files hold several pages or frames, as 'stack.tif'" in lines
    assert opened.origin.get("pages", "first") == pages
    assert reopen(opened.origin).fingerprint == opened.fingerprint


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_channels_of_a_microscope_are_channels_and_its_times_and_depths_are_pages(tmp_path, kind):
    stack = DRAWS.integers(0, 4000, (2, 3, 4, 24, 20)).astype(np.uint16)  # TZCYX
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata={"axes": "TZCYX"}, **{kind: True})
    opened, lines = told(tmp_path, scale=(0, 4080))
    assert opened.shape == (4, 24, 20)
    assert (np.abs(opened.pixels[0].numpy() - stack[0, 0].transpose(1, 2, 0) / 16) <= 1).all()
    assert "the first of each is taken" in lines
    tops = open_images(tmp_path, scale=(0, 4080), pages="max").pixels[0].numpy()
    assert (np.abs(tops - stack.max((0, 1)).transpose(1, 2, 0) / 16) <= 1).all()


def test_a_companion_of_an_ome_file_is_never_opened(tmp_path):
    outside = tmp_path / "secret.tif"
    tifffile.imwrite(outside, STACK[0])
    xml = f"""<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">
    <Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeC="2" SizeT="1" SizeX="20" SizeY="24" SizeZ="1" Type="uint8">
    <TiffData FirstC="0" IFD="0"/><TiffData FirstC="1" IFD="0"><UUID FileName="{outside}">urn:uuid:1</UUID></TiffData>
    </Pixels></Image></OME>"""
    folder = tmp_path / "a"
    folder.mkdir()
    tifffile.imwrite(folder / "x.ome.tif", STACK[1], description=xml, metadata=None)
    try:
        pixels = decode(str(folder / "x.ome.tif"))
    except Unreadable:
        return
    assert not any((pixels[..., i] == STACK[0]).all() for i in range(pixels.shape[2]))


def test_of_a_pyramid_a_picture_that_can_be_decoded_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("asterism.images.tiff.MAX_PICTURE", 40 * 40 * 3)
    large = DRAWS.integers(0, 255, (64, 64, 3)).astype(np.float32)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(large, subifds=1, photometric="rgb", metadata=None)
        writer.write(large[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    assert read_header(str(tmp_path / "a.tif")).size == (32, 32)


@pytest.mark.parametrize("packed", ["lzw", "packbits"])
def test_packings_that_need_a_library(tmp_path, packed):
    pytest.importorskip("imagecodecs", reason="writing such a TIFF needs imagecodecs")
    tifffile.imwrite(tmp_path / "a.tif", FIVE[0], photometric="minisblack", planarconfig="separate", compression=packed)
    assert read_header(str(tmp_path / "a.tif")).n_channels == 5


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_what_would_take_too_much_is_refused_by_its_header(tmp_path, monkeypatch):
    bomb = io.BytesIO()
    tifffile.imwrite(bomb, np.zeros((5, 600, 600), np.uint16), photometric="minisblack", compression="zlib",
                     planarconfig="separate", metadata=None)  # fmt: skip
    monkeypatch.setattr("asterism.images.raster.MAX_VALUES", 5 * 600 * 600 - 1)
    with pytest.raises(Unreadable, match="1,800,000 values, more than"):
        read_header(bomb.getvalue())
    monkeypatch.setattr("asterism.images.raster.MAX_VALUES", 2**27)
    monkeypatch.setattr("asterism.images.raster.MAX_VALUE_BYTES", 2 * 5 * 600 * 600 - 1)  # of two each
    with pytest.raises(Unreadable, match="1,800,000 values, more than the 1,799,999"):
        read_header(bomb.getvalue())
    monkeypatch.undo()
    monkeypatch.setattr("asterism.images.tiff.MOST_PAGES", 3)
    many = io.BytesIO()
    tifffile.imwrite(many, np.zeros((4, 8, 8), np.float32), photometric="minisblack", metadata=None)
    with pytest.raises(Unreadable, match="more than 3 pages"):
        read_header(many.getvalue(), How(pages="mean"))


@pytest.mark.parametrize("level", [Scale((0.0,), (1.0,)), White(65535, 1.0)])
def test_deep_pixels_are_converted_in_parts(level, monkeypatch):
    values = np.random.default_rng(0).random((1, 1200, 1000, 1))
    values[0, 3, 5] = np.nan
    planes = planes_of(values, How())
    whole = planes.eight_bit(lambda: level)
    monkeypatch.setattr("asterism.images.depth.STRIP", 10_000)
    tracemalloc.start()
    try:
        found = planes.eight_bit(lambda: level)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * whole.nbytes
    finally:
        tracemalloc.stop()
    assert (found == whole).all()


def test_a_mean_of_whole_numbers_makes_no_floats_of_all_pages():
    pages = np.random.default_rng(0).integers(0, 60_000, (20, 128, 128, 1)).astype(np.uint16)
    tracemalloc.start()
    try:
        found = planes_of(pages, How(pages="mean"))
        assert tracemalloc.get_traced_memory()[1] < pages.nbytes
    finally:
        tracemalloc.stop()
    assert (found.values == np.rint(pages.mean(0))).all()


def test_packed_pixels_that_are_more_than_the_header_says_are_refused():
    bands = {"shape": (5, 256, 256), "dtype": np.uint16, "photometric": "minisblack", "planarconfig": "separate"}
    found = {}
    for n in (2, 2**22):  # numbers of a strip, of which the header says 65,536
        packed = zlib.compress(bytes(2 * n)).ljust(2**18, b"\0")  # so long that what it becomes is looked at
        file = io.BytesIO()
        tifffile.imwrite(file, iter([packed] * 5), compression="zlib", rowsperstrip=256, metadata=None, **bands)
        with pytest.raises(Unreadable) as caught:
            decode(file.getvalue())
        found[n] = caught.value.reason
    assert found[2**22] == "a TIFF whose packed pixels are more than it says"
    assert found[2] != found[2**22]


def test_a_directory_that_leads_to_itself_ends(tmp_path):
    data = io.BytesIO()
    tifffile.imwrite(data, STACK[0].astype(np.float32), metadata=None)
    raw = bytearray(data.getvalue())
    n = int.from_bytes(raw[8:10], "little")
    raw[10 + 12 * n : 14 + 12 * n] = (8).to_bytes(4, "little")
    with pytest.raises(Unreadable, match="pages"):
        decode(bytes(raw), how=How(pages="mean"))


# --- arrays in a folder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)])
def test_arrays_in_a_folder_are_images(tmp_path, order):
    for i, one in enumerate(FIVE):
        np.save(tmp_path / f"{i}.npy", one.transpose(order))
    opened, lines = told(tmp_path)
    assert opened.shape == (5, 32, 32)
    assert opened.names == [f"{i}.npy" for i in range(6)]
    assert np.abs(opened.pixels[..., 2].numpy() - percentiled(FIVE, 2)).max() <= 1
    assert "each scaled by" in lines


def test_arrays_that_are_no_image_are_listed_and_a_layout_tells_many_channels(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.full((40, 16, 16), 80 * i, np.uint8))
    with pytest.raises(InputError, match=r"array of shape \(40, 16, 16\); one image has"):
        open_images(tmp_path)
    assert open_images(tmp_path, layout="NCHW").shape == (40, 16, 16)
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "1.npy").read_bytes()[:200])
    assert len(open_images(tmp_path, layout="NCHW")) == 3


def test_arrays_beside_pictures_are_no_images(tmp_path):
    for i in range(3):
        tifffile.imwrite(tmp_path / f"{i}.tif", STACK[i])
        np.save(tmp_path / f"{i}.npy", np.zeros((20, 20)))
    opened, _ = told(tmp_path)
    assert len(opened) == 3
    assert opened.skipped[0].reason.startswith("a numpy array beside images is not read")


def test_arrays_of_many_channels_in_memory_and_npz(tmp_path):
    X = FIVE.astype(np.uint8)
    assert open_images(X).shape == (5, 32, 32)
    assert open_images(X.transpose(0, 2, 3, 1)).shape == (5, 32, 32)
    np.savez(tmp_path / "a.npz", images=X)
    opened = open_images(str(tmp_path / "a.npz"), bands=(1, 2))
    assert opened.shape == (2, 32, 32)
    assert opened.thumbnail(0).shape == (32, 32, 3)
    assert open_images(X).thumbnail(0).shape == (32, 32, 3)


@pytest.mark.parametrize("order", "<>")
def test_a_deep_tiff_in_which_0_is_white_is_no_negative(tmp_path, order):
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    tifffile.imwrite(tmp_path / "a.tif", ramp, photometric="miniswhite", byteorder=order)
    expected = 255 - np.rint(ramp / 257)
    np.testing.assert_array_equal(decode(str(tmp_path / "a.tif"))[:, :, 0], expected)
    np.testing.assert_array_equal(open_images(tmp_path).pixels[0, :, :, 0], expected)
    if order == "<":  # Pillow opens no other
        with Image.open(tmp_path / "a.tif") as image:
            np.testing.assert_array_equal(open_images([image]).pixels[0, :, :, 0], expected)


@pytest.mark.parametrize(("pages", "known"), [("mean", 150), ("max", 200)])
def test_of_several_pages_those_with_a_value_tell_it(pages, known):
    stack = np.stack([np.full((4, 4, 1), 100), np.full((4, 4, 1), 200)])
    for missing, kind in ((-9999, np.int16), (-9999, np.float32), (np.nan, np.float32)):
        given = stack.astype(kind)
        given[1, 0, 0], given[:, 2, 2] = missing, missing
        found = planes_of(given, How(pages=pages), None if np.isnan(missing) else missing)
        assert found.values[0, 0, 0] == 100 and found.values[3, 3, 0] == known
        assert found.missing.sum() == 1 and found.missing[2, 2, 0]


DEEP = DRAWS.integers(0, 4096, (3, 24, 24, 3)).astype(np.uint16)


@pytest.mark.parametrize(
    ("images", "how"),
    [
        pytest.param(DEEP.transpose(0, 3, 1, 2), {"photometric": "rgb"}, id="planes of 12 bits"),
        pytest.param(DEEP.transpose(0, 3, 1, 2), {"photometric": "rgb", "compression": "zlib"}, id="packed planes"),
        pytest.param(DEEP[..., 0].astype(np.uint32) * 2**20, {}, id="above 2^31"),
        pytest.param(DEEP[..., 0].astype(np.int16), {"compression": "zlib", "byteorder": ">"}, id="signed, packed, MM"),
        pytest.param(
            DEEP[..., 0].astype(np.uint32), {"compression": "zlib", "byteorder": ">"}, id="32 bits, packed, MM"
        ),
        pytest.param(DEEP[..., 0].astype(np.int32), {"compression": "zlib", "byteorder": ">"}, id="signed 32 bits"),
    ],
)
def test_numbers_that_pillow_reads_as_others_are_those_of_the_file(tmp_path, images, how):
    opened, _ = told(bands(tmp_path / "a", images, **how), scale=(0, float(images.max())))
    expected = DEEP if opened.shape[0] == 3 else DEEP[..., :1]
    top = float(images.max()) / (2**20 if images.max() > 2**20 else 1)
    assert np.abs(opened.pixels.numpy() - np.rint(expected * (255 / top))).max() <= 1


def test_grey_with_alpha_in_planes_is_read(tmp_path):
    opened, lines = told(
        bands(tmp_path / "a", (DEEP[..., :2] // 16).astype(np.uint8).transpose(0, 3, 1, 2), extrasamples=["unassalpha"])
    )
    assert opened.shape == (1, 24, 24)
    assert np.array_equal(opened.pixels.numpy(), DEEP[..., :1] // 16)


@pytest.mark.parametrize("description", [None, "ImageJ=1.53t\n"])
def test_a_palette_of_8_bits_is_not_black(tmp_path, description):
    colors = np.array([np.arange(256), 255 - np.arange(256), np.full(256, 7)], np.uint16)
    indices = (DEEP[..., 0] // 16).astype(np.uint8)
    opened, _ = told(bands(tmp_path / "a", indices, photometric="palette", colormap=colors, description=description))
    assert np.array_equal(opened.pixels.numpy(), np.moveaxis(colors[:, indices], 0, 3))


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp", "gif", "tif"])
def test_bands_are_picked_of_pictures_of_any_kind(tmp_path, kind):
    for i, one in enumerate(DEEP // 16):
        Image.fromarray(one.astype(np.uint8)).save(tmp_path / f"{i}.{kind}")
    whole = open_images(tmp_path)
    for chosen in ((3, 2, 1), (2,), (1, 3)):
        picked = open_images(tmp_path, bands=chosen)
        assert np.array_equal(picked.pixels.numpy(), whole.pixels.numpy()[..., [one - 1 for one in chosen]])
        assert reopen(picked.origin).fingerprint == picked.fingerprint
    with pytest.raises(InputError, match=r"3 channels, and bands=\(4,\) were asked for"):
        open_images(tmp_path, bands=4)


def test_bands_of_deep_pictures_are_upright_and_have_the_scale_of_the_set(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(DEEP[0, :, :20, 0]).save(tmp_path / "a.png", exif=exif)
    whole, picked = open_images(tmp_path), open_images(tmp_path, bands=1)
    assert np.array_equal(picked.pixels.numpy(), whole.pixels.numpy())
    assert picked.shape == (1, 20, 24)


def test_bands_are_picked_of_lists_and_archives_of_jpegs(tmp_path):
    pictures = [Image.fromarray(one.astype(np.uint8)) for one in DEEP // 16]
    whole, arrays = open_images(pictures).pixels.numpy(), [np.asarray(one) for one in pictures]
    for X in (pictures, arrays, [*arrays[:2], arrays[2][:20]]):
        options = {"size": 24, "crop": False}
        expected = open_images(X, **options).pixels.numpy()[..., [2, 0]]
        assert np.array_equal(open_images(X, bands=(3, 1), **options).pixels.numpy(), expected)
    files = []
    for one in pictures:
        one.save(file := io.BytesIO(), "PNG")
        files.append(file.getvalue())
    offsets = np.cumsum([0, *map(len, files)])
    np.savez(tmp_path / "a.npz", jpeg=np.frombuffer(b"".join(files), np.uint8), offsets=offsets)
    assert np.array_equal(open_images(tmp_path / "a.npz", bands=2).pixels.numpy(), whole[..., [1]])


def test_the_fourth_of_four_channels_of_an_array_can_be_picked():
    X = DRAWS.integers(0, 256, (4, 12, 12, 4)).astype(np.uint8)
    opened, lines = told(X, bands=(4, 3, 2))
    assert lines == ""
    assert np.array_equal(opened.pixels.numpy(), X[..., [3, 2, 1]])
    assert np.array_equal(open_images([*X, X[0, :6, :6]], size=12, bands=4).pixels.numpy()[:4], X[..., [3]])


def test_bands_of_vectors_and_colours_of_other_channels_are_refused():
    with pytest.raises(InputError, match="bands are channels of images; X of shape .* holds vectors: leave them out"):
        open_images(np.eye(4), bands=1)
    two = [np.zeros((8, 8, 2), np.uint8), np.zeros((9, 9, 2), np.uint8)]
    for color in ("rgb", "grey"):
        with pytest.raises(InputError, match=f"has 2 channels and cannot become {color}"):
            open_images(two, size=8, color=color)


@pytest.mark.parametrize("number", [np.asarray, torch.tensor, lambda value: tuple(map(np.int64, value))])
def test_options_may_be_numbers_and_arrays_of_numpy_and_torch(tmp_path, number):
    folder = bands(tmp_path / "a")
    plain = {"scale": (0, 3000), "bands": (4, 2), "size": (16, 20), "crop": False, "white": (4095, 1)}
    given = {name: number(value) for name, value in plain.items() if name != "crop"} | {"crop": np.bool_(False)}
    expected, opened = open_images(folder, **plain), open_images(folder, **given)
    assert opened.fingerprint == expected.fingerprint
    assert opened.origin == expected.origin
    assert open_images(folder, scale=([0] * 5, number([3000] * 5))).shape == (5, 32, 32)
