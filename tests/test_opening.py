"""What fit and predict take: one door for arrays, tensors, lists, pictures; one line for anything else."""

import json
import warnings
from contextlib import suppress

import numpy as np
import pytest
import torch
from PIL import Image

from asterism import METHODS, KMeans, load, open_images
from asterism.errors import InputError

COLOUR = np.random.default_rng(0).integers(0, 256, (9, 10, 12, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
TABLE = np.random.default_rng(0).random((9, 7)).astype(np.float32)


def objects(parts):
    made = np.empty(len(parts), object)
    for i, part in enumerate(parts):
        made[i] = part
    return made


SAME = {
    "tensors": list(torch.from_numpy(COLOUR).permute(0, 3, 1, 2)),
    "tensors that require grad": [torch.from_numpy(one / np.float32(255)).requires_grad_() for one in COLOUR],
    "PIL images": [Image.fromarray(one) for one in COLOUR],
    "PIL images and arrays": [Image.fromarray(COLOUR[0]), *COLOUR[1:]],
    "an array of objects": objects(list(COLOUR)),
    "nested lists": COLOUR.tolist(),
    "a masked array without a mask": np.ma.masked_array(COLOUR),
    "mirrored twice": COLOUR[:, ::-1][:, ::-1],
    "half floats": (COLOUR / 255).astype(np.float32),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_images_in_other_wrappings(name):
    model = KMeans(3, random_state=0).fit(COLOUR)
    assert model.image_shape_ == (3, 10, 12)
    np.testing.assert_array_equal(model.predict(SAME[name]), model.labels_)
    assert KMeans(3, random_state=0).fit(SAME[name]).image_shape_ == (3, 10, 12)


@pytest.mark.parametrize("wrap", [list, tuple, objects, lambda X: [Image.fromarray(one) for one in X]])
def test_images_of_several_sizes_are_made_one_as_those_of_a_folder(wrap):
    parts = wrap([np.full((10 + i, 14), 25 * i, np.uint8) for i in range(6)])
    model = KMeans(2, random_state=0).fit(parts)
    assert model.image_shape_ == (1, 64, 64)
    np.testing.assert_array_equal(model.predict(parts), model.labels_)
    assert open_images(parts, size=(8, 9)).shape == (1, 8, 9)
    assert open_images([parts[0], COLOUR[0]]).shape == (3, 64, 64)  # one has colour


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int16])
def test_tables_of_tensors(dtype):
    X = (torch.from_numpy(TABLE) * 100).to(dtype)
    for given in (X, list(X), [row.clone() for row in X]):
        assert KMeans(2, random_state=0).fit(given).n_features_in_ == 7
    if dtype.is_floating_point:
        model = KMeans(2, random_state=0).fit([row.clone().requires_grad_() for row in X])
        np.testing.assert_array_equal(model.predict(X.requires_grad_()), model.labels_)


MASKED = np.ma.masked_array(COLOUR, mask=COLOUR == 7)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (MASKED, r"X is a masked array with \d+ masked values: fill them in, as in X.filled\(0\)"),
        (list(MASKED), r"X\[\d\] is a masked array"),
        (np.ma.masked_array(TABLE, mask=TABLE > 0.9), "masked"),
        (Image.fromarray(COLOUR[0]), r"one image: pass a list of images, \[X\]"),
        ([None, *COLOUR[1:]], r"X\[0\] is a NoneType; expected an image"),
        ([[1.0, 2.0], [1.0]], "its parts differ in shape"),
        ([], "0 sample"),
        (np.array([["2020-01-01"], ["2021-01-01"]], "M8[D]"), "dtype datetime64"),
        (np.array([1, 2], "m8[s]"), "dtype timedelta64"),
        (np.zeros(3, [("a", "f4")]), "expected numbers"),
        (TABLE + 1j, r"Complex data not supported: X has dtype complex\d+; pass X.real"),
        (torch.zeros(3, 4, device="meta"), "tensor on meta"),
        (torch.eye(4).to_sparse(), "to_dense"),
        (np.array(3.0), "0D array"),
        (b"abc", "X is a bytes"),
    ],
)
def test_what_cannot_be_taken_is_one_line(X, words):
    fitted = KMeans(2, random_state=0).fit(COLOUR)
    for call in (KMeans(2).fit, fitted.predict, fitted.transform):
        with pytest.raises(InputError, match=words if call == KMeans(2).fit else "") as caught:
            call(X)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    with pytest.raises(InputError, match=words):
        KMeans(2).fit(X)


@pytest.mark.parametrize(
    ("fitted", "one"),
    [
        (COLOUR, COLOUR[0]),
        (COLOUR, COLOUR[0].transpose(2, 0, 1)),
        (COLOUR, np.dstack([COLOUR[0], GREY[0]])),  # RGBA
        (COLOUR.transpose(0, 3, 1, 2), torch.from_numpy(COLOUR[0]).permute(2, 0, 1)),
        (GREY, GREY[0]),
        (GREY, GREY[0][..., None]),
    ],
)
def test_one_image_is_told_how_it_is_passed(fitted, one):
    model = METHODS["ac-gdl"](2).fit(fitted)
    for method in (model.fit, model.predict, model.transform, model.predict_proba, model.score):
        if method == model.fit and one.shape != (10, 12, 1):
            continue
        with pytest.raises(InputError, match=r"looks like one image without a batch axis: pass X\[None\]"):
            method(one)
    assert model.predict(one[None]).shape == (1,)


def test_vectors_and_images_are_not_mixed_up():
    images, vectors = KMeans(2, random_state=0).fit(GREY), KMeans(2, random_state=0).fit(TABLE)
    with pytest.raises(InputError, match="holds vectors; this KMeans was fitted on images of 10x12 pixels"):
        images.predict(GREY.reshape(9, -1))
    with pytest.raises(InputError, match="was fitted on vectors of 7 numbers: pass such"):
        vectors.predict(GREY)
    with pytest.raises(InputError, match=r"open X with open_images\(…, size=\(10, 12\), color='grey'\)"):
        images.predict(COLOUR)


def test_layout_is_taken_where_it_is_advised_and_kept():
    X = np.random.default_rng(0).random((12, 64, 1)).astype(np.float32)
    with pytest.raises(InputError, match=r"layout='NHW' to open_images, or here"):
        KMeans(3).fit(X)
    model = KMeans(3, random_state=0).fit(X, layout="NHW")
    assert model.image_shape_ == (1, 64, 1)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    np.testing.assert_array_equal(model.predict(X, layout="NHW"), model.labels_)
    two = np.random.default_rng(0).integers(0, 256, (9, 3, 3, 3), dtype=np.uint8)
    first = KMeans(2, random_state=0).fit(two, layout="NCHW")
    np.testing.assert_array_equal(first.predict(two), first.labels_)
    np.testing.assert_array_equal(KMeans(2, random_state=0).fit_predict(two, layout="NCHW"), first.labels_)


def test_files_that_are_left_out_are_named(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, one in enumerate(COLOUR):
        Image.fromarray(one).save(folder / f"{i}.png")
    (folder / "4.png").write_bytes(b"broken")
    model = KMeans(2, random_state=0)
    with pytest.warns(UserWarning, match="^1 of 9 files was left out: '4.png' .*; see skipped_; names_ has the others"):
        model.fit(folder)
    assert model.names_ == ["0.png", "1.png", "2.png", "3.png", "5.png", "6.png", "7.png", "8.png"]
    assert [one.name for one in model.skipped_] == ["4.png"]
    for method in (model.predict, model.transform):
        with pytest.warns(UserWarning, match=r"open_images\(.*, size=\(10, 12\), color='rgb'\) has the names"):
            assert len(method(folder)) == 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who opened them himself knows
        KMeans(2, random_state=0).fit(open_images(folder))
    assert KMeans(2).fit(TABLE).names_ == list(map(str, range(9)))


@pytest.mark.filterwarnings("ignore:1 of 9 files")
def test_names_are_loaded_and_a_fit_to_a_folder_is_saved_as_the_run_that_it_is(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, one in enumerate(COLOUR):
        Image.fromarray(one).save(folder / f"{i}.png")
    (folder / "4.png").write_bytes(b"broken")
    model = KMeans(2, random_state=0).fit(folder)
    model.save(tmp_path / "a")
    again = load(tmp_path / "a")
    assert list(again.names_) == list(model.names_)
    assert [one.name for one in again.skipped_] == ["4.png"] and again.skipped_ == model.skipped_
    KMeans(2, random_state=0, run_dir=tmp_path / "b").fit(folder)
    again.save(tmp_path / "c")
    for name in "bc":
        assert (tmp_path / "a/labels.csv").read_bytes() == (tmp_path / name / "labels.csv").read_bytes()
        a, b = (json.loads((tmp_path / one / "run.json").read_text()) for one in ("a", name))
        assert a["images"] == b["images"] and a["skipped"] == b["skipped"]
    assert not hasattr(KMeans(2), "names_") and not hasattr(KMeans(2), "units_")


class Column:
    """What a pandas Series and an empty DataFrame look like from outside."""

    def __init__(self, values, columns=None):
        self.values = np.asarray(values)
        self.shape = self.values.shape
        if columns is None:
            self.dtype = self.dtypes = self.values.dtype  # of a Series they are one, and no list
        else:
            self.dtypes, self.iloc = columns, self.values

    def __array__(self, dtype=None, copy=None):
        return self.values.astype(dtype or self.values.dtype)

    def __len__(self):
        return len(self.values)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (Column([1.0, 2.0, 3.0]), "1D array"),
        (Column(np.zeros(3, "M8[s]")), "expected numbers"),
        (Column(np.zeros((0, 0)), columns=[]), r"shape \(0, 0\): it holds no vector"),
        (Column(np.zeros((5, 0)), columns=[]), r"shape \(5, 0\): it holds no vector"),
    ],
)
def test_a_column_or_an_empty_frame_gets_a_line(X, words):
    with pytest.raises(InputError, match=words):
        KMeans(2).fit(X)


class Days:
    """What a polars frame with a column of dates looks like from outside: numpy gets the number of days."""

    class Date:
        def is_temporal(self):
            return True

    dtypes, shape = [Date()], (4, 1)

    def __array__(self, dtype=None, copy=None):
        return np.arange(4.0).reshape(4, 1)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.asarray(self)[index]


def test_dates_of_a_frame_are_no_numbers():
    with pytest.raises(InputError, match="X has values of dtype .*Date.*; expected numbers"):
        KMeans(2).fit(Days())


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_vectors_in_the_cells_of_a_column(kind):
    """Embeddings as they come out of parquet files and of ``df.apply``: one sequence of numbers in each cell."""
    X = np.random.default_rng(0).normal(size=(12, 3))
    cells = np.empty(12, object)
    cells[:] = [kind(row.tolist()) for row in X]
    model = KMeans(3, random_state=0).fit(cells)
    np.testing.assert_array_equal(model.labels_, KMeans(3, random_state=0).fit(X).labels_)
    np.testing.assert_array_equal(model.predict(cells), model.labels_)
    cells[5] = kind([1.0])
    with pytest.raises(InputError, match="differ in shape; make all rows as long"):
        KMeans(3).fit(cells)


def test_a_frame_with_one_column_of_vectors():
    pandas = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(size=(12, 3))
    for column in (pandas.Series(X.tolist()), pandas.DataFrame({"embedding": X.tolist()})):
        np.testing.assert_array_equal(
            KMeans(3, random_state=0).fit(column).labels_, KMeans(3, random_state=0).fit(X).labels_
        )


def test_paths_in_a_column_of_any_library(tmp_path):
    names = []
    for i in range(6):
        Image.fromarray(np.full((9, 9, 3), 40 * (i % 2) + i, np.uint8)).save(tmp_path / f"{i}.png")
        names.append(str(tmp_path / f"{i}.png"))
    want = open_images(names)
    columns = []
    with suppress(ImportError):
        import pandas

        columns += [pandas.Series(names), pandas.Series(names, dtype="category"), pandas.DataFrame({"path": names})]
    with suppress(ImportError):
        import polars

        columns += [polars.Series(names), polars.Series(names).cast(polars.Categorical), polars.DataFrame({"p": names})]
    with suppress(ImportError):
        import pyarrow

        columns += [pyarrow.array(names), pyarrow.chunked_array([names[:2], names[2:]]), pyarrow.table({"p": names})]

    class Foreign:
        """What all of these are."""

        shape = (6, 1)

        def __array__(self, dtype=None, copy=None):
            return np.array(names, object).reshape(6, 1)

        def to_pylist(self):
            return names

    for column in (Foreign(), *columns):
        opened = open_images(column)
        assert opened.names == want.names and torch.equal(opened.pixels, want.pixels)
        labels = KMeans(2, random_state=0).fit(column).labels_
        np.testing.assert_array_equal(labels, KMeans(2, random_state=0).fit(names).labels_)


def test_a_loaded_model_knows_the_columns_of_its_frame(tmp_path):
    """Without them each call warned, and columns in another order were other numbers in silence."""
    pandas = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(size=(12, 3))
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    KMeans(3, random_state=0).fit(frame).save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.predict(frame)
    with pytest.raises(InputError, match="same order"):
        loaded.predict(frame[["c", "a", "b"]])
    KMeans(3, random_state=0).fit(X).save(tmp_path / "other")
    assert not hasattr(load(tmp_path / "other"), "feature_names_in_")


def test_columns_are_those_of_the_last_fit(tmp_path):
    X = np.random.default_rng(0).normal(size=(12, 3))
    model = KMeans(3, random_state=0).fit(X)
    model.feature_names_in_ = np.array(["a", "b", "c"], object)  # as a frame leaves it
    model._about["columns"] = ["a", "b", "c"]
    model.save(tmp_path / "run")
    assert load(tmp_path / "run").feature_names_in_.tolist() == ["a", "b", "c"]
    np.savetxt(tmp_path / "X.csv", X, delimiter=",")
    assert not hasattr(model.fit(tmp_path / "X.csv"), "feature_names_in_")


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan")])
def test_items_of_unknown_class_leave_the_others_theirs(missing):
    """One such item took the classes of all."""

    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            return Image.fromarray(COLOUR[index]), missing if index == 2 else index % 2

    opened = open_images(Items())
    assert opened.labels.tolist() == [0, 1, -1, 1, 0, 1]
