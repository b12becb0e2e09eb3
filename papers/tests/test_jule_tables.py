"""Rows of JULE's tables: one run looked at from several sides, other methods on its features."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from asterism.images import open_images
from asterism_papers.evaluation import jule_runs, protocol, runs
from asterism_papers.evaluation.protocol import Setting, Task
from asterism_papers.evaluation.table import Entry
from asterism_papers.evaluation.tables import TABLES

FAST = {"training.n_epochs": 1, "network.n_features": 8, "result": "rc"}
RC, SF = (
    Entry("jule", "OURS-RC", "v", FAST),
    Entry("jule-sf", "OURS-SF", "v", {**FAST, "result": "sf"}, estimator="jule"),
)


@pytest.fixture
def digits():
    data = load_digits(n_class=4)
    images = open_images((data.images[:120] / 16).astype(np.float32))
    return replace(images, labels=data.target[:120])


@pytest.fixture
def fits(monkeypatch):
    """How often something was fitted."""
    counted = []
    whole = runs._begin
    monkeypatch.setattr(runs, "_begin", lambda *given: counted.append(given) or whole(*given))
    return counted


def task(table, entry):
    return Task(TABLES[table], "digits", entry, 0)


def test_two_results_and_features_of_one_run(digits, tmp_path, fits):
    setting = Setting("cpu")
    rows = [jule_runs.on_images(task("jule-3", one), digits, tmp_path / "run", setting) for one in (RC, SF)]
    assert len(fits) == 1
    assert [row["method"] for row in rows] == ["jule", "jule-sf"]
    assert [row["params"]["result"] for row in rows] == ["rc", "sf"]
    assert all(row["table"] == "jule-3" and row["dataset"] == "digits" for row in rows)
    assert rows[0]["seconds"] == rows[1]["seconds"] > 0

    gdl = task("jule-4", Entry("ac-gdl", "AC-GDL"))
    row = jule_runs.OnFeatures(RC)(gdl, digits, tmp_path / "gdl", setting)
    assert len(fits) == 2  # ac-gdl alone
    assert row["protocol"]["images"] == protocol.describe("digits", digits)
    assert row["protocol"]["features"]["scores"] == rows[0]["scores"]
    assert row["protocol"]["features"]["params"] == rows[0]["params"]
    kept = next(tmp_path.glob("kept-jule-*"))
    features = runs.load(kept).embedding_
    labels = np.asarray(protocol.shuffled(digits, 0).labels)
    again = gdl.estimator(4).set_params(random_state=3).fit(features)
    assert row["scores"] == pytest.approx(runs.scores(labels, again.labels_))

    purity = jule_runs.NeighborPurity(RC)
    learned = purity(task("jule-fig8", RC), digits, tmp_path / "x", setting)["scores"]
    assert len(fits) == 2
    pixels = Entry("pixels", "raw", "v", {"normalise": True, "n_init": 1}, estimator="kmeans")
    raw = purity(task("jule-fig8", pixels), digits, tmp_path / "pixels", setting)["scores"]
    flat = digits.pixels.flatten(1).numpy()
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    direct = jule_runs.neighbor_purity(flat, np.asarray(digits.labels), (5,))[5]
    assert raw["purity_at_5"] == pytest.approx(direct, abs=0.005)  # in another order: ties
    assert 0 < learned["purity_at_100"] <= learned["purity_at_1"] <= 1


def test_purity_by_hand():
    X, y = np.array([[0.0], [1.0], [3.0], [6.0]]), np.array([0, 0, 1, 1])
    # neighbours: 0→1,2  1→0,2  2→1,0  3→2,1: right are 1,0 | 1,0 | 0,0 | 1,0
    assert jule_runs.neighbor_purity(X, y, (1, 2)) == {1: 0.75, 2: 0.375}
