"""A row of DeepCluster's tables in small: fitted without labels, probed with them, random networks too."""

import numpy as np
import pytest
import torch

from asterism.errors import MissingDataError
from asterism.images import ImageSource
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.probing import SCORES, STAGE_SCORES, STAGES, ProbedRuns
from asterism_papers.evaluation.protocol import Setting, Task
from asterism_papers.evaluation.table import Entry, Table
from asterism_papers.transfer.probe import LinearProbe

TINY = {"network.width": 0.03, "whitening.n_components": 8, "training.n_epochs": 1}


def photos(n, seed):
    """Colour images of 8², one of three brightnesses in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    pixels = rng.integers(0, 60, (n, 8, 8, 3)) + 60 * labels[:, None, None, None]
    return ImageSource(torch.from_numpy(pixels.astype(np.uint8)), [str(i) for i in range(n)], labels)


def test_a_row_holds_the_probes(tmp_path, monkeypatch):
    sets = {"cifar10-train": photos(120, 0), "cifar10-test": photos(60, 1)}
    monkeypatch.setattr(protocol, "open_dataset", lambda name, side=None: sets[name])
    perform = ProbedRuns(40, 80, LinearProbe(n_epochs=4, batch_size=16))
    entries = (
        Entry("deepcluster", "DeepCluster", "small: colours", {**TINY, "network.sobel": False}, 5),
        Entry("deepcluster", "DeepCluster", "long: colours", {**TINY, "network.sobel": False}, 5),
        Entry("random", "Random", "small: colours", {**TINY, "training.n_epochs": 0}, 5, estimator="deepcluster"),
    )
    table = Table("deepcluster-1", "Small", ("cifar10-train",), entries, metrics=SCORES, curves=("nmi_sqrt",))
    setting = Setting("cpu")
    rows = {}
    for entry in entries:
        folder = tmp_path / f"{entry.method}-{entry.variant[:4]}"
        rows[entry.method, entry.variant[:4]] = perform(
            Task(table, "cifar10-train", entry, 0), sets["cifar10-train"], folder, setting
        )
    first = rows["deepcluster", "smal"]
    assert set(SCORES) <= set(first["scores"]) and all(0 <= first["scores"][name] <= 1 for name in SCORES)
    assert first["scores"]["conv1"] > 0.8  # brightness is easily read off
    assert first["protocol"]["images"] == "data:cifar10-train, 120 images, 8x8x3"
    assert first["protocol"]["learnt from"].startswith("40 of them")
    assert first["protocol"]["probe"]["labelled images"] == 80 and first["protocol"]["probe"]["test images"] == 60
    assert len(first["history"]["curves"]["nmi_sqrt"]) == 2
    assert rows["deepcluster", "long"]["protocol"]["learnt from"].startswith("120 of them")
    assert rows["random", "smal"]["history"]["rounds"] == {}


def test_a_test_part_that_is_not_here_is_seen_before_the_fit(tmp_path, monkeypatch):
    def open_dataset(name, side=None):
        raise MissingDataError(f"data:{name} is not on this machine")

    monkeypatch.setattr(protocol, "open_dataset", open_dataset)
    monkeypatch.setattr(runs, "perform", lambda *more: pytest.fail("fitted for hours"))
    entry = Entry("deepcluster", "DeepCluster", "small", TINY, 5)
    task = Task(Table("deepcluster-1", "Small", ("cifar10-train",), (entry,)), "cifar10-train", entry, 0)
    with pytest.raises(MissingDataError, match="cifar10-test"):
        ProbedRuns(40, 80, LinearProbe())(task, photos(120, 0), tmp_path / "run", Setting("cpu"))


RESIDUAL = {
    "network.architecture": "small-resnet",
    "network.width": 0.1,
    "network.sobel": False,
    "projection.hidden": 8,
    "projection.n_dims": 4,
    "n_heads": 1,
    "crops.n_small": 0,
    "contrastive_start.n_epochs": 0,
    "training.n_epochs": 1,
}


def test_trained_untrained_and_supervised_stand_in_one_space(tmp_path, monkeypatch):
    sets = {"cifar10-train": photos(96, 0), "cifar10-test": photos(48, 1)}
    monkeypatch.setattr(protocol, "open_dataset", lambda name, side=None: sets[name])
    perform = ProbedRuns(96, 96, LinearProbe(n_epochs=2, batch_size=16, weight_decay=1e-4), STAGES, "pooled", 8)
    entries = (
        Entry("deepcluster-v2", "DeepCluster-v2", "small", RESIDUAL, 5),
        Entry("supervised", "Supervised", "small", RESIDUAL, 5, estimator="deepcluster-v2"),
    )
    table = Table("deepcluster-small", "Small", ("cifar10-train",), entries, metrics=STAGE_SCORES)
    for entry in entries:
        task = Task(table, "cifar10-train", entry, 0)
        row = perform(task, sets["cifar10-train"], tmp_path / entry.method, Setting("cpu"))
        assert set(STAGE_SCORES) <= set(row["scores"]), entry
        assert row["protocol"]["probe"]["hidden"] == 8
        labels = "of the images learnt from" if entry.method == "supervised" else "scoring only"
        assert row["protocol"]["labels"] == labels


def test_on_places_the_network_learns_from_imagenet(tmp_path, monkeypatch):
    sets = {
        "imagenet-train": photos(64, 0),
        "places205-train": photos(80, 1),
        "places205-val": photos(40, 2),
    }
    asked = []

    def open_dataset(name, side=None):
        asked.append((name, side))
        return sets[name]

    monkeypatch.setattr(protocol, "open_dataset", open_dataset)
    perform = ProbedRuns(10, 10, LinearProbe(n_epochs=1, batch_size=16, weight_decay=1e-4))
    entry = Entry("random", "Random", "AlexNet", {**TINY, "training.n_epochs": 0}, 5, estimator="deepcluster")
    table = Table("deepcluster-1", "Small", ("imagenet-train",), (entry,), metrics=SCORES, photo_side=224)
    row = perform(Task(table, "places205-train", entry, 0), sets["places205-train"], tmp_path / "run", Setting("cpu"))
    assert asked == [("imagenet-train", 224), ("places205-val", 224)]
    assert row["protocol"]["learnt from"] == "64 of ImageNet, without labels"
    assert row["protocol"]["probe"]["labelled images"] == 80 and row["dataset"] == "places205-train"
