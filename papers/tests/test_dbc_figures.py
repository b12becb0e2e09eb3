"""Figures 4, 7 and 8 of DBC as numbers."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from asterism.images import open_images
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.dbc_figures import figures_of_dbc, sure_and_wrong
from asterism_papers.evaluation.jule_runs import neighbor_purity
from asterism_papers.evaluation.protocol import Setting, Task
from asterism_papers.evaluation.table import AS_PAPER, Entry
from asterism_papers.evaluation.tables import TABLES


def test_sure_mistakes_by_hand():
    labels = np.array([5, 5, 5, 7, 7, 7])
    clusters = np.array([0, 0, 1, 1, 1, 0])  # 0 stands for 5, 1 for 7
    confidence = np.array([0.9, 0.7, 0.8, 0.61, 0.5, 0.6])
    assert sure_and_wrong(labels, clusters, confidence) == (4 / 6, 1 / 4)
    assert sure_and_wrong(labels, clusters, np.full(6, 0.3)) == (0.0, 0.0)


def test_a_cluster_without_a_class_is_wrong():
    labels, clusters = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1])
    assert sure_and_wrong(labels, clusters, np.ones(4)) == (1.0, 1 / 4)


@pytest.mark.parametrize("method", ["fcae-kmeans", "dbc"])
def test_a_row_holds_what_the_figures_speak_of(tmp_path, method):
    data = load_digits(n_class=4)
    images = replace(open_images((data.images[:120] / 16).astype(np.float32)), labels=data.target[:120])
    short = {"autoencoder.training.n_epochs": 1, "autoencoder.n_features": 12}
    short |= {"n_init": 2} if method == "fcae-kmeans" else {"training.n_epochs": 1, "cluster_initialisation.rounds": 0}
    task = Task(TABLES["dbc-fig4"], "digits", Entry(method, "x", params=short), 0)
    row = figures_of_dbc(task, images, tmp_path / "run", Setting("cpu"))
    found, model = row["scores"], runs.load(tmp_path / "run")
    ordered = protocol.shuffled(images, 0)
    features = model.transform(replace(ordered, labels=None))
    assert found["zeros"] == pytest.approx((features == 0).mean(), abs=1e-6) and 0 < found["zeros"] < 1
    assert found["purity_at_10"] == neighbor_purity(features, ordered.labels, (10,))[10]
    wanted = sure_and_wrong(ordered.labels, model.labels_, model.confidence_)
    assert (found["sure"], found["sure_wrong"]) == pytest.approx(wanted, abs=1e-6)


def test_three_figures_share_their_runs():
    one = TABLES["dbc-fig4"]
    assert [entry.method for entry in one.entries] == ["fcae-kmeans", "dbc", "dbc"]
    assert one.entries[1].variant == AS_PAPER
    for name in ("dbc-fig7", "dbc-fig8"):
        assert TABLES[name].record == "dbc-fig4" and TABLES[name].entries == one.entries
    assert one.paper["says"] == ["the activations in the feature layer are very sparse"]
