"""Images named one by one: lists of paths, patterns, files that list them."""

import csv
import os
import shutil
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from asterism import KMeans, load
from asterism.cli.app import app
from asterism.errors import InputError, MissingDataError
from asterism.images import open_images, reopen
from asterism.images.paths import _pattern_of


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve images of 8x8 in two folders, ``cats`` and ``dogs``; the red of image i is 20 i. We stand above them."""
    monkeypatch.chdir(tmp_path)
    for i in range(12):
        path = tmp_path / "photos" / ("cats" if i < 6 else "dogs") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * i, 0, 9)).save(path)
    return tmp_path / "photos"


def reds(source):
    return [red // 20 for red in source.pixels[:, 0, 0, 0].tolist()]


def cli(*args):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


def table(path):
    with open(path, newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))[1:]


STRINGS = getattr(np.dtypes, "StringDType", lambda: object)()  # of numpy 2


@pytest.mark.parametrize(
    "kind",
    [list, tuple, iter, np.array, lambda paths: (Path(one) for one in paths), lambda paths: np.array(paths, STRINGS)],
)
def test_a_list_of_paths_keeps_its_order(photos, kind):
    source = open_images(kind(["photos/dogs/7.png", "photos/cats/2.png", "photos/dogs/6.png"]))
    assert reds(source) == [7, 2, 6]
    assert source.names == ["dogs/7.png", "cats/2.png", "dogs/6.png"]
    again = reopen(source.origin)
    assert again.names == source.names and again.fingerprint == source.fingerprint


def test_a_set_of_paths_and_a_single_one(photos):
    assert reds(open_images({"photos/cats/2.png", "photos/cats/1.png"})) == [1, 2]
    assert open_images(["photos/cats/2.png"]).names == ["2.png"]
    assert reds(open_images(["photos/dogs/7.png", "photos/cats"])) == [7, 0, 1, 2, 3, 4, 5]  # a folder among them


def test_an_empty_path_is_not_the_working_folder_and_no_path_among_paths_is_named(photos):
    for nothing in ("", ["photos/cats/1.png", ""]):
        with pytest.raises(InputError, match="empty path|'' *; expected a path"):
            open_images(nothing)
    with pytest.raises(InputError, match=r"X\[1\] is None; expected a path, as 'photos/cats/1.png' is"):
        open_images(["photos/cats/1.png", None])


def test_what_is_not_there_is_listed(photos):
    os.mkfifo(photos / "pipe.png")
    source = open_images(["photos/cats/1.png", "photos/cats/gone.png", "photos/pipe.png", "/nowhere/2.png"])
    assert source.names == ["cats/1.png"]
    reasons = {one.name: one.reason for one in source.skipped}
    assert reasons[str(photos / "cats" / "gone.png")] == reasons["/nowhere/2.png"] == "does not exist"
    assert "not a regular file" in reasons["pipe.png"]
    with pytest.raises(InputError, match="strict=True and image '.*/photos/cats/gone.png'"):
        open_images(["photos/cats/1.png", "photos/cats/gone.png", "x/a.png"], strict=True)
    with pytest.raises(MissingDataError, match="none of the 2 files of the list of 2 paths exists.*gone.png"):
        open_images(["gone.png", "a\0b.png"])


def test_one_that_stands_there_twice_is_two_images_of_a_list(photos):
    source = open_images(["photos/cats/1.png", "photos/cats/2.png", "photos/cats/1.png", "photos/cats/../cats/1.png"])
    assert reds(source) == [1, 2, 1, 1]
    assert source.names == ["1.png", "2.png", "1.png#2", "1.png#3"]


def test_names_that_are_shown_alike_stay_apart(tmp_path):
    odd = os.fsdecode(b"\xe9.png")
    try:
        Image.new("L", (8, 8)).save(os.path.join(tmp_path, odd))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    Image.new("L", (8, 8)).save(tmp_path / r"\xe9.png")
    assert sorted(open_images(tmp_path).names) == [r"\xe9.png", r"\xe9.png#2"]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("photos/cats/*.png", [0, 1, 2, 3, 4, 5]),
        ("photos/*/1*.png", [1, 10, 11]),
        ("photos/**/*[02].png", [0, 2, 10]),
        ("photos/**", list(range(12))),
        ("./photos/d*/?.png", [6, 7, 8, 9]),
        ("photos/**/[!0-8].png", [9]),
        ("**/cats/3.png", [3]),
    ],
)
def test_patterns(photos, monkeypatch, pattern, wanted):
    source = open_images(pattern)
    assert reds(source) == wanted
    monkeypatch.chdir("/")
    assert reopen(source.origin).fingerprint == source.fingerprint


def test_a_pattern_that_is_a_name_and_one_that_matches_nothing(photos):
    (photos / "[1]").mkdir()
    shutil.copy(photos / "cats" / "4.png", photos / "[1]" / "a.png")
    assert reds(open_images("photos/[1]")) == [4]
    with pytest.raises(MissingDataError, match=r"no file matches .*photos/c\*'.*/\*\*"):
        open_images("photos/c*")
    with pytest.raises(MissingDataError, match="there is no folder"):
        open_images("nowhere/*.png")


def test_a_pattern_in_a_folder_that_is_called_as_one(photos, monkeypatch):
    (photos / "[1] summer").mkdir()
    shutil.copy(photos / "cats" / "4.png", photos / "[1] summer" / "a.png")
    assert reds(open_images("photos/[1] summer/*.png")) == [4]
    monkeypatch.chdir(photos / "[1] summer")
    assert reds(open_images("*.png")) == [4]
    with pytest.raises(MissingDataError, match="gone.png' does not exist"):
        open_images("gone.png")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(("other", "encoding"), [("NFC", "utf-8"), ("NFD", "utf-8"), ("NFC", "cp1252")])
def test_letters_of_a_list_are_those_of_the_files_however_they_are_written(tmp_path, form, other, encoding):
    Image.new("L", (8, 8), 3).save(tmp_path / unicodedata.normalize(form, "Füße.png"))
    Image.new("L", (8, 8), 4).save(tmp_path / "b.png")
    (tmp_path / "list.csv").write_text(unicodedata.normalize(other, "path\nb.png\nFüße.png\n"), encoding=encoding)
    source = open_images(tmp_path / "list.csv")
    assert source.pixels[:, 0, 0, 0].tolist() == [4, 3] and not source.skipped


def test_a_pattern_does_not_run_in_circles(photos):
    for name in ("a", "b"):
        (photos / "cats" / name).symlink_to(photos, target_is_directory=True)
    began = time.monotonic()
    assert sorted(reds(open_images("photos/**/*.png"))) == list(range(12))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "photos/cats/3.png\r\n\nphotos/cats/1.png\nphotos/cats/3.png\n"),
        ("photos/list.TXT", "cats/3.png\ncats/1.png"),  # beside the list
        ("photos/cats/list.txt", "3.png\n../cats/1.png\nphotos/cats/nowhere.png"),
        ("list.csv", "photos/cats/3.png\nphotos/cats/1.png\n"),
        ("list.csv", 'label,Path\ncat,photos/cats/3.png\n\n"a, b",photos/cats/1.png\nc,\n'),
        ("list.csv", "id;file_name;label\n17;photos/cats/3.png;x,y\n18;photos/cats/1.png;z\n"),
        ("list.tsv", "filename\tx\nphotos/cats/3.png\t1\nphotos/cats/1.png\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_that_list_images(photos, name, text, encoding):
    Path(name).write_text(text, encoding=encoding, newline="")
    source = open_images(name)
    assert reds(source) == [3, 1] and source.names == ["3.png", "1.png"] or "nowhere" in text
    assert reopen(source.origin).fingerprint == source.fingerprint
    assert [one.reason for one in source.skipped] == (["does not exist"] if "nowhere" in text else [])


def test_lists_that_list_nothing(photos):
    Path("empty.txt").write_text("\n \n")
    with pytest.raises(InputError, match="list '.*empty.txt' is empty"):
        open_images("empty.txt")
    Path("letter.txt").write_text("Dear aunt,\nthank you\n")
    with pytest.raises(MissingDataError, match="none of the 2 files of list '.*letter.txt' exists"):
        open_images("letter.txt")
    Path("long.csv").write_text("path\n" + "a" * 200_000)
    with pytest.raises(InputError, match="long.csv' cannot be read: field larger"):
        open_images("long.csv")
    os.mkfifo("pipe.txt")
    with pytest.raises(InputError, match="not a regular file"):
        open_images("pipe.txt")


def test_estimators_take_them_everywhere(photos, tmp_path):
    paths = sorted(photos.rglob("*.png"))
    fitted = KMeans(3, random_state=0, run_dir=str(tmp_path / "run")).fit(paths)
    assert len(fitted.labels_) == 12 and fitted.image_shape_ == (3, 8, 8)
    np.testing.assert_array_equal(fitted.predict([str(one) for one in paths[::-1]]), fitted.labels_[::-1])
    assert fitted.predict("photos/cats/*.png").shape == (6,) and len(fitted.transform(paths[:2])) == 2
    assert table(tmp_path / "run" / "labels.csv")[0][0] == "cats/0.png"
    result = cli("export", tmp_path / "run", tmp_path / "groups", "--copy")
    assert len(list((tmp_path / "groups").rglob("*.png"))) == 12, result.output
    assert load(tmp_path / "run").labels_.shape == (12,)
    cli("report", tmp_path / "run")
    assert "12 listed files, the first" in (tmp_path / "run" / "report.html").read_text()


def test_a_pattern_with_the_slashes_of_windows(monkeypatch):
    monkeypatch.setattr("os.sep", "\\")
    assert _pattern_of(r"C:\photos\**\*.jpg") == ("C:/photos", ["**", "*.jpg"])


@pytest.mark.parametrize("images", ["photos/**/*.png", "list.txt"])
def test_commands_take_them(photos, images):
    names = [f"photos/{one.relative_to(photos)}" for one in sorted(photos.rglob("*.png"))]
    Path("list.txt").write_text("\n".join(names))
    cli("cluster", images, "-k", 3, "--method", "kmeans", "--out", "run", "--labels", "folders", "-q")
    assert {row[0] for row in table("run/labels.csv")} == {name.removeprefix("photos/") for name in names}
    cli("predict", "run", images, "--out", "p.csv")
    assert [row[:2] for row in table("p.csv")] == [row[:2] for row in table("run/labels.csv")]
    cli("cluster", "--resume", "--out", "run", "-q")
    cli("evaluate", "run", "--labels", "folders")
    cli("embed", "run", "--out", "f.npz")
    cli("export", "run", "groups")
    links = [one for one in Path("groups").rglob("*.png") if one.is_symlink()]
    assert len(links) == 12 and all(one.resolve().is_relative_to(photos.resolve()) for one in links)
