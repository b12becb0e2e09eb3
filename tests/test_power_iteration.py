"""Power iteration clustering against a slow transcription of docs/papers/deepcluster.md, and by hand."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from asterism.clustering.power_iteration import power_iteration_clustering
from asterism.errors import InputError


def slow(X, n_neighbors=5, sigma=0.2, alpha=0.001, n_iter=200):
    """Dense, sample by sample."""
    n = len(X)
    squared = ((X[:, None] - X[None]) ** 2).sum(2)
    np.fill_diagonal(squared, np.inf)
    found = np.argsort(squared, axis=1, kind="stable")[:, :n_neighbors]
    A = np.zeros((n, n))
    for i in range(n):
        A[i, found[i]] = np.exp(-squared[i, found[i]] / sigma**2)
    W, v = A + A.T, np.full(n, 1 / n)
    for _ in range(n_iter):
        v = alpha * W.T @ v + (1 - alpha) / n
        v = v / v.sum()
    to = np.arange(n)
    for i in range(n):
        pulls = W[i] * (v - v[i])
        if pulls.max() > 0:
            to[i] = pulls.argmax()
    labels = np.empty(n, int)
    for i in range(n):
        j = i
        while to[j] != j:
            j = to[j]
        labels[i] = j
    sizes = np.bincount(labels, minlength=n)
    joined = labels.copy()
    for i in range(n):
        if sizes[labels[i]] == 1:
            company = [j for j in found[i] if sizes[labels[j]] > 1]
            if company:
                joined[i] = labels[company[0]]
    return joined


def directions(n_groups, each, spread=0.05, dim=8, seed=0):
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(n_groups, dim))
    X = np.repeat(means / np.linalg.norm(means, axis=1, keepdims=True), each, 0)
    X = X + spread * rng.normal(size=X.shape)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.mark.parametrize("alpha", [0.001, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_slow_transcription(seed, alpha):
    X = directions(5, 20, spread=0.15, seed=seed)
    assert adjusted_rand_score(slow(X, alpha=alpha), power_iteration_clustering(X, alpha=alpha)) == 1


def test_clusters_never_cross_groups_that_lie_apart():
    X = directions(4, 25, spread=0.02)
    labels, truth = power_iteration_clustering(X), np.repeat(np.arange(4), 25)
    assert all(len(set(truth[labels == one])) == 1 for one in set(labels))
    assert 4 <= len(set(labels)) < 40
    assert labels[0] == 0 and sorted(set(labels)) == list(range(labels.max() + 1))


def test_a_lone_sample_joins_its_neighbours():
    X = np.array([[0.0], [0.01], [0.02], [0.5]])  # the last pulls nobody and is pulled by nobody
    assert len(set(power_iteration_clustering(X, n_neighbors=2))) == 1


def test_equal_samples_and_one_sample():
    assert power_iteration_clustering(np.zeros((1, 3))).tolist() == [0]
    assert len(power_iteration_clustering(np.ones((6, 3)))) == 6


def test_parameters_are_checked():
    with pytest.raises(InputError, match="sigma=0"):
        power_iteration_clustering(np.zeros((4, 2)), sigma=0)


def test_a_flow_that_ends_makes_no_nan(recwarn):
    X = np.eye(3).repeat(2, 0)[:5]
    assert power_iteration_clustering(X[::2], n_neighbors=1, sigma=0.01, alpha=1.0).tolist() == [0, 1, 2]
    assert power_iteration_clustering(X[:1], alpha=1.0).tolist() == [0]
    assert not list(recwarn)
