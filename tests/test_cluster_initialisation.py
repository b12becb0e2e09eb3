"""The groups that DBC's joint stage starts from."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from asterism import DBC, FCAE
from asterism.errors import InputError
from asterism.images import Augmentation
from asterism.methods import cluster_initialisation
from asterism.methods.autoencoders import resolve_augmentation
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.runtime import Runtime
from asterism.training import Run, Training


@pytest.fixture
def run():
    return Run(Runtime(device="cpu"), seed=0)


def arcs(n=600):
    """Directions (N, 3) along two arcs of a globe, one north and one south of its equator, and which (N,)."""
    rng = np.random.default_rng(0)
    labels, longitude = rng.integers(0, 2, n), rng.uniform(0, 2.6, n)
    latitude = np.where(labels, 0.25, -0.25) + rng.normal(0, 0.03, n)
    points = np.stack([np.cos(longitude), np.sin(longitude), np.tan(latitude)], 1)
    return torch.from_numpy(points * rng.uniform(0.5, 2, (n, 1))).float(), labels


def test_linkage_finds_groups_that_are_no_balls(run):
    points, labels = arcs()
    linked, centers = ClusterInitialisation("linkage").find(points, 2, run)
    by_balls, _ = ClusterInitialisation("k-means").find(points, 2, run)
    assert adjusted_rand_score(labels, linked) == 1
    assert adjusted_rand_score(labels, by_balls) < 0.5
    torch.testing.assert_close(centers[linked[0]], points[linked == linked[0]].mean(0))


def test_many_images_are_drawn_and_the_others_follow_their_neighbours(run, monkeypatch):
    points, labels = arcs()
    monkeypatch.setattr(cluster_initialisation, "MAX_MERGED", 300)
    linked, _ = ClusterInitialisation("linkage").find(points, 2, run)
    assert adjusted_rand_score(labels, linked) > 0.98


def test_small_clusters_get_fewer_neighbours(run, monkeypatch):
    seen = []
    kept = cluster_initialisation.Merger
    monkeypatch.setattr(cluster_initialisation, "Merger", lambda k, n, *rest: seen.append(n) or kept(k, n, *rest))
    points, _ = arcs(400)
    ClusterInitialisation().find(points, 4, run)
    ClusterInitialisation().find(points, 5, run)
    ClusterInitialisation(n_neighbors=7).find(points, 5, run)
    assert seen == [20, 5, 7]


def test_the_network_learns_groups_before_its_own_scores():
    digits = load_digits()
    images = digits.images[digits.target < 5][:500] / 16
    autoencoder = FCAE(training=Training(n_epochs=3), max_unexplained=1.0)
    short = Training(n_epochs=2, batch_size=100, optimizer="sgd", lr=0.1, momentum=0.9)
    model = DBC(5, autoencoder=autoencoder, training=short, device="cpu", random_state=0).fit(images)
    learnt = {}
    for line in model.history_:
        if line["stage"].startswith("groups"):
            learnt.setdefault((line["stage"], line["n_groups"]), []).append(line["loss"])
    assert list(learnt) == [("groups-0", 10), ("groups-1", 5), ("groups-2", 5)]
    assert all(len(losses) == 5 and losses[-1] < 0.95 * losses[0] for losses in learnt.values())
    alone = DBC(
        5, autoencoder=autoencoder, training=short, cluster_initialisation=ClusterInitialisation(rounds=0), device="cpu"
    )
    assert {line["stage"] for line in alone.fit(images[:100]).history_} == {"autoencoder", "joint"}


def test_no_more_groups_are_learnt_than_images_can_tell():
    assert ClusterInitialisation().learnt(1000, 10) == [20, 10, 10]
    assert (
        ClusterInitialisation().learnt(999, 10) == ClusterInitialisation().learnt(100, 10) == [10, 10, 10]
    )  # below 100 images a cluster
    assert ClusterInitialisation().learnt(99, 10) == []
    assert ClusterInitialisation(multiples=[3]).learnt(1000, 10) == [30]
    assert ClusterInitialisation(multiples=[101, 2]).learnt(10_000, 10) == [20]  # below 10 images a group
    assert (
        ClusterInitialisation(multiples=()).learnt(1000, 10) == ClusterInitialisation(rounds=0).learnt(1000, 10) == []
    )
    for wrong in ([0], [1.5], ["2"]):
        with pytest.raises(InputError, match="multiples=.* must be any number of values"):
            ClusterInitialisation(multiples=wrong).check()


def test_a_small_odd_group_is_not_counted(run):
    """Three groups, one of them few images far away: of two groups wanted it is not one, but for smallest=0."""
    rng = np.random.default_rng(0)
    sizes = (300, 300, 40)
    middle = np.repeat([[0.0, 0.0], [0.14, 0.0], [0.0, 3.0]], sizes, axis=0)
    points = torch.from_numpy(np.c_[middle + 0.03 * rng.normal(size=middle.shape), np.ones(640)]).float()
    labels = np.repeat([0, 1, 2], sizes)
    counted = ClusterInitialisation(smallest=0.0).find(points, 2, run, "counted")[0]
    fair = ClusterInitialisation().find(points, 2, run, "fair")[0]
    assert adjusted_rand_score(labels == 2, counted) == 1
    assert adjusted_rand_score(labels[:600], fair[:600]) > 0.9


def test_images_are_changed_only_where_a_cluster_has_many():
    autoencoder, first = DBC(10)._recipe(1000)
    assert autoencoder.augmentation is None and isinstance(resolve_augmentation(first), Augmentation)
    autoencoder, first = DBC(10)._recipe(999)
    assert autoencoder.augmentation == "none" and resolve_augmentation(first) is None
    own = Augmentation(rotation=3.0)
    few = DBC(10, autoencoder=FCAE(augmentation=own), cluster_initialisation=ClusterInitialisation(augmentation=own))
    assert [one.augmentation for one in few._recipe(999)] == [own, own]
    assert DBC.DEFAULTS["autoencoder"].augmentation is None  # left as it was
    assert DBC.DEFAULTS["cluster_initialisation"].augmentation is None
    assert resolve_augmentation(DBC(10)) is None  # Algorithm 2 has the images as they are
