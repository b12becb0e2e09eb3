"""Images, labels and rows that belong together, and none that belong to another; what is left out is said."""

import os
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.errors import InputError, StorageError
from asterism.images import fetch, folder, open_images, pack_cache
from asterism.images.labels import file_labels
from asterism.images.listing import told_apart


def save(path, value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for value, name in enumerate(("cat/1.png", "cat/2.png", "dog/3.png"), 1):
        save(tmp_path / "photos" / name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def classes(tmp_path, text, *names):
    """Class of each image, None where it has none, and what was warned of."""
    (tmp_path / "labels.csv").write_text(text)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of files that an earlier test left to the garbage
        labels, found = file_labels(SimpleNamespace(names=list(names)), tmp_path / "labels.csv")
    return [None if i < 0 else found[i] for i in labels], " ".join(str(one.message) for one in told)


@pytest.mark.parametrize(
    "text",
    [
        "id,path,label\n1,3.png,c\n2,1.png,a\n3,2.png,b\n",  # numbers of rows are no names of images
        "1,3.png,c\n2,1.png,a\n3,2.png,b\n",
        "id,filename,breed\n1,3.png,c\n2,1.png,a\n3,2.png,b\n",
        "sep=;\npath;width;label\n1.png;10;a\n2.png;20;b\n3.png;30;c\n",
        "# by me, in May\n# path is relative\npath,width,label\n1.png,10,a\n2.png,20,b\n3.png,30,c\n",
        "#path,width,label\n1.png,10,a\n2.png,20,b\n3.png,30,c\n",
        "Image File,width,label\n1.png,10,a\n2.png,20,b\n3.png,30,c\n",
        "#1,1.png,a\n#2,2.png,b\n#3,3.png,c\n",
    ],
)
def test_labels_are_those_of_the_image_whose_path_agrees(tmp_path, text):
    assert classes(tmp_path, text, "1.png", "2.png", "3.png") == (["a", "b", "c"], "")


def test_a_column_of_labels_that_is_a_guess_is_said(tmp_path):
    text = "lesion_id,image_id,dx,age\nH7,1,nv,60\nH8,2,mel,70\n"
    found, told = classes(tmp_path, text, "1.jpg", "2.jpg")
    assert found == ["nv", "mel"] and "'dx' is taken; write 'label' above" in told
    found, told = classes(tmp_path, "1.jpg,60,nv\n2.jpg,70,mel\n", "1.jpg", "2.jpg")
    assert found == ["60", "70"] and "column 2 is taken" in told
    found, told = classes(tmp_path, "filename,name,width\n1.jpg,nv,60\n2.jpg,mel,70\n", "1.jpg", "2.jpg")
    assert found == ["nv", "mel"] and "'name' is taken" in told
    assert classes(tmp_path, "image,name\n1.jpg,nv\n2.jpg,mel\n", "1.jpg", "2.jpg") == (["nv", "mel"], "")
    assert classes(tmp_path, "1,y\n2,n\n", "1", "2") == (["y", "n"], "")  # no heading


def test_two_labels_of_an_image_tell_nothing_however_its_path_is_written(tmp_path):
    text = "photos/1.png,cat\nphotos/1.png,dog\nphotos/2.png,dog\n"
    found, told = classes(tmp_path, text, "1.png", "2.png")
    assert found == [None, "dog"] and "without one: '1.png'" in told


def test_vectors_that_may_be_of_other_pictures_are_said(photos, tmp_path):
    np.savez(tmp_path / "f.npz", features=np.eye(3), names=np.array(["m/1.png", "m/2.png", "q/3.png"]))
    with pytest.warns(UserWarning, match=r"'f.npz' has other paths than the images: file names alone"):
        open_images(photos, features=tmp_path / "f.npz")


def test_many_rows_of_one_name_take_no_time_of_their_square():
    """A column of classes that is taken for names: 60 000 cats took minutes."""
    began = time.process_time()
    assert told_apart(["cat#2", *["cat"] * 30_000])[-1] == "cat#30001"
    assert time.process_time() - began < 2


def test_rows_of_one_name_are_told_apart(tmp_path):
    (tmp_path / "v.csv").write_text("id,f0,f1\na,.1,.2\na,.4,.5\nb,.4,.6\n")
    np.savez(tmp_path / "v.npz", features=np.eye(3), names=np.array(["a", "a", "b"]))
    for ending in ("csv", "npz"):
        assert open_images(tmp_path / f"v.{ending}").names == ["a", "a#2", "b"]


def test_of_many_rows_of_one_name_none_tries_the_names_of_the_others():
    """Addresses that differ in their query alone, rows that bear the names of classes: a million took days."""
    made = []

    class Name(str):
        def __format__(self, spec):
            made.append(self)
            return str(self)

    assert told_apart([Name("a") for _ in range(50)] + ["a#50"])[-3:] == ["a#49", "a#51", "a#50"]
    assert len(made) <= 51
    assert told_apart(["a", "a#2", "a", "a"]) == ["a", "a#2", "a#3", "a#4"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "# mine\nphotos\\dog\\3.png\nphotos/cat/1.png  \n"),
        ("list.csv", "\nlabel,path\ncat,photos/dog/3.png\ncat,photos/cat/1.png\n"),
        ("list.csv", "sep=;\nlabel;path\ncat;photos/dog/3.png\ncat;photos\\cat\\1.png\n"),
        ("list.csv", "# by me, in May\nlabel,path\ncat,photos/dog/3.png\ncat,photos/cat/1.png\n"),
    ],
)
def test_lists_with_remarks_blanks_and_backslashes(photos, tmp_path, name, text):
    save(tmp_path / "cat" / "other.png")  # a folder that is called as the label is
    Path(name).write_text(text)
    opened = open_images(name)
    assert (opened.names, opened.skipped) == (["dog/3.png", "cat/1.png"], [])


def test_a_file_that_is_called_as_a_remark_begins(photos, tmp_path):
    save(tmp_path / "#1.png")
    for name in ("list.txt", "list.csv"):
        Path(name).write_text("#1.png\nphotos/cat/1.png\n")
        assert open_images(name).names == ["#1.png", "photos/cat/1.png"]
    Path("list.txt").write_text("# nothing yet\n")
    with pytest.raises(InputError, match="remarks alone"):
        open_images("list.txt")


def test_what_systems_keep_beside_photographs_is_none_of_them(photos):
    for name in ("@eaDir/1.png/SYNOPHOTO_THUMB_M.png", "$RECYCLE.BIN/x.png", "cat/__MACOSX/y.png"):
        save(photos / name)
    for name in ("Thumbs.db", "cat/desktop.ini", "cat/.DS_Store", "Icon\r", "cat/1.png:Zone.Identifier"):
        (photos / name).write_bytes(b"x")
    opened = open_images(photos)
    assert (opened.names, opened.skipped) == (["cat/1.png", "cat/2.png", "dog/3.png"], [])


def test_photographs_that_are_left_out_are_told_before_what_lies_beside_them(photos):
    for name in ("cat/1.png.json", "cat/2.png.json", "dog/9.jpg", "zoo.tar"):
        (photos / name).write_bytes(b"{}")
    told = [one.name for one in open_images(photos).skipped]
    assert told == ["dog/9.jpg", "zoo.tar", "cat/1.png.json", "cat/2.png.json"]


def test_a_folder_that_may_not_be_read_is_said_of_patterns_too_and_is_an_end_of_strict(photos, monkeypatch):
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    for pattern in ("photos/**/*.png", "photos/*/*.png"):
        assert [one.name for one in open_images(pattern).skipped] == ["dog/"]
    assert open_images("photos/cat/**").skipped == open_images("photos/c*/*.png").skipped == []
    with pytest.raises(InputError, match=r"strict=True and image 'dog/' cannot be read: folder cannot be read"):
        open_images(photos, strict=True)


def test_files_that_change_their_names_or_keep_their_time_are_read_anew(photos, monkeypatch):
    monkeypatch.setattr(folder, "KEEP_SECONDS", -1)
    monkeypatch.setattr(pack_cache, "KEEP_SECONDS", -1)
    first, second = (photos / "cat" / f"{i}.bmp" for i in (1, 2))
    save(first, 10)
    save(second, 20)
    for path in (first, second):
        os.utime(path, ns=(10**18, 10**18))
    read = lambda: open_images(str(photos / "cat" / "*.bmp")).pixels[:, 0, 0, 0].tolist()  # noqa: E731
    assert read() == [10, 20]
    first.rename(photos / "t")
    second.rename(first)
    (photos / "t").rename(second)
    assert read() == [20, 10]
    save(first, 30)
    os.utime(first, ns=(10**18, 10**18))
    assert read() == [30, 10]


def test_numbers_that_are_held_as_objects_have_the_white_of_their_kind():
    images = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    for kind in (np.uint8, np.bool_, np.float32):
        plain, held = open_images(images.astype(kind)).pixels, open_images(images.astype(kind).astype(object)).pixels
        assert held.dtype == plain.dtype and torch.equal(held, plain)
    with pytest.raises(InputError):
        open_images(np.full((2, 8, 8), None))
    assert open_images(np.full((2, 3), 2**70, object)).pixels.dtype == torch.float32


class Items(torch.utils.data.Dataset):
    def __init__(self, labels, classes=None):
        self.labels, self.classes = labels, classes

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return np.full((8, 8), index, np.uint8), self.labels[index]


def test_labels_of_large_numbers_and_of_images_without_a_class(tmp_path):
    assert open_images(Items([2**53, 2**53 + 1, 5])).labels.tolist() == [1, 2, 0]
    opened = open_images(Items([-1, 0, 1, -1], ["a", "b"]))  # as torchvision's STL-10 and Hugging Face have them
    assert (opened.labels.tolist(), opened.label_names) == ([-1, 0, 1, -1], ["a", "b"])
    assert open_images(Items([-1, -1], ["a", "b"])).labels is None
    assert open_images(Items([-1, 1, 1])).label_names == ["-1", "1"]  # a class as any other
    about = {"images": np.zeros((3, 8, 8), np.uint8), "class_names": np.array(["a", "b"])}
    np.savez(tmp_path / "x.npz", labels=np.array([-1, 0, 1]), **about)
    assert open_images(tmp_path / "x.npz").labels.tolist() == [-1, 0, 1]
    np.savez(tmp_path / "x.npz", labels=np.array([-2, 0, 1]), **about)
    with pytest.raises(InputError, match="labels lie in -2 to 1"):
        open_images(tmp_path / "x.npz")


def test_a_loose_image_of_a_named_set_is_named(tmp_path, monkeypatch):
    save(tmp_path / "flowers102" / "train" / "k" / "1.png")
    save(tmp_path / "flowers102" / "train" / "x.png")
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"'train/x.png' of data:flowers102-train lies in no class folder"):
        open_images("data:flowers102-train")


def test_a_set_that_finds_no_room_is_no_bad_file(tmp_path, monkeypatch):
    import torchvision.datasets

    part = SimpleNamespace(data=np.zeros((2, 8, 8), np.uint8), targets=[0, 1], classes=["a", "b"])
    monkeypatch.delenv("ASTERISM_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda *_, **__: part)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(StorageError, match="cannot write .*No space left"):
        fetch.fetch(tmp_path / "mnist.npz")


def test_paths_of_a_list_may_stand_in_quotes(photos):
    save(photos / '"q".png')
    Path("list.txt").write_text('"photos/cat/1.png"\r\n"photos\\dog\\3.png" \r\nphotos/"q".png\r\n')
    opened = open_images("list.txt")
    assert (opened.names, opened.skipped) == (["cat/1.png", "dog/3.png", '"q".png'], [])
