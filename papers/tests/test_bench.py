"""The bench on tiny tables: what a run records, that it resumes, and what is printed from it."""

import json
import os
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import asterism
import asterism.methods.soft_clusterer as soft_clusterer
from asterism import DBC, ImageSource, KMeans
from asterism.errors import InputError, MissingDataError, StorageError
from asterism.machine import Launch
from asterism.training import run as run_module
from asterism.training.triplets import TripletLoss
from asterism_papers.evaluation import bench, printing, protocol, records, runs
from asterism_papers.evaluation.bench import run_tables
from asterism_papers.evaluation.printing import format_table
from asterism_papers.evaluation.records import _completed, recorded
from asterism_papers.evaluation.status import list_tables
from asterism_papers.evaluation.table import Entry, Panel, Table
from asterism_papers.evaluation.tables import TABLES

TINY = {
    "training.n_epochs": 5,
    "training.batch_size": 16,
    "training.lr": 0.05,
    "autoencoder.training.n_epochs": 2,
    "autoencoder.n_features": 6,
    "autoencoder.max_unexplained": 1.0,
    "cluster_initialisation.method": "k-means",
    "cluster_initialisation.n_init": 2,
    "cluster_initialisation.rounds": 0,
}


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors on a busy machine: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_images(contrast=150):
    """Sixty 8×8 images of three classes, sorted by class as USPS is: a stripe at three heights, plain or (30) faint."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    pixels = rng.integers(0, 210 - contrast, (60, 8, 8, 1))
    for image, label in zip(pixels, labels, strict=True):
        image[1 + 2 * label : 3 + 2 * label] += contrast
    return ImageSource(torch.from_numpy(pixels.astype(np.uint8)), [str(i) for i in range(60)], labels, ["a", "b", "c"])


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Tables dbc-4 and dbc-fig9 in small, on images of our own; results go to ``tiny.results``."""
    tables = {
        "dbc-4": Table(
            "dbc-4",
            "Small",
            ("usps",),
            (Entry("kmeans", "KMS", params={"n_init": 2}), Entry("dbc", "DBC", params=TINY)),
        ),
        "dbc-fig9": Table(
            "dbc-fig9",
            "Small curves",
            ("mnist-test",),
            (Entry("dbc", "DBC", "plain", TINY), Entry("dbc", "DBC", "boosted", {**TINY, "boost": 4.0})),
            also=("usps",),
            shows="curves",
            curves=("acc", "nmi_max"),
            panels=(Panel("(a) boost", (("2", "plain"), ("4", "boosted"))),),
        ),
        "dbc-fig6": Table(
            "dbc-fig6",
            "Small histogram",
            ("mnist-test",),
            (Entry("dbc", "DBC", "plain", TINY),),
            shows="histogram",
            curves=("score_histogram",),
        ),
    }
    for name, table in tables.items():
        monkeypatch.setitem(TABLES, name, table)
    opened = []

    def open_images(name, **options):
        opened.append(name)
        return tiny_images(150 if name == "data:usps" else 30)

    monkeypatch.setattr(protocol, "open_images", open_images)
    monkeypatch.setattr(protocol, "code_commit", lambda: "c0ffee")
    return SimpleNamespace(results=tmp_path / "results", opened=opened)


def kmeans(tiny, **options):
    options = {"only": {"method": "kmeans"}, "seeds": [0], "results_dir": tiny.results, **options}
    return run_tables(["dbc-4"], **options)


def lines(tiny, name="dbc-4"):
    return (tiny.results / f"{name}.jsonl").read_text().splitlines()


# ---------------------------------------------------------------- one row


def test_a_run_is_one_row_with_everything_that_made_it(tiny):
    (row,) = kmeans(tiny, seeds=[3])
    (line,) = lines(tiny)
    assert json.loads(line) == {key: value for key, value in row.items() if key != "current"}
    assert tiny.opened == ["data:usps"]
    assert (row["table"], row["dataset"], row["method"], row["seed"]) == ("dbc-4", "usps", "kmeans", 3)
    assert row["scores"].keys() == {"acc", "nmi_sqrt", "nmi_max", "nmi_arith", "ari", "purity", "n_clusters"}
    assert row["scores"]["acc"] == 1.0  # scored in the shuffled order
    assert row["scores"]["n_clusters"] == 3
    own = {"n_clusters": 3, "center": False, "normalise": False, "n_init": 2}
    assert row["params"] == {**own, "precision": "32-true"}
    assert row["commit"] == "c0ffee"
    assert row["hardware"]["threads"] == torch.get_num_threads()
    assert row["versions"]["numpy"] == np.__version__
    assert row["seconds"] >= 0
    assert row["resumed"] is None
    assert row["protocol"]["variant"] == "as in the paper"
    assert row["protocol"]["images"] == "data:usps, 60 images, 8x8"
    assert row["protocol"]["n_clusters"] == "number of classes (3)"
    assert row["protocol"]["labels"] == "scoring only"
    assert row["command"] == (
        "asterism bench dbc-4 --only 'dataset=usps,method=kmeans,variant=as in the paper' --seeds 3"
    )
    assert list((tiny.results / "runs").iterdir()) == []  # nothing is left of the run but its row


def test_the_fit_sees_shuffled_images_and_no_labels(tiny, monkeypatch):
    seen = {}
    fit = KMeans.fit

    def spy(self, X, y=None):
        seen[self.random_state] = X
        return fit(self, X, y)

    monkeypatch.setattr(KMeans, "fit", spy)
    kmeans(tiny, seeds=[0, 1])
    for images in seen.values():
        assert images.labels is None and images.label_names is None
    names = {seed: images.names for seed, images in seen.items()}
    assert sorted(names[0], key=int) == [str(i) for i in range(60)]
    assert names[0] != sorted(names[0], key=int)
    assert names[0] != names[1]


def test_defaults_that_nothing_names_are_recorded_too(tiny):
    (row,) = run_tables(["dbc-4"], only={"method": "dbc"}, seeds=[0], results_dir=tiny.results)
    training = row["params"]["autoencoder"]["params"]["training"]["params"]
    assert training["n_epochs"] == 2
    assert row["params"]["augmentation"] == DBC.DEFAULTS["augmentation"] == "none"
    assert training["optimizer"] == DBC.DEFAULTS["autoencoder"].resolved("training").optimizer
    assert not {"device", "run_dir", "random_state", "verbose"} & {
        *row["params"],
        *row["params"]["autoencoder"]["params"],
    }
    assert row["history"] == {"rounds": {"autoencoder": 2, "joint": row["history"]["rounds"]["joint"]}}


# ---------------------------------------------------------------- what is run


def test_a_recorded_run_is_not_run_again(tiny, monkeypatch):
    first = kmeans(tiny, seeds=[0, 1])
    monkeypatch.setattr(KMeans, "fit", lambda *_: pytest.fail("was run again"))
    said = []
    assert kmeans(tiny, seeds=[0, 1], echo=said.append) == first
    assert len(lines(tiny)) == 2
    assert said == [f"dbc-4 usps kmeans (as in the paper) seed {seed}: recorded already" for seed in (0, 1)]


def test_a_run_of_another_table_is_taken_over(tiny, monkeypatch):
    """Only by a table that treats runs alike and shows what was kept, and only of the same method and parameters."""
    (first,) = kmeans(tiny, seeds=[0])
    ours = replace(TABLES["dbc-4"].entries[0], paper_row="Another", variant="named otherwise")
    monkeypatch.setitem(TABLES, "dbc-6", Table("dbc-6", "Other", ("usps",), (ours,)))
    said = []
    (row,) = run_tables(["dbc-6"], seeds=[0], results_dir=tiny.results, echo=said.append)
    assert said == ["dbc-6 usps kmeans (named otherwise) seed 0: recorded in another table"] and row["current"]
    assert (row["table"], row["protocol"]["variant"]) == ("dbc-6", "named otherwise")
    assert row["command"].startswith("asterism bench dbc-6 ") and "named otherwise" in row["command"]
    assert all(row[key] == first[key] for key in ("scores", "seconds", "params", "commit", "hardware", "seed"))
    for other in (
        {"entries": (replace(ours, params={"n_init": 3}),)},
        {"entries": (replace(ours, method="sc-njw", params={}),)},
        {"metrics": ("svm",)},
        {"curves": ("score_histogram",)},
        {"preprocessing": "as the code wants it"},
        {"perform": runs.perform},
    ):
        table = replace(TABLES["dbc-6"], name="dbc-5", **other)
        task = protocol.Task(table, "usps", table.entries[0], 0)
        assert records.borrowed(task, first["protocol"]["images"], tiny.results) is None


def test_tables_that_share_runs_count_them_once(tiny, monkeypatch):
    kmeans(tiny, seeds=[0, 1])
    monkeypatch.setitem(TABLES, "dbc-5", replace(TABLES["dbc-4"], name="dbc-5", runs_of="dbc-4"))
    rows = run_tables(["dbc-4", "dbc-5"], only={"method": "kmeans"}, show=True, results_dir=tiny.results)
    assert sorted(row["seed"] for row in rows) == [0, 1]


def test_only_the_seed_that_is_missing_is_run(tiny):
    kmeans(tiny, seeds=[1])
    rows = kmeans(tiny, seeds=range(3))
    assert [json.loads(line)["seed"] for line in lines(tiny)] == [1, 0, 2]
    assert sorted(row["seed"] for row in rows) == [0, 1, 2]


def test_three_seeds_are_run_by_default_and_all_recorded_ones_shown(tiny):
    kmeans(tiny, seeds=[7])
    assert sorted(row["seed"] for row in kmeans(tiny, seeds=None)) == [0, 1, 2, 7]
    assert [row["seed"] for row in kmeans(tiny, seeds=[7])] == [7]


def test_other_defaults_make_another_run_and_keep_the_old_row_out_of_the_mean(tiny, monkeypatch):
    kmeans(tiny)
    table = TABLES["dbc-4"]
    changed = Table("dbc-4", "Small", ("usps",), (Entry("kmeans", "KMS", params={"n_init": 3}), table.entries[1]))
    monkeypatch.setitem(TABLES, "dbc-4", changed)
    rows = kmeans(tiny)
    assert [(row["params"]["n_init"], row["current"]) for row in rows] == [(2, False), (3, True)]
    text = format_table("dbc-4", rows)
    assert "Recorded with other parameters than today's, kept and not averaged: 1 (kmeans, as in the paper)." in text
    (line,) = [line for line in text.splitlines() if "KMS (kmeans)" in line]
    assert line.split("|")[-3].strip() == "1"  # one seed in the mean


def test_another_size_of_the_set_is_another_run(tiny, monkeypatch):
    kmeans(tiny)
    half = tiny_images().subset(np.arange(0, 60, 2))
    monkeypatch.setattr(protocol, "open_images", lambda name, **options: half)
    rows = kmeans(tiny)
    assert [row["protocol"]["images"] for row in rows] == ["data:usps, 60 images, 8x8", "data:usps, 30 images, 8x8"]
    found = [line.split("|")[1].strip() for line in format_table("dbc-4", rows).splitlines() if "(kmeans)" in line]
    assert found == ["usps, 60 images, 8x8", "usps, 30 images, 8x8"]


def test_show_runs_nothing(tiny, monkeypatch):
    rows = kmeans(tiny)
    monkeypatch.setattr(protocol, "open_images", lambda name, **options: pytest.fail("opened images"))
    assert kmeans(tiny, show=True, seeds=None) == rows
    assert run_tables(["dbc-4"], show=True, results_dir=tiny.results / "elsewhere") == []
    assert "usps: no run is recorded" in format_table("dbc-4", [])


def test_a_set_that_is_not_here_is_said_and_passed_over(tiny, monkeypatch):
    def missing(name, **options):
        raise MissingDataError(f"{name} is not on this machine: put it there")

    monkeypatch.setattr(protocol, "open_images", missing)
    said = []
    assert kmeans(tiny, echo=said.append) == []
    assert said == ["dbc-4 usps: not run: data:usps is not on this machine: put it there"]


def test_a_table_says_where_a_missing_set_belongs(monkeypatch, tmp_path):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    text = format_table("dbc-6", [])
    assert "| coil100-128 |" in text  # the paper's values are shown all the same
    (tmp_path / "coil100-32.npz").write_bytes(b"")
    text = format_table("dbc-6", [])
    assert "| coil100-128 |" not in text and "| coil100 |" in text
    assert "coil100-128: no run is recorded; data:coil100-128 is not on this machine: " in text
    assert str(tmp_path / "coil100-128.npz") in text


def test_several_processes_keep_out_of_each_others_runs(tiny):
    (entry,) = [entry for entry in TABLES["dbc-4"].entries if entry.method == "kmeans"]
    task = protocol.Task(TABLES["dbc-4"], "usps", entry, 0)
    said = []
    with runs.claimed(tiny.results / "runs" / task.folder_name) as free:
        assert free
        assert kmeans(tiny, echo=said.append) == []
    assert said[-1].endswith("another process is at it")
    assert len(kmeans(tiny)) == 1


# ---------------------------------------------------------------- killed runs


@pytest.fixture
def killed(tiny, monkeypatch):
    """dbc-fig9's first run, killed in its second joint epoch; checkpoints are written every round."""
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", -1.0)
    calls, kills = [], [("joint", 1)]
    train_epoch = soft_clusterer.train_epoch

    def counted(*args):
        calls.append(args[5])
        if args[5] in kills:
            kills.remove(args[5])
            raise KeyboardInterrupt
        return train_epoch(*args)

    monkeypatch.setattr(soft_clusterer, "train_epoch", counted)
    options = {"only": {"variant": "plain"}, "seeds": [0]}
    with pytest.raises(KeyboardInterrupt):
        run_tables(["dbc-fig9"], results_dir=tiny.results, **options)
    assert recorded(tiny.results / "dbc-fig9.jsonl") == []
    assert len(calls) == 2
    del calls[:]
    return SimpleNamespace(calls=calls, options=options, results=tiny.results)


def resume(killed):
    (row,) = run_tables(["dbc-fig9"], results_dir=killed.results, **killed.options)
    return row


def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(killed, tmp_path):
    row = resume(killed)
    assert killed.calls[0] == ("joint", 1)
    assert row["resumed"]["commit"] == "c0ffee"
    assert 0 < row["resumed"]["seconds"] <= row["seconds"]
    (whole,) = run_tables(["dbc-fig9"], results_dir=tmp_path / "whole", **killed.options)
    assert whole["resumed"] is None
    assert row["scores"] == whole["scores"]
    assert row["history"] == whole["history"]
    assert len(row["history"]["curves"]["acc"]) == row["history"]["rounds"]["joint"] + 1


@pytest.fixture
def unrecorded(tiny, monkeypatch):
    """A finished run of dbc-4 whose row could not be written."""

    def full(path, row):
        raise StorageError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(records, "append", full)
        with pytest.raises(StorageError):
            kmeans(tiny)
    monkeypatch.setattr(protocol, "code_commit", lambda: "later")
    return tiny


def test_a_finished_run_without_a_row_is_not_run_again(unrecorded, monkeypatch):
    monkeypatch.setattr(KMeans, "fit", lambda *_: pytest.fail("was run again"))
    (row,) = kmeans(unrecorded)
    assert row["scores"]["acc"] == 1.0
    assert row["commit"] == "c0ffee"  # the code that ran, not the code that wrote


def test_a_finished_run_of_other_images_is_run_again(unrecorded, monkeypatch):
    monkeypatch.setattr(protocol, "open_images", lambda name, **options: tiny_images(100))
    (row,) = kmeans(unrecorded)
    assert row["commit"] == "later"


def test_state_of_other_code_is_begun_anew(killed, monkeypatch):
    checkpoint = next((killed.results / "runs").rglob("joint.safetensors"))
    checkpoint.write_bytes(checkpoint.with_name("autoencoder.safetensors").read_bytes())  # state of another shape
    monkeypatch.setattr(protocol, "code_commit", lambda: "later")
    row = resume(killed)
    assert killed.calls[0] == ("joint", 0)
    assert (row["commit"], row["resumed"]) == ("later", None)


def test_a_folder_of_other_images_is_begun_anew(killed, monkeypatch):
    other = tiny_images(30)
    other.pixels[0, 0, 0] += 1
    monkeypatch.setattr(protocol, "open_images", lambda name, **options: other)
    assert resume(killed)["resumed"] is None
    assert killed.calls[0] == ("joint", 0)


# ---------------------------------------------------------------- curves


def test_watching_the_rounds_changes_nothing():
    images = tiny_images(30)
    results = []
    for watch in (None, lambda hard: {"sum": int(hard.sum()), "seen": len(hard)}):
        estimator = DBC(3, random_state=0)
        protocol.set_dotted(estimator, TINY)
        estimator.on_round = watch
        results.append(estimator.fit(images))
    plain, watched = results
    np.testing.assert_array_equal(plain.labels_, watched.labels_)
    np.testing.assert_array_equal(plain.cluster_centers_, watched.cluster_centers_)
    joint = [entry for entry in watched.history_ if entry["stage"] == "joint"]
    assert all(entry["seen"] == 60 for entry in joint)
    known = {"sum", "seen", "seconds"}
    for one, other in zip(plain.history_, watched.history_, strict=True):
        assert {k: v for k, v in one.items() if k not in known} == {k: v for k, v in other.items() if k not in known}


def test_a_watcher_cannot_change_the_assignments():
    def vandal(hard):
        hard[:] = 0
        return {}

    results = []
    for watch in (None, vandal):
        estimator = DBC(3, random_state=0)
        protocol.set_dotted(estimator, TINY)
        estimator.on_round = watch
        results.append(estimator.fit(tiny_images(30)).history_)
    assert [entry.get("changed") for entry in results[0]] == [entry.get("changed") for entry in results[1]]


def test_curves_are_printed_by_panel(tiny):
    rows = run_tables(["dbc-fig9"], seeds=[0], results_dir=tiny.results)
    text = format_table("dbc-fig9", rows)
    for title in ("mnist-test · (a) boost · ACC at epoch", "mnist-test · (a) boost · NMI-max at epoch"):
        assert title in text
    curve = next(row for row in rows if row["protocol"]["variant"] == "boosted")["history"]["curves"]["acc"]
    (line, _) = [line for line in text.splitlines() if line.startswith("| 4 ")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1] == f"{curve[0]:.3f}"
    assert cells[-2:] == [f"{curve[-1]:.3f}", "1"]
    assert "boost of 1.5 learns very slowly" in text


def test_a_figure_runs_on_the_set_that_was_chosen(tiny):
    (row,) = run_tables(["dbc-fig9"], only={"dataset": "usps", "variant": "plain"}, seeds=[0], results_dir=tiny.results)
    assert row["dataset"] == "usps"
    assert "usps · (a) boost" in format_table("dbc-fig9", [row])
    assert "mnist-test" not in format_table("dbc-fig9", [row], only={"dataset": "usps"}).partition("The paper:")[0]


def test_curves_of_runs_that_stopped_early_stay_where_they_were():
    rows = [{"history": {"curves": {"acc": curve}}} for curve in ([0.1, 0.2], [0.3, 0.5, 0.7, 0.9])]
    assert [printing._at(rows, "acc", epoch) for epoch in (0, 1, 2, -1)] == ["0.200", "0.350", "0.450", "0.550"]


def test_curves_of_a_panel_are_means_of_the_same_seeds():
    rows = {
        label: [{"seed": seed} for seed in seeds] for label, seeds in {"a": (0, 1, 2), "b": (1, 0), "c": ()}.items()
    }
    shared = printing._of_shared_seeds(rows)
    assert {label: sorted(row["seed"] for row in some) for label, some in shared.items()} == {
        "a": [0, 1],
        "b": [0, 1],
        "c": [],
    }
    apart = {"a": [{"seed": 0}, {"seed": 1}], "b": [{"seed": 1}]}
    assert printing._of_shared_seeds(apart) == apart


def test_the_histogram_is_printed_in_percent(tiny):
    rows = run_tables(["dbc-fig6"], seeds=[1, 0], results_dir=tiny.results)
    text = format_table("dbc-fig6", rows)
    assert "mnist-test · plain · seed 0 · % of the images by score of the first cluster" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| 0 ")]
    cells = [float(cell) for cell in line.strip("| ").split("|")]
    histogram = next(row for row in rows if row["seed"] == 0)["history"]["curves"]["score_histogram"][0]
    assert printing._shares([1, 2, 3, 4]) == ["30.0", "70.0"]
    assert cells[1:] == [round(100 * (histogram[i] + histogram[i + 1]) / 60, 1) for i in range(0, 20, 2)]


# ---------------------------------------------------------------- the file of results


def test_a_nested_parameter_that_came_later_leaves_old_rows_valid_too():
    usual = {"start": "trained", "part": {"class": "Part", "params": {"n": 3, "late": 1}}, "late": 2}
    old = {"start": "random", "part": {"class": "Part", "params": {"n": 4}}}
    assert _completed(old, usual) == {
        "start": "random",
        "part": {"class": "Part", "params": {"n": 4, "late": 1}},
        "late": 2,
    }
    other = {"part": {"class": "Other", "params": {"n": 4}}}
    assert _completed(other, usual)["part"] == other["part"]
    known = {"part": {"class": "TripletLoss", "params": {"gamma": 4.0}}}  # not the default's class: its own defaults
    assert _completed(known, usual)["part"]["params"] == {**TripletLoss().get_params(), "gamma": 4.0}


def test_a_parameter_that_came_later_leaves_old_rows_valid_at_its_default(tiny, monkeypatch):
    kmeans(tiny)
    path = tiny.results / "dbc-4.jsonl"
    row = json.loads(path.read_text())
    del row["params"]["center"]
    path.write_text(json.dumps(row) + "\n")
    assert [one["current"] for one in recorded(path)] == [True]
    records.append(path, {**row, "params": {**row["params"], "center": False}})  # the same run, recorded since
    assert [one["params"]["center"] for one in recorded(path)] == [False]
    table = TABLES["dbc-4"]
    entries = (Entry("kmeans", "KMS", params={"n_init": 2, "center": True}),)
    monkeypatch.setitem(TABLES, "dbc-4", Table("dbc-4", table.title, table.datasets, entries))
    assert [one["current"] for one in recorded(path)] == [False]


def test_a_line_that_a_crash_cut_off_harms_no_other(tiny):
    kmeans(tiny)
    path = tiny.results / "dbc-4.jsonl"
    with open(path, "a") as file:
        file.write('{"table": "dbc-4", "dataset": "us')
    rows = kmeans(tiny, seeds=[0, 1])
    assert sorted(row["seed"] for row in rows) == [0, 1]
    assert len(path.read_text().splitlines()) == 3


def test_of_equal_runs_the_last_counts(tiny):
    (row,) = kmeans(tiny)
    records.append(tiny.results / "dbc-4.jsonl", {**row, "seconds": 12345.0})
    assert [row["seconds"] for row in recorded(tiny.results / "dbc-4.jsonl")] == [12345.0]


def test_a_row_is_written_at_once(monkeypatch, tmp_path):
    written = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: written.append(data) or write(handle, data))
    records.append(tmp_path / "new" / "t.jsonl", {"text": "x" * 100_000})
    assert len(written) == 1 and written[0].endswith(b"\n")


def test_results_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        records.append(tmp_path / "file" / "t.jsonl", {})
    with pytest.raises(StorageError, match="choose another folder"), runs.claimed(tmp_path / "file" / "runs" / "x"):
        pass


def test_results_lie_in_the_checkout_or_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert bench.default_results_dir() == tmp_path / "results"
    inner = tmp_path / "docs"
    for folder in (inner, tmp_path / ".git", tmp_path / "src" / "asterism"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert bench.default_results_dir() == tmp_path / "papers" / "results"


def test_the_commit_is_that_of_the_package(monkeypatch, tmp_path):
    package, papers = tmp_path / "asterism", tmp_path / "papers"
    for folder in (package, papers / "evaluation"):
        folder.mkdir(parents=True)
        (folder / "errors.py").write_text("")
    monkeypatch.setattr(asterism, "__file__", str(package / "__init__.py"))
    monkeypatch.setattr(protocol, "__file__", str(papers / "evaluation" / "protocol.py"))
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]

    def git(*words):
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert protocol.code_commit() is None
    git("init")
    git("commit", "--allow-empty", "-m", "somebody's own")
    assert protocol.code_commit() is None  # lies in a checkout, is not tracked there
    git("add", ".")
    git("commit", "-m", "x")
    head = git("rev-parse", "HEAD").strip()
    assert protocol.code_commit() == head
    (tmp_path / "notes.txt").write_text("outside of the package")
    assert protocol.code_commit() == head
    for changed in (package / "errors.py", papers / "evaluation" / "errors.py"):
        changed.write_text("changed")
        assert protocol.code_commit() == f"{head}-dirty"
        changed.write_text("")


# ---------------------------------------------------------------- print


def made_row(
    method, seed, acc, nmi, *, variant="as in the paper", seconds=10.0, gpu=None, images="11000 images, 16x16"
):
    hardware = {"cpu": "Fast CPU", "cores": 4, "threads": 2, **({"gpu": gpu} if gpu else {})}
    return {
        "table": "dbc-4",
        "dataset": "usps",
        "method": method,
        "seed": seed,
        "scores": {"acc": acc, "nmi_max": nmi},
        "seconds": seconds,
        "hardware": hardware,
        "protocol": {"variant": variant, "images": f"data:usps, {images}"},
    }


GOLDEN = """\
dbc-4 · Table 4: Clustering performance on USPS

| set  | method                 | variant                       | ACC paper | ACC             | NMI-max paper | NMI-max         | seeds | seconds   |
|------|------------------------|-------------------------------|-----------|-----------------|---------------|-----------------|-------|-----------|
| usps | KMS (kmeans)           | as in the paper               | 0.535*    | 0.460 <         | 0.531*        | 0.440 <         | 1     | 1.2       |
| usps | AEC (aec)              | ClustPy                       | 0.715     |                 | 0.651         |                 |       |           |
| usps | IEC (iec)              | from its abstract             | 0.767     |                 | 0.641         |                 |       |           |
| usps | FCAE-KMS (fcae-kmeans) | as in the paper               | 0.667     |                 | 0.645         |                 |       |           |
| usps | FCAE-KMS (fcae-kmeans) | with augmentation             | 0.667     |                 | 0.645         |                 |       |           |
| usps | FCAE-KMS (fcae-kmeans) | ten features without switches | 0.667     |                 | 0.645         |                 |       |           |
| usps | DBC (dbc)              | as in the paper               | 0.743     | 0.735 ± 0.021 ≈ | 0.724         | 0.724 ± 0.005 ≥ | 2     | 100       |
| usps | DBC (dbc)              | with augmentation             | 0.743     | 0.900 ± 0.100 ≥ | 0.724         | 0.700 ± 0.000 < | 3     | 90 to 400 |
| usps | DBC (dbc)              | from linkage                  | 0.743     |                 | 0.724         |                 |       |           |
| usps | DBC (dbc)              | augmentation and linkage      | 0.743     |                 | 0.724         |                 |       |           |
| usps | DBC (dbc)              | groups learnt from k-means    | 0.743     |                 | 0.724         |                 |       |           |

≥ reaches the paper's figure, ≈ misses it by at most 0.01, < is below; mean ± sd over the seeds.
'as in the paper': no augmentation, the networks of Table 2; optimiser, rates and epochs are silent there and ours.
'from linkage': ours; JULE's merging instead of k-means, and the network learns 2k groups, then k, twice, before its own scores are the target. 'augmentation and linkage': with changed images up to there.
'groups learnt from k-means': by k-means alone, 20k, 10k, 5k, 2k, k groups, each number twice; k groups ten times where a cluster has fewer than 100 images.
'ten features without switches': ten linear features, un-pooling by repetition.
'ClustPy': as that library has the method, by its defaults, on pixels in [0, 1]; pip install 'asterism-clustering[peers]'.
* KMS: suspected misprint, the same two figures as KMS on MNIST in Table 3, likely copied; JULE's paper gives K-means \
ACC .467 and NMI-sqrt .447 on this set.
usps: rows not run yet: 8, of fewer than 3 seeds: 2 (asterism bench dbc-4 --only dataset=usps; what they take: asterism bench --list dbc-4).
Runs on Fast CPU, 4 cores, 2 threads: 5.
Runs on Big GPU, Fast CPU, 4 cores, 2 threads: 1.
Source: Li, Qiao, Zhang and Xi, Discriminatively boosted image clustering with fully convolutional auto-encoders, \
arXiv 1703.07980 (2017), Table 4. Again: asterism bench dbc-4"""  # noqa: E501


def test_golden_table():
    rows = [
        made_row("kmeans", 0, 0.46, 0.44, seconds=1.23),
        made_row("dbc", 0, 0.72, 0.72, seconds=90),
        made_row("dbc", 1, 0.75, 0.7276, seconds=110),
        made_row("dbc", 0, 0.8, 0.7, variant="with augmentation", seconds=400),
        made_row("dbc", 1, 0.9, 0.7, variant="with augmentation", seconds=350),
        made_row("dbc", 2, 1.0, 0.7, variant="with augmentation", seconds=90, gpu="Big GPU"),
    ]
    assert format_table("dbc-4", rows) == GOLDEN


def test_a_table_leaves_out_what_was_not_asked_for():
    text = format_table("dbc-4", [made_row("dbc", 0, 0.5, 0.5)], only={"method": "dbc"})
    assert [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| usps")] == ["DBC (dbc)"] * 5


def test_other_images_than_the_papers_are_confessed():
    text = format_table("dbc-4", [made_row("dbc", 0, 0.5, 0.5, images="9298 images, 16x16")])
    assert "data:usps, 9298 images, 16x16: the paper has 11000 images, 16x16." in text
    assert "the paper has" not in format_table("dbc-4", [made_row("dbc", 0, 0.5, 0.5)])


def test_runs_of_several_commits_are_confessed():
    rows = [{**made_row("dbc", seed, 0.5, 0.5), "commit": commit} for seed, commit in enumerate(("a" * 40, "b" * 40))]
    assert "Runs of 2 commits are averaged: aaaaaaaaaa, bbbbbbbbbb." in format_table("dbc-4", rows)
    assert "commits" not in format_table("dbc-4", rows[:1])


def test_marks_compare_what_is_printed():
    assert printing.score_cell([0.7426], 0.743) == "0.743 ≥"  # the paper rounds too
    assert printing.score_cell([0.733], 0.743) == "0.733 ≈"
    assert printing.score_cell([0.732], 0.743) == "0.732 <"
    assert printing.score_cell([0.732], None) == "0.732"


def test_two_digits_are_printed_as_two():
    text = format_table("dbc-3", [])
    assert re_cells(text, "DCN (processed MNIST)")[3:6] == ["0.93", "", "0.85"]
    assert re_cells(text, "AEC")[3] == "0.760"
    assert re_cells(text, "DEC (dec)")[5] == "-"


def re_cells(text, method):
    (line,) = [line for line in text.splitlines() if f"| {method} " in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_are_listed():
    listed = {one["name"]: one for one in list_tables()}
    assert list(listed) == list(TABLES)
    assert listed["dbc-4"]["paper"].endswith("Table 4")
    assert listed["dbc-4"]["methods"] == ["aec", "dbc", "fcae-kmeans", "iec", "kmeans"]
    assert listed["dbc-4"]["runs_a_seed"] == len(TABLES["dbc-4"].entries)
    assert listed["dbc-fig9"]["runs_a_seed"] == 14


@pytest.mark.parametrize(
    ("names", "only", "message"),
    [
        (["dbc-99"], {}, "no table 'dbc-99'.*There are: dbc-3, dbc-4"),
        (["dbc-4"], {"colour": "red"}, "only: colour=red cannot be used: choose by dataset, method, variant"),
        (["deepcluster-1"], {"variant": "AlexNet: Sobel"}, r"fits no row of deepcluster-1: add dataset=imagenet"),
        (["dbc-4"], {"dataset": "uspps"}, "only: dataset=uspps fits nothing in dbc-4: usps"),
        (["dbc-4"], {"method": "dcb"}, "only: method=dcb fits nothing in dbc-4: kmeans, aec, iec, fcae-kmeans, dbc"),
        (
            ["dbc-4"],
            {"variant": "magic"},
            "only: variant=magic fits nothing in dbc-4: as in the paper, ClustPy, from",
        ),
    ],
)
def test_a_choice_that_fits_nothing_says_what_there_is(names, only, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run_tables(names, only=only, show=True, results_dir=tmp_path)


def test_a_choice_may_fit_one_table_of_several(tiny):
    assert run_tables(["dbc-4", "dbc-fig9"], only={"method": "kmeans"}, seeds=[0], results_dir=tiny.results)


def test_bench_is_not_for_torchrun(monkeypatch, tmp_path):
    monkeypatch.setattr("asterism_papers.evaluation.bench.launch", lambda: Launch(0, 2, 0, 2))
    with pytest.raises(InputError, match="without torchrun"):
        run_tables(["dbc-4"], show=True, results_dir=tmp_path)
