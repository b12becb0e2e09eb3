"""The k-NN code against brute force, duplicates and ties included."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asterism.clustering import graph
from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components, neighbors
from asterism.errors import InputError


def brute(X, k):
    """Neighbours by distance, ties by index, itself left out by index."""
    squared = ((X[:, None].astype(np.float64) - X[None]) ** 2).sum(2)
    np.fill_diagonal(squared, np.inf)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(squared, order, 1)


@settings(max_examples=100)
@given(st.integers(2, 60), st.integers(1, 5), st.integers(1, 25), st.integers(0, 10**6), st.booleans())
@example(37, 2, 3, 0, True)  # more ties at the last place than spare candidates
def test_as_brute_force(n, d, k, seed, duplicated):
    X = np.random.RandomState(seed).randn(n, d).astype(np.float32)
    if duplicated:
        X = np.round(X)  # many exact duplicates and ties
    indices, distances = knn(X, k)
    expected = brute(X, min(k, n - 1))
    np.testing.assert_allclose(distances, expected[1], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(indices, expected[0])


def test_a_large_offset_loses_nothing():
    X = np.random.RandomState(0).randn(300, 4) + 1e5
    np.testing.assert_array_equal(knn(X, 6)[0], brute(X, 6)[0])


def test_neighbours_of_other_points():
    X = np.arange(10.0)[:, None]
    indices, distances = neighbors(np.array([[2.2], [7.9]]), X, 2)
    assert indices.tolist() == [[2, 3], [8, 7]]
    np.testing.assert_allclose(distances, [[0.04, 0.64], [0.01, 0.81]])


def test_what_rounding_could_decide_is_looked_for_part_by_part(monkeypatch):
    X = np.round(np.random.RandomState(0).randn(60, 2)).astype(np.float32)
    monkeypatch.setattr(graph, "PART", 7)
    np.testing.assert_array_equal(knn(X, 3)[0], brute(X, 3)[0])
    indices, distances = neighbors(X[:9] + 1, X, 4)
    expected = np.square(X[:9, None] + 1 - X).sum(2)
    np.testing.assert_array_equal(indices, np.argsort(expected, 1, kind="stable")[:, :4])


def test_neighbours_of_all_samples_are_those_that_each_finds_but_itself():
    X = np.round(np.random.RandomState(1).randn(70, 2)).astype(np.float32)
    for one, other in zip(knn(X, 5), neighbors(X, X, 5, exclude=np.arange(70)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_affinities_by_hand():
    X = np.array([[0.0], [1.0], [3.0]])
    W, sigma2 = affinity_graph(X, 1)
    # nearest: 0→1 (1), 1→0 (1), 2→1 (4): mean 2
    assert sigma2 == pytest.approx(2.0)
    expected = np.zeros((3, 3))
    expected[0, 1] = expected[1, 0] = np.exp(-0.5)
    expected[2, 1] = np.exp(-2)
    np.testing.assert_allclose(W.toarray(), expected)
    assert scipy.sparse.issparse(W) and affinity_graph(X, 1, a=2.0)[1] == pytest.approx(4.0)


def test_gactoolbox_doubles_sigma_until_every_neighbour_counts():
    X = np.array([[0.0], [0.001], [0.002], [0.003], [0.004], [5.0]])
    W, sigma2 = affinity_graph(X, 3, variant="gactoolbox")
    assert W[5].toarray()[0, :5].max() >= 1e-5 * 0.99
    assert (W.diagonal() == 1).all()
    assert sigma2 > affinity_graph(X, 3)[1] or np.exp(-25 / affinity_graph(X, 3)[1]) >= 1e-5


def test_components_of_the_nearest_neighbour_graph():
    X = np.array([[0.0], [0.1], [0.3], [5.0], [5.1], [9.0], [9.5]])
    assert nearest_neighbor_components(knn(X, 1)[0]).tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_duplicates_have_affinity_one():
    W, sigma2 = affinity_graph(np.ones((6, 3)), 2)
    assert sigma2 == 0 and set(W.data.tolist()) == {1.0}


def test_bad_input():
    with pytest.raises(InputError, match="nan"):
        knn(np.array([[0.0], [np.nan]]), 1)
    assert knn(np.zeros((1, 3)), 5)[0].shape == (1, 0)
