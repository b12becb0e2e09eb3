"""The commands as a person uses them, on small images; each test calls the program as the shell would."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import asterism.report
from asterism.cli import app
from asterism.cli.describe import summary_of
from asterism.cli.settings import settings_of
from asterism.methods.registry import METHODS, find_method

# So little training that a run takes a moment; slow rates, so that no recipe of the methods' can spoil it.
TINY = [
    *("--set", "training.n_epochs=2", "--set", "training.lr=0.01", "--set", "cluster_initialisation.n_init=2"),
    *("--set", "autoencoder.training.n_epochs=1", "--set", "autoencoder.training.lr=0.001"),
    *("--set", "autoencoder.max_unexplained=1"),
]


def run(*args, code=0):
    result = CliRunner().invoke(app, [str(one) for one in args])
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr, result.exception)
    return result


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes in two folders: dark and bright 12x10 images, with one name in both."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (root / name).mkdir()
        for i in range(12):
            pixels = rng.integers(level - 30, level + 30, (12, 10), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def fitted(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    run("cluster", photos, "-k", 2, "--out", out, "--labels", "folders", "--no-report", *TINY)
    return out


def test_help_does_not_load_what_is_heavy():
    program = "import sys, asterism.cli; print([m for m in ('torch', 'sklearn', 'scipy', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_writes_takes_o_for_out():
    found = typer.main.get_command(app).commands.items()
    commands = {name: {option for one in command.params for option in one.opts} for name, command in found}
    writes = {name for name, options in commands.items() if "--out" in options}
    assert {"cluster", "predict", "embed", "cut", "pick", "report"} <= writes
    assert not {name for name in writes if "-o" not in commands[name]}


def test_every_command_has_help():
    names = ["cluster", "predict", "embed", "evaluate", "report", "export", "methods", "data", "demo", "bench"]
    for name in names:
        assert "Usage: " in run(name, "--help").stdout
    assert all(name in run("--help").stdout for name in names)


def test_cluster_writes_a_run_and_sums_it_up(photos, tmp_path):
    out = tmp_path / "run"
    result = run("cluster", photos, "-k", 2, "--out", out, "--labels", "folders", "--seed", 3, *TINY)
    for part in ("dbc on", "24 images in 2 groups, seed 3", "sizes ", "acc ", "nmi_max ", f"report  {out}/report.html"):
        assert part in result.stdout
    content = json.loads((out / "run.json").read_text())
    assert content["status"] == "finished" and content["labels"] == "folders" and content["seed"] == 3
    assert content["images"]["origin"]["source"] == str(photos) and content["skipped"] == []
    with open(out / "labels.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["path", "cluster", "confidence"] and len(rows) == 24
    assert (out / "report.html").stat().st_size > 0


def test_quiet_says_nothing_and_no_report_writes_none(photos, tmp_path):
    result = run("cluster", photos, "-k", 2, "--out", tmp_path / "r", "--quiet", "--no-report", *TINY)
    assert result.stdout == "" and result.stderr == ""
    assert not (tmp_path / "r" / "report.html").exists()


def test_the_same_seed_gives_the_same_groups_and_another_seed_does_not_share_its_draws(photos, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("cluster", photos, "-k", 5, "--out", tmp_path / name, "--seed", seed, "-q", "--no-report", *TINY)
    a, b, c = ((tmp_path / name / "labels.csv").read_text() for name in "abc")
    assert a == b != c


def test_out_defaults_to_the_next_free_folder(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run("cluster", photos, "-k", 2, "--method", "kmeans", "--no-report", "-q")
    assert sorted(one.name for one in Path("runs").iterdir()) == [f"{photos.name}-kmeans-{n}" for n in (1, 2)]


def test_evaluate_finds_the_labels_again(fitted, photos, tmp_path):
    scores = json.loads(run("evaluate", fitted, "--json").stdout)
    assert list(scores) == ["acc", "nmi_sqrt", "nmi_max", "nmi_arith", "ari", "purity", "n_clusters"]
    assert scores["n_clusters"] == 2 and 0.5 <= scores["acc"] <= 1
    table = tmp_path / "y.csv"
    names = [f"{folder}/{i}.png" for folder in ("dark", "light") for i in range(12)]
    table.write_text("path,label\n" + "".join(f"{name},{name[0]}\n" for name in names))
    assert json.loads(run("evaluate", fitted, "--labels", table, "--json").stdout) == scores
    assert f"acc         {scores['acc']:.4f}" in run("evaluate", fitted).stdout


def test_labels_of_named_sets_are_known(tmp_path):
    run(
        "cluster",
        "data:digits",
        "-k",
        10,
        "--method",
        "kmeans",
        "--set",
        "n_init=1",
        "--out",
        tmp_path / "r",
        "--no-report",
    )
    assert json.loads(run("evaluate", tmp_path / "r", "--json").stdout)["acc"] > 0.6  # k-means on pixels reaches .79


def test_predict_repeats_the_groups_of_the_runs_own_images(fitted, photos, tmp_path):
    result = run("predict", fitted, photos, "--out", tmp_path / "new.csv")
    assert "24 images in 2 groups" in result.stdout
    own = (fitted / "labels.csv").read_text().splitlines()
    new = (tmp_path / "new.csv").read_text().splitlines()
    assert [line.rsplit(",", 1)[0] for line in new] == [line.rsplit(",", 1)[0] for line in own]


def test_predict_resizes_new_images(fitted, tmp_path):
    (tmp_path / "new").mkdir()
    Image.fromarray(np.full((40, 60, 3), 210, np.uint8)).save(tmp_path / "new" / "large.jpg")
    run("predict", fitted, tmp_path / "new", "--out", tmp_path / "new.csv")
    assert (tmp_path / "new.csv").read_text().splitlines()[1].startswith("large.jpg,")


@pytest.mark.parametrize("ending", ["npz", "npy", "csv"])
def test_embed_writes_features_and_names(fitted, photos, tmp_path, ending):
    out = tmp_path / f"f.{ending}"
    run("embed", fitted, "--out", out)
    run("embed", fitted, photos, "--out", tmp_path / f"g.{ending}")
    assert out.read_bytes() == (tmp_path / f"g.{ending}").read_bytes() or ending == "npz"  # a zip knows its time
    if ending == "npz":
        with np.load(out, allow_pickle=False) as found:
            features, names = found["features"], found["names"].tolist()
    elif ending == "npy":
        features, names = np.load(out, allow_pickle=False), (tmp_path / "f.names.csv").read_text().split()[1:]
    else:
        rows = list(csv.reader(out.read_text().splitlines()))
        assert rows[0][:3] == ["path", "f0", "f1"]
        features, names = np.array([row[1:] for row in rows[1:]], np.float32), [row[0] for row in rows[1:]]
    assert features.shape[0] == 24 and features.dtype == np.float32 and names[:2] == ["dark/0.png", "dark/1.png"]


def test_report_is_written_anew(fitted):
    (fitted / "report.html").unlink(missing_ok=True)
    assert "report.html" in run("report", fitted).stdout
    assert (fitted / "report.html").is_file()


def test_like_repeats_a_run_and_set_changes_it(fitted, photos, tmp_path):
    run("cluster", photos, "--like", fitted, "--out", tmp_path / "same", "-q", "--no-report")
    assert (tmp_path / "same" / "labels.csv").read_bytes() == (fitted / "labels.csv").read_bytes()
    run(
        "cluster",
        photos,
        "--like",
        fitted,
        "-k",
        3,
        "--set",
        "boost=3",
        "--out",
        tmp_path / "other",
        "-q",
        "--no-report",
    )
    params = json.loads((tmp_path / "other" / "run.json").read_text())["params"]
    assert params["boost"] == 3 and params["n_clusters"] == 3 and params["training"]["params"]["n_epochs"] == 2


def test_a_finished_run_is_kept_unless_it_is_overwritten(fitted, photos, tmp_path):
    out = tmp_path / "r"
    first = ("cluster", photos, "-k", 2, "--method", "kmeans", "--out", out, "--no-report")
    run(*first)
    assert "finished run" in run(*first, code=1).stderr
    (out / "mine.txt").write_text("not a run's")
    run("cluster", photos, "-k", 3, "--method", "kmeans", "--out", out, "--no-report", "--overwrite")
    assert json.loads((out / "run.json").read_text())["params"]["n_clusters"] == 3 and (out / "mine.txt").exists()


def test_a_mistyped_overwrite_destroys_nothing(fitted, photos, tmp_path):
    out = tmp_path / "r"
    run("cluster", photos, "-k", 2, "--method", "kmeans", "--out", out, "--no-report")
    before = {one.name: one.read_bytes() for one in out.iterdir() if one.is_file()}
    for wrong in (
        ("-k", 99),
        ("-k", 2, "--labels", "none.csv"),
        ("-k", 2, "--set", "x=1"),
        ("-k", 2, "--device", "cuda:7"),
    ):
        run("cluster", photos, *wrong, "--out", out, "--overwrite", code=1)
    assert {one.name: one.read_bytes() for one in out.iterdir() if one.is_file()} == before


def test_resuming_a_finished_run_writes_what_is_missing(photos, tmp_path):
    out = tmp_path / "r"
    run("cluster", photos, "-k", 2, "--method", "kmeans", "--out", out, "--no-report")
    result = run("cluster", "--resume", "--out", out, "--export", tmp_path / "groups")
    assert "nothing is left to fit" in result.stderr and (out / "report.html").is_file()
    assert len(list((tmp_path / "groups").glob("cluster-*/*"))) == 24


def test_arrays_and_vectors(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", images=rng.integers(0, 255, (20, 8, 8), dtype=np.uint8), labels=np.arange(20) % 2)
    np.save(tmp_path / "v.npy", rng.normal(size=(20, 5)).astype(np.float32))
    run("cluster", tmp_path / "x.npz", "-k", 2, "--out", tmp_path / "x", "--no-report", *TINY)
    assert json.loads(run("evaluate", tmp_path / "x", "--json").stdout)["n_clusters"] == 2
    run("cluster", tmp_path / "v.npy", "-k", 2, "--method", "kmeans", "--out", tmp_path / "v", "--no-report")
    run("predict", tmp_path / "v", tmp_path / "v.npy", "--out", tmp_path / "v.csv")


def test_the_demo_replaces_only_a_demo(tmp_path, monkeypatch, fitted):
    def write_report(fitted, *args, **more):  # the map of 1 797 images takes its time
        (fitted.folder.path / "report.html").write_text("a page")
        return fitted.folder.path / "report.html"

    monkeypatch.setattr(asterism.report, "write_report", write_report)
    monkeypatch.chdir(tmp_path)
    fast = [*TINY, "--set", "augmentation=none", "--set", "cluster_initialisation.rounds=0"]
    for _ in range(2):
        result = run("demo", *fast)
    assert "% of the digits lie in the group of their class" in result.stdout
    assert os.path.join("demo", "report.html") in result.stdout and Path("demo/report.html").is_file()
    assert "not a demo" in run("demo", "--out", fitted, code=1).stderr


@pytest.mark.slow
def test_the_demo_is_good(tmp_path):
    run("demo", "--out", tmp_path / "demo")
    assert json.loads(run("evaluate", tmp_path / "demo", "--json").stdout)["acc"] > 0.85


@pytest.mark.parametrize("columns", [None, 40, 200])
def test_texts_of_methods_are_whole_in_every_terminal(monkeypatch, columns):
    if columns is not None:
        monkeypatch.setattr("asterism.cli.describe.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
        monkeypatch.setenv("COLUMNS", str(columns))
    for method in ("fcn", "jule"):
        shown = run("methods", method).stdout
        assert "…" not in shown
        for one in settings_of(find_method(method)()):
            assert " ".join(one.doc.replace("`", "").split()) in " ".join(shown.split()), one.path
        if columns and columns >= 80:
            assert max(map(len, shown.partition("Set with")[0].splitlines())) <= columns
    assert all(summary_of(name) in " ".join(run("methods").stdout.split()) for name in METHODS)


def test_methods_and_data_are_listed(monkeypatch):
    listed = run("methods").stdout
    assert "dbc " in listed and "Li, Qiao, Zhang and Xi" in listed
    shown = run("methods", "dbc").stdout
    for name in ("autoencoder.training.lr", "augmentation.shift", "boost", "training.n_epochs"):
        assert f"\n{name} " in shown
    monkeypatch.delenv("ASTERISM_DATA", raising=False)
    sets = run("data").stdout
    assert "data:digits" in sets and "usps: " in sets
