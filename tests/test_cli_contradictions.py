"""Options that say nothing, or two things, are refused before the work; and what the user made stays as it is."""

import os
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from test_cli import run

KMEANS = ["--method", "kmeans", "--set", "n_init=1", "--no-report", "-q"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with twelve pictures of two kinds, ``p``, a run of them, ``r``, and vectors, ``v.npy``."""
    root = tmp_path_factory.mktemp("place")
    (root / "p").mkdir()
    for i in range(12):
        Image.fromarray(np.full((8, 8), 20 * (i % 2) + i + 150 * (i > 7), np.uint8)).save(root / "p" / f"{i}.png")
    np.save(root / "v.npy", np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32))
    run("cluster", root / "p", "-k", 2, "--out", root / "r", *KMEANS)
    return root


def test_an_export_without_a_whole_group_is_made_again(place, tmp_path):
    shutil.copytree(place / "p", tmp_path / "p")
    run("cluster", tmp_path / "p", "-k", 2, "--out", tmp_path / "r", *KMEANS)
    for i in range(8, 12):
        os.remove(tmp_path / "p" / f"{i}.png")
    run("export", tmp_path / "r", tmp_path / "g")
    assert len(list(tmp_path.glob("g/cluster-*"))) == 1
    run("export", tmp_path / "r", tmp_path / "g", "--overwrite")
    for name in ("cluster-000", "cluster-001"):  # as an older version has left it
        (tmp_path / "g" / name).mkdir(exist_ok=True)
    assert "8 images" in run("export", tmp_path / "r", tmp_path / "g", "--overwrite").stdout


def test_the_runs_own_images_are_embedded_as_they_were_opened(place, tmp_path):
    for option in (["--layout", "NHW"], ["--strict"], ["--scale", "0,1"]):
        told = run("embed", place / "r", "--out", tmp_path / "f.npz", *option, code=1).stderr
        assert f"{option[0]} is for other images" in told
    run("embed", place / "r", place / "p", "--images", place / "p", "--out", tmp_path / "f.npz", code=2)
    run("embed", place / "r", place / "p", "--strict", "--out", tmp_path / "f.npz")


def test_a_list_of_paths_is_no_table_of_features(place, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text("path\na.png\n")
    assert "not written by this command" in run("embed", place / "r", "--out", mine, code=1).stderr
    assert mine.read_text() == "path\na.png\n"
    for ending in ("csv", "npy"):
        for _ in range(2):  # its own are replaced
            run("embed", place / "r", "--out", tmp_path / f"f.{ending}")


def test_a_finished_run_is_not_called_what_it_is_not(place):
    again = ["cluster", place / "p", "-k", 2, "--resume", "--out", place / "r", *KMEANS]
    run(*again, "--size", 8, "--color", "grey")
    for option in (["--outliers"], ["--drop-duplicates"], ["--size", 6], ["--color", "rgb"], ["--no-crop"]):
        assert f"leave {option[0]} out" in run(*again, *option, code=1).stderr
    run(*again, "--pages", "first")
    for option in (["--pages", "mean"], ["--bands", "1"], ["--features", "v.npz"]):
        assert f"leave {option[0]} out" in run(*again, *option, code=1).stderr


def test_the_folder_of_a_copied_run_is_called_by_its_method(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("cluster", place / "p", "--like", place / "r", "--no-report", "-q")
    assert os.listdir("runs") == ["p-kmeans-1"]


def test_vectors_are_not_exported_after_the_work(place, tmp_path):
    told = run(
        "cluster", place / "v.npy", "-k", 3, "--out", tmp_path / "r", "--export", tmp_path / "g", *KMEANS, code=1
    )
    assert "no images to export" in told.stderr and not (tmp_path / "r" / "run.json").exists()
    run("cluster", place / "v.npy", "-k", 3, "--out", tmp_path / "r", *KMEANS)
    for command in (["cut", "-k", 2], ["pick", "-n", 2]):
        more = ["--out", tmp_path / "t.csv", "--export", tmp_path / "g"]
        run(command[0], tmp_path / "r", *command[1:], *more, code=1)
        assert not (tmp_path / "t.csv").exists()


def test_copies_are_made_by_an_export(place, tmp_path):
    for command in (["cut", place / "r", "-k", 1], ["pick", place / "r", "-n", 2], ["cluster", place / "p", *KMEANS]):
        out = tmp_path / command[0]
        assert "--export DIR" in run(*command, "--out", out, "--copy", code=2).stderr and not out.exists()


def test_the_number_of_groups_is_called_as_it_was_typed(place):
    assert "--k-max 2 leaves" in run("suggest-k", place / "v.npy", "--k-max", 2, code=1).stderr


@pytest.mark.filterwarnings("always::UserWarning")
def test_no_option_is_advised_that_the_command_has_not(place, tmp_path):
    (tmp_path / "pages").mkdir()
    page = Image.fromarray(np.full((8, 8), 90, np.uint8))
    page.save(tmp_path / "pages" / "a.tif", save_all=True, append_images=[page])
    np.save(tmp_path / "bands.npy", np.zeros((6, 16, 16, 5), np.uint8))
    shutil.copytree(place / "p", tmp_path / "mixed")
    tifffile.imwrite(
        tmp_path / "mixed" / "b.tif", np.zeros((16, 16, 5), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    np.save(tmp_path / "floats.npy", np.linspace(0, 1000, 384, dtype=np.float32).reshape(6, 8, 8))
    to = ["--out", tmp_path / "o.csv"]
    said = run("predict", place / "r", tmp_path / "pages", *to).stderr
    assert "the first of each is taken" in said and "--pages" not in said
    said = run("predict", place / "r", tmp_path / "bands.npy", *to, code=1).stderr
    assert said.endswith("has 5 channels and cannot become grey\n") and "--bands" not in said
    assert "--pages mean" in run("cluster", tmp_path / "pages", "-k", 1, "--out", tmp_path / "r", *KMEANS[:-1]).stderr
    assert "grey is wanted\n" in run("predict", place / "r", tmp_path / "mixed", *to, "--overwrite").stderr
    said = run("cluster", tmp_path / "mixed", "-k", 2, "--out", tmp_path / "m", *KMEANS[:-1]).stderr
    assert "; --bands 3,2,1 picks by number" in said
    said = run("predict", place / "r", tmp_path / "floats.npy", *to, code=1).stderr
    assert "with --scale LOW,HIGH" in said and "X" not in said
    run("predict", place / "r", tmp_path / "floats.npy", *to, "--scale", "0,1000")


def test_a_seed_that_a_fit_takes_is_taken_without_a_number_of_groups(place, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_OFFLINE", "1")
    many = ["--seed", 5_000_000_000, "--out", tmp_path / "r", *KMEANS]
    run("cluster", place / "v.npy", *many)
    said = run("cluster", place / "p", "-k", 2, "--seed", 10**30, "--out", tmp_path / "s", *KMEANS, code=1).stderr
    assert "2147483647" not in said and "[0, 4611686018427387904]" in said
