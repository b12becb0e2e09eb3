"""Rows of very many numbers: the same distances in few, and no copies of all of them."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from asterism.clustering import advice, wide
from asterism.clustering.nested import nested_groups
from asterism.clustering.representatives import representatives
from asterism.clustering.wide import narrowed


def rows(n=120, width=9_000, k=6, seed=0, apart=2):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(k, width))[np.arange(n) % k] * apart + rng.normal(size=(n, width)) + 5).astype(np.float32)


@pytest.mark.parametrize("unit", [1.0, 1e-25, 1e25])
def test_distances_stay_and_equal_rows_stay_equal(unit):
    X = rows()
    X[[7, 50]] = X[3]
    X = (X * unit).astype(np.float32)
    found = narrowed(X)
    assert found.shape[1] < len(X) and found.dtype == np.float32
    np.testing.assert_allclose(cdist(found, found), cdist(X.astype(float), X), rtol=1e-4, atol=1e-4 * unit)
    assert np.array_equal(found[7], found[3]) and np.array_equal(found[50], found[3])
    only = np.array([5, 3, 7, 99])
    assert np.array_equal(narrowed(X, only)[1], narrowed(X, only)[2])
    np.testing.assert_allclose(cdist(*[narrowed(X, only)] * 2), cdist(*[X[only].astype(float)] * 2), rtol=1e-4)


def test_what_is_not_wide_stays_as_it_is():
    X = rows(width=4_096)
    assert narrowed(X) is X and narrowed(X, np.arange(len(X))) is X
    assert np.array_equal(narrowed(X, np.array([2, 0])), X[[2, 0]])
    many = np.zeros((5_000, 4_500), bool)
    assert narrowed(many) is many
    assert not narrowed(np.ones((5, 9_000), np.float32)).any()


def test_of_many_rows_some_tell_the_first_axes(monkeypatch):
    monkeypatch.setattr(wide, "MOST_ROWS", 40)
    monkeypatch.setattr(wide, "COMPONENTS", 5)
    X = rows(apart=6)
    X[9] = X[3]
    found = narrowed(X)
    assert found.shape == (120, 5) and np.array_equal(found[3], found[9])
    own = np.linalg.norm(found[:, None] - found[None], axis=2)
    same = np.equal.outer(np.arange(120) % 6, np.arange(120) % 6)
    assert own[same].max() < own[~same].min()


def test_levels_parts_and_picks_are_those_of_all_numbers(monkeypatch):
    X = rows()
    own = np.arange(120) % 6 // 2
    centers = np.stack([X[own == i].mean(0) for i in range(3)])
    seen, curve = [], advice.stability_curve

    def watched(rows, *more):
        seen.append(rows.shape[1])
        return curve(rows, *more)

    def found(X):
        return (
            [one.n_clusters for one in advice.stable_levels(X, 3, np.random.RandomState(0))],
            nested_groups(own, 6, centers, lambda: X).tolist(),
            nested_groups(own, 2, centers, lambda: X).tolist(),
            representatives(narrowed(X), 6, np.random.RandomState(0)).tolist(),
        )

    monkeypatch.setattr(advice, "stability_curve", watched)
    narrow = found(X)
    monkeypatch.setattr(wide, "WIDE", 10**6)
    assert found(X) == narrow and seen[0] < len(X) and seen[1] == X.shape[1]


def test_no_copy_of_all_rows_is_made(monkeypatch):
    monkeypatch.setattr(wide, "AT_ONCE", 2**14)
    X = rows()
    tracemalloc.start()
    narrowed(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 4
