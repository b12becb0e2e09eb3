"""Merging that counts no small clusters: by hand on a line of points, and its history."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import is_valid_linkage

from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components
from asterism.clustering.linkage import cut, merge
from asterism.clustering.small_clusters import fair_owner, merge_without_small_clusters, rows_before_small


def blobs_with_outliers(seed=0):
    """Two near groups of forty, one far group of forty, and three outliers far from all of them."""
    noise = np.random.default_rng(seed)
    centers = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 30.0]])
    points = np.concatenate([center + noise.normal(size=(40, 2)) for center in centers])
    outliers = np.array([[18.0, 12.0], [18.2, 12.0], [18.0, 12.2]])
    return np.concatenate([points, outliers]), np.repeat([0, 1, 2], 40)


def merged(X, k, smallest, full=True, n_neighbors=6):
    found = knn(X, n_neighbors)
    W, _ = affinity_graph(found, n_neighbors)
    start = nearest_neighbor_components(found[0])
    return merge_without_small_clusters(W, start, k, smallest=smallest, features=X, full=full, criterion="jule")


def test_outliers_make_no_cluster():
    X, groups = blobs_with_outliers()
    plain, fair = merged(X, 3, 0.0), merged(X, 3, 0.2)
    assert 3 in np.bincount(plain.labels)  # the outliers are one of the three, two groups are merged
    assert (fair.labels[:120] == groups).mean() > 0.9 and (plain.labels[:80] == plain.labels[0]).all()
    assert len(set(fair.labels[120:])) == 1
    np.testing.assert_array_equal(merged(X, 3, 0.2, full=False).labels, fair.labels)


def test_without_a_share_it_is_merge_itself():
    X, _ = blobs_with_outliers()
    W, _ = affinity_graph(X, 6)
    expected = merge(W, None, 4, criterion="jule", features=X)
    found = merge_without_small_clusters(W, None, 4, smallest=0.0, features=X, full=True, criterion="jule")
    np.testing.assert_array_equal(found.history, expected.history)


def test_rows_by_hand():
    # {0..3} in two pairs, then 4 and 5 join last: sizes 2 2 1 1 -> 3 (with 4) -> 5 …
    history = np.array([[0, 1, 0, 2], [2, 3, 0, 2], [4, 6, 1, 3], [7, 8, 2, 5]], dtype=float)
    # two clusters are asked for; at the end there are {0..4} and {5}: one of size 2 or more, so one merge is taken back
    assert rows_before_small(history, 6, 2, 2.0) == 3
    assert rows_before_small(history, 6, 2, 1.0) == 4
    assert rows_before_small(history, 6, 2, 3.0) == 4  # there never were two of three or more: as `merge` left it


def test_a_small_cluster_goes_to_its_strongest_neighbour_or_the_nearest_centroid():
    W = np.zeros((7, 7))
    W[4, 0], W[3, 4] = 0.2, 0.5  # 4 is tied to 0 by 0.2 and to 3 by 0.5
    pieces = np.array([0, 0, 1, 1, 2, 3, 1])
    features = np.array([[0.0], [0.0], [9.0], [9.0], [0.0], [1.0], [9.0]])
    owner = fair_owner(scipy.sparse.csr_matrix(W), pieces, 2.0, features)
    np.testing.assert_array_equal(owner, [0, 1, 1, 0])


@pytest.mark.parametrize("k", [2, 3, 5, 9])
@pytest.mark.parametrize("smallest", [0.1, 0.5, 0.9])
def test_the_history_is_a_tree_that_goes_through_the_labels(k, smallest):
    X, _ = blobs_with_outliers(k)
    found = merged(X, k, smallest)
    assert found.history.shape == (len(X) - 1, 4) and found.affinities.shape == (len(X) - 1,)
    assert is_valid_linkage(found.history)
    np.testing.assert_array_equal(cut(found.history, k), found.labels)
    assert found.history[-1, 3] == len(X) and len(np.unique(found.labels)) == k
    coarser = cut(found.history, k - 1)
    assert len(np.unique(coarser * 100 + found.labels)) == k


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.01, 0.99))
def test_any_graph_gives_a_whole_tree(seed, k, smallest):
    noise = np.random.default_rng(seed)
    X = np.round(noise.normal(size=(noise.integers(12, 40), 2)), 1)
    W, _ = affinity_graph(X, int(noise.integers(1, 6)))
    found = merge_without_small_clusters(W, None, k, smallest=smallest, features=X, full=True, criterion="jule")
    assert is_valid_linkage(found.history) and len(np.unique(found.labels)) == k
    np.testing.assert_array_equal(cut(found.history, k), found.labels)
