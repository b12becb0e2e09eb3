"""JULE's classical baselines: against other ways to the same result, on degenerate sets, and the paper's figures."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_moons
from sklearn.metrics import adjusted_rand_score

from asterism import METHODS, KMeans
from asterism.clustering import affinities, spectral
from asterism.errors import InputError
from asterism.methods import agglomerative
from asterism.metrics import accuracy, nmi

NAMES = ["sc-njw", "sc-st", "sc-ls", "ncuts", "ac-link", "ac-zell", "ac-gdl", "ac-pic", "nmf-lp", "nmf-d"]


@pytest.fixture(scope="module")
def groups():
    """Four well separated groups in 6 dimensions, (120, 6) float32, and their labels."""
    rng = np.random.RandomState(0)
    y = np.repeat(np.arange(4), 30)
    return (np.eye(6)[y] * 3 + 0.2 * rng.rand(120, 6)).astype(np.float32), y


# ---------------------------------------------------------------- spectral


@pytest.mark.parametrize("find", [spectral.njw, spectral.self_tuning])
def test_spectral_clustering_finds_groups(find, groups):
    X, y = groups
    assert adjusted_rand_score(y, find(X, 4, random_state=0)) == 1


@pytest.mark.parametrize("diagonal", [True, False])
def test_the_scale_that_ng_jordan_and_weiss_look_for_tells_rings_apart(diagonal):
    rng = np.random.RandomState(0)
    y, angle = np.repeat([0, 1, 2], 150), 2 * np.pi * rng.rand(450)
    rings = np.c_[np.cos(angle), np.sin(angle)] * (1 + 2 * y)[:, None] + 0.12 * rng.randn(450, 2)
    assert adjusted_rand_score(y, spectral.njw(rings, 3, n_init=10, random_state=0)) < 0.5
    assert adjusted_rand_score(y, spectral.njw(rings, 3, scale=None, diagonal=diagonal, n_init=10, random_state=0)) == 1


def test_landmarks_group_digits_better_than_kmeans():
    X, y = load_digits(return_X_y=True)
    plain = KMeans(10, random_state=0).fit(X).labels_
    found = spectral.landmark_spectral(X, 10, n_landmarks=200, random_state=0)
    assert nmi(y, found, "sqrt") > nmi(y, plain, "sqrt") + 0.03


@pytest.mark.parametrize("rotation", [False, True])
def test_self_tuning_separates_what_kmeans_cannot(rotation):
    X, y = make_moons(300, noise=0.04, random_state=0)
    found = spectral.self_tuning(X, 2, floor=1e-12, rotation=rotation, random_state=0)
    assert adjusted_rand_score(y, found) == 1


def test_eigenvectors_by_lanczos_are_the_exact_ones(monkeypatch):
    X = np.random.RandomState(0).rand(150, 4)
    A = np.exp(-affinities.squared_distances(X, "") / 0.05)
    A, degrees = affinities.normalise(A)
    exact = np.linalg.eigh(A.astype(np.float64))
    monkeypatch.setattr(affinities, "SMALL", 10)
    for which in ("LA", "LM"):
        found = affinities.leading_eigenvectors(A.copy(), 4, np.random.RandomState(0), which)
        order = np.argsort(-exact[0] if which == "LA" else -np.abs(exact[0]))[:4]
        np.testing.assert_allclose(np.abs(np.sum(found * exact[1][:, order], 0)), 1, atol=1e-3)
    np.testing.assert_allclose(np.abs(found[:, 0]), np.sqrt(degrees / degrees.sum()), atol=1e-3)


def test_squared_distances_in_blocks(monkeypatch):
    X = np.random.RandomState(0).randn(70, 5) + 100
    monkeypatch.setattr(affinities, "BLOCK", 16)
    direct = np.square(X[:, None] - X[None]).sum(2)
    np.testing.assert_allclose(affinities.squared_distances(X, ""), direct, atol=1e-3)
    assert affinities.mean_distance(X, X[:7]) == pytest.approx(direct[:, :7].mean())


def test_landmark_weights_by_hand():
    """Two landmarks are the two samples' own places: Z is a matrix that can be written down."""
    X = np.array([[0.0], [0.0], [0.0], [1.0], [1.0]])
    assert affinities.mean_distance(X, np.array([[0.0], [1.0]])) == pytest.approx(0.5)
    labels = spectral.landmark_spectral(X, 2, n_landmarks=2, n_nearest=2, random_state=0)
    assert adjusted_rand_score([0, 0, 0, 1, 1], labels) == 1


def test_align_finds_the_axes():
    rng = np.random.RandomState(0)
    labels = np.repeat([0, 1, 2], [20, 30, 10])
    axes = np.eye(3)[labels] / np.sqrt(np.bincount(labels))[None]
    Z = spectral.align(axes @ np.linalg.qr(rng.randn(3, 3))[0])
    squares = np.square(Z)
    assert (squares.sum(1) / squares.max(1)).max() < 1.001  # each row on one axis
    assert adjusted_rand_score(labels, squares.argmax(1)) == 1


def test_too_many_samples_is_one_line(monkeypatch, groups):
    monkeypatch.setattr(affinities, "MAX_SAMPLES", 100)
    monkeypatch.setattr(agglomerative, "MAX_SAMPLES", 100)
    for name in ("sc-njw", "sc-st", "ac-link"):
        with pytest.raises(InputError, match="n_samples=120; it takes at most 100") as error:
            METHODS[name](4).fit(groups[0])
        assert "\n" not in str(error.value)


# ---------------------------------------------------------------- as image clusterers


@pytest.mark.filterwarnings("ignore:samples and their nearest neighbours form")
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_sets(name):
    model = METHODS[name](3, random_state=0)
    equal = np.full((12, 4, 4), 0.5, np.float32)
    assert model.fit_predict(equal).shape == (12,)
    assert model.set_params(center=True).fit_predict(equal).shape == (12,)  # all zeros
    twins = np.repeat(np.random.RandomState(0).rand(6, 9).astype(np.float32), 4, axis=0)  # six images, four times each
    labels = METHODS[name](6, random_state=0).fit_predict(twins).reshape(6, 4)
    # SC-ST takes eigenvectors by absolute value, and with a diagonal of 0 twins differ along those of value −1.
    assert (labels == labels[:, :1]).all() or name == "sc-st"
    few = np.random.RandomState(0).rand(5, 9).astype(np.float32)  # K_s >= N, k = N
    assert METHODS[name](5, random_state=0).fit_predict(few).shape == (5,)
    with pytest.raises(InputError, match="n_clusters=6.*n_samples=5"):
        METHODS[name](6).fit(few)


@pytest.mark.filterwarnings("ignore:samples and their nearest neighbours form")
@pytest.mark.parametrize("name", NAMES)
def test_groups_far_apart_and_more_clusters_than_pairs(name, groups):
    X, y = groups
    X = X + 1000 * (y == 3)[:, None] * np.eye(6, dtype=np.float32)[3]  # a graph in pieces
    assert len(set(METHODS[name](4, normalise=False, random_state=0).fit_predict(X))) <= 4
    assert METHODS[name](100, random_state=0).fit(X).labels_.max() < 100


@pytest.mark.parametrize("name", NAMES)
def test_new_images_go_to_the_cluster_of_their_neighbours(name, groups):
    X, y = groups
    model = METHODS[name](4, random_state=0).fit(X)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    near = X + 1e-3 * np.random.RandomState(1).randn(*X.shape).astype(np.float32)
    assert (model.predict(near) == model.labels_).mean() > 0.85
    assert model.confidence_.min() >= 0 and model.confidence_.max() <= 1 + 1e-6


def test_center_takes_the_mean_image_off():
    X = np.random.RandomState(0).rand(30, 3, 3).astype(np.float32)
    for model in (KMeans(2, center=True), METHODS["ac-gdl"](2, center=True, normalise=False)):
        features = model.fit(X).transform(X)
        np.testing.assert_allclose(features, (X - X.mean(0)).reshape(30, 9), atol=1e-6)
    unit = METHODS["ac-gdl"](2, center=True).fit(X).transform(X)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)


# ---------------------------------------------------------------- the paper's figures (docs/papers/jule.md)


def scored(images, model):
    labels = model.fit(images).labels_
    return nmi(images.labels, labels, "sqrt"), accuracy(images.labels, labels)


@pytest.mark.parametrize(
    ("name", "method", "center", "expected"),
    [
        ("cmu-pie", "ac-gdl", False, (0.934, 0.842)),
        ("cmu-pie", "ac-link", False, (0.545, 0.201)),
    ],
)
def test_agglomerative_baselines_to_the_third_digit(real_set, name, method, center, expected):
    images = real_set(name)
    paper = {"min_cluster_size": 0.0, "deduplicate": False} if method == "ac-gdl" else {}
    model = METHODS[method](len(set(images.labels)), center=center, **paper)
    assert scored(images, model) == pytest.approx(expected, abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method", "center", "expected"),
    [
        ("coil20", "ac-gdl", True, (0.945, 0.865)),
        ("coil20", "ac-link", False, (0.512, 0.251)),
        ("usps", "ac-gdl", True, (0.854, 0.867)),
        ("usps", "ac-link", True, (0.579, 0.421)),
        ("mnist-test", "ac-gdl", True, (0.864, 0.933)),
        ("mnist-test", "ac-link", True, (0.662, 0.693)),
    ],
)
def test_agglomerative_baselines_to_the_third_digit_slow(real_set, name, method, center, expected):
    test_agglomerative_baselines_to_the_third_digit(real_set, name, method, center, expected)


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("umist", "sc-st", (0.611, 0.411)),
        pytest.param("cmu-pie", "sc-st", (0.581, 0.293), marks=pytest.mark.slow),
        pytest.param("cmu-pie", "sc-ls", (0.788, 0.549), marks=pytest.mark.slow),
        pytest.param("cmu-pie", "ac-zell", (0.910, 0.765), marks=pytest.mark.slow),
        pytest.param("cmu-pie", "ac-pic", (0.902, 0.797), marks=pytest.mark.slow),
    ],
)
def test_baselines_come_out_as_printed(real_set, name, method, expected):
    images = real_set(name)
    found = scored(images, METHODS[method](len(set(images.labels)), random_state=0))
    assert found == pytest.approx(expected, abs=0.02)


def test_self_tuning_without_a_floor_takes_copies():
    X = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 5.0]], 9, axis=0)  # the 7th neighbour lies at 0
    found = spectral.self_tuning(X, 3, floor=0.0, n_init=5, random_state=0)
    assert adjusted_rand_score(np.repeat([0, 1, 2], 9), found) == 1
