"""FCN's tables: what the paper compares with, and rows that share a representation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.manifold import LocallyLinearEmbedding

from asterism import ImageSource, Training
from asterism.images import open_images
from asterism.runtime import Runtime
from asterism.training import Run
from asterism_papers.evaluation.splitting import linear_svm
from asterism_papers.methods import AECNN, CNN, NNAECNN, PCACNN
from asterism_papers.methods.representations import barycenters, ensemble_projection, locally_linear
from test_fcn import photos, small_backbone  # noqa: F401  (fixtures)


def test_lle_is_scikit_learns():
    X = torch.rand(60, 5, generator=torch.Generator().manual_seed(0))
    ours = locally_linear(X, 3, Run(Runtime("cpu"), 0)).Y.numpy()
    theirs = LocallyLinearEmbedding(n_neighbors=12, n_components=3, eigen_solver="dense", reg=1e-3).fit_transform(X)
    np.testing.assert_allclose(np.abs((ours * theirs).sum(0)) / 60**0.5, 1, atol=1e-3)
    weights = barycenters(X[:1], X[None, 1:7])
    assert float(weights.sum()) == pytest.approx(1)


def test_autoencoders_reconstruct_and_nnae_is_non_negative():
    X = np.random.default_rng(0).random((80, 6)) @ np.random.default_rng(1).random((6, 12))
    training = Training(n_epochs=30, batch_size=32, optimizer="adam", lr=0.01)
    models = [cls(2, n_components=6, training=training, random_state=0).fit(X) for cls in (AECNN, NNAECNN)]
    for model in models:
        losses = [entry["validation"] for entry in model.history_ if entry["stage"] == "autoencoder"]
        assert losses[-1] < 0.2 * losses[0]
    assert (models[1].encoder_[1].A >= 0).all() and not (models[0].encoder_[1].A >= 0).all()


def test_nnae_starts_with_reconstructions_of_the_right_length():
    """From weights of a usual size the first epoch's error is 16, and training shrinks all weights together."""
    rng = np.random.default_rng(0)
    X = rng.random((96, 8)) ** 3 @ rng.random((8, 64)) ** 3
    training = Training(n_epochs=15, batch_size=32, optimizer="adam", lr=0.001)
    history = NNAECNN(2, n_components=8, training=training, random_state=0).fit(X).history_
    assert history[0]["validation"] < 0.6 and history[-1]["validation"] < 0.3  # of images of length 1


def test_ensemble_projection_gives_probabilities_of_each_set():
    X = torch.nn.functional.normalize(torch.rand(50, 6, generator=torch.Generator().manual_seed(0)))
    found = ensemble_projection(X, 2, Run(Runtime("cpu"), 0))
    codes = found.code(X)
    assert codes.shape == (50, 60)
    torch.testing.assert_close(codes.reshape(50, 2, 30).sum(2), torch.ones(50, 2))


def test_the_svm_chooses_its_c_for_the_representation():
    """A small class close to a large one on the sphere needs a large C; noise wants a small one."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [100, 20])
    near = np.array([5.0, 0, 0]) + 0.05 * np.outer(2 * labels - 1, [0, 1, 0]) + 0.01 * rng.normal(size=(120, 3))
    noisy = np.outer(2 * labels - 1, np.ones(40)) * 0.1 + rng.normal(size=(120, 40))
    found = [linear_svm(one / np.linalg.norm(one, axis=1, keepdims=True), labels) for one in (near, noisy)]
    assert found[0].best_params_["C"] > 1 and found[0].best_score_ > 0.9
    assert found[1].best_params_["C"] < found[0].best_params_["C"]


def test_parts_are_those_of_the_lists(tmp_path, monkeypatch):
    from asterism_papers.evaluation.splitting import SPLITS

    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    (tmp_path / "mit67" / "Images" / "attic").mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "mit67" / "Images" / "attic" / f"{i}.png")
    (tmp_path / "mit67" / "TrainImages.txt").write_text("attic/0.png\nattic/2.png\n")
    (tmp_path / "mit67" / "TestImages.txt").write_text("attic/1.png\n")
    learnt, grouped = SPLITS["mit67"](open_images("data:mit67"), 0, "")
    assert (learnt.tolist(), grouped.tolist()) == ([0, 2], [1])


def test_rows_of_both_clusterings_share_a_representation(small_backbone, photos, tmp_path, monkeypatch):
    from asterism_papers.evaluation import protocol, runs, splitting
    from asterism_papers.evaluation.table import Entry, Table

    monkeypatch.setitem(splitting.SPLITS, "stripes", splitting.halves)
    learnt = []
    perform = runs.perform
    monkeypatch.setattr(runs, "perform", lambda task, *more: learnt.append(str(task)) or perform(task, *more))
    source = replace(open_images(photos[0]), labels=photos[1])
    together = splitting.SplitRuns()

    def row(method, assign, seed=0, perform=together):
        params = {"assign": assign} | ({} if method == "cnn" else {"n_components": 6})
        table = Table("fcn-1", "Stripes", ("stripes",), (Entry(method, "", f"small {assign}", params),))
        task = protocol.Task(table, "stripes", table.entries[0], seed)
        return perform(task, source, tmp_path / task.folder_name, protocol.Setting("cpu"))

    asked = [(method, assign) for assign in ("kmeans", "spectral") for method in ("cnn", "fcn", "ae-cnn", "nnae-cnn")]
    rows = [row(*one) for one in asked]
    assert len(learnt) == 4  # the rows of spectral clustering had theirs
    assert row("cnn", "kmeans", 1)["seed"] == 1 and len(learnt) == 5
    alone = row("fcn", "spectral", perform=splitting.SplitRuns())
    assert {"seconds"} >= {key for key in alone if alone[key] != rows[5][key] and key != "history"}
    assert [one["params"]["assign"] for one in rows] == [assign for _, assign in asked]
    assert [one["protocol"]["variant"] for one in rows[:2]] == ["small kmeans"] * 2
    assert rows[4]["protocol"]["variant"] == "small spectral" and "small spectral" in rows[4]["command"]
    assert rows[0]["protocol"]["labels"] == "scoring only"


def test_an_svm_learns_from_a_representation_that_is_shared(small_backbone, photos, tmp_path, monkeypatch):
    from asterism_papers.evaluation import protocol, splitting
    from asterism_papers.evaluation.table import Entry, Table

    monkeypatch.setitem(splitting.SPLITS, "stripes", splitting.halves)
    source = replace(open_images(photos[0]), labels=photos[1])
    together, rows = splitting.SplitRuns(svm=True), []
    for name, assign in (("fcn-5", "kmeans"), ("fcn-1", "spectral")):
        table = Table(name, "Stripes", ("stripes",), (Entry("cnn", "", assign, {"assign": assign}),))
        task = protocol.Task(table, "stripes", table.entries[0], 0)
        rows.append(together(task, source, tmp_path / name, protocol.Setting("cpu")))
    assert rows[0]["scores"]["svm"] == rows[1]["scores"]["svm"]
    assert [one["table"] for one in rows] == ["fcn-5", "fcn-1"]
    assert rows[0]["protocol"]["labels"] == "of the SVM, and scoring"


def test_an_svm_is_scored_on_images_that_it_did_not_learn_from():
    from asterism_papers.evaluation.splitting import SPLITS, whole
    from asterism_papers.evaluation.tables import TABLES

    (table,) = [one for one in TABLES.values() if "svm" in one.metrics]
    assert all(SPLITS[name] is not whole for name in (*table.datasets, *table.also))


def test_pca_is_scikit_learns_on_unit_vectors():
    X = np.random.default_rng(0).random((40, 8)).astype(np.float32)
    found = PCACNN(2, n_components=3, random_state=0).fit(X).transform(X)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    U, S, _ = np.linalg.svd(unit - unit.mean(0), full_matrices=False)
    wanted = U[:, :3] * S[:3]
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs((found * wanted).sum(0)), (wanted**2).sum(0), rtol=1e-3)


def test_cnn_is_kmeans_on_unit_features(small_backbone, photos):
    model = CNN(3, random_state=0).fit(photos[0])
    network = model.encoder_[0]
    images = ImageSource(torch.from_numpy(photos[0]), [""] * 60)
    wanted = torch.nn.functional.normalize(network(images.batch(slice(None))))
    np.testing.assert_allclose(model.transform(photos[0]), wanted.numpy(), atol=1e-5)
