"""Groups do not depend on the unit of the vectors, nor on how far these lie from 0."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as ReferenceKMeans
from sklearn.metrics import adjusted_rand_score

from asterism import METHODS, KMeans, Training, load, open_images
from asterism.clustering.graph import knn
from asterism.clustering.kmeans import assign, kmeans
from asterism.clustering.linkage import GraphAgglomerativeClustering, average_linkage
from asterism.clustering.neighbor_voting import vote
from asterism.clustering.nmf_transformer import GSNMF
from asterism.clustering.soft import soft_scores
from asterism.clustering.spectral import landmark_spectral, njw, self_tuning
from asterism.clustering.units import near_one, squared_unit
from asterism.networks.pixels import unit_length
from asterism_papers.clustering.normalized_cuts import normalized_cuts


def blobs(seed=0, sizes=(20, 15, 25), spread=0.3):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    return (rng.normal(0, 6, (len(sizes), 8))[y] + rng.normal(0, spread, (len(y), 8))).astype(np.float32), y


SPECTRAL = {"sc-njw": njw, "sc-st": self_tuning, "sc-ls": landmark_spectral, "sc-ncuts": normalized_cuts}
BY_DISTANCE = {
    "k-means": lambda X: kmeans(X, 3, n_init=5, random_state=0).labels,
    **{name: lambda X, find=find: find(X, 3, random_state=0) for name, find in SPECTRAL.items()},
    "sc-st": lambda X: self_tuning(X, 3, n_init=3, random_state=0),
    **{
        f"ac-{name}": lambda X, name=name: GraphAgglomerativeClustering(3, criterion=name, n_neighbors=8).fit_predict(X)
        for name in ("average", "gdl", "jule", "pic", "zeta")
    },
}


@pytest.mark.parametrize("name", BY_DISTANCE)
@settings(max_examples=6)
@given(st.integers(-60, 60), st.integers(0, 3))
def test_a_power_of_two_changes_no_label(name, power, seed):
    X, _ = blobs(seed)
    np.testing.assert_array_equal(BY_DISTANCE[name](X), BY_DISTANCE[name](np.ldexp(X, power)))


@pytest.mark.parametrize("name", BY_DISTANCE)
@pytest.mark.parametrize(("scale", "offset"), [(1e-20, 0), (1e-6, 0), (1e20, 0), (1, 3e3), (1, -1e5), (7e-9, 1e-4)])
def test_units_and_offsets_change_no_group(name, scale, offset):
    X, y = blobs()
    moved = (X.astype(np.float64) * scale + offset).astype(np.float32)
    assert adjusted_rand_score(y, BY_DISTANCE[name](moved)) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("name", BY_DISTANCE)
def test_other_floats_are_taken(name, dtype):
    X, y = blobs()
    assert adjusted_rand_score(y, BY_DISTANCE[name](X.astype(dtype))) == 1


def test_arrays_backwards_and_read_only():
    X, _ = blobs()
    X.setflags(write=False)
    again = np.ascontiguousarray(X[::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        centers = kmeans(X[::-1], 3, init=X[:3][::-1]).centers
        np.testing.assert_array_equal(centers, kmeans(again, 3, init=again[-3:].copy()).centers)
        np.testing.assert_array_equal(assign(X, centers[::-1])[0], 2 - assign(X, centers)[0])
        np.testing.assert_array_equal(knn(X[::-1], 3)[0], knn(again, 3)[0])
        np.testing.assert_array_equal(average_linkage(X[::-1]), average_linkage(again))
        np.testing.assert_array_equal(
            *(GSNMF(2, random_state=0).fit_transform(one) for one in (abs(again), abs(X)[::-1]))
        )


METHODS_BY_DISTANCE = ("kmeans", "sc-njw", "sc-st", "sc-ls", "ncuts", "ac-link", "ac-gdl", "ac-pic", "ac-zell", "iec")


@pytest.mark.parametrize("name", METHODS_BY_DISTANCE)
@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0), (1e-20, 0), (1e20, 0), (1, 3e3)])
@pytest.mark.parametrize("normalise", [False, True])
def test_methods_fit_and_predict_in_any_unit(name, scale, offset, normalise):
    X, y = blobs()
    moved = (X * np.float32(scale) + np.float32(offset)).astype(np.float32)
    few = {"n_partitions": 5} if name == "iec" else {}
    model = METHODS[name](3, normalise=normalise and not offset, random_state=0, **few).fit(moved)
    assert adjusted_rand_score(y, model.labels_) == 1
    np.testing.assert_array_equal(model.predict(moved), model.labels_)
    assert model.confidence_.min() > 0.5


ON_FEATURES = {
    "fcn": {},
    "diffusion": {},
    "temi": {"n_heads": 2, "hidden": 8, "training": Training(n_epochs=2, optimizer="adamw", lr=1e-3)},
}


@pytest.mark.parametrize("name", ON_FEATURES)
@pytest.mark.parametrize("power", [-120, -60, 63, 100])
def test_methods_on_given_features_know_no_unit(name, power, tmp_path):
    X, _ = blobs()
    moved = np.ldexp(X, power)
    usual, model = (METHODS[name](3, random_state=0, **ON_FEATURES[name]).fit(one) for one in (X, moved))
    np.testing.assert_array_equal(model.labels_, usual.labels_)
    np.testing.assert_allclose(model.confidence_, usual.confidence_, atol=1e-4)
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict(moved), model.labels_)
    np.testing.assert_array_equal(again.transform(moved[:1]), model.transform(moved[:1]))


@pytest.mark.parametrize("name", ["diffusion", "temi"])
def test_vectors_that_are_all_the_same_warn_of_nothing_else(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        METHODS[name](3, random_state=0, **ON_FEATURES[name]).fit(np.zeros((12, 5), np.float32))


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e9])
def test_labels_are_the_nearest_center_and_scores_know_no_unit(scale):
    X, _ = blobs(spread=3.0)
    model = METHODS["kmeans"](3, random_state=0).fit(X * np.float32(scale))
    again = METHODS["kmeans"](3, random_state=0).fit(X)
    exact = ((X[:, None] * scale - model.cluster_centers_[None].astype(float)) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(model.labels_, exact)
    np.testing.assert_allclose(model.confidence_, again.confidence_, rtol=1e-3)
    proba = model.predict_proba(X * np.float32(scale))
    np.testing.assert_array_equal(proba.argmax(1), model.labels_)


def test_every_image_on_its_center_is_sure():
    X = np.repeat(np.eye(3, dtype=np.float32) * np.float32(1e-7), 5, axis=0)
    assert METHODS["kmeans"](3, random_state=0).fit(X).confidence_.min() > 0.99


def test_far_rows_still_go_to_the_nearest_center():
    centers = np.array([[0.0, 0.0], [1e-3, 0.0]], np.float32)
    X = np.array([[1e4, 1.0], [-1e4, 0.0], [0.0004, 9.0], [0.0006, -9.0]], np.float32)
    assert assign(X, centers)[0].tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("offset", [0.0, 300.0, 1e5])
def test_soft_scores_far_from_zero(offset):
    X = (torch.tensor([[0.0, 0.0], [1.0, 0.0], [4.0, 3.0]]) + offset).requires_grad_()
    centers = torch.tensor([[0.0, 0.0], [4.0, 3.0]]) + offset
    scores = soft_scores(X, centers)
    exact = 1 / (1 + (X.double()[:, None] - centers.double()[None]).square().sum(2))
    torch.testing.assert_close(scores.double(), exact / exact.sum(1, keepdim=True), rtol=1e-5, atol=1e-6)
    scores[0, 0].backward()
    assert torch.isfinite(X.grad).all()


def test_rows_of_unit_length_are_those_of_torch():
    rows = torch.randn(30, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(unit_length(rows), torch.nn.functional.normalize(rows))
    for scale in (1e-30, 1e-18, 1e25):
        assert torch.allclose(unit_length(rows * scale), unit_length(rows), atol=1e-6)
    assert not unit_length(torch.zeros(2, 3)).any()


def test_near_one_leaves_images_of_unit_length():
    X = unit_length(torch.rand(20, 9, generator=torch.Generator().manual_seed(0))).numpy()
    assert near_one(X) is X and squared_unit(X) == 1
    far = near_one(X.astype(np.float64) + 1e9)
    np.testing.assert_allclose(far - far[0], (X - X[0]) * (far[1, 0] - far[0, 0]) / (X[1, 0] - X[0, 0]), atol=1e-5)


def test_votes_in_small_units():
    X = np.array([[0.0], [1e-6], [2e-6], [9e-6]], np.float32)
    found = vote(torch.from_numpy(X), X, np.array([0, 1, 0, 1]), 4, 1e-10, 2)
    assert found.argmax(1).tolist() == [0, 1, 0, 1]


# ---------------------------------------------------------------- graphs of several parts


@pytest.mark.parametrize("find", SPECTRAL.values(), ids=SPECTRAL)
@pytest.mark.parametrize("sizes", [(20, 20, 20), (8, 40, 12), (30, 6, 9, 15, 21)])
def test_far_groups_are_found_on_a_graph_of_parts(find, sizes):
    X, y = blobs(3, sizes, spread=0.1)
    assert adjusted_rand_score(y, find(X, len(sizes), random_state=0)) == 1


def test_landmarks_as_the_authors_drop_the_first():
    X, y = blobs()
    kept, dropped = (landmark_spectral(X, 3, drop_first=drop, random_state=0) for drop in (None, True))
    assert adjusted_rand_score(y, kept) == 1 > adjusted_rand_score(y, dropped)


@pytest.mark.parametrize("find", SPECTRAL.values(), ids=SPECTRAL)
def test_more_parts_than_groups_are_told(find):
    X = np.repeat(np.eye(5, dtype=np.float32), 12, axis=0) * np.random.default_rng(0).normal(1, 0.01, (60, 1))
    with pytest.warns(UserWarning, match="5 parts that nothing joins, more than n_clusters=3"):
        find(X, 3, random_state=0)


# ---------------------------------------------------------------- fewer different images than groups


@pytest.mark.parametrize("name", [*METHODS_BY_DISTANCE, "nmf-lp", "nmf-d"])
def test_fewer_different_images_than_groups_are_told(name):
    X = np.repeat(np.random.default_rng(0).random((4, 8), dtype=np.float32), 6, axis=0)
    with pytest.warns(UserWarning, match="n_clusters=7, but only 4 of the 24 images differ: "):
        model = METHODS[name](7, random_state=0).fit(X)
    assert len(np.unique(model.labels_)) >= 4


@pytest.mark.parametrize("name", ["sc-njw", "sc-st", "sc-ls", "ac-gdl", "diffusion", "discriminant-diffusion"])
@pytest.mark.parametrize("y", [[0, 0, 1], [0, 1, 0, 1, 0], [0, 1, 2, 0, 1, 2, 2], [0, 1, 2, 3]])
def test_as_many_different_images_as_groups(name, y, recwarn):
    X = np.random.default_rng(0).normal(0, 4, (4, 8)).astype(np.float32)[y]
    model = METHODS[name](max(y) + 1, random_state=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) == 1 and (model.predict(X) == model.labels_).all()
    assert not recwarn.list


def test_warnings_name_the_place_of_the_call():
    X = np.repeat(np.eye(3, 8), 4, 0)
    with pytest.warns(UserWarning, match="only 3 of the 12 samples differ") as told:
        GraphAgglomerativeClustering(5).fit(X)
    assert [one.filename for one in told] == [__file__]
    with pytest.warns(UserWarning, match="form 1 clusters, fewer") as told:
        GraphAgglomerativeClustering(2).fit(np.arange(3.0)[:, None])
    assert [one.filename for one in told] == [__file__]


def test_groups_that_stay_empty_are_told():
    X = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 4.0]])  # of length 1 two are left
    with pytest.warns(UserWarning, match="n_clusters=3, and 2 came out: 1 of the groups is empty"):
        METHODS["kmeans"](3, normalise=True, random_state=0).fit(X)


def test_enough_different_images_are_nothing_to_tell(recwarn):
    METHODS["kmeans"](3, random_state=0).fit(blobs()[0])
    assert not [one for one in recwarn if one.category is UserWarning]


# ---------------------------------------------------------------- empty clusters


def degenerate(name):
    rng = np.random.default_rng(0)
    return {
        "copies": np.repeat(rng.normal(size=(30, 5)), 20, axis=0),
        "heavy tails": rng.standard_cauchy((500, 4)).clip(-1e4, 1e4),
        "k near n": rng.normal(size=(60, 3)),
        "a heap and twenty far rows": np.concatenate([np.zeros((400, 2)), 50 * rng.normal(size=(20, 2))]),
    }[name].astype(np.float32)


@pytest.mark.parametrize("name", ["copies", "heavy tails", "k near n", "a heap and twenty far rows"])
@pytest.mark.parametrize("k", [5, 20, 50])
def test_inertia_from_bad_starts_is_that_of_scikit_learn(name, k):
    X = degenerate(name)
    for seed in range(3):
        start = X[0] + np.random.default_rng(seed).normal(size=(k, X.shape[1])).astype(np.float32) * 1e-3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = ReferenceKMeans(k, init=start, n_init=1).fit(X).inertia_
        assert kmeans(X, k, init=start).inertia <= 1.1 * theirs + 1e-6


def test_what_float32_rounds_away_is_told(recwarn, tmp_path):
    X = np.random.default_rng(0).normal(0, 10, (60, 3))
    with_constant = np.column_stack([X, np.full(60, 1e9 + 0.3)])
    for near in (X, X + 1e6, with_constant, np.float32(X + 1e9), X[:1] + 1e9, np.full((9, 2), 1e9 + 0.3)):
        KMeans(1).fit(near)
    assert not recwarn.list
    times = (X + 1.7e9).astype(np.int64)
    for far in (X + 1e9, (X + 1e9).tolist(), times, times.astype(object)):
        with pytest.warns(UserWarning, match="X has numbers so far from 0 that float32"):
            KMeans(1).fit(far)
    with pytest.warns(UserWarning, match="rounds away how its rows differ: take the same mean off"):
        open_images(X + 1e9)
    np.savetxt(tmp_path / "far.csv", X + 1e9, delimiter=",")
    with pytest.warns(UserWarning, match="'far.csv' has numbers so far from 0"):
        open_images(tmp_path / "far.csv")
