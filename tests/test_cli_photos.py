"""A folder as people have them: mixed sizes, damaged files, strange formats and names, through every command."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from test_cli import TINY, run

SCRIPT = "<script>alert(1)</script>.png"  # a folder and a file in it
NAMES = [
    "plain.png",
    "large.jpg",
    "cmyk.jpg",
    "sixteen.png",
    "moving.gif",
    'quote\'s "name".png',
    SCRIPT,
    "red\x1b[31m\nline.png",
    "=1+1.png",
    "日本.webp",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("nasty")
    rng = np.random.default_rng(0)

    def noise(*shape):
        return rng.integers(0, 255, shape, dtype=np.uint8)

    (root / SCRIPT).parent.mkdir()
    Image.fromarray(noise(30, 20, 3)).save(root / "plain.png")
    Image.fromarray(noise(300, 200, 3)).save(root / "large.jpg")
    Image.fromarray(noise(40, 40, 4), "CMYK").save(root / "cmyk.jpg")
    Image.fromarray(rng.integers(0, 65535, (40, 40), dtype=np.uint16)).save(root / "sixteen.png")
    frames = [Image.fromarray(noise(25, 25)) for _ in range(3)]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:])
    for name in NAMES[5:]:
        Image.fromarray(noise(24, 36, 3)).save(root / name)
    whole = (root / "large.jpg").read_bytes()
    (root / "broken.jpg").write_bytes(whole[: len(whole) // 3])
    (root / "bad\x1b[2Jname.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (root / "notes.txt").write_text("no image")
    (root / "empty.png").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def fitted(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    result = run("cluster", photos, "-k", 3, "--method", "dbc", "--out", out, "--size", "16", *TINY)
    assert "10 images in 3 groups" in result.stdout and "skipped 4 files" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr and "broken.jpg: " in result.stderr
    assert "bad\\x1b[2Jname.png: " in result.stderr
    return out


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_nothing_is_lost(fitted):
    assert {row["path"].removeprefix("./") for row in rows_of(fitted / "labels.csv")} == set(NAMES)
    skipped = json.loads((fitted / "run.json").read_text())["skipped"]
    assert {name for name, _ in skipped} == {"broken.jpg", "bad\x1b[2Jname.png", "notes.txt", "empty.png"}
    assert all(reason for _, reason in skipped)


def test_strict_stops_at_a_damaged_image(photos, tmp_path):
    result = run("cluster", photos, "-k", 3, "--out", tmp_path / "r", "--strict", code=1)
    assert "cannot be read" in result.stderr and "\x1b" not in result.stderr and len(result.stderr.splitlines()) == 1


def test_predict_embed_evaluate_report_export(fitted, photos, tmp_path):
    result = run("predict", fitted, photos, "--out", tmp_path / "new.csv")
    assert "skipped 4 files" in result.stderr and "\x1b" not in result.stderr
    first, second = rows_of(fitted / "labels.csv"), rows_of(tmp_path / "new.csv")
    assert [(row["path"], row["cluster"]) for row in first] == [(row["path"], row["cluster"]) for row in second]
    run("embed", fitted, "--out", tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as found:
        assert set(found["names"].tolist()) == set(NAMES) and np.isfinite(found["features"]).all()
    with open(tmp_path / "y.csv", "w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([["path", "label"], *([row["path"], row["cluster"]] for row in first)])
    scores = json.loads(run("evaluate", fitted, "--labels", tmp_path / "y.csv", "--json").stdout)
    assert scores["acc"] == 1.0
    run("export", fitted, tmp_path / "groups", "--copy")
    assert len(list((tmp_path / "groups").glob("cluster-*/*"))) == len(NAMES)
    run("report", fitted, "--labels", tmp_path / "y.csv")


def test_the_page_runs_no_name(fitted):
    page = (fitted / "report.html").read_text(encoding="utf-8")
    assert SCRIPT.removesuffix(".png") not in page


def test_class_folders_are_needed_where_they_are_asked_for(fitted):
    assert "1 of 10 images lie in a class folder" in run("evaluate", fitted, "--labels", "folders").stderr
