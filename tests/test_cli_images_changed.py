"""What the commands on a run do when its images were changed, moved or deleted after the fit."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from test_cli import run
from test_cli_errors import KMEANS, refused


def photo(path, shade):
    pixels = np.full((12, 12), 20, np.uint8)
    pixels[:, :6] = shade
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path):
    for i in range(6):
        photo(tmp_path / "photos" / "ab"[i % 2] / f"{i}.png", 80 + 20 * i)
    return tmp_path / "photos"


@pytest.fixture
def fitted(photos, tmp_path):
    run("cluster", photos, "-k", 2, "--out", tmp_path / "run", *[one for one in KMEANS if one != "--no-report"])
    return tmp_path / "run"


def test_a_picture_more_changes_nothing(fitted, photos, tmp_path):
    before = (fitted / "report.html").read_text(encoding="utf-8").partition("<main")[2]
    photo(photos / "a" / "new.png", 5)
    result = run("report", fitted)
    assert "1 added" in result.stderr
    assert (fitted / "report.html").read_text(encoding="utf-8").partition("<main")[2] == before
    assert "1 added" in run("embed", fitted, "--out", tmp_path / "f.npz").stderr
    assert np.load(tmp_path / "f.npz")["features"].shape[0] == 6


def test_a_picture_that_was_changed_is_told(fitted, photos, tmp_path):
    photo(photos / "a" / "0.png", 5)
    (photos / "b" / "1.png").unlink()
    line = refused("embed", fitted, "--out", tmp_path / "f.npz")
    assert "(1 changed, 1 gone)" in line and "--images" in line
    result = run("report", fitted)
    assert "1 changed, 1 gone" in result.stderr and "that the run keeps" in result.stderr
    assert 'class="sheet"' in (fitted / "report.html").read_text(encoding="utf-8")


def test_images_that_lie_elsewhere_serve_every_command(fitted, photos, tmp_path):
    moved = photos.rename(tmp_path / "moved")
    run("report", fitted, "--images", moved)
    run("embed", fitted, moved, "--out", tmp_path / "f.npz")
    run("embed", fitted, "--images", moved, "--out", tmp_path / "g.npz")
    run("pick", fitted, "-n", 2, "--out", tmp_path / "p.csv", "--images", moved)
    run("export", fitted, tmp_path / "groups", "--images", moved)
    assert len(list((tmp_path / "groups").rglob("*.png"))) == 6
    scores = json.loads(run("evaluate", fitted, "--labels", "folders", "--json").stdout)
    assert scores == json.loads(run("evaluate", fitted, "--labels", "folders", "--images", moved, "--json").stdout)
    assert not photos.exists()


def test_images_are_exported_from_a_folder_above_and_from_none_that_lacks_all(fitted, photos, tmp_path):
    deeper = tmp_path / "new" / "sub"
    deeper.parent.mkdir()
    photos.rename(deeper)
    run("export", fitted, tmp_path / "groups", "--images", deeper.parent)
    assert {path.resolve().parent.parent for path in (tmp_path / "groups").rglob("*.png")} == {deeper}
    before = sorted((tmp_path / "groups").rglob("*"))
    photo(tmp_path / "other" / "x.png", 5)
    line = refused("export", fitted, tmp_path / "groups", "--images", tmp_path / "other", "--overwrite")
    assert "none of the 6 images is there any more; images: 'a/0.png'; there: 'x.png'" in line
    assert sorted((tmp_path / "groups").rglob("*")) == before


@pytest.fixture
def arrays(tmp_path):
    """A run on a file of images with their classes."""
    images = np.zeros((8, 6, 6), np.uint8)
    images[::2, :3] = 200
    path = tmp_path / "x.npz"
    np.savez(path, images=images, labels=np.arange(8) % 2)
    run("cluster", path, "-k", 2, "--out", tmp_path / "run", *[one for one in KMEANS if one != "--no-report"])
    return tmp_path / "run", path, images


def test_labels_of_a_changed_file_score_what_has_not_changed(arrays):
    fitted, path, images = arrays
    images[3] = 77
    np.savez(path, images=images, labels=np.arange(8) % 2)
    result = run("evaluate", fitted, "--json")
    assert json.loads(result.stdout)["acc"] == 1 and "1 changed" in result.stderr
    assert "1 changed" in run("report", fitted).stderr
    np.savez(path, images=images[:5], labels=np.arange(5) % 2)
    assert "1 changed, 3 gone" in run("evaluate", fitted, "--json").stderr


def test_a_file_that_is_gone_leaves_the_page_and_says_so(arrays):
    fitted, path, _ = arrays
    path.unlink()
    assert "does not exist" in run("report", fitted).stderr
    assert 'class="sheet"' in (fitted / "report.html").read_text(encoding="utf-8")
    result = run("evaluate", fitted, code=1)
    assert "--labels" in result.stderr and "does not exist" in result.stderr


def test_a_label_file_that_is_gone_costs_no_page(photos, tmp_path):
    (tmp_path / "l.csv").write_text("a/0.png,x\nb/1.png,y\n")
    out = tmp_path / "run"
    run("cluster", photos, "-k", 2, "--out", out, "--labels", tmp_path / "l.csv", *KMEANS)
    (tmp_path / "l.csv").unlink()
    assert "going on without known classes" in run("report", out).stderr


def test_the_page_goes_where_it_is_wanted(fitted, tmp_path):
    before = (fitted / "report.html").read_bytes()
    assert str(tmp_path / "new" / "p.html") in run("report", fitted, "--out", tmp_path / "new" / "p.html").stdout
    assert (tmp_path / "new" / "p.html").read_bytes() == before
    run("report", fitted, "--out", tmp_path / "new" / "p.html")  # a page may be replaced …
    (tmp_path / "own.html").write_text("<title>mine</title>")
    assert "no page of Asterism's" in refused("report", fitted, "--out", tmp_path / "own.html")  # … and nothing else
    assert ".html" in refused("report", fitted, "--out", tmp_path / "x.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_that_cannot_be_written_to_gets_its_page_elsewhere(fitted, tmp_path):
    fitted.chmod(0o555)
    try:
        assert "no permission" in refused("report", fitted)
        run("report", fitted, "--out", tmp_path / "p.html")
        run("evaluate", fitted, "--labels", "folders")
    finally:
        fitted.chmod(0o755)
