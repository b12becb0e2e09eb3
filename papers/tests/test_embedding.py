"""Embeddings in few dimensions: the two measures, and a row of JULE's Tables 13 and 14."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as theirs

from asterism.errors import InputError
from asterism.images import open_images
from asterism.methods import load
from asterism.metrics import scores
from asterism_papers.evaluation import embedding, protocol
from asterism_papers.evaluation.embedding import Embedded
from asterism_papers.evaluation.printing import score_cell
from asterism_papers.evaluation.protocol import Setting, Task
from asterism_papers.evaluation.table import Entry
from asterism_papers.evaluation.tables import TABLES
from asterism_papers.transfer import embedding as measures
from asterism_papers.transfer.embedding import nearest_neighbor_error, trustworthiness

# ---------------------------------------------------------------- the measures


@pytest.mark.parametrize("n_neighbors", [1, 5, 12])
def test_trustworthiness_is_scikit_learns(n_neighbors):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(150, 7))
    for embedded in (inputs[:, :2], rng.normal(size=(150, 2)), inputs):
        wanted = theirs(inputs, embedded, n_neighbors=n_neighbors)
        assert trustworthiness(inputs, embedded, n_neighbors) == pytest.approx(wanted, abs=1e-5)


def test_trustworthiness_does_not_depend_on_the_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    inputs, embedded = rng.normal(size=(100, 5)), rng.normal(size=(100, 2))
    whole = trustworthiness(inputs, embedded)
    monkeypatch.setattr(measures, "DISTANCES_HELD", 700)  # seven rows at a time
    assert trustworthiness(inputs, embedded) == pytest.approx(whole, abs=1e-6)


def test_trustworthiness_by_hand():
    """Points 0, 1, 3, 7 on a line, embedded in the order 0, 3, 1, 7: each one's nearest is its second in the input."""
    inputs, embedded = np.array([[0.0], [1.0], [3.0], [7.0]]), np.array([[0.0], [2.1], [1.0], [4.0]])
    excess = 4 * (2 - 1)  # r − k of 0's neighbour 2, of 1's neighbour 2, of 2's neighbour 0, of 3's neighbour 1
    assert trustworthiness(inputs, embedded, 1) == pytest.approx(1 - 2 * excess / (4 * 1 * (2 * 4 - 3 * 1 - 1)))


def test_too_many_neighbours():
    with pytest.raises(InputError, match="n_neighbors=6 must be .* less than half of the 10 points"):
        trustworthiness(np.zeros((10, 2)), np.zeros((10, 2)), 6)


def test_error_of_the_nearest_reference():
    references, labels = np.array([[0.0], [10.0]]), np.array([0, 1])
    assert nearest_neighbor_error(references, labels, np.array([[1.0], [9.0], [2.0], [8.0]]), [0, 1, 1, 1]) == 0.25


# ---------------------------------------------------------------- rows


@pytest.fixture
def parts(monkeypatch):
    """Digits in two parts; the second is what open_dataset gives."""
    data = load_digits(n_class=4)
    images = (data.images / 16).astype(np.float32)
    train, test = (
        replace(open_images(images[part]), labels=data.target[part]) for part in (slice(0, 160), slice(160, 280))
    )
    monkeypatch.setattr(protocol, "open_dataset", lambda name, side=None: {"some-test": test}[name])
    return train, test


def row_of(parts, entry, tmp_path):
    task = Task(TABLES["jule-13"], "some-train", entry, 0)
    wide = Entry("jule", "OURS", "wide", {"training.n_epochs": 1})
    return Embedded(50, wide)(task, parts[0], tmp_path / "run", Setting("cpu"))


def test_a_guests_row_is_what_the_class_itself_gives(parts, tmp_path):
    entry = Entry("pca", "PCA, 2D", "2D", {"n_components": 2}, estimator="sklearn.decomposition.PCA")
    row = row_of(parts, entry, tmp_path)
    train, test = (one.pixels.numpy().reshape(len(one), -1) for one in (protocol.shuffled(parts[0], 0), parts[1]))
    model = PCA(2).fit(train)
    labels = np.asarray(protocol.shuffled(parts[0], 0).labels)
    places, found = model.transform(train), model.transform(test)
    assert row["scores"]["nn_error"] == pytest.approx(
        nearest_neighbor_error(places, labels, found, parts[1].labels), abs=0.02
    )
    assert row["scores"]["trust"] == pytest.approx(theirs(test, found, n_neighbors=12), abs=1e-3)
    assert row["protocol"]["labels"] == "scoring only" and row["protocol"]["n_clusters"] == "none"
    assert row["protocol"]["learnt from"] == "160 images"
    assert "n_clusters" not in row["params"]


def test_nca_sees_the_labels_of_so_many_images_and_says_so(parts, tmp_path):
    entry = next(one for one in TABLES["jule-13"].entries if one.paper_row == "NCA, 2D")
    row = row_of(parts, entry, tmp_path)
    assert row["protocol"]["learnt from"] == "50 images"
    assert row["protocol"]["labels"].startswith("of the images learnt from")
    assert row["scores"]["nn_error"] < 0.4


@pytest.mark.parametrize(
    ("estimator", "params", "dimensions"),
    [
        ("jule", {"network.n_features": 3, "training.n_epochs": 1}, 3),
        ("dae-kmeans", {"autoencoder.widths": (8, 2), "autoencoder.training.n_epochs": 1, "normalise": False,
                        "autoencoder.layer_training.n_epochs": 1, "n_init": 1}, 2),
    ],
)  # fmt: skip
def test_a_methods_row(parts, tmp_path, estimator, params, dimensions):
    row = row_of(parts, Entry("m", "M", "v", params, estimator=estimator), tmp_path)
    assert row["protocol"]["dimensions"] == dimensions
    assert 0 <= row["scores"]["nn_error"] <= 1 and 0 < row["scores"]["trust"] <= 1
    assert "acc" in row["scores"]  # its clusters are scored too


def test_a_narrow_layer_keeps_the_clusters_of_the_wide_network(parts, tmp_path):
    entry = Entry(embedding.NARROWED, "OURS, 3D", "3D", {"network.n_features": 3}, estimator="jule")
    row = row_of(parts, entry, tmp_path)
    assert row["protocol"]["dimensions"] == 3 and row["method"] == embedding.NARROWED
    assert "160 features" in row["protocol"]["clusters of"]
    (kept,) = tmp_path.glob("kept-jule-some-train-0-*[0-9a-f]")
    wide, train = load(kept), protocol.shuffled(parts[0], 0)
    assert row["scores"]["acc"] == pytest.approx(scores(np.asarray(train.labels), wide.labels_)["acc"])
    first, last = wide.embedding_[:, :3], train.labels  # three of the 160 units are no embedding
    cut = nearest_neighbor_error(first, last, wide.transform(parts[1])[:, :3], parts[1].labels)
    assert row["scores"]["nn_error"] < cut
    assert row_of(parts, entry, tmp_path)["scores"] == row["scores"]  # the kept run is not fitted again


def test_the_two_tables_share_their_runs():
    one, other = TABLES["jule-13"], TABLES["jule-14"]
    assert (other.record, other.entries) == ("jule-13", one.entries)
    assert one.printed("mnist-train")["OURS, 10D"] == {"nn_error": 0.019}
    assert other.printed("mnist-train")["OURS, 10D"] == {"trust": 0.936}
    rows = {entry.paper_row for entry in one.entries}
    assert rows <= set(one.printed("mnist-train")) and "OURS, 30D" in rows


def test_a_lower_error_reaches_the_papers():
    assert score_cell([0.06], 0.067, True) == "0.060 ≥"
    assert score_cell([0.076], 0.067, True) == "0.076 ≈"
    assert score_cell([0.08], 0.067, True) == "0.080 <"
    assert embedding.LABELLED in "2D with labels"


@pytest.mark.parametrize("scale", [1e-22, 1e20])
def test_trustworthiness_in_any_unit(scale):
    X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    assert trustworthiness(X * np.float32(scale), X[:, :2]) == pytest.approx(trustworthiness(X, X[:, :2]))
