"""Groups as folders: every image once, no name can leave the folder, nothing of the user's is touched."""

import csv
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asterism.cli.export import check_export, export_groups, unused_name
from asterism.errors import InputError
from asterism.images.listing import Listed
from asterism.runs import RunFolder
from test_cli import run

KMEANS = ["--method", "kmeans", "--set", "n_init=1", "--no-report", "-q"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for folder in ("a", "b", "b/deep"):
        (root / folder).mkdir()
        for name in (
            "one.png",
            "ONE.png",
            "<b>'\"\n.png",
            b"\xff\xe9.png".decode(errors="surrogateescape"),
            "=1+1.png",
        ):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(root / folder / name)
    return root


@pytest.mark.parametrize("how", ["--link", "--copy"])
def test_every_image_lies_in_the_folder_of_its_group(photos, tmp_path, how):
    groups = tmp_path / "groups"
    run("cluster", photos, "-k", 3, "--out", tmp_path / "r", *KMEANS, "--export", groups, how)
    with open(tmp_path / "r" / "labels.csv", newline="") as lines:
        labels = {row["path"]: int(row["cluster"]) for row in csv.DictReader(lines)}
    with open(groups / "export.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["path"]: int(row["cluster"]) for row in rows} == labels and len(rows) == 15
    originals = {path.read_bytes() for path in photos.rglob("*.png")}
    for row in rows:
        file = groups / row["file"]
        assert file.parent == groups / f"cluster-{int(row['cluster']):03d}"
        assert file.is_symlink() == (how == "--link") and file.read_bytes() in originals
    assert len({row["file"].casefold() for row in rows}) == 15


def test_arrays_become_png(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (12, 6, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels)
    run("cluster", tmp_path / "x.npz", "-k", 2, "--out", tmp_path / "r", *KMEANS)
    assert "12 images" in run("export", tmp_path / "r", tmp_path / "g").stdout
    found = {int(path.stem): np.array(Image.open(path)) for path in (tmp_path / "g").glob("*/*.png")}
    assert all(np.array_equal(found[i], pixels[i]) for i in range(12))


def test_vectors_are_no_images(tmp_path):
    np.save(tmp_path / "v.npy", np.eye(8, dtype=np.float32))
    run("cluster", tmp_path / "v.npy", "-k", 2, "--out", tmp_path / "r", *KMEANS)
    assert "vectors" in run("export", tmp_path / "r", tmp_path / "g", code=1).stderr


def test_an_earlier_export_is_replaced_and_nothing_else(photos, tmp_path):
    run("cluster", photos, "-k", 3, "--out", tmp_path / "r", *KMEANS)
    groups = tmp_path / "g"
    run("export", tmp_path / "r", groups)
    assert "holds groups already" in run("export", tmp_path / "r", groups, code=1).stderr
    (groups / "notes.txt").write_text("mine")
    run("export", tmp_path / "r", groups, "--overwrite")
    assert (groups / "notes.txt").read_text() == "mine" and len(list(groups.glob("cluster-*/*"))) == 15
    (groups / "cluster-000" / "mine.txt").write_text("mine")
    assert "are not asterism's" in run("export", tmp_path / "r", groups, "--overwrite", code=1).stderr
    assert (groups / "cluster-000" / "mine.txt").read_text() == "mine"
    assert len(list(groups.glob("cluster-*/*"))) == 16  # refused before anything was removed
    assert len(list(photos.rglob("*.png"))) == 15  # links were removed, not what they lead to


def test_a_link_in_the_place_of_a_group_is_not_followed(photos, tmp_path):
    run("cluster", photos, "-k", 3, "--out", tmp_path / "r", *KMEANS)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "cluster-001").symlink_to(tmp_path / "elsewhere")
    run("export", tmp_path / "r", tmp_path / "g", code=1)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_manifest_cannot_make_it_remove_other_files(photos, tmp_path):
    run("cluster", photos, "-k", 3, "--out", tmp_path / "r", *KMEANS)
    groups, victim = tmp_path / "g", tmp_path / "victim.txt"
    victim.write_text("mine")
    run("export", tmp_path / "r", groups)
    with open(groups / "export.csv", "a") as lines:
        lines.write(f"../victim.txt,0,x\ncluster-000/../../victim.txt,0,x\n{victim},0,x\n")
    run("export", tmp_path / "r", groups, "--overwrite")
    assert victim.read_text() == "mine"


def test_groups_are_not_put_among_the_images(photos, tmp_path):
    result = run("cluster", photos, "-k", 2, "--out", tmp_path / "r", *KMEANS, "--export", photos / "groups", code=1)
    assert "among the images" in result.stderr and not (tmp_path / "r" / "run.json").exists()
    result = run("cluster", photos, "-k", 2, "--out", tmp_path / "g" / "r", *KMEANS, "--export", tmp_path / "g", code=1)
    assert "holds the run" in result.stderr and not (tmp_path / "g").exists()


def test_groups_are_not_put_where_a_pattern_would_find_them(photos, monkeypatch):
    monkeypatch.chdir(photos / "a")
    for pattern, folder in (("**/*.png", "groups"), (f"{photos}/*/*/*.png", photos / "a")):
        with pytest.raises(InputError, match="among the images"):
            check_export(Path(folder), pattern, overwrite=False)
    for pattern, folder in (("*.png", "groups"), ("../b/**", "groups"), ("s3://a/**/*.png", "groups")):
        check_export(Path(folder), pattern, overwrite=False)


def test_what_was_fetched_is_copied_since_the_cache_forgets_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path))
    kept = tmp_path / "remote" / "list" / "digest"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"picture")
    export_groups(np.zeros(1, int), ["a.png"], tmp_path / "g", {"a.png": Listed(str(kept), "a.png", 7, 0)})
    kept.unlink()
    assert (tmp_path / "g" / "cluster-000" / "a.png").read_bytes() == b"picture"


def test_what_systems_leave_where_a_person_has_looked_is_in_nobodys_way(tmp_path):
    groups, files = tmp_path / "g", {"a.png": Listed(str(tmp_path / "a.png"), "a.png", 1, 0)}
    (tmp_path / "a.png").write_bytes(b"a")
    groups.mkdir()
    (groups / ".DS_Store").write_bytes(b"\0")
    assert RunFolder(groups).look() is None
    for overwrite in (False, True):
        check_export(groups, None, overwrite)
        export_groups(np.zeros(1, int), ["a.png"], groups, files)
        (groups / "cluster-000" / "Thumbs.db").write_bytes(b"\0")
    check_export(groups, None, overwrite=True)
    export_groups(np.ones(1, int), ["a.png"], groups, files)
    assert sorted(path.name for path in groups.iterdir()) == [".DS_Store", "cluster-001", "export.csv"]


def test_images_that_have_gone_are_left_out(tmp_path):
    (tmp_path / "p").mkdir()
    for i in range(6):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(tmp_path / "p" / f"{i}.png")
    run("cluster", tmp_path / "p", "-k", 2, "--out", tmp_path / "r", *KMEANS)
    os.remove(tmp_path / "p" / "3.png")
    result = run("export", tmp_path / "r", tmp_path / "g")
    assert "1 image no longer there" in result.stderr and "5 images" in result.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.png", "c/b.png"),
        ("../../etc/passwd", "c/passwd"),
        ("..", "c/image"),
        ("", "c/image"),
        (".png", "c/png"),
        ("x\n\x1b[31m.png", "c/x__[31m.png"),
        ("\\\\server\\share\\x.jpg", "c/x.jpg"),
        ("é" * 300 + ".jpeg", "c/" + "é" * 100 + ".jpeg"),
        ("x.tar.p/n", "c/n"),
    ],
)
def test_names_are_one_plain_component(name, expected):
    assert unused_name("c", name, None, {}) == expected


def test_names_have_only_letters_that_the_file_system_knows(monkeypatch):
    """Of a shell with LC_ALL=C, or Latin-1."""
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "latin-1")
    assert unused_name("c", "漢é.png", None, {}) == "c/_é.png"


def test_names_that_clash_are_numbered():
    taken: dict[str, int] = {}
    found = [unused_name("c", name, None, taken) for name in ("a/x.png", "b/X.png", "c/x.png", "x-2.png")]
    assert found == ["c/x.png", "c/X-2.png", "c/x-3.png", "c/x-2-2.png"]
    began = time.process_time()  # not the square of their number
    assert [unused_name("c", f"{i}/y.png", None, taken) for i in range(20_000)][-1] == "c/y-20000.png"
    assert time.process_time() - began < 2


def test_of_many_files_of_one_name_none_tries_the_names_of_the_others():
    """A folder an image, each with ``image.jpg``: a million took days."""
    asked = []

    class Taken(dict):
        def __contains__(self, name):
            asked.append(name)
            return super().__contains__(name)

    taken = Taken()
    found = [unused_name("c", f"{i}/image.jpg", None, taken) for i in range(50)]
    assert found[-1] == "c/image-50.jpg" and len({*found}) == 50 and len(asked) <= 2 * 50


def test_json_names_survive(tmp_path, photos):
    run("cluster", photos, "-k", 2, "--out", tmp_path / "r", *KMEANS)
    assert json.loads((tmp_path / "r" / "run.json").read_text())["images"]["n"] == 15
