"""Numpy files, label files and named sets."""

import io
import os
import pickle
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from asterism.errors import InputError, MissingDataError, StorageError
from asterism.images import ImageSource, array_files, file_labels, folder_labels, named_sets, open_images, reopen
from asterism.images.labels import encode_labels
from asterism.images.vectors import read_vectors

X = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)


def refused(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        open_images(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    return tmp_path / "set.npz"


# --- .npy and .npz ---------------------------------------------------------------------------------------------------


def test_npy(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    source = open_images(str(tmp_path / "x.npy"))
    assert source.pixels[..., 0].equal(torch.from_numpy(X))
    assert source.origin["source"] == str(tmp_path / "x.npy")
    assert reopen(source.origin).fingerprint == source.fingerprint
    monkeypatch.setattr(array_files, "memory_budget", lambda: 0)  # then it is mapped
    assert open_images(tmp_path / "x.npy").fingerprint == source.fingerprint
    np.save(tmp_path / "bad.npy", np.full((3, 2, 2), np.nan))
    assert "image 0" in refused(tmp_path / "bad.npy")
    assert "'bad.npy'" in refused(tmp_path / "bad.npy")


@pytest.mark.parametrize("key", ["images", "X", "x", "data", "arr_0", "x_train"])
def test_npz_keys(tmp_path, key):
    source = open_images(saved(tmp_path, **{key: X, "other": X}))
    assert source.pixels[..., 0].equal(torch.from_numpy(X))
    assert source.labels is None
    assert reopen(source.origin).fingerprint == source.fingerprint


def test_npz_labels(tmp_path):
    path = saved(tmp_path, images=X, labels=np.array([[1], [0], [2], [1]]), label_names=np.array(["a", "b", "c"]))
    source = open_images(path, size=3)
    assert source.labels.tolist() == [1, 0, 2, 1]
    assert source.labels.dtype == np.int64
    assert source.label_names == ["a", "b", "c"]
    assert source.shape == (1, 3, 3)
    assert open_images(saved(tmp_path, X=X, y=np.array(["b", "a", "b", "a"]))).label_names == ["a", "b"]
    of_bytes = np.array(["é".encode(), b"a"])
    assert open_images(saved(tmp_path, X=X, y=of_bytes[[0, 1, 0, 1]])).label_names == ["a", "é"]
    assert open_images(saved(tmp_path, X=X, y=np.arange(4) % 2, label_names=of_bytes)).label_names == ["é", "a"]


def test_features_that_embed_wrote_are_vectors_with_names(tmp_path):
    """Were refused: no key 'images'."""
    features = np.random.default_rng(0).normal(size=(3, 5)).astype("f4")
    np.savez(tmp_path / "f.npz", features=features, names=np.array(["a.jpg", "b.jpg", "c/d.jpg"]))
    found = open_images(tmp_path / "f.npz")
    assert found.is_table and found.names == ["a.jpg", "b.jpg", "c/d.jpg"] and found.shape == (5, 1, 1)
    assert np.array_equal(found.pixels.numpy().reshape(3, 5), features)
    np.savez(tmp_path / "bytes.npz", features=features, names=np.array([b"a.jpg", b"b.jpg", "c/é.jpg".encode()]))
    names = ["a.jpg", "b.jpg", "c/é.jpg"]
    assert open_images(tmp_path / "bytes.npz").names == read_vectors(str(tmp_path / "bytes.npz"))[1] == names
    np.savez(tmp_path / "x.npz", X=np.zeros((3, 2)), features=features)
    assert open_images(tmp_path / "x.npz").shape == (2, 1, 1)  # as before
    np.savez(tmp_path / "few.npz", embeddings=features, paths=np.array(["a.jpg"]))
    with pytest.raises(InputError, match="'paths' of shape"):
        open_images(tmp_path / "few.npz")


def test_npz_that_cannot_be_used(tmp_path):
    assert "needs a key 'images'" in refused(saved(tmp_path, x=X, data=X))
    assert "it holds 'pictures'" in refused(saved(tmp_path, pictures=X))
    assert "shape (3,) for 4 images" in refused(saved(tmp_path, images=X, labels=np.zeros(3)))
    assert "X.astype" not in refused(saved(tmp_path, images=X.astype(int) - 5))  # names the file, not a variable
    path = saved(tmp_path, images=X)
    path.write_bytes(path.read_bytes()[:100])
    assert "cannot be read" in refused(path)
    path.write_bytes(b"")
    assert "cannot be read" in refused(path)
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    assert "name it .npy" in refused(tmp_path / "x.npz")
    saved(tmp_path, images=X).rename(tmp_path / "y.npy")
    assert "name it .npz" in refused(tmp_path / "y.npy")


def test_mutated_arrays_get_a_line(tmp_path):
    """Headers of other shapes, types and lengths, and what should be numbers and is not: no raw error, no long work."""
    draws = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", images=X, labels=np.arange(4))
    np.savez_compressed(tmp_path / "y.npz", **jpegs([np.zeros((8, 8, 3), np.uint8)] * 2))
    read = 0
    for name in ("x.npy", "x.npz", "y.npz"):
        sound = (tmp_path / name).read_bytes()
        for _ in range(60):
            data = bytearray(sound)
            for _ in range(draws.integers(1, 4)):
                at = int(draws.integers(0, len(data)))
                data[at : at + int(draws.integers(0, 3))] = draws.bytes(int(draws.integers(0, 3)))
            (tmp_path / name).write_bytes(data)
            try:
                read += len(open_images(tmp_path / name, size=8)) > 0
            except (InputError, StorageError) as error:
                assert "\n" not in str(error)
    assert read > 5
    for odd in ({"jpeg": np.zeros(9), "offsets": np.array([0.5, 3.5])}, {"jpeg": X, "offsets": X}):
        assert "cannot be read" in refused(saved(tmp_path, **odd), size=8)
    header = b"\x93NUMPY\1\0" + (118).to_bytes(2, "little")
    for shape in ("9" * 60, "-1,", "2**99,", "1e9,", "True,", "(" * 40):
        words = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}".ljust(117)[:117] + "\n"
        (tmp_path / "x.npy").write_bytes(header + words.encode())
        with pytest.raises((InputError, StorageError)):
            open_images(tmp_path / "x.npy")


class Trap:
    """Its pickle makes a folder when it is loaded."""

    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


def test_pickles_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    np.save(tmp_path / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "y.npy").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "z.npz", images=np.array([Trap()], dtype=object))
    for name in ("x.npy", "y.npy", "z.npz"):
        assert "cannot be read" in refused(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def jpegs(images) -> dict:
    encoded = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=95)
        encoded.append(np.frombuffer(buffer.getvalue(), np.uint8))
    return {"jpeg": np.concatenate(encoded), "offsets": np.cumsum([0] + [len(one) for one in encoded])}


def test_npz_of_jpegs(tmp_path):
    flat = [np.full((8, 8, 3), value, np.uint8) for value in (10, 20, 30)]
    source = open_images(saved(tmp_path, **jpegs(flat), labels=np.array([1, 0, 1])))
    assert source.shape == (3, 8, 8)  # what is stored as colour stays so, as with arrays
    assert source.pixels[:, 4, 4, 0].tolist() == [10, 20, 30]
    assert source.labels.tolist() == [1, 0, 1]
    assert open_images(tmp_path / "set.npz", color="grey", size=4).shape == (1, 4, 4)
    mixed = jpegs([*flat, np.zeros((9, 8, 3), np.uint8)])
    assert "size=64" in refused(saved(tmp_path, **mixed))
    assert len(open_images(tmp_path / "set.npz", size=8)) == 4
    cut = jpegs(flat)
    cut["jpeg"][cut["offsets"][1] : cut["offsets"][2]] = 0
    assert "image 1" in refused(saved(tmp_path, **cut))
    assert "0 sample(s)" in refused(saved(tmp_path, jpeg=np.zeros(0, np.uint8), offsets=np.zeros(1, np.int64)))


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "labels", "names"),
    [
        ([0, 2, 1], [0, 2, 1], None),
        ([0.0, 1.0], [0, 1], None),
        ([1, 10, 2], [0, 2, 1], ["1", "2", "10"]),
        ([-1, 0], [0, 1], ["-1", "0"]),
        (["c10", "c9", "c10"], [1, 0, 1], ["c9", "c10"]),
    ],
)
def test_labels_count_from_0(values, labels, names):
    encoded, found = encode_labels(values)
    assert encoded.tolist() == labels
    assert encoded.dtype == np.int64
    assert found == names


def test_labels_that_are_none():
    for values in ([0.5], [None], [float("nan")], ["a", 1]):
        with pytest.raises(InputError, match="neither text nor a whole number"):
            encode_labels(values)
    with pytest.raises(InputError, match="label nan is neither text nor"):
        encode_labels([1.0, 2.0, float("nan")])
    with pytest.raises(InputError, match="2 classes have names"):
        encode_labels([0, 2], ["a", "b"])
    assert encode_labels([2, 2], ["a", "b", "c"])[0].tolist() == [2, 2]  # a class may be empty


def named(*names: str) -> ImageSource:
    return ImageSource(torch.zeros(len(names), 2, 2, 1, dtype=torch.uint8), list(names))


def test_folder_labels():
    source = named("class10/a.png", "class9/x/y.png", "class10/b.png")
    labels, names = folder_labels(source)
    assert labels.tolist() == [1, 0, 1]
    assert names == ["class9", "class10"]
    with pytest.raises(InputError, match=r"'loose\.png' lies in no class folder"):
        folder_labels(named("loose.png", "2.png"))
    with pytest.warns(UserWarning, match=r"2 of 3 images lie in a class folder.*'loose\.png'"):
        assert folder_labels(named("a/1.png", "loose.png", "b/1.png"))[0].tolist() == [0, -1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "a/1.png,cat\nb.png,dog\n",
        "\ufeffa/1.png,cat\nb.png,dog\n",
        "path,label\na/1.png,cat\nb.png,dog\nnot here.png,cow\n",
        "\ufeffFile,Class\r\n./b.png, dog\r\n\r\na/1.png,cat",
    ],
)
def test_file_labels(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8", newline="")
    labels, names = file_labels(named("a/1.png", "b.png"), tmp_path / "labels.csv")
    assert labels.tolist() == [0, 1]
    assert names == ["cat", "dog"]


def test_file_labels_with_odd_names(tmp_path):
    (tmp_path / "labels.csv").write_text('"a ""b"", c.png",2\n"two\nlines.png",10\npath,10\n', encoding="utf-8")
    labels, names = file_labels(named('a "b", c.png', "two\nlines.png"), str(tmp_path / "labels.csv"))
    assert labels.tolist() == [0, 1]
    assert names == ["2", "10"]


def test_an_image_may_be_called_as_a_heading_is(tmp_path):
    (tmp_path / "labels.csv").write_text("image,cat\nb,dog\n", encoding="utf-8")
    assert file_labels(named("image", "b"), tmp_path / "labels.csv")[1] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.png\nb.png\n", "no two columns; expected lines such as: a.png,cat"),
        ("", "no two columns"),
        ("x/1.png,cat\nx/2.png,dog\n", "none of the 2 images; images: 'a.png'; labels: 'x/1.png'"),
        ("a.png,\nb.png,\n", "none of the 2 images"),
        ("a.png,cat\nb.png,cat\na.png,dog\n", "'a.png' two labels: 'cat' and 'dog'"),
        (b"\xff\xfe\x00a\x00", "UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "UTF-8"),
        ("a.png," + "9" * 200_000, "no two columns"),  # a cell longer than csv reads
        ('{"a.png": "cat", "b.png": "dog"}', "is JSON"),
        ('{"path": "a.png", "label": 1}\n{"path": "b.png", "label": 1}\n', "is JSON"),
    ],
)
def test_file_labels_that_cannot_be_used(tmp_path, text, words):
    (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        file_labels(named("a.png", "b.png"), tmp_path / "labels.csv")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


LISTED = ("sub/a.png", "sub/b.png", "c.png")


def label_table(tmp_path, paths, form="{},{}\n", head="", encoding="utf-8"):
    """A file that gives the images of `LISTED` the classes x, y, x."""
    text = head + "".join(form.format(path, label) for path, label in zip(paths, "xyx", strict=True))
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    return tmp_path / "labels.csv"


@pytest.mark.parametrize(
    "written",
    [
        lambda name: f"/home/me/photos/{name}",
        lambda name: f"photos/{name}",
        lambda name: f".\\{name}".replace("/", "\\"),
        lambda name: f"C:\\me\\{name}".replace("/", "\\"),
        lambda name: f"./{name}",
        lambda name: f" {name} ",
        str.upper,
        lambda name: name.rpartition("/")[2],
        lambda name: f"D:\\Photos\\{name}".replace("/", "\\").upper(),
    ],
)
def test_paths_of_label_files_written_in_other_ways(tmp_path, written):
    path = label_table(tmp_path, map(written, LISTED))
    assert file_labels(named(*LISTED), path)[0].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("form", "head", "encoding"),
    [
        ("{};{}\n", "", "utf-8"),
        ("{}\t{}\r\n", "image\tclass\r\n", "utf-8-sig"),
        ("{}|{}\n", "", "utf-8"),
        ("{} {}\n", "", "utf-8"),
        ("{},{}\n", "", "utf-16"),
        ("7,{},0.5,{}\n", ",path,score,label\n", "utf-8"),
        ("7,{},{}\n", "id,filename,species\n", "utf-8"),
        ('"{}","{}"\r\n', "Path,Label\r\n", "utf-8"),
        ("7,{},{}\n", "", "utf-8"),
    ],
)
def test_tables_of_labels_in_other_forms(tmp_path, form, head, encoding):
    path = label_table(tmp_path, LISTED, form, head, encoding)
    assert file_labels(named(*LISTED), path)[0].tolist() == [0, 1, 0]


def test_labels_of_windows_programs(tmp_path):
    (tmp_path / "labels.csv").write_bytes("Füße.png;weiß\r\n".encode("cp1252"))
    assert file_labels(named("Füße.png"), tmp_path / "labels.csv")[1] == ["weiß"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_letters_are_the_same(tmp_path, form):
    (tmp_path / "labels.csv").write_text(unicodedata.normalize(form, "Füße/1.png,a\n"), encoding="utf-8")
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    assert file_labels(named(unicodedata.normalize(other, "Füße/1.png")), tmp_path / "labels.csv")[1] == ["a"]


def test_labels_for_a_part_of_the_images(tmp_path):
    (tmp_path / "labels.csv").write_text("a.png,cat\nb.png,\nelsewhere.png,dog\n")
    with pytest.warns(UserWarning, match=r"1 of 3 images have a label .*'b\.png'; labels: 'elsewhere\.png'"):
        labels, names = file_labels(named("a.png", "b.png", "c.png"), tmp_path / "labels.csv")
    assert labels.tolist() == [0, -1, -1] and names == ["cat"]


def test_labels_are_never_given_to_an_image_that_may_be_another(tmp_path):
    (tmp_path / "labels.csv").write_text("1.png,cat\nc/3.png,dog\n")
    with pytest.warns(UserWarning, match="1 of 4 images"):  # which 1.png is meant is not clear
        labels, _ = file_labels(named("a/1.png", "b/1.png", "c/3.png", "3.png"), tmp_path / "labels.csv")
    assert labels.tolist() == [-1, -1, 0, -1]


def test_file_names_alone_are_compared_last_and_this_is_said(tmp_path):
    (tmp_path / "labels.csv").write_text("old/1.png,cat\nother/2.png,dog\n")
    with pytest.warns(UserWarning, match="file names alone"):
        assert file_labels(named("new/1.png", "new/2.png"), tmp_path / "labels.csv")[0].tolist() == [0, 1]
    (tmp_path / "labels.csv").write_text("id,label\n1,cat\n2,dog\n")
    with pytest.warns(UserWarning, match="without their endings"):
        assert file_labels(named("new/1.png", "new/2.png"), tmp_path / "labels.csv")[0].tolist() == [0, 1]


def test_numbers_of_thousands_of_digits_are_labels_too(tmp_path):
    (tmp_path / "labels.csv").write_text(f"a.png,{'7' * 9000}\nb.png,{'6' * 9000}\n")
    assert file_labels(named("a.png", "b.png"), tmp_path / "labels.csv")[0].tolist() == [1, 0]
    for odd in (10**400, 10**5000, float("inf"), 1e300):
        with pytest.raises(InputError, match="nor a whole number"):
            encode_labels([odd, 1])


def test_label_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingDataError, match="does not exist"):
        file_labels(named("a.png"), tmp_path / "labels.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_labels_come_from_pipes_but_none_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no two columns"):  # nobody writes to it
        file_labels(named("a.png"), tmp_path / "pipe")
    read, write = os.pipe()  # as `--labels <(command)` has them
    os.write(write, b"a.png,cat\n")
    os.close(write)
    assert file_labels(named("a.png"), f"/dev/fd/{read}")[1] == ["cat"]
    os.close(read)
    for odd in ("/dev/zero", "a\0b"):
        with pytest.raises(InputError, match="cannot be read: (it is a device|embedded null)"):
            file_labels(named("a.png"), odd)


# --- data:NAME -------------------------------------------------------------------------------------------------------


def test_digits_need_no_file(monkeypatch, tmp_path):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    source = open_images("data:digits")
    assert source.pixels.shape == (1797, 8, 8, 1)
    assert source.pixels[0, 0, :, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0 of 16, times 255/16
    assert source.labels[:5].tolist() == [0, 1, 2, 3, 4]
    assert source.origin["source"] == "data:digits"
    assert reopen(source.origin).fingerprint == source.fingerprint


QUICK = ["mnist-test", "usps", "coil20", "coil100", "umist", "umist-380", "cmu-pie", "flowers102-val", "ukbench"]
SLOW = ["cifar10", "cifar10-train", "cifar10-test", "flowers102", "flowers102-train", "flowers102-test", "scene15"]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_real_sets_are_what_they_say(real_set, name):
    chosen = next(one for one in named_sets() if one.name == name)
    source = real_set(name, size=16) if chosen.file and not chosen.file.endswith(".npz") else real_set(name)
    assert len(source) == chosen.n
    assert len(np.unique(source.labels)) == chosen.k
    assert source.labels.min() == 0
    assert source.labels.dtype == np.int64
    assert source.pixels.dtype == torch.uint8
    assert source.skipped == []
    assert source.origin["source"] == f"data:{name}"


def test_parts_of_real_sets_agree(real_set):
    whole, test = real_set("mnist"), real_set("mnist-test")
    assert test.pixels.equal(whole.pixels[60_000:])
    assert test.labels.tolist() == whole.labels[60_000:].tolist()
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]  # as everybody knows them
    val, both = real_set("flowers102-val", size=8), real_set("flowers102-trainval", size=8)
    assert len(both) == 728 + 706
    assert both.names[-len(val) :] == val.names
    assert both.label_names == val.label_names
    assert (both.pixels[-len(val) :] == val.pixels).all()
    assert val.label_names[val.labels[0]] == val.names[0].split("/")[1]


def test_unknown_names_suggest(tmp_path):
    assert "did you mean data:mnist-test?" in refused("data:mnist-tst")
    assert "fashion-mnist" in refused("data:xyz")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_absent_sets_say_what_to_put_where(nowhere):
    for name in ("usps", "coil20", "frgc"):
        with pytest.raises(MissingDataError) as caught:
            open_images(f"data:{name}")
        assert str(nowhere / "data" / f"{name}.npz") in str(caught.value)
        assert "images" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(MissingDataError, match=r"flowers102/\{train,val,test\}/CLASS/"):
        open_images("data:flowers102-test")
    here = {one.name: one.available for one in named_sets()}
    assert here.pop("digits")
    assert not any(here.values())
    assert {one.name for one in named_sets() if one.fetchable} >= {"mnist", "fashion-mnist-test", "cifar10"}
    assert not any(one.fetchable for one in named_sets() if one.name == "usps")


def test_sets_are_fetched_once(nowhere, monkeypatch, capsys):
    monkeypatch.delenv("ASTERISM_OFFLINE")
    calls = []

    def fake(folder, train, download):
        print("downloading")
        calls.append(train)
        n = 3 if train else 2
        data = torch.full((n, 28, 28), 5 if train else 9, dtype=torch.uint8)
        return SimpleNamespace(data=data, targets=torch.arange(n), classes=["a", "b", "c"])

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fake)
    source = open_images("data:fashion-mnist-test")
    assert source.pixels.shape == (2, 28, 28, 1)
    assert (source.pixels == 9).all()
    assert source.label_names == ["a", "b", "c"]
    assert len(open_images("data:fashion-mnist")) == 5
    assert calls == [True, False]
    assert os.listdir(nowhere / "cache" / "data") == ["fashion-mnist.npz"]
    assert capsys.readouterr().out == ""  # standard output is not for progress


def test_no_network_is_one_line(nowhere, monkeypatch):
    monkeypatch.delenv("ASTERISM_OFFLINE")

    def fake(folder, train, download):
        raise RuntimeError("Error downloading\n x.gz:\nTried https://…")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fake)
    with pytest.raises(MissingDataError) as caught:
        open_images("data:mnist-test")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        "data:mnist-test is not on this machine and could not be fetched (Error downloading x.gz:"
    )
    assert "mnist.npz with the keys images" in message
    assert os.listdir(nowhere / "cache" / "data") == []


def test_class_folders_as_a_named_set(nowhere):
    for i, name in enumerate(("train/2", "train/10", "test/10", "val/2")):
        folder = nowhere / "data" / "flowers102" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / "x.png")
    test = open_images("data:flowers102-test")
    assert test.names == ["test/10/x.png"]
    assert test.labels.tolist() == [1]  # numbered as in the other parts
    assert test.label_names == ["2", "10"]
    assert len(open_images("data:flowers102")) == 4
    assert reopen(test.origin).names == test.names


@pytest.fixture(params=["mit67", "birds200"])
def with_lists(nowhere, request):
    """A set as its archive unpacks: two classes, an image of each in either part, and one in none."""
    is_birds = request.param == "birds200"
    root = nowhere / "data" / ("CUB_200_2011" if is_birds else "mit67")
    names = ["002.b/0.png", "002.b/1.png", "010.a/2.png", "010.a/3.png"]
    for i, name in enumerate([*names, "002.b/4.png"]):
        file = root / ("images" if is_birds else "Images") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(file)
    if is_birds:
        (root / "images.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(names, 1)))
        (root / "train_test_split.txt").write_text("1 1\n2 0\n3 1\n4 0\n")
    else:
        (root / "TrainImages.txt").write_text("002.b/0.png\r\n010.a/2.png\r\n")
        (root / "TestImages.txt").write_text("002.b/1.png\n010.a/3.png")
    return request.param, root


def test_a_set_with_lists_has_the_parts_that_they_name(with_lists):
    name, root = with_lists
    test = open_images(f"data:{name}-test")
    assert (test.names, test.labels.tolist()) == (["002.b/1.png", "010.a/3.png"], [0, 1])
    assert test.pixels[:, 0, 0, 0].tolist() == [1, 3]
    assert len(open_images(f"data:{name}")) == 4  # what no list names is no part of it
    assert open_images(f"data:{name}-train").label_names == test.label_names == ["002.b", "010.a"]
    assert reopen(test.origin).names == test.names


def test_a_set_whose_lists_do_not_fit_is_refused(with_lists):
    name, root = with_lists
    next(root.glob("*mages/010.a/3.png")).unlink()
    with pytest.raises(MissingDataError, match=rf"1 images of data:{name} are not in .*, as '010.a/3.png'"):
        open_images(f"data:{name}")
    for file in root.glob("*.txt"):
        file.unlink()
    with pytest.raises(MissingDataError, match="says which images are for training"):
        open_images(f"data:{name}-train")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_a_large_npz_is_unpacked_into_the_cache_and_mapped(tmp_path, monkeypatch, save, dtype):
    X = np.random.default_rng(0).integers(0, 255, (50, 6, 6, 3)).astype(dtype)
    save(tmp_path / "X.npz", images=X, labels=np.arange(50) % 3)
    whole = open_images(tmp_path / "X.npz")
    monkeypatch.setattr(array_files, "memory_budget", lambda: 0)
    monkeypatch.setattr(array_files, "block_length", lambda *_: 7)
    opened = open_images(tmp_path / "X.npz")
    assert torch.equal(opened.pixels, whole.pixels) and np.array_equal(opened.labels, whole.labels)
    assert isinstance(array_files._array(np.load(tmp_path / "X.npz", allow_pickle=False), "images"), np.memmap)


def test_one_jpeg_of_an_archive_that_has_colour_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr("asterism.images.array_files._JPEG_SAMPLE", 1)
    files = []
    for color in ("grey", "red"):
        Image.new("RGB" if color == "red" else "L", (8, 8), color).save(stream := io.BytesIO(), "JPEG")
        files.append(np.frombuffer(stream.getvalue(), np.uint8))
    offsets = np.cumsum([0, *map(len, files)])
    np.savez(tmp_path / "a.npz", jpeg=np.concatenate(files), offsets=offsets)
    assert open_images(tmp_path / "a.npz").pixels[:, 0, 0].tolist() == [[128] * 3, [254, 0, 0]]
    assert open_images(tmp_path / "a.npz", color="grey").shape == (1, 8, 8)
