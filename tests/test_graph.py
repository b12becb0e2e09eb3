"""The sample graph: exact neighbours, ties and duplicates, eq. 4, initial clusters, the papers' counts."""

import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.clustering import graph
from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components, neighbors
from asterism.errors import InputError, MissingDependencyError


def brute_force(queries, X, n_neighbors, own=None):
    """By the definition: all distances in float64, sorted by distance and then by index."""
    distances = ((queries[:, None].astype(np.float64) - X[None].astype(np.float64)) ** 2).sum(2)
    if own is not None:
        distances[np.arange(len(queries)), own] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
    return order, np.take_along_axis(distances, order, axis=1)


def pixels(source, center=False):
    """Rows of one image each, minus the mean image where the paper's files were, L2-normalised (FACTS §1.3)."""
    X = source.batch(range(len(source))).flatten(1).double()
    X = X - X.mean(0) if center else X
    return (X / X.norm(dim=1, keepdim=True)).float()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_neighbours_are_exact_across_blocks(monkeypatch, dtype, n_threads):
    monkeypatch.setattr(graph, "BLOCK", 100)
    X = np.random.default_rng(0).normal(size=(333, 7)).astype(dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        indices, distances = knn(X, 12)
    finally:
        torch.set_num_threads(before)
    expected, squared = brute_force(X, X, 12, np.arange(333))
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(distances, squared, rtol=1e-12)


def test_tensors_and_arrays_agree():
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    np.testing.assert_array_equal(knn(X, 5)[0], knn(torch.as_tensor(X), 5)[0])
    np.testing.assert_array_equal(knn((X * 100).astype(np.int64), 5)[0], knn((X * 100).astype(int) * 1.0, 5)[0])


def test_ties_go_to_the_lower_index(monkeypatch):
    monkeypatch.setattr(graph, "BLOCK", 20)
    lattice = np.stack(np.meshgrid(np.arange(9), np.arange(9)), -1).reshape(-1, 2).astype(np.float32)
    expected, squared = brute_force(lattice, lattice, 10, np.arange(81))
    indices, distances = knn(lattice, 10)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(distances, squared)


@pytest.mark.parametrize("offset", [0.0, 0.1, 1e6])
def test_a_sample_is_not_its_own_neighbour_among_duplicates(monkeypatch, offset):
    monkeypatch.setattr(graph, "BLOCK", 16)
    base = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32) + np.float32(offset)
    X = np.repeat(base, 25, axis=0)[np.random.default_rng(1).permutation(100)]
    indices, distances = knn(X, 10)
    assert not (indices == np.arange(100)[:, None]).any()
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices, brute_force(X, X, 10, np.arange(100))[0])  # the lowest of the duplicates


def test_constant_features():
    indices, distances = knn(np.full((40, 3), 0.3), 30)
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices[0], np.arange(1, 31))
    np.testing.assert_array_equal(indices[39], np.arange(30))


def test_rounding_of_the_product_decides_nothing():
    """Tight groups far apart: in float32 the product cannot tell the members of a group from each other."""
    rng = np.random.default_rng(0)
    X = 1000 * rng.normal(size=(5, 8))[rng.integers(5, size=200)] + 1e-4 * rng.normal(size=(200, 8))
    indices, distances = knn(X, 7)
    expected, squared = brute_force(X, X, 7, np.arange(200))
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(distances, squared, rtol=1e-9)


def test_values_beyond_float32():
    X = np.random.default_rng(0).normal(size=(30, 4)) * 1e30
    np.testing.assert_array_equal(knn(X, 5)[0], brute_force(X, X, 5, np.arange(30))[0])


@pytest.mark.parametrize("n_neighbors", [4, 5, 6, 100])
def test_more_neighbours_than_samples_are_clipped(n_neighbors):
    X = np.random.default_rng(0).normal(size=(5, 2))
    indices, _ = knn(X, n_neighbors)
    assert indices.shape == (5, 4)
    assert all(sorted([*row, i]) == list(range(5)) for i, row in enumerate(indices.tolist()))


def test_one_sample_has_no_neighbour():
    indices, distances = knn(np.ones((1, 3)), 20)
    assert indices.shape == distances.shape == (1, 0)
    W, sigma2 = affinity_graph((indices, distances))
    assert (W.shape, W.nnz, sigma2) == ((1, 1), 0, 0.0)
    np.testing.assert_array_equal(nearest_neighbor_components(indices), [0])


def test_queries_may_exclude_one_sample():
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(60, 4)), rng.normal(size=(9, 4))
    np.testing.assert_array_equal(neighbors(queries, X, 3)[0], brute_force(queries, X, 3)[0])
    own = rng.integers(60, size=9)
    found, distances = neighbors(X[own], X, 60, exclude=own)
    expected, squared = brute_force(X[own], X, 59, own)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(distances, squared)
    assert neighbors(queries, X[:1], 3, exclude=np.zeros(9, int))[0].shape == (9, 0)


@pytest.mark.parametrize("X", [np.array([[0.0, np.nan]]), np.array([[np.inf]]), np.zeros(3), np.zeros((2, 2, 2))])
def test_what_has_no_neighbours_is_refused(X):
    with pytest.raises(InputError):
        knn(X, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(0, 10**6))
def test_neighbours_do_not_depend_on_the_order_of_samples(n, n_neighbors, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 4, size=(n, 2)).astype(np.float32)  # many duplicates and ties
    order = rng.permutation(n)
    indices, distances = knn(X, n_neighbors)
    assert not (indices == np.arange(n)[:, None]).any()
    assert all(len(set(row)) == len(row) for row in indices.tolist())
    np.testing.assert_array_equal(distances[order], knn(X[order], n_neighbors)[1])


def test_affinities_of_equation_4_by_hand():
    X = np.array([[0.0], [1.0], [3.0]])  # squared distances 1, 4, 9; nearest two of each: (1, 9), (1, 4), (4, 9)
    W, sigma2 = affinity_graph(X, 2)
    assert sigma2 == pytest.approx(28 / 6)
    expected = np.exp(-np.array([[0, 1, 9], [1, 0, 4], [9, 4, 0]]) / (28 / 6)) * (1 - np.eye(3))
    np.testing.assert_allclose(W.toarray(), expected)
    W, sigma2 = affinity_graph(X, 1, a=2.0)
    assert sigma2 == pytest.approx(2 * (1 + 1 + 4) / 3)
    assert W.nnz == 3 and W[2, 1] == pytest.approx(np.exp(-1)) and W[1, 2] == 0  # directed


def test_gactoolbox_widens_sigma_until_nobody_is_alone():
    X = np.concatenate([np.arange(50) * 0.01, [40.0]])[:, None]
    plain, sigma2 = affinity_graph(X, 5)
    widened, wider = affinity_graph(X, 5, variant="gactoolbox")
    assert plain[50].max() < 1e-5 <= widened[50, :50].max()
    doublings = np.log2(wider / sigma2)
    assert doublings == pytest.approx(round(doublings)) and doublings >= 1
    assert (widened.diagonal() == 1).all() and (plain.diagonal() == 0).all()


def test_gactoolbox_averages_over_three_neighbours_at_least():
    X = np.array([[0.0], [1.0], [3.0], [7.0]])
    _, sigma2 = affinity_graph(X, 1, variant="gactoolbox")
    assert sigma2 == pytest.approx(((1 + 9 + 49) + (1 + 4 + 36) + (4 + 9 + 16) + (16 + 36 + 49)) / 12)
    W, same = affinity_graph(knn(X, 3), 1, variant="gactoolbox")
    assert same == sigma2 and W.nnz == 8


def test_affinity_of_duplicates_is_one():
    W, sigma2 = affinity_graph(np.ones((5, 2)), 3)
    assert sigma2 == 0 and W.nnz == 15 and (W.data == 1).all()


def test_unknown_variant():
    with pytest.raises(InputError, match="variant='mine'"):
        affinity_graph(np.ones((3, 1)), 1, variant="mine")


def test_components_by_hand():
    first = np.array([1, 2, 1, 4, 3, 4, 7, 6])  # 0→1⇄2, 3⇄4←5, 6⇄7
    np.testing.assert_array_equal(nearest_neighbor_components(first[:, None]), [0, 0, 0, 1, 1, 1, 2, 2])
    first = np.array([3, 2, 1, 0])  # numbered by the first sample
    np.testing.assert_array_equal(nearest_neighbor_components(first[:, None]), [0, 1, 1, 0])


def fake_faiss(found):
    """An index that finds only what it is told to."""

    class Index:
        def train(self, vectors): ...
        def add(self, vectors): ...
        def search(self, vectors, n):
            return np.zeros((len(vectors), n), np.float32), found[:, :n]

    module = types.ModuleType("faiss")
    module.__spec__ = types.SimpleNamespace(name="faiss")
    module.index_factory = lambda dim, text: Index()
    return module


def test_approximate_neighbours(monkeypatch):
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    exact = knn(X, 6)[0]
    found = np.concatenate([np.arange(50)[:, None], exact], axis=1)  # itself first, as faiss does
    found[7, 1:] = -1  # one whose lists were empty
    found[9] = np.roll(found[9], 1)
    monkeypatch.setitem(sys.modules, "faiss", fake_faiss(found))
    np.testing.assert_array_equal(knn(X, 6, approximate=True)[0], exact)
    monkeypatch.setattr(graph, "APPROXIMATE_ABOVE", 49)
    np.testing.assert_array_equal(knn(X, 6, approximate="auto")[0], exact)


def test_approximate_neighbours_need_faiss(monkeypatch):
    monkeypatch.setattr(graph, "_has_faiss", lambda: False)
    with pytest.raises(MissingDependencyError, match="pip install"):
        knn(np.ones((5, 2)), 2, approximate=True)
    monkeypatch.setattr(graph, "APPROXIMATE_ABOVE", 3)
    assert knn(np.ones((5, 2)), 2, approximate="auto")[0].shape == (5, 2)


def test_initial_clusters_and_sigma_of_mnist(real_set):
    """1762 is the paper's number, σ² that of FACTS §8; without L2 there are 1951."""
    source = real_set("mnist-test")
    found = knn(pixels(source), 20)
    assert nearest_neighbor_components(found[0]).max() + 1 == 1762
    assert affinity_graph(found)[1] == pytest.approx(0.360245, abs=1e-6)
    raw = source.batch(range(len(source))).flatten(1)
    assert nearest_neighbor_components(knn(raw, 1)[0]).max() + 1 == 1951


@pytest.mark.parametrize("name, n_clusters", [("coil20", 421), ("usps", 2234)])
def test_initial_clusters_of_centred_sets(real_set, name, n_clusters):
    found, _ = knn(pixels(real_set(name), center=True), 1)
    assert nearest_neighbor_components(found).max() + 1 == n_clusters


@pytest.mark.gpu
def test_neighbours_on_a_gpu():
    X = torch.randn(5000, 32, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(knn(X, 20, device="cuda")[0], knn(X, 20)[0])
    X[:1000] = X[0]  # more duplicates than are kept to spare
    np.testing.assert_array_equal(knn(X, 20, device="cuda")[0], knn(X, 20)[0])
