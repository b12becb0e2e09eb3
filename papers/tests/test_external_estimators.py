"""Classes of other libraries in a table: found by their path, given pixels, k and the seed, recorded, printed."""

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.cluster import AgglomerativeClustering, Birch
from sklearn.datasets import load_digits

from asterism.errors import InputError, MissingDependencyError
from asterism.external import external_class
from asterism.images import open_images
from asterism_papers.evaluation import protocol, records, runs
from asterism_papers.evaluation.bench import run_tables
from asterism_papers.evaluation.external_estimators import (
    external_entry,
    external_estimator,
    missing_external,
    plain,
    recorded_external,
)
from asterism_papers.evaluation.printing import format_table
from asterism_papers.evaluation.protocol import Setting, Task
from asterism_papers.evaluation.records import recorded
from asterism_papers.evaluation.table import Entry
from asterism_papers.evaluation.tables import TABLES

BIRCH = "sklearn.cluster.Birch"


@pytest.fixture
def digits(monkeypatch):
    data = load_digits(n_class=4)
    images = open_images((data.images[:120] / 16).astype(np.float32))
    images = replace(images, labels=data.target[:120])
    monkeypatch.setattr(protocol, "open_images", lambda name, **options: images)
    monkeypatch.setattr(protocol, "code_commit", lambda: "c0ffee")
    return images


def bench(tmp_path, entry=None, **options):
    given = [] if entry is None else [entry]
    return run_tables(["dbc-4"], external=given, seeds=[0], results_dir=tmp_path, **options)


# ---------------------------------------------------------------- by its path


def test_a_class_is_found_by_its_path():
    assert external_class(BIRCH) is Birch
    entry = external_entry("sklearn.cluster:Birch", ["threshold=0.1", "branching_factor=20"])
    assert (entry.method, entry.variant) == (BIRCH, "threshold 0.1 branching_factor 20")
    assert entry.params == {"threshold": 0.1, "branching_factor": 20}
    assert external_entry(BIRCH).variant == "its defaults"
    assert external_entry("sklearn.cluster.AgglomerativeClustering", ["linkage=average"]).params == {
        "linkage": "average"
    }


@pytest.mark.parametrize(
    ("path", "settings", "message"),
    [
        ("sklearn.cluster.Brich", [], "no class sklearn.cluster.Brich"),
        ("nope", [], "no class nope"),
        ("sklearn.klusters.Birch", [], "no class sklearn.klusters.Birch"),
        ("sklearn.decomposition.PCA", [], "has no fit_predict"),
        (BIRCH, ["treshold=1"], "settings: treshold=1 cannot be used: .* of threshold, branching_factor"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(path, settings, message):
    with pytest.raises(InputError, match=message):
        external_entry(path, settings)


def test_a_package_that_is_absent_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "clustpy", None)  # as if it were not installed
    with pytest.raises(MissingDependencyError, match=r"pip install 'asterism-clustering\[peers\]'"):
        external_class("clustpy.deep.DCN")
    with pytest.raises(MissingDependencyError, match="pip install nowhere_to_be_found"):
        external_class("nowhere_to_be_found.Thing")
    assert "peers" in missing_external("clustpy.deep.DCN")
    assert missing_external(BIRCH) == missing_external("dbc") == ""


def test_a_package_that_lacks_another_says_which(monkeypatch, tmp_path):
    (tmp_path / "halfway.py").write_text("import absent_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match="halfway.Thing needs absent_dependency"):
        external_class("halfway.Thing")


def test_number_of_clusters_and_seed_go_where_they_are_taken():
    assert external_estimator(Entry(BIRCH, "b"), "usps", 7, 3).n_clusters == 7
    kmeans = external_estimator(Entry("sklearn.cluster.KMeans", "k"), "usps", 7, 3)
    assert (kmeans.n_clusters, kmeans.random_state) == (7, 3)
    assert external_estimator(Entry("sklearn.mixture.GaussianMixture", "g"), "usps", 7, 3).n_components == 7
    assert external_estimator(Entry("sklearn.cluster.DBSCAN", "d", params={"eps": 2.0}), "usps", 7, 3).eps == 2.0
    assert (
        external_estimator(
            Entry("sklearn.decomposition.PCA", "p", params={"n_components": 2}), "usps", 7, 3
        ).n_components
        == 2
    )


# ---------------------------------------------------------------- in a table


def test_its_row_is_what_the_class_itself_gives(digits, tmp_path):
    (row,) = bench(tmp_path, external_entry(BIRCH, ["threshold=0.3"]))
    ordered = protocol.shuffled(digits, 0)
    pixels = ordered.pixels.numpy().reshape(120, -1)
    wanted = Birch(n_clusters=4, threshold=0.3).fit_predict(pixels)
    assert row["scores"] == runs.scores(np.asarray(ordered.labels), wanted)
    assert (row["method"], row["dataset"], row["seed"], row["commit"]) == (BIRCH, "usps", 0, "c0ffee")
    assert row["params"]["threshold"] == 0.3 and row["params"]["n_clusters"] == 4
    assert row["protocol"]["class"] == BIRCH
    assert row["command"] == f"asterism bench dbc-4 --method {BIRCH} --set threshold=0.3 --only dataset=usps --seeds 0"
    assert row["current"]


def test_it_is_printed_beside_the_methods_and_not_run_again(digits, tmp_path):
    bench(tmp_path, external_entry(BIRCH, ["threshold=0.3"]))
    said = []
    rows = bench(tmp_path, external_entry(BIRCH, ["threshold=0.3"]), echo=said.append)
    assert said == [f"dbc-4 usps {BIRCH} (threshold 0.3) seed 0: recorded already"]
    assert len(rows) == 1
    (line,) = [one for one in format_table("dbc-4", rows).split("\n") if BIRCH in one]
    assert f"{rows[0]['scores']['acc']:.3f}" in line and "threshold 0.3" in line
    assert "other parameters than today's" not in format_table("dbc-4", rows)
    assert run_tables(["dbc-4"], only={"method": BIRCH}, show=True, results_dir=tmp_path) == rows


def test_what_it_says_of_its_own_settings_is_a_line(digits, tmp_path):
    with pytest.raises(InputError, match="sklearn.cluster.KMeans: .*n_init"):
        bench(tmp_path, external_entry("sklearn.cluster.KMeans", ["n_init=-5"]))


def test_a_clusterer_that_finds_its_own_number(digits, tmp_path):
    (row,) = bench(tmp_path, external_entry("sklearn.cluster.DBSCAN", ["eps=1.0"]))
    assert row["scores"]["n_clusters"] >= 1


def test_features_of_jule_can_be_clustered_too(digits, tmp_path):
    from asterism_papers.evaluation import jule_runs

    rc = Entry("jule", "OURS-RC", "v", {"training.n_epochs": 1, "network.n_features": 8, "result": "rc"})
    entry = external_entry("sklearn.cluster.AgglomerativeClustering")
    task = Task(TABLES["jule-4"], "digits", entry, 0)
    row = jule_runs.OnFeatures(rc)(task, digits, tmp_path / "external", Setting("cpu"))
    features = runs.load(next(tmp_path.glob("kept-jule-*"))).embedding_[
        np.random.default_rng(protocol.derived_seed(0, ("order of the images",))).permutation(120)
    ]
    labels = np.asarray(protocol.shuffled(protocol.shuffled(digits, 0), 0).labels)
    assert row["scores"] == runs.scores(labels, AgglomerativeClustering(4).fit_predict(features))


def test_a_table_of_more_than_clusterings_takes_none(tmp_path):
    with pytest.raises(InputError, match="deepcluster-1 takes no other methods.*dbc-3, dbc-4"):
        run_tables(["deepcluster-1"], external=[external_entry(BIRCH)], results_dir=tmp_path)


def test_torchs_generator_is_put_back(digits, tmp_path, monkeypatch):
    class Seeding(Birch):
        def fit_predict(self, X, y=None):
            torch.manual_seed(5)
            return super().fit_predict(X)

    module = ModuleType("seeding_guest")
    module.Seeding = Seeding
    monkeypatch.setitem(sys.modules, "seeding_guest", module)
    before = torch.random.get_rng_state()
    bench(tmp_path, external_entry("seeding_guest.Seeding"))
    assert torch.equal(torch.random.get_rng_state(), before)


# ---------------------------------------------------------------- declared ones


DECLARED = Entry("peer", "AEC", "v", {"sizes": (1, 2)}, estimator="absent_peer.Peer")


def test_a_declared_guest_that_is_absent_is_passed_over(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES, "dbc-4", replace(TABLES["dbc-4"], entries=(DECLARED, Entry(BIRCH, BIRCH))))
    said = []
    rows = run_tables(["dbc-4"], seeds=[0], results_dir=tmp_path, echo=said.append)
    assert "not run: absent_peer.Peer is not installed: pip install absent_peer" in said[0]
    assert [row["method"] for row in rows] == [BIRCH]


def test_a_row_of_a_declared_guest_is_judged_by_the_entrys_own_settings(tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES, "dbc-4", replace(TABLES["dbc-4"], entries=(DECLARED,)))
    row = {"dataset": "usps", "method": "peer", "seed": 0, "params": {"sizes": [1, 2], "other": 3, "n_clusters": 10}}
    row |= {"protocol": {"variant": "v", "images": "x"}, "table": "dbc-4", "scores": {}, "seconds": 1.0}
    row |= {"hardware": {}, "history": {}}
    records.append(tmp_path / "dbc-4.jsonl", row)
    records.append(tmp_path / "dbc-4.jsonl", {**row, "params": {**row["params"], "sizes": [1, 3]}})
    assert [one["current"] for one in recorded(tmp_path / "dbc-4.jsonl")] == [True, False]


def test_rows_of_a_declared_guest_are_no_guests_by_hand():
    row = {"method": BIRCH, "protocol": {"variant": "v"}}
    assert recorded_external([], [row, row]) == (Entry(BIRCH, BIRCH, "v"),)
    assert recorded_external([Entry(BIRCH, "x", "v")], [row]) == ()
    assert recorded_external([], [{"method": "dbc", "protocol": {"variant": "v"}}]) == ()


def test_the_papers_peers_are_clustpys():
    for table, method in (("dbc-3", "aec"), ("dbc-3", "dcn"), ("dbc-4", "aec"), ("dbc-5", "den")):
        (entry,) = [one for one in TABLES[table].entries if one.method == method]
        assert entry.class_name == f"clustpy.deep.{method.upper()}"
        assert entry.paper_row in TABLES[table].printed(TABLES[table].datasets[0])


@pytest.mark.parametrize("name", ["AEC", "DEN", "DCN"])
def test_clustpys_classes_run(digits, tmp_path, name):
    pytest.importorskip("clustpy", reason="ClustPy is not installed: pip install 'asterism-clustering[peers]'")
    short = [f"{one}=1" for one in ("pretrain_epochs", *([] if name == "DEN" else ["clustering_epochs"]))]
    (row,) = bench(tmp_path, external_entry(f"clustpy.deep.{name}", short), device="cpu")
    assert row["scores"]["n_clusters"] <= 4 and row["versions"]["clustpy"]
    again = Task(TABLES["dbc-4"], "usps", external_entry(f"clustpy.deep.{name}", short), 0)
    assert runs.perform(again, digits, tmp_path / "again", Setting("cpu"))["scores"] == row["scores"]


def test_parameters_become_plain():
    assert plain({"a": (1, "b"), "c": Birch, "d": None}) == {"a": [1, "b"], "c": "Birch", "d": None}
