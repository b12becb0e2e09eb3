"""Arrays and tensors: layouts, dtypes, values, and every refusal names its fix."""

import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from typer.testing import CliRunner

from asterism import KMeans
from asterism.cli.app import app
from asterism.errors import AsterismError, InputError
from asterism.images import Augmentation, ImageSource, open_images, reopen
from asterism.images.arrays import find_layout

COUNT = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)  # (N, H, W, C), every value another


def refused(X, **options) -> str:
    with pytest.raises(InputError) as caught:
        open_images(X, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert isinstance(caught.value, (AsterismError, ValueError))
    return message


def test_the_four_layouts_become_channels_last():
    assert open_images(COUNT).pixels.equal(torch.from_numpy(COUNT))
    assert open_images(COUNT.transpose(0, 3, 1, 2)).pixels.equal(torch.from_numpy(COUNT))
    grey = open_images(COUNT[..., 0])
    assert grey.shape == (1, 4, 5)
    assert grey.pixels[1, 2, 3, 0] == COUNT[1, 2, 3, 0]
    table = open_images(COUNT.reshape(2, 60))
    assert table.is_table
    assert table.shape == (60, 1, 1)
    assert table.pixels.dtype == torch.float32
    assert table.pixels[1, 0, 0, 7] == 67


def test_names_are_indices_and_a_source_is_returned_as_it_is():
    source = open_images(COUNT)
    assert source.names == ["0", "1"]
    assert source.labels is None
    assert open_images(source) is source


def test_batch_is_scaled_and_channels_first():
    batch = open_images(COUNT).batch(torch.tensor([1]))
    assert batch.shape == (1, 3, 4, 5)
    assert batch[0, 2, 3, 4] == pytest.approx(119 / 255)


def test_alpha_of_nhwc_is_left_out():
    rgba = np.concatenate([COUNT, np.full((2, 4, 5, 1), 255, np.uint8)], axis=3)
    assert open_images(rgba).pixels.equal(torch.from_numpy(COUNT))
    assert open_images(rgba, color="bands").pixels.equal(torch.from_numpy(rgba))
    assert open_images(rgba.transpose(0, 3, 1, 2), layout="NCHW").shape == (4, 4, 5)


def test_a_fourth_channel_that_is_left_out_is_said():
    four = np.concatenate([COUNT, COUNT[..., :1]], axis=3)
    with pytest.warns(UserWarning, match="taken for an alpha and left out"):
        assert open_images(four).shape == (3, 4, 5)


@pytest.mark.parametrize("shape", [(5, 3, 8, 3), (5, 1, 28, 1), (5, 3, 4, 1)])
def test_a_shape_that_can_be_read_in_two_ways_names_both(shape):
    message = refused(np.zeros(shape, np.uint8))
    assert "layout='NHWC'" in message
    assert "layout='NCHW'" in message
    assert open_images(np.zeros(shape, np.uint8), layout="NHWC").shape == (shape[3], *shape[1:3])
    assert open_images(np.zeros(shape, np.uint8), layout="NCHW").shape == shape[1:]


def test_small_images_are_not_taken_for_channels():
    assert open_images(np.zeros((5, 3, 8, 4), np.uint8)).shape == (3, 8, 4)
    assert open_images(np.zeros((5, 4, 4), np.uint8)).shape == (1, 4, 4)
    assert open_images(np.zeros((5, 3, 3), np.uint8)).shape == (1, 3, 3)


def test_one_pixel_grey_images_are_the_same_in_both_layouts():
    assert open_images(np.zeros((5, 1, 1, 1), np.uint8)).shape == (1, 1, 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_image_without_batch_axis_names_the_fix(channels):
    image = np.zeros((28, 28, channels), np.uint8)
    assert "X[None]" in refused(image)
    assert len(open_images(image[None])) == 1
    assert open_images(image, layout="NHW").shape == (1, 28, channels)
    assert open_images(image[:1], layout="NHW").shape == (1, 28, channels)


@pytest.mark.parametrize(
    ("X", "options", "words"),
    [
        (np.zeros(10), {}, "Reshape your data"),
        (np.zeros((2, 3, 4, 5, 6)), {}, "5D array"),
        (np.zeros((5, 7, 8, 6), np.uint8), {}, "no axis of at most 32 channels"),
        (np.zeros((5, 7, 8), np.uint8), {"layout": "NHWC"}, "layout='NHWC' has 4 axes and X has 3"),
        (np.zeros((5, 7), np.uint8), {"layout": "HWC"}, "layout='HWC'"),
        (np.zeros((0, 7)), {}, "0 sample(s) (shape=(0, 7))"),
        (np.zeros((0, 8, 8, 3)), {}, "0 sample(s)"),
        (np.zeros((3, 0)), {}, "0 feature(s) (shape=(3, 0)) while a minimum of 1 is required."),
        (np.zeros((3, 0, 5), np.uint8), {}, "zero size"),
        (np.zeros((3, 0, 5, 3), np.uint8), {}, "zero size"),
        (np.zeros((3, 8, 8), np.complex64), {}, "Complex data not supported"),
        (np.array([["a", "b"]]), {}, "dtype <U1"),
        (np.array([[{"a": 1}, 2.0]], dtype=object), {}, "dtype object"),
        ([[1.0, 2.0], [1.0]], {}, "differ in shape"),
        (scipy.sparse.eye(4).tocsr(), {}, "sparse"),
        (torch.eye(4).to_sparse(), {}, "X.to_dense()"),
        (np.zeros((3, 4)), {"size": 8}, "vectors"),
        (np.zeros((3, 4)), {"color": "rgb"}, "vectors"),
        (np.zeros((3, 4, 4)), {"size": 0}, "size=0"),
        (np.zeros((3, 4, 4)), {"size": True}, "size=True"),
        (np.zeros((3, 4, 4)), {"size": (4, 4, 4)}, "size=(4, 4, 4)"),
        (np.zeros((3, 4, 4)), {"color": "blue"}, "color='blue'"),
        (np.zeros((3, 4, 4)), {"crop": "yes"}, "crop='yes'"),
        (object(), {}, "expected an array"),
        (None, {}, "NoneType"),
        (np.float64(3), {}, "0D array"),
    ],
)
def test_refusals_are_one_line_and_name_the_fix(X, options, words):
    assert words in refused(X, **options)


def test_values_that_are_no_numbers_are_a_type_error_too():
    with pytest.raises(TypeError, match="argument must be .* string.* number"):  # what scikit-learn's checks ask for
        open_images(np.array([[{"a": 1}, 2.0]], dtype=object))


def test_images_come_from_iterators_and_no_list_mixes_units():
    images = np.random.default_rng(0).integers(0, 255, (9, 8, 8), dtype=np.uint8)
    pictures = [Image.fromarray(one) for one in images]
    for X in (iter(pictures), map(np.asarray, pictures), (torch.from_numpy(one) for one in images)):
        assert (open_images(X).pixels[..., 0].numpy() == images).all()
    assert KMeans(2, random_state=0).fit(one for one in images).labels_.shape == (9,)
    mixed = [images[0], images[1] / np.float32(255)]
    short = [images[0], images[1].astype(np.uint16) * 257]
    for X, words in (
        (mixed, r"X\[1\] has dtype float32 and X\[0\] uint8"),
        (short, "dtype uint16"),
        ([pictures[0], None], r"X\[1\] is a NoneType"),
        ([None, pictures[0]], r"X\[0\] is a NoneType"),
    ):
        for take in (open_images, KMeans(2).fit):
            with pytest.raises(InputError, match=words):
                take(X)
    assert open_images([images[0] / 255, images[1] / np.float32(255)]).pixels.dtype == torch.float32


def test_objects_that_are_numbers_and_lists_and_frames_are_taken():
    rows = [[1.0, 2.0], [3.0, 4.0]]
    for X in (np.array(rows, dtype=object), rows, tuple(rows), torch.tensor(rows), np.array(rows, dtype=">f8")):
        assert open_images(X).pixels.flatten().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_torch_floats(dtype):
    pixels = open_images(torch.full((2, 4, 4), 0.5, dtype=dtype, requires_grad=True)).pixels
    assert pixels.dtype == torch.float32
    assert (pixels == 0.5).all()


def test_dtypes_of_images():
    values = np.array([[[0, 1], [128, 255]]])
    for dtype in (np.int8, np.int64, np.uint32):
        fitting = np.minimum(values, np.iinfo(dtype).max)
        assert open_images(fitting.astype(dtype)).pixels.flatten().tolist() == fitting.flatten().tolist()
    assert open_images(values > 0).pixels.flatten().tolist() == [0, 255, 255, 255]
    assert open_images(values > 0).pixels.dtype == torch.uint8
    floats = open_images(values * 2.5)  # as given: neither clipped nor scaled
    assert floats.pixels.dtype == torch.float32
    assert floats.pixels.flatten().tolist() == [0, 2.5, 320, 637.5]


def test_sixteen_bits_are_scaled_by_257():
    values = np.array([[[0, 128], [129, 257], [32768, 65535]]], np.uint16)  # 128/257 = .498, 129/257 = .502
    assert open_images(values).pixels.flatten().tolist() == [0, 0, 1, 1, 128, 255]
    message = refused(np.full((1, 2, 2), 200, np.uint16))
    assert "astype('uint8')" in message
    assert "65535" in message
    assert open_images(np.zeros((1, 2, 2), np.uint16)).pixels.sum() == 0  # black is black on either scale


def test_the_scale_of_integers_is_one_for_all_images_when_they_are_resized():
    values = np.full((3, 4, 4), 200, np.uint16)  # alone these would be refused
    values[2] = 65535
    assert open_images(values, size=2).pixels[:, 0, 0, 0].tolist() == [1, 1, 255]


@pytest.mark.parametrize("bad", [-1, 256])
def test_integers_outside_bytes_are_refused(bad):
    values = np.zeros((2, 3, 3), np.int64)
    values[1, 1, 1] = bad
    assert "astype('uint8')" in refused(values)


@pytest.mark.parametrize(
    ("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity"), (1e300, "too large")]
)
def test_nan_and_infinity_say_where(bad, word):
    images = np.zeros((5000, 2, 2))
    images[4321, 1, 0] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = refused(images)
    assert message.startswith("Input X contains")
    assert word in message
    assert "image 4321" in message
    assert word in refused(images.reshape(5000, 4))


def test_pixels_that_need_no_change_are_shared_and_read_only_arrays_do_not_warn():
    X = COUNT.copy()
    assert open_images(X).pixels.data_ptr() == X.ctypes.data
    X.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_images(X).pixels.equal(torch.from_numpy(COUNT))


def test_mirrored_views_are_taken():
    assert open_images(COUNT[:, ::-1, ::-1]).pixels[0, 0, 0].tolist() == COUNT[0, -1, -1].tolist()


# One axis from 4 to 2 pixels, by hand: the new pixel 0 covers a triangle of half-width 2 around x = 1; the pixel
# centres .5, 1.5, 2.5 weigh .75, .75, .25 (sum 1.75); so 0, 0, 175, 175 gives 175 · .25 / 1.75 = 25 and, mirrored, 150.
RAMP = np.tile(np.array([0, 0, 175, 175]), (1, 4, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_resampling_by_hand(dtype, channels):
    X = np.repeat(RAMP[..., None], channels, axis=3).astype(dtype)
    pixels = open_images(X, size=2).pixels
    assert pixels.dtype == torch.from_numpy(X).dtype
    assert pixels.shape == (1, 2, 2, channels)
    assert torch.allclose(pixels[0, :, :, -1].float(), torch.tensor([[25.0, 150.0], [25.0, 150.0]]))


def test_crop_keeps_the_centre_and_squash_keeps_all():
    wide = np.zeros((1, 4, 8), np.uint8)
    wide[:, :, 2:6] = 200
    assert (open_images(wide, size=4).pixels == 200).all()
    squashed = open_images(wide, size=4, crop=False).pixels
    assert squashed.shape == (1, 4, 4, 1)
    assert squashed[0, 0, 0, 0] < 60  # the dark margin is still there
    tall = open_images(wide.transpose(0, 2, 1), size=(4, 4)).pixels
    assert (tall == 200).all()
    assert open_images(wide, size=(2, 6)).shape == (1, 2, 6)


def test_color_by_hand():
    red = np.zeros((1, 2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert open_images(red, color="grey").pixels[0, 0, 0].tolist() == [76]  # .299 · 255 = 76.2
    assert open_images(red.astype(np.float32), color="gray").pixels[0, 0, 0, 0] == pytest.approx(76.245)
    grey = open_images(np.full((1, 2, 2), 9, np.uint8), color="rgb")
    assert grey.pixels[0, 1, 1].tolist() == [9, 9, 9]


def test_origin_of_arrays_cannot_be_reopened():
    source = open_images(COUNT, size=2)
    assert source.origin == {"source": None, "size": [2, 2], "color": "rgb", "crop": True, "layout": None}
    with pytest.raises(InputError, match="memory"):
        reopen(source.origin)


sides = st.sampled_from([2, 5, 8])  # neither 1 nor 3 nor 4: these could be channels


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n=st.integers(1, 4), height=sides, width=sides, channels=st.sampled_from([1, 3]))
def test_both_layouts_hold_the_same_pixels(data, n, height, width, channels):
    X = data.draw(arrays(np.uint8, (n, height, width, channels)))
    last, first = open_images(X), open_images(X.transpose(0, 3, 1, 2))
    assert last.pixels.equal(first.pixels)
    assert last.fingerprint == first.fingerprint
    assert torch.equal(last.batch(slice(0, n)), torch.from_numpy(X / np.float32(255)).permute(0, 3, 1, 2))


@settings(max_examples=200, deadline=None)
@given(shape=st.lists(st.integers(0, 6), max_size=5).map(tuple))
def test_every_shape_is_read_or_refused_in_one_line(shape):
    try:
        source = open_images(np.zeros(shape, np.uint8))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(source, ImageSource)
        assert len(source) == shape[0] > 0
        assert len(find_layout(shape)) == len(shape)
        assert source.pixels.numel() == np.prod(shape) * (
            0.75 if len(shape) == 4 and shape[3] == 4 and shape[1] not in (1, 3) else 1
        )


# ---------------------------------------------------------------- the background level


def drawn(ground, ink, dtype=np.uint8):
    """Strokes on an even background."""
    pixels = np.full((30, 16, 16), ground, dtype)
    pixels[:, 4:12, 6:9] = ink
    return open_images(pixels)


@pytest.mark.parametrize(
    ("images", "ground"),
    [
        (drawn(0, 255), 0),
        (drawn(255, 0), 1),
        (drawn(110, 148), 110 / 255),
        (drawn(20, 255), 0),  # as good as black
        (drawn(1.0, -1.0, np.float32), 1),
        (drawn(200.0, 10.0, np.float32), 200),
        (open_images(np.random.default_rng(0).integers(0, 256, (30, 16, 16), dtype=np.uint8)), 0),  # none
        (open_images(np.ones((30, 5), np.float32)), 0),  # vectors
    ],
)
def test_the_background_level_is_that_of_the_edges_if_they_have_one(images, ground):
    assert images.ground == pytest.approx(ground)


def test_what_a_shift_brings_in_is_the_ground():
    white = drawn(255, 0)
    batch, change = white.batch(slice(0, 30)), Augmentation(shift=0.5)
    changed = change(batch, torch.Generator().manual_seed(0), white.ground)
    mirrored = 1 - change(1 - batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(changed, mirrored)
    assert float(change(batch, torch.Generator().manual_seed(0))[:, :, 0].min()) == 0  # black, if it is not told


# ------------------------------------------------------------------------------------------------ a declared scale

DEEP = np.random.RandomState(0).randint(100, 3000, (12, 8, 8, 3))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_arrays_have_the_scale_that_is_declared(dtype, tmp_path):
    expected = np.rint((DEEP.astype(np.float32) - 100) * np.float32(255 / 2900)).clip(0, 255)
    deep = DEEP.astype(dtype)
    np.save(tmp_path / "deep.npy", deep)
    np.savez(tmp_path / "deep.npz", images=deep)
    lists = [*deep]
    for X in (
        deep,
        torch.from_numpy(deep.astype(np.float32)),
        lists,
        tmp_path / "deep.npy",
        str(tmp_path / "deep.npz"),
    ):
        opened = open_images(X, scale=(100, 3000))
        np.testing.assert_array_equal(opened.pixels.numpy(), expected)
        assert opened.full_scale == 255
    assert reopen(opened.origin).fingerprint == opened.fingerprint
    unlike = [*deep, deep[0, :4]]  # of several sizes
    np.testing.assert_array_equal(open_images(unlike, size=8, scale=(100, 3000)).pixels[:12].numpy(), expected)
    highest = open_images(deep, scale=([100, 100, 100], [3000, 3000, 300000])).pixels.amax((0, 1, 2)).tolist()
    assert min(highest[:2]) > 250 and highest[2] < 4
    with pytest.raises(InputError, match="3 channels where the scale has 2"):
        open_images(deep, scale=([0, 0], [1, 1]))


def test_percentiles_of_an_array_are_said_and_kept(tmp_path):
    np.save(tmp_path / "deep.npy", DEEP.astype(np.float32))
    with pytest.warns(UserWarning, match="0.5 to 99.5 % of values"):
        opened = open_images(tmp_path / "deep.npy", scale="percentile")
    assert opened.pixels.dtype == torch.uint8 and opened.pixels.min() == 0 and opened.pixels.max() == 255
    assert reopen(opened.origin).fingerprint == opened.fingerprint
    with pytest.raises(InputError, match="no pixel with a value"):
        open_images(np.full((3, 4, 4), np.nan), scale="percentile")
    with pytest.raises(InputError, match="declare scale="):
        open_images([DEEP[0].astype(float), DEEP[0, :4].astype(float)], scale="percentile")


def test_bytes_stay_as_they_are_and_vectors_have_no_scale():
    assert open_images(np.full((2, 4, 4), 7, np.uint8), scale=(0, 14)).pixels.max() == 7
    with pytest.raises(InputError, match="holds vectors"):
        open_images(np.ones((4, 3)), scale=(0, 14))


def test_new_arrays_have_the_scale_of_the_fit(tmp_path):
    deep = DEEP.astype(np.uint16)
    np.save(tmp_path / "deep.npy", deep)
    model = KMeans(3, random_state=0, run_dir=str(tmp_path / "run")).fit(
        open_images(tmp_path / "deep.npy", scale=(0, 3000))
    )
    np.testing.assert_array_equal(model.predict(deep), model.labels_)
    np.testing.assert_array_equal(model.predict(list(deep)), model.labels_)
    np.save(tmp_path / "brighter.npy", 2 * deep)
    run, brighter, out = str(tmp_path / "run"), str(tmp_path / "brighter.npy"), tmp_path / "out.csv"
    declared = ["--scale", "0,6000"]
    result = CliRunner().invoke(app, ["predict", run, brighter, "--out", str(out), *declared])
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.genfromtxt(out, delimiter=",", skip_header=1, usecols=1), model.labels_)
    embed = ["embed", run, "--out", str(tmp_path / "f.npy"), "--overwrite"]
    for scale, same in ((declared, True), ([], False)):
        assert CliRunner().invoke(app, [*embed, brighter, *scale]).exit_code == 0
        assert np.allclose(np.load(tmp_path / "f.npy"), model.transform(deep), atol=1e-3) == same
    assert "give them as IMAGES" in CliRunner().invoke(app, [*embed, *declared]).stderr


def test_arrays_in_other_units_than_the_scale_of_the_fit_are_not_read_by_it(tmp_path):
    """Shares of white became black by it, all in one group and nothing said."""
    deep = DEEP.astype(np.uint16)
    model = KMeans(3, random_state=0).fit(open_images(deep, scale=(0, 3000)))
    shares = (deep / 3000).astype(np.float32)
    np.save(tmp_path / "shares.npy", shares)
    for X in (shares, list(shares), str(tmp_path / "shares.npy"), (shares * 255).astype(np.uint8)):
        np.testing.assert_array_equal(model.predict(X), model.labels_)
    with pytest.warns(UserWarning, match=r"up to .*: read by the scale of the fit, 0…3000"):
        model.predict(shares * 255)  # dark ones, or of another white


@pytest.mark.parametrize("kind", [np.asarray, list, torch.tensor])
def test_a_mask_chooses_the_images_where_it_is_true(kind):
    images = open_images(np.arange(5 * 36, dtype=np.uint8).reshape(5, 6, 6))
    assert images.subset(kind([False, True, False, False, True])).names == ["1", "4"]
    assert images.subset(kind([4, 0])).names == ["4", "0"]
    assert images.subset([]).names == []
    for wrong in ([True, False], [1.5], ["1"]):
        with pytest.raises(InputError, match="expected whole numbers, or a mask of 5 booleans"):
            images.subset(wrong)
