"""DeepCluster with other clusterers: what these may give back, and what is said where they cannot be used."""

import sys

import numpy as np
import pytest
import torch

from asterism import DBC, FCAE, ConvNet, Crops, DeepCluster, DeepClusterV2, Training
from asterism.cli.settings import apply_settings
from asterism.errors import InputError
from asterism.external import external, external_class
from asterism.methods.deepcluster import Whitening, _fit_predict, by_rounds
from asterism.methods.deepcluster_settings import Assignment, MultiCrop, Projection

ROWS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


class Gives:
    """Has scikit-learn's ``fit_predict``, and nothing else of it."""

    def __init__(self, labels):
        self.labels = labels

    def fit_predict(self, X):
        return self.labels


def grouped(clusterer):
    return _fit_predict(clusterer, ROWS, 3, np.random.RandomState(0)).tolist()


def test_a_clusterer_without_parameters_and_labels_of_any_kind_are_taken():
    assert grouped(Gives(np.arange(12) % 3 + 5)) == [0, 1, 2] * 4
    assert grouped(Gives(np.array(["b", "a"] * 6))) == [1, 0] * 6
    assert grouped(Gives([1.0, 2.0] * 6)) == [0, 1] * 6
    X = np.random.default_rng(0).random((12, 8, 8), dtype=np.float32)
    model = DeepCluster(3, clusterer=Gives(np.arange(12) % 3), training=Training(n_epochs=0), random_state=0).fit(X)
    assert model.labels_.tolist() == [0, 1, 2] * 4


@pytest.mark.parametrize(
    ("clusterer", "said"),
    [
        (Gives(np.full(12, -1)), "found no group"),
        (Gives(np.zeros(11, int)), r"gave labels of shape \(11,\) for 12 images"),
        (Gives(np.zeros((12, 1), int)), r"gave labels of shape \(12, 1\) for 12 images"),
        ("sklearn.cluster.Birch(treshold=1)", "sklearn.cluster.Birch does not take these settings: .*'treshold'"),
        ("sklearn.decomposition.PCA", "has no fit_predict"),
    ],
)
def test_a_clusterer_that_cannot_be_used_is_said_in_one_line(clusterer, said):
    with pytest.raises(InputError, match=said):
        grouped(clusterer)


def test_a_seed_that_is_set_counts():
    assert external("sklearn.cluster.KMeans", {"random_state": 3}, 4, seed=7).random_state == 3
    assert external("sklearn.cluster.KMeans", {}, 4, seed=7).random_state == 7


def test_the_working_folder_is_looked_into_for_what_is_typed(tmp_path, monkeypatch):
    (tmp_path / "ours_of_a_test.py").write_text("class One: ...")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(InputError, match="ours_of_a_test.One stands in a file"):  # a stranger's run.json, say
        grouped("ours_of_a_test.One")
    for _ in range(3):
        apply_settings(DeepCluster(2), ["clusterer=ours_of_a_test.One(a=0.1)"], "deepcluster")
    assert sys.path.count(str(tmp_path)) == 1 and external_class("ours_of_a_test.One")


def test_only_a_class_that_groups_is_made(monkeypatch):
    """A run from a stranger may name any class that is installed: subprocess.Popen does its harm as it is made."""
    made = []
    monkeypatch.setattr("subprocess.Popen.__init__", lambda self, args=(): made.append(args))
    monkeypatch.setattr("subprocess.Popen.__del__", lambda self: None)
    with pytest.raises(InputError, match="has no fit_predict"):
        grouped("subprocess.Popen(args=['touch', 'owned'])")
    assert not made


def test_steps_and_drops_are_counted_in_epochs_however_long_a_round_is():
    training = Training(n_epochs=8, lr=1.0, max_steps=3, drop_interval=4)
    rounds = by_rounds(training, 4.0)
    assert (rounds.n_epochs, rounds.max_steps) == (2, 12)
    assert [rounds.rate(t) for t in (0, 1)] == pytest.approx([training.rate(t) for t in (0, 4)])
    assert [by_rounds(training, 0.5).rate(t) for t in (7, 8)] == pytest.approx([1.0, 0.1])
    assert by_rounds(Training(n_epochs=17), 17 / 7).n_epochs == 7  # the quotient is rounded to more than 7
    every = by_rounds(Training(n_epochs=20, lr=1.0, drop_interval=1), 20 / 16)
    assert every.rate(4) == pytest.approx(0.1**5)  # the fifth epoch begins with the fourth round: 4 / .8 is below 5
    X = np.random.default_rng(0).random((40, 8, 8), dtype=np.float32)
    model = DeepCluster(3, training=Training(n_epochs=40, max_steps=1), random_state=0)
    assert model._epochs_a_round(model.training, len(X)) == 10  # 40 steps make the fewest rounds
    assert model._epochs_a_round(Training(n_epochs=4000, max_steps=1), 40_000) == 500
    assert DeepCluster(reassign_every=9)._epochs_a_round(Training(n_epochs=2), 40) == 2  # no round is longer than all


def test_power_iteration_asks_for_vectors_of_length_1():
    """Of others all affinities are 0: every image would be a group."""
    X = np.random.default_rng(0).random((40, 8, 8), dtype=np.float32)
    model = DeepCluster(3, clusterer="pic", whitening=Whitening(normalise=False))
    with pytest.raises(InputError, match="length 1: leave whitening.normalise out"):
        model.fit(X)


@pytest.mark.parametrize("side", [6, 16])
def test_crops_of_a_size_that_the_network_does_not_take_are_one_line(side):
    X = np.random.default_rng(0).random((40, 8, 8), dtype=np.float32)
    crops, short, network = Crops(0.5, side=side), Training(n_epochs=1), ConvNet(width=0.03)
    models = {
        "augmentation.side": DeepCluster(3, network=network, training=short, augmentation=crops),
        "crops.large.side": DeepClusterV2(3, network=network, training=short, crops=MultiCrop(crops, n_small=0)),
        "autoencoder.augmentation.side": DBC(3, autoencoder=FCAE(2, training=short, augmentation=crops)),
    }
    for name, model in models.items():
        with pytest.raises(InputError, match=f"leave {name} out$"):
            model.fit(X)


def test_images_that_no_step_saw_keep_their_first_groups():
    """SwAV with few steps an epoch: they are not all of group 0, which would look like a collapse."""
    X = np.random.default_rng(0).random((200, 8, 8), dtype=np.float32)
    few = Training(n_epochs=1, batch_size=8, max_steps=1)
    sizes = {
        "network": ConvNet(width=0.05, sobel=False),
        "projection": Projection(16, 8),
        "crops": MultiCrop(n_small=0),
    }
    sinkhorn = Assignment(kind="sinkhorn")
    model = DeepClusterV2(10, n_heads=1, training=few, assignment=sinkhorn, random_state=0, **sizes).fit(X)
    assert model.history_[0]["effective_clusters"] > 4
