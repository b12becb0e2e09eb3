"""Infinite ensemble clustering: its closed form against copies that are really corrupted, and the method on digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from asterism.metrics import scores
from asterism_papers.clustering import ensemble
from asterism_papers.clustering.ensemble import (
    denoised_layers,
    infinite_ensemble,
    marginalised_denoiser,
    partition_codes,
)
from asterism_papers.methods import InfiniteEnsemble


def blobs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (rng.normal(size=(n, 4)) + 6 * np.eye(4)[labels]).astype(np.float32), labels


def test_partitions_are_codes_of_k_to_root_n_clusters():
    X, _ = blobs()
    codes = partition_codes(X, 3, 12, np.random.RandomState(0))
    sizes = {one.shape[1] for one in codes}
    assert len(codes) == 12 and sizes <= {3, 4, 5, 6, 7} and len(sizes) > 1
    for one in codes:
        assert (one.sum(1) == 1).all() and set(np.unique(one)) == {0.0, 1.0}
    (few,) = partition_codes(X[:5], 4, 1, np.random.RandomState(0))
    assert few.shape[1] == 4  # √5 is less than k


def test_the_closed_form_is_the_regression_on_very_many_corrupted_copies():
    X, _ = blobs(30)
    B = np.concatenate(partition_codes(X, 3, 2, np.random.RandomState(1)), axis=1).astype(np.float64)
    rng, copies = np.random.default_rng(0), 4000
    kept = rng.random((copies, *B.shape)) < 0.7
    corrupted = np.concatenate([(B * kept).reshape(-1, B.shape[1]), np.ones((copies * len(B), 1))], axis=1)
    wanted = np.linalg.lstsq(corrupted, np.tile(B, (copies, 1)), rcond=None)[0]
    W = marginalised_denoiser(B, 0.3)
    with_ones = np.c_[B, np.ones(len(B))]
    assert np.abs(with_ones @ W - with_ones @ wanted).max() < 0.02


def test_without_noise_nothing_is_changed():
    X, _ = blobs(30)
    B = np.concatenate(partition_codes(X, 3, 3, np.random.RandomState(1)), axis=1)
    W = marginalised_denoiser(B, 0.0)
    assert np.allclose(np.c_[B, np.ones(len(B))] @ W, B, atol=1e-3)


def test_layers_stand_side_by_side():
    X, _ = blobs()
    codes = partition_codes(X, 3, 5, np.random.RandomState(0))
    one, three = denoised_layers(codes, 1, 0.2), denoised_layers(codes, 3, 0.2)
    width = sum(each.shape[1] for each in codes)
    assert one.shape == (60, width) and three.shape == (60, 3 * width)
    assert np.array_equal(three[:, :width], one)
    first = np.concatenate(codes, axis=1)
    W = marginalised_denoiser(first, 0.2)
    assert np.allclose(one, np.tanh(np.c_[first, np.ones(60)] @ W), atol=1e-5)
    assert not np.allclose(three[:, width : 2 * width], one, atol=1e-2)


def test_many_columns_are_denoised_in_groups(monkeypatch):
    X, _ = blobs()
    codes = partition_codes(X, 3, 4, np.random.RandomState(0))
    monkeypatch.setattr(ensemble, "BLOCK", 1)  # each partition by itself
    found = denoised_layers(codes, 1, 0.2)
    alone = [denoised_layers([one], 1, 0.2) for one in codes]
    assert np.allclose(found, np.concatenate(alone, axis=1), atol=1e-6)


def test_blobs_are_found():
    X, labels = blobs()
    found = infinite_ensemble(X, 3, n_partitions=10, random_state=np.random.RandomState(0))
    assert scores(labels, found)["acc"] == 1.0


def test_the_consensus_of_digits_is_no_worse_than_k_means():
    data = load_digits()
    X, y = (data.data[:600] / 16).astype(np.float32), data.target[:600]
    model = InfiniteEnsemble(10, n_partitions=10, n_layers=2, n_init=3, random_state=0, device="cpu").fit(X)
    rng = np.random.RandomState(0)
    singles = [ensemble.kmeans(X, 10, random_state=rng).labels for _ in range(5)]
    mean = np.mean([scores(y, one)["nmi_max"] for one in singles])
    assert scores(y, model.labels_)["nmi_max"] > mean - 0.05
    assert np.array_equal(model.predict(X), model.labels_)


@pytest.mark.parametrize("noise", [-0.1, 1.0])
def test_noise_that_drops_all_or_less_than_nothing(noise):
    from asterism.errors import InputError

    with pytest.raises(InputError, match="noise"):
        InfiniteEnsemble(2, noise=noise).fit(np.random.default_rng(0).normal(size=(10, 3)))
