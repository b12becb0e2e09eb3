"""Data sets of torch and of Hugging Face."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from asterism.errors import InputError
from asterism.images import open_images
from asterism.images import pack as pack_module

RGB = np.arange(6 * 5 * 7 * 3, dtype=np.uint8).reshape(6, 5, 7, 3)


class Items(Dataset):
    def __init__(self, items, **members):
        self.items = items
        self.__dict__.update(members)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def refused(X, **options) -> str:
    with pytest.raises(InputError) as caught:
        open_images(X, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "convert",
    [
        Image.fromarray,
        lambda image: image,
        lambda image: torch.from_numpy(image).permute(2, 0, 1),
        lambda image: (Image.fromarray(image), 3),
        lambda image: {"image": image, "label": 3},
        lambda image: [image, None, "more"],
    ],
)
def test_items_of_every_kind_give_the_same_pixels(convert):
    source = open_images(Items([convert(image) for image in RGB]))
    assert source.pixels.equal(torch.from_numpy(RGB))
    assert source.names == [str(i) for i in range(6)]
    assert source.origin["source"] is None


def test_grey_items():
    for convert in (
        Image.fromarray,
        lambda image: image,
        torch.from_numpy,
        lambda image: torch.from_numpy(image)[None],
    ):
        source = open_images(Items([convert(image[:, :, 0].copy()) for image in RGB]))
        assert source.shape == (1, 5, 7)
        assert source.pixels[3, 2, 1, 0] == RGB[3, 2, 1, 0]


def test_floats_are_kept():
    floats = torch.from_numpy(RGB).permute(0, 3, 1, 2) / 255
    source = open_images(TensorDataset(floats, torch.arange(6)))
    assert source.pixels.dtype == torch.float32
    assert source.batch(slice(0, 6)).equal(floats)
    assert source.labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_vectors_are_a_table():
    rows = torch.arange(12.0).reshape(4, 3)
    source = open_images(TensorDataset(rows, torch.tensor([[1], [0], [1], [0]])))
    assert source.is_table
    assert source.shape == (3, 1, 1)
    assert source.pixels[2, 0, 0].tolist() == [6, 7, 8]
    assert source.labels.tolist() == [1, 0, 1, 0]
    assert "vector" in refused(TensorDataset(rows), size=4)


@pytest.mark.parametrize(
    ("labels", "members", "expected", "names"),
    [
        ([1, 0, 1, 2, 2, 0], {"classes": ["a", "b", "c"]}, [1, 0, 1, 2, 2, 0], ["a", "b", "c"]),
        ([1, 0, 1, 2, 2, 0], {"classes": ["a"]}, [1, 0, 1, 2, 2, 0], None),
        ([5, 0, 5, 5, 5, 5], {}, [1, 0, 1, 1, 1, 1], ["0", "5"]),
        (["b", "a", "b", "b", "a", "b"], {}, [1, 0, 1, 1, 0, 1], ["a", "b"]),
        ([np.int64(1), torch.tensor(0), 1.0, 1, 0, True], {}, [1, 0, 1, 1, 0, 1], None),
    ],
)
def test_labels(labels, members, expected, names):
    source = open_images(Items(list(zip(RGB, labels, strict=True)), **members))
    assert source.labels.tolist() == expected
    assert source.label_names == names


def test_targets_that_are_no_classes_are_left_out():
    for target in (torch.zeros(4), {"boxes": 1}, None, 0.5):
        assert open_images(Items([(image, target) for image in RGB])).labels is None


def test_mixed_sizes_need_a_size():
    items = [RGB[0], RGB[1, :4]]
    assert "size=64" in refused(Items(items))
    assert open_images(Items(items), size=3).shape == (3, 3, 3)
    array = open_images(RGB[:1], size=3).pixels
    assert open_images(Items(items), size=3).pixels[0].equal(array[0])


def test_mixed_kinds():
    grey = Image.fromarray(RGB[0, :, :, 0].copy())
    assert "color='rgb'" in refused(Items([RGB[0], grey]))
    assert open_images(Items([RGB[0], grey]), color="rgb").shape == (3, 5, 7)
    assert "dtype float32" in refused(Items([RGB[0], RGB[1] / 255]))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (np.full((5, 7), np.nan), "Input X[1] contains NaN. First in image 1"),
        (np.full((5, 7), 300), "X[1] has dtype int64"),
        (None, "NoneType where an image was expected"),
        ("a.png", "str where an image was expected"),
        (torch.zeros(5, 7, 9), "5 channels in layout 'NCHW'"),
        (np.zeros((2, 5, 7, 3)), "5D array"),
        (np.zeros((5, 0)), "zero size"),
        (np.zeros(0), "0 feature(s)"),
        (Image.fromarray(np.full((5, 7), -1, np.int32)), "32-bit pixels"),
    ],
)
def test_items_that_cannot_be_used_are_named(item, words):
    assert words in refused(Items([RGB[0, :, :, 0], item]))


def test_a_data_set_that_fails_is_named():
    class Failing(Items):
        def __getitem__(self, index):
            if index == 4:
                raise OSError("lost\nin the post")
            return super().__getitem__(index)

    assert "X[4] cannot be read: OSError: lost in the post" in refused(Failing(list(RGB)))


def test_layout_overrules_custom():
    tensors = Items([torch.from_numpy(image) for image in RGB])
    assert "layout 'NCHW'" in refused(tensors)
    assert open_images(tensors, layout="NHWC").pixels.equal(torch.from_numpy(RGB))


def test_what_is_no_map_style_data_set():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(RGB)

    assert "without length" in refused(Stream())
    assert "X.dataset" in refused(DataLoader(Items(list(RGB))))
    assert "0 sample(s)" in refused(Items([]))
    assert len(open_images(Subset(Items(list(RGB)), [4, 1]))) == 2


def test_a_large_data_set_goes_to_disk(monkeypatch):
    monkeypatch.setattr(pack_module, "memory_budget", lambda: 0)
    assert open_images(Items(list(RGB))).pixels.equal(torch.from_numpy(RGB))


# Stand-ins for the Hugging Face package, which is optional: the same names and members.
class Image_:
    pass


class ClassLabel:
    names = ("cat", "dog")


class Value:
    pass


Image_.__name__ = "Image"


class HuggingFace:
    def __init__(self, rows, features):
        self.rows, self.features, self.column_names = rows, features, list(features)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def test_hugging_face():
    rows = [{"id": i, "photo": Image.fromarray(image), "animal": i % 2} for i, image in enumerate(RGB)]
    dataset = HuggingFace(rows, {"id": Value(), "photo": Image_(), "animal": ClassLabel()})
    source = open_images(dataset)
    assert source.pixels.equal(torch.from_numpy(RGB))
    assert source.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert source.label_names == ["cat", "dog"]
    assert open_images(HuggingFace(rows, {"photo": Image_()})).labels is None
    assert "id (Value)" in refused(HuggingFace(rows, {"id": Value()}))
    assert "'train', 'test'" in refused({"train": dataset, "test": dataset})
    rows[2]["photo"] = None
    assert "X[2]" in refused(dataset)


def test_hugging_face_itself(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [Image.fromarray(image) for image in RGB], "label": [0, 1] * 3}
    source = open_images(datasets.Dataset.from_dict(rows, features=features))
    assert source.pixels.equal(torch.from_numpy(RGB))
    assert source.label_names == ["cat", "dog"]


def test_photographs_that_were_taken_upright_and_across_have_two_sizes():
    photos = []
    for turn in (1, 6):
        exif, file = Image.Exif(), io.BytesIO()
        exif[0x0112] = turn
        Image.new("RGB", (96, 64), "red").save(file, "JPEG", exif=exif)
        photos.append(Image.open(file))
    assert open_images(photos).shape == (3, 64, 64)
    assert open_images(photos[1:]).shape == (3, 96, 64)


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
@pytest.mark.parametrize("closed", ["as it was opened", "after it was read", None])
def test_an_image_of_pillow_that_is_closed_or_cut_off_is_named(tmp_path, mode, closed):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)).convert(mode).save(
        tmp_path / "a.png"
    )
    good, bad = Image.open(tmp_path / "a.png"), Image.open(tmp_path / "a.png")
    if closed is None:
        (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-200])
        bad = Image.open(tmp_path / "b.png")
    else:
        if closed == "after it was read":
            bad.load()
        bad.close()
    for X in ([good, bad], Items([(good, 0), (bad, 1)])):
        assert refused(X).startswith("X[1] cannot be used: Pillow cannot decode it (")


def test_names_of_classes_may_be_several_words():
    items = Items(list(zip(RGB, [0, 1, 0, 1, 0, 1], strict=True)), classes=[("tench", "Tinca tinca"), ("goldfish",)])
    assert open_images(items).label_names == ["tench, Tinca tinca", "goldfish"]
