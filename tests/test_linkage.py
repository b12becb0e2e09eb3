"""The merging engine against slow dense transcriptions of the definitions, and against the papers' figures."""

import numpy as np
import pytest
import scipy.cluster.hierarchy
import scipy.spatial.distance
from sklearn.utils.estimator_checks import parametrize_with_checks

from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components
from asterism.clustering.linkage import GraphAgglomerativeClustering, average_linkage, cut, merge, merge_schedule
from asterism.errors import InputError
from asterism.metrics import accuracy, nmi


def gdl_affinities(W, clusters):
    """docs/papers/jule.md: A(i, j) = U[j][i] / |C_j|² + U[i][j] / |C_i|², U[c][i] = 1ᵀ W_ci W_ic 1."""
    n = len(clusters)
    A = np.zeros((n, n))
    for c in range(n):
        for i in range(n):
            if c != i:
                into = W[np.ix_(clusters[c], clusters[i])].sum(0)
                out = W[np.ix_(clusters[i], clusters[c])].sum(1)
                A[i, c] += (into * out).sum() / len(clusters[c]) ** 2
                A[c, i] += (into * out).sum() / len(clusters[c]) ** 2
    return A


def walk_affinities(W, clusters, z, zeta):
    """docs/papers/jule.md with matrix inverses."""
    P = W + np.eye(len(W))
    P /= P.sum(1, keepdims=True)

    def inside(members, part):
        inverse = np.linalg.inv(np.eye(len(members)) - z * P[np.ix_(members, members)])
        where = np.isin(members, part)
        if zeta:
            return np.log(np.diag(inverse)[where]).sum() / where.sum()
        return inverse[np.ix_(where, where)].sum() / where.sum() ** 2

    n = len(clusters)
    A = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            union = clusters[i] + clusters[j]
            gain = sum(inside(union, c) - inside(c, c) for c in (clusters[i], clusters[j]))
            A[i, j] = A[j, i] = gain
    return A


def jule_scores(A, n_local=5, weight=1.0):
    """Eq. 7 as a matrix: the score of row i stands at its nearest neighbour; absent neighbours have affinity 0."""
    S = np.full(A.shape, -np.inf)
    for i, row in enumerate(A):
        others = np.delete(np.arange(len(A)), i)
        order = others[np.argsort(-row[others], kind="stable")]
        near = np.zeros(n_local)
        near[: min(n_local, len(order))] = row[order[:n_local]]
        S[i, order[0]] = near[0] + weight / (n_local - 1) * (near[0] - near[1:]).sum()
    return S


def dense_cuts(W, labels, criterion):
    """Partition at every number of clusters, merging the best pair; ends where nothing is joined any more."""
    clusters = [list(np.flatnonzero(labels == c)) for c in range(labels.max() + 1)]
    cuts = {}
    while len(clusters) > 1:
        if criterion in ("gdl", "jule"):
            A = gdl_affinities(W, clusters)
        else:
            A = walk_affinities(W, clusters, 0.01, criterion == "zeta")
        if A.max() <= 1e-9:
            break
        S = jule_scores(A) if criterion == "jule" else A - np.diag(np.full(len(A), np.inf))
        i, j = np.unravel_index(np.argmax(S), S.shape)
        i, j = min(i, j), max(i, j)
        clusters[i] = clusters[i] + clusters.pop(j)
        cuts[len(clusters)] = {frozenset(c) for c in clusters}
    return cuts


def torch_cuts(W, labels, n_local, local_above):
    """Partition at every number of clusters as the authors' Torch code finds it, with its fast update.

    A cluster's neighbours have lower slots; the merged cluster stays in the lower slot of the two, and the last cluster
    moves into the other. Ties go to the lower slot.
    """
    clusters = [list(np.flatnonzero(labels == c)) for c in range(labels.max() + 1)]
    n = len(clusters)
    U = np.zeros((n, n))
    for c in range(n):
        for i in range(n):
            if c != i:
                into, out = W[np.ix_(clusters[c], clusters[i])].sum(0), W[np.ix_(clusters[i], clusters[c])].sum(1)
                U[c, i] = (into * out).sum()
    cuts = {}
    while len(clusters) > 1:
        sizes = np.array([len(one) for one in clusters], float)
        A = np.triu((U / sizes[:, None] ** 2 + (U / sizes[:, None] ** 2).T).round(10), 1)
        if A.max() <= 1e-9:
            break
        scores = []
        for column in A.T:
            near = np.sort(np.append(column, np.zeros(n_local)))[::-1]
            local = (near[0] - near[1:n_local]).sum() / (n_local - 1) if len(clusters) > local_above else 0.0
            scores.append(round(near[0] + local, 10))
        b = int(np.argmax(scores))
        a = int(np.argmax(A[:, b]))
        clusters[a] = clusters[a] + clusters[b]
        U[:, a] += U[:, b]
        U[a] += U[b]
        U[a, a] = 0.0
        clusters[b], U[b], U[:, b] = clusters[-1], U[-1], U[:, -1]
        clusters.pop()
        U = U[:-1, :-1]
        if b < len(U):
            U[b, b] = 0.0
        cuts[len(clusters)] = {frozenset(c) for c in clusters}
    return cuts


def as_sets(labels):
    return {frozenset(np.flatnonzero(labels == c)) for c in np.unique(labels)}


@pytest.mark.parametrize("criterion", ["gdl", "jule", "pic", "zeta"])
@pytest.mark.parametrize("seed", range(4))
def test_merge_for_merge_as_the_definition(criterion, seed):
    X = np.random.RandomState(seed).randn(70, 3)
    found = knn(X, 8)
    W, _ = affinity_graph(found, 8)
    labels = nearest_neighbor_components(found[0])
    expected = dense_cuts(W.toarray(), labels, criterion)
    assert len(expected) > 5
    merging = merge(W, labels, 1, criterion=criterion, features=X)
    for k, sets in expected.items():
        assert as_sets(merging.cut(k)) == sets, f"{k} clusters"


@pytest.mark.parametrize("with_ties", [False, True])
@pytest.mark.parametrize("local_above", [0, 12])
@pytest.mark.parametrize("seed", range(3))
def test_merge_for_merge_as_the_torch_code_where_a_number_is_a_slot(seed, local_above, with_ties):
    X = np.random.RandomState(seed).randn(120, 3)
    found = knn(X, 8)
    W, _ = affinity_graph(found, 8)
    if with_ties:
        W.data = np.ceil(W.data * 4) / 4
    labels = nearest_neighbor_components(found[0])
    expected = torch_cuts(W.toarray(), labels, 5, local_above)
    assert len(expected) > 20
    options = {"update": "fast", "half_matrix": True, "min_clusters_for_local": local_above, "isolated": "never"}
    merging = merge(W, labels, 1, criterion="jule", features=X, **options)
    for k, sets in expected.items():
        assert as_sets(merging.cut(k)) == sets, f"{k} clusters"


def test_affinity_by_hand():
    # two pairs {0,1}, {2,3}; W joins 1→2 with .5 and 2→1 with .25
    W = np.zeros((4, 4))
    W[0, 1] = W[1, 0] = W[2, 3] = W[3, 2] = 1
    W[1, 2], W[2, 1] = 0.5, 0.25
    merging = merge(W, np.array([0, 0, 1, 1]), 1)
    # U = .5·.25 each way, over 2² twice
    assert merging.affinities[-1] == pytest.approx(2 * 0.125 / 4)


def test_the_paper_approximation_and_the_torch_rule_differ():
    X = np.random.RandomState(0).randn(200, 3)
    W, _ = affinity_graph(X, 10)
    initial = nearest_neighbor_components(knn(X, 1)[0])
    found = {u: merge(W, initial, 5, update=u).labels for u in ("exact", "fast", "paper")}
    assert as_sets(found["exact"]) != as_sets(found["paper"])
    assert np.bincount(found["fast"]).sum() == 200


def test_schedule():
    assert merge_schedule(1762, 10, 0.9) == [176, 17, 10]
    assert merge_schedule(421, 20, 0.9) == [42, 20]
    assert merge_schedule(2162, 100, 0.9) == [216, 100]


def test_isolated_clusters_go_to_the_nearest_centroid():
    X = np.array([[0.0], [0.1], [0.2], [0.3], [9.0], [9.1], [9.2], [9.3], [20.0], [20.1]])
    W, _ = affinity_graph(X, 2)
    W = W.tolil()
    W[8:, :8] = 0
    W[:8, 8:] = 0
    merging = merge(W.tocsr(), np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), 2, features=X, isolated="always")
    assert merging.n_isolated == 1
    assert merging.labels.tolist() == [0] * 4 + [1] * 6


def test_disconnected_and_degenerate_graphs_end():
    equal = np.ones((30, 4))
    assert len(set(GraphAgglomerativeClustering(3, deduplicate=False).fit_predict(equal))) == 3
    with pytest.warns(UserWarning, match="only 1 of the 30 samples differ, fewer than n_clusters=3"):
        assert not GraphAgglomerativeClustering(3).fit_predict(equal).any()
    two = np.vstack([np.zeros((10, 2)), np.full((10, 2), 1e6)])
    assert as_sets(GraphAgglomerativeClustering(2, n_neighbors=3).fit_predict(two)) == {
        frozenset(range(10)),
        frozenset(range(10, 20)),
    }
    few = np.random.RandomState(0).randn(5, 2)
    assert len(set(GraphAgglomerativeClustering(2, n_neighbors=50).fit_predict(few))) == 2
    with pytest.raises(InputError, match="9.*5 samples"):
        GraphAgglomerativeClustering(9).fit(few)


def test_history_is_a_linkage_matrix():
    from scipy.cluster.hierarchy import is_valid_linkage

    X = np.random.RandomState(0).randn(80, 3)
    model = GraphAgglomerativeClustering(4, n_neighbors=8).fit(X)
    assert is_valid_linkage(model.linkage_matrix_)
    assert as_sets(cut(model.linkage_matrix_, 4)) == as_sets(model.labels_)


@pytest.mark.parametrize("criterion", ["gdl", "jule", "pic", "zeta"])
def test_copies_do_not_decide(criterion):
    """With thirty copies of each image all of its neighbours are its copies, and the graph has no other edge."""
    from scipy.cluster.hierarchy import is_valid_linkage

    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 12)
    distinct = rng.normal(0, 6, (3, 4))[y] + rng.normal(0, 1.0, (36, 4))
    order = rng.permutation(np.repeat(np.arange(36), rng.integers(1, 40, 36)))
    alone = GraphAgglomerativeClustering(3, criterion=criterion, n_neighbors=6).fit(distinct)
    model = GraphAgglomerativeClustering(3, criterion=criterion, n_neighbors=6).fit(distinct[order])
    assert as_sets(alone.labels_) == as_sets(y)
    assert as_sets(model.labels_) == as_sets(y[order])
    assert is_valid_linkage(model.linkage_matrix_) and model.linkage_matrix_[-1, 3] == len(order)
    for k in (2, 3, 5):
        found = cut(model.linkage_matrix_, k)
        pairs = set(zip(order.tolist(), found.tolist(), strict=True))
        assert len(set(found)) == k and len(pairs) == 36  # copies stay together


@pytest.mark.parametrize("criterion", ["gdl", "pic", "zeta"])
def test_a_few_odd_samples_make_no_cluster(criterion):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    X = np.concatenate(
        [np.array([[0, 0], [4, 0], [0, 30]])[y] + rng.normal(size=(120, 2)), [[18, 12], [18.2, 12], [18, 12.2]]]
    )
    fair = GraphAgglomerativeClustering(3, criterion=criterion, n_neighbors=6).fit_predict(X)
    plain = GraphAgglomerativeClustering(3, criterion=criterion, n_neighbors=6, min_cluster_size=0.0).fit_predict(X)
    assert np.bincount(fair).min() > 30 and np.bincount(plain).min() == 3


@parametrize_with_checks([GraphAgglomerativeClustering(3), GraphAgglomerativeClustering(3, criterion="average")])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("name", "centred", "criterion", "n_initial", "expected"),
    [  # docs/papers/jule.md and the paper's Table 3: NMI-sqrt, ACC
        ("mnist-test", False, "gdl", 1762, (0.867, 0.931)),
        ("mnist-test", True, "gdl", 1980, (0.864, 0.933)),
        ("mnist-test", False, "jule", 1762, (0.872, 0.936)),
        ("usps", True, "gdl", 2234, (0.854, 0.867)),
        ("coil20", True, "gdl", 421, (0.945, 0.865)),
        ("cmu-pie", False, "gdl", 799, (0.934, 0.842)),
        ("cmu-pie", False, "average", 2856, (0.545, 0.201)),
    ],
)
def test_the_papers_baselines_to_the_third_digit(real_set, name, centred, criterion, n_initial, expected):
    images = real_set(name)
    X = images.pixels.numpy().reshape(len(images), -1).astype(np.float32)
    X -= X.mean(0) if centred else 0
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    k = len(set(images.labels.tolist()))
    model = GraphAgglomerativeClustering(k, criterion=criterion, min_cluster_size=0.0, deduplicate=False).fit(X)
    assert model.n_initial_clusters_ == n_initial
    found = nmi(images.labels, model.labels_, "sqrt"), accuracy(images.labels, model.labels_)
    assert found == pytest.approx(expected, abs=0.002)


def test_sigma_and_raw_components_of_mnist_test(real_set):
    images = real_set("mnist-test")
    raw = images.pixels.numpy().reshape(10000, -1).astype(np.float32)
    found = knn(raw / np.linalg.norm(raw, axis=1, keepdims=True), 20)
    assert affinity_graph(found, 20)[1] == pytest.approx(0.360245, abs=1e-6)
    assert nearest_neighbor_components(knn(raw, 1)[0]).max() + 1 == 1951


@pytest.mark.parametrize("unit", [1.0, 0.25])
def test_average_linkage_keeps_equal_distances_equal(unit):
    X = np.random.RandomState(0).randint(0, 4, (66, 3)) * unit + 100
    distances = scipy.spatial.distance.pdist(X)
    np.testing.assert_array_equal(average_linkage(X), scipy.cluster.hierarchy.linkage(distances, "average"))
