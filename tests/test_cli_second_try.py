"""What happens after a mistake: a corrected command runs, a damaged folder is told, nothing is lost."""

import json
import os

import numpy as np
import pytest

from asterism.methods import METHODS
from test_cli import run
from test_cli_errors import refused

FAST = ["--method", "kmeans", "--no-report", "-q"]
WRONG = ["--method", "deepcluster", "--set", "network.architecture=nope", "--no-report", "-q"]


@pytest.fixture
def images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels)
    np.savez(tmp_path / "others.npz", images=255 - pixels)
    return tmp_path / "images.npz"


@pytest.fixture
def finished(images, tmp_path):
    run("cluster", images, "-k", 3, "--out", tmp_path / "run", *FAST)
    return tmp_path / "run"


def test_a_corrected_command_takes_the_place_of_one_that_failed(images, tmp_path):
    assert "nope" in refused("cluster", images, "-k", 3, "--out", tmp_path / "run", *WRONG)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    run("cluster", images, "-k", 3, "--out", tmp_path / "run", *FAST)


def test_a_failed_run_that_left_a_checkpoint_is_kept(images, tmp_path):
    refused("cluster", images, "-k", 3, "--out", tmp_path / "run", *WRONG)
    (tmp_path / "run" / "checkpoint").mkdir(exist_ok=True)
    (tmp_path / "run" / "checkpoint" / "some").write_text("")
    assert "(failed)" in refused("cluster", images, "-k", 3, "--out", tmp_path / "run", *FAST)


def test_an_error_before_the_run_began_leaves_the_earlier_one(finished, tmp_path):
    refused("cluster", tmp_path / "nothing", "-k", 3, "--out", finished, "--overwrite", *FAST)
    assert json.loads((finished / "run.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        (["-k", 7], "-k 3, not 7"),
        (["--seed", 5], "--seed 0, not 5"),
        (["--method", "jule"], "--method kmeans"),
        (["--set", "n_init=3"], "other parameters"),
    ],
)
def test_a_finished_run_is_not_another_one(finished, typed, word):
    assert word in refused("cluster", "--resume", "--out", finished, "--no-report", *typed)


def test_a_finished_run_is_of_its_images(finished, images, tmp_path):
    assert "others.npz" not in run("cluster", images, "--resume", "--out", finished, "--no-report").output
    line = refused("cluster", tmp_path / "others.npz", "--resume", "--out", finished, "--no-report")
    assert "holds a finished run on" in line


def test_labels_that_cannot_be_had_are_not_those_of_the_run(finished, tmp_path):
    """Told with --resume they were written into run.json first: what was told before was lost."""
    before = (finished / "run.json").read_text()
    wrong = ["--labels", tmp_path / "nothing.csv"]
    assert "does not exist" in refused("cluster", "--resume", "--out", finished, "--no-report", "-q", *wrong)
    assert (finished / "run.json").read_text() == before


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described(name):
    assert f"--method {name} --set " in run("methods", name).output


@pytest.mark.parametrize("ending", ["NPZ", "NPY", "CSV"])
def test_endings_in_capitals(finished, tmp_path, ending):
    run("embed", finished, "--out", tmp_path / f"x.{ending}")
    assert (tmp_path / f"x.{ending}").stat().st_size > 0
    assert not [name for name in os.listdir(tmp_path) if "partial" in name]


def test_seeds_beyond_64_bits(images, tmp_path):
    assert "--seed" in refused("cluster", images, "-k", 3, "--seed", 10**20, "--out", tmp_path / "r", *FAST)
    assert "4294967295" in run("suggest-k", images, "--seed", 2**33, code=2).stderr


def test_equal_images_have_no_number_of_groups(tmp_path):
    np.save(tmp_path / "same.npy", np.full((50, 8, 8), 7, np.uint8))
    assert "all images are the same" in refused("suggest-k", tmp_path / "same.npy")


def test_warnings_are_a_line_and_quiet_is_quiet(tmp_path):
    np.save(tmp_path / "same.npy", np.full((20, 8, 8), 7, np.uint8))
    command = ["cluster", tmp_path / "same.npy", "-k", 2, "--method", "ac-gdl", "--no-report"]
    lines = run(*command, "--out", tmp_path / "a").stderr.splitlines()
    assert any(line.startswith("asterism: warning: ") for line in lines) and not any(".py:" in line for line in lines)
    assert "warning" not in run(*command, "--out", tmp_path / "b", "-q").stderr


@pytest.mark.parametrize(
    "damage",
    [
        {"method": None},
        {"params": 5},
        {"seed": "a"},
        {"images": 5},
        {"images": {"origin": {"source": None}, "shape": [8, 8]}},
        {"images": {"origin": {"source": None}, "shape": [10**6] * 3}},
        {"labels": 5},
        {"skipped": 5},
        {"seconds": None},
        {"status": 3},
    ],
)
def test_a_damaged_description_is_told(finished, images, tmp_path, damage):
    path = finished / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    line = refused("predict", finished, images, "--out", tmp_path / "new.csv")
    assert "damaged" in line and next(iter(damage)) in line


def test_a_description_without_an_end(finished, images, tmp_path):
    (finished / "run.json").write_text("[" * 100_000)
    assert "cannot be read" in refused("predict", finished, images, "--out", tmp_path / "new.csv")


def test_history_that_is_none_is_passed_over(finished):
    (finished / "history.jsonl").write_text('[]\n{"round": 0}\n')
    run("report", finished)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["network.architecture=inception_v3"], "does not take images of 8x8"),
        (["network.architecture=fcn_resnet50"], "torchvision's classifiers"),
        (["network.architecture=resnet18", "network.width=0.5"], "network.width is for alexnet and vgg16"),
        (["network.width=1e6"], "network.width"),
    ],
)
def test_networks_that_do_not_fit(images, tmp_path, more, words):
    settings = [part for one in more for part in ("--set", one)]
    out = ["--out", tmp_path / "run", "--no-report", "-q"]
    assert words in refused("cluster", images, "-k", 3, "--method", "deepcluster", *settings, *out)
