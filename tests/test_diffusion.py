"""Diffusion maps: the graph, the map, and the method on vectors."""

import json

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.csgraph import connected_components
from sklearn.base import clone
from sklearn.datasets import load_digits, make_moons
from sklearn.metrics import adjusted_rand_score
from typer.testing import CliRunner

from asterism import Backbone, Diffusion, DiscriminantDiffusion, KMeans, load
from asterism.cli.app import app
from asterism.clustering import diffusion
from asterism.clustering.diffusion import FAINTEST, DiffusionMaps, leading_axes, local_weights, symmetric_graph
from asterism.clustering.graph import knn
from asterism.clustering.stability import UNSTABLE, stability_words
from asterism.errors import InputError
from asterism.training.checkpoint import load_state, save_state


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return found.data[:900].astype("f4"), found.target[:900]


def test_weights_fall_from_the_nearest_on_whatever_the_unit():
    distances = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0], [0.0, 0.0, 5.0]])
    weights = local_weights(distances)
    assert np.allclose(weights[0], np.exp(-np.array([0, 1, 3]) / 2))  # their mean beyond the first is 2
    assert (weights[1] == 1).all()
    assert weights[2].tolist() == [1, 1, np.exp(-2)]
    assert np.allclose(local_weights(distances * 1e-30), weights)


def test_parts_of_a_graph_are_joined_at_their_nearest_ends_by_faint_links():
    X = np.array([[0.0], [1], [2], [10], [11], [12.5], [30], [31], [32.2]])
    indices, distances = knn(X, 2)
    graph = symmetric_graph(indices, distances, X)
    assert connected_components(graph, directed=False)[0] == 1
    rows, columns, values = scipy.sparse.find(scipy.sparse.triu(graph))
    faint = {(int(i), int(j)) for i, j, value in zip(rows, columns, values, strict=True) if value == FAINTEST}
    assert faint == {(2, 3), (5, 6)}, (rows, columns, values)
    assert abs(graph - graph.T).max() == 0


def test_rows_of_a_map_have_length_1_and_the_map_depends_on_the_seed_alone(digits):
    X = digits[0][:300]
    first, again = (DiffusionMaps(X, 10, np.random.RandomState(0)).embedding(10) for _ in range(2))
    assert first.shape == (300, 10) and np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert (first == again).all()


def test_the_first_axes_are_those_of_all_maps_side_by_side(digits):
    maps = DiffusionMaps(digits[0], 10, np.random.RandomState(0))
    rows = maps.side_by_side(10)
    left, scale, _ = np.linalg.svd(rows, full_matrices=False)
    exact, found = (left * scale)[:, :10], maps.average(10, 20)[:, :10]
    products, true = (one @ one.T for one in (found, exact))
    assert np.abs(products - true).max() < 0.02 * true.max()
    start = np.random.RandomState(0).standard_normal((900, 30)).astype("f4")
    assert leading_axes(rows, 4, start).shape == (900, 4)


def test_axes_that_are_rounding_alone_tell_nothing_apart():
    random = np.random.RandomState(0)
    rows = np.repeat(random.standard_normal((1, 40)), 30, 0).astype("f4")
    found = leading_axes(rows, 4, random.standard_normal((30, 9)).astype("f4"))
    assert (np.abs(found[:, 0]) > 1).all() and np.ptp(found[:, 0]) < 1e-4 and (found[:, 1:] == 0).all()


def test_thousands_of_images_are_looked_for_among_the_samples_at_once(monkeypatch):
    """To prepare 20 000 samples anew for each 128 of a million images took longer than the search itself."""
    X = np.random.RandomState(0).standard_normal((700, 40)).astype("f4")
    model, asked = Diffusion(3, max_samples=60, random_state=0).fit(X), []
    real = diffusion.neighbors
    monkeypatch.setattr(diffusion, "neighbors", lambda rows, *more: asked.append(len(rows)) or real(rows, *more))
    found = model.transform(X)
    assert asked == [768]
    assert np.array_equal(found, np.concatenate([model.transform(X[i : i + 128]) for i in range(0, 700, 128)]))


def test_an_older_run_that_goes_on_takes_no_groups_of_other_maps(digits, tmp_path):
    X = digits[0][:200]
    Diffusion(10, random_state=0, run_dir=tmp_path).fit(X)
    (groups,) = (tmp_path / "checkpoint").glob("group*")
    saved = load_state(groups)
    saved["result"]["centers"] = -saved["result"]["centers"]
    groups.unlink()
    save_state(tmp_path / "checkpoint" / "groups.safetensors", saved)
    about = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(about | {"status": "interrupted"}))
    model = Diffusion(10, random_state=0, run_dir=tmp_path).fit(X)
    assert (model.predict(X) == model.labels_).all()


def test_eigenvectors_are_found_from_those_in_another_space(digits):
    X = digits[0]
    alone, maps = DiffusionMaps(X, 10, np.random.RandomState(0)), DiffusionMaps(X[:, ::2], 10, np.random.RandomState(0))
    after = DiffusionMaps(X, 10, np.random.RandomState(0), maps)
    for (ours, _), (theirs, _) in zip(after.spectra, alone.spectra, strict=True):
        np.testing.assert_allclose(ours[:20], theirs[:20], atol=0.01)


def test_copies_are_predicted_into_their_group(digits):
    X = np.concatenate([digits[0][:300], digits[0][:20], digits[0][20:25] + 1e-6])
    model = Diffusion(10, random_state=0).fit(X)
    assert (model.predict(X) == model.labels_).all()


def test_digits_come_out_better_than_by_k_means(digits):
    X, y = digits
    ours = adjusted_rand_score(y, Diffusion(10, random_state=0).fit(X).labels_)
    plain = adjusted_rand_score(y, KMeans(10, random_state=0).fit(X).labels_)
    assert ours > plain + 0.1


def test_groups_that_are_no_balls():
    X, y = make_moons(400, noise=0.05, random_state=0)
    assert adjusted_rand_score(y, Diffusion(2, random_state=0).fit(X).labels_) > 0.95


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_neither_unit_nor_offset_matters(scale, offset):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 20)
    X = (rng.normal(0, 6, (3, 8))[y] + rng.normal(0, 0.3, (60, 8)) + offset) * scale
    assert adjusted_rand_score(y, Diffusion(3, random_state=0).fit(X).labels_) == 1


def test_copies_fall_into_groups_of_their_own():
    X = np.repeat(np.random.default_rng(0).normal(0, 4, (5, 8)), 30, 0)
    assert np.bincount(Diffusion(5, random_state=0).fit(X).labels_).tolist() == [30] * 5


def test_an_image_of_the_fit_keeps_its_group_and_a_new_one_joins_its_neighbours(digits, tmp_path):
    X, y = digits
    model = Diffusion(10, random_state=0).fit(X[:600])
    assert (model.predict(X[:600]) == model.labels_).all()
    assert adjusted_rand_score(y[600:], model.predict(X[600:])) > 0.75
    model.save(tmp_path / "run")
    assert (load(tmp_path / "run").predict(X[600:]) == model.predict(X[600:])).all()


def test_a_map_of_some_images_places_the_others(digits):
    X, y = digits
    model = Diffusion(10, max_samples=300, random_state=0).fit(X)
    assert len(model.encoder_[1].samples) == 300
    assert adjusted_rand_score(y, model.labels_) > 0.6


@pytest.mark.parametrize("n", [2, 3, 4, 12])
def test_few_images(n):
    X = np.random.default_rng(n).normal(size=(n, 5))
    assert len(Diffusion(2, random_state=0).fit(X).labels_) == n


@pytest.mark.parametrize("y", [[0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 1, 1, 2], [0, 0, 1, 2, 2]])
@pytest.mark.parametrize("kind", [Diffusion, DiscriminantDiffusion])
def test_a_few_images_that_lie_apart(kind, y, recwarn):
    rng = np.random.default_rng(0)
    X, k = (rng.normal(0, 5, (3, 40))[y] + rng.normal(0, 0.5, (len(y), 40))).astype(np.float32), max(y) + 1
    model = kind(k, random_state=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) == 1 and not recwarn.list
    np.testing.assert_array_equal(model.predict(X + 0.01), model.labels_)
    assert len(np.unique(model.cut(len(y)))) == len(y) and set(model.cut(1)) == {0}


@pytest.mark.parametrize("sizes", [(40, 10, 4, 4), (24, 6, 3, 3, 3), (40, 20, 10, 10, 5, 5, 4, 3)])
@pytest.mark.parametrize("kind", [Diffusion, DiscriminantDiffusion])
def test_groups_of_very_different_sizes(kind, sizes, tmp_path):
    """A map makes groups of like size: it divided the large one and joined small ones that lie far apart."""
    rng, y = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    X = (rng.normal(0, 1, (len(sizes), 40))[y] + rng.normal(0, 0.5, (len(y), 40))).astype(np.float32)
    model = kind(len(sizes), random_state=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) == 1
    assert model.confidence_.mean() == pytest.approx(float(model.agreement_), abs=0.05)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    np.testing.assert_array_equal(model.predict(X + rng.normal(0, 0.01, X.shape).astype("f4")), model.labels_)
    model.save(tmp_path / "run")
    found, sure = load(tmp_path / "run").predict_with_confidence(X)
    np.testing.assert_array_equal(found, model.labels_)
    np.testing.assert_allclose(sure, model.confidence_, atol=1e-5)


def test_groups_of_like_size_and_those_that_are_no_balls_are_the_maps(monkeypatch):
    rng, turn = np.random.default_rng(0), np.linspace(0, 2 * np.pi, 40, endpoint=False)
    around = np.stack([np.cos(turn), np.sin(turn)], 1)  # as an object that is turned
    rings = [rng.normal(0, 0.15, 40) + around @ rng.normal(0, 1, (2, 40)) / 2 for _ in range(4)]
    balls = rng.normal(0, 1, (5, 40)).repeat(12, 0) + rng.normal(0, 0.9, (60, 40))
    for X, k in ((np.concatenate(rings), 4), (balls, 5)):
        truth = np.repeat(np.arange(k), len(X) // k)
        model = Diffusion(k, random_state=0).fit(X)
        assert adjusted_rand_score(truth, model.labels_) > 0.9
        with monkeypatch.context() as patch:
            patch.setattr("asterism.methods.diffusion.FEW", 0)
            np.testing.assert_array_equal(Diffusion(k, random_state=0).fit(X).labels_, model.labels_)


def test_stability_tells_groups_from_noise(digits):
    noise = np.random.default_rng(0).normal(size=(400, 20))
    assert float(Diffusion(5, random_state=0).fit(noise).stability_) < UNSTABLE / 2
    assert float(Diffusion(10, random_state=0).fit(digits[0][:500]).stability_) > 0.5
    assert np.isnan(Diffusion(5, random_state=0).fit(noise[:15]).stability_)


def test_stability_is_saved(digits, tmp_path):
    model = Diffusion(4, random_state=0).fit(digits[0][:100])
    model.save(tmp_path / "run")
    assert load(tmp_path / "run").stability_ == model.stability_


def test_a_person_is_told_when_groups_mean_nothing(tmp_path):
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).normal(size=(200, 20)).astype("f4"))
    asked = ["cluster", tmp_path / "noise.npy", "-k", 4, "--method", "diffusion", "--out", tmp_path / "run"]
    done = CliRunner().invoke(app, [str(one) for one in asked])
    assert "these groups may not mean anything" in done.stdout
    assert "these groups may not mean anything" in (tmp_path / "run" / "report.html").read_text()
    assert "mean anything" not in stability_words(0.6) and "with care" in stability_words(0.4)


def test_a_map_is_drawn_from_what_neighbours_are_sought_in(digits):
    model = Diffusion(5, random_state=0).fit(digits[0][:80])
    drawn = model.map_features(digits[0][:80])
    assert np.allclose(drawn, model.encoder_[1].samples.numpy(), atol=1e-6) and drawn.shape[1] > 5


@pytest.mark.parametrize("width", [3, 6])
def test_the_way_out_of_a_part_is_the_shortest_link_whether_or_not_it_is_among_the_neighbours(width):
    """Small parts see the others among their neighbours, large ones do not: all distances are looked at."""
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 30, (12, 3))
    X = np.concatenate(
        [rng.normal(middle, 1, (size, 3)) for middle, size in zip(middles, [8] * 6 + [30] * 6, strict=True)]
    )
    indices, distances = knn(X, 12)
    graph = symmetric_graph(indices, distances, X, width)
    apart = ((X[:, None] - X[None]) ** 2).sum(2)
    parts = connected_components(graph > FAINTEST, directed=False)[1]
    links = graph.tocoo()
    faint = {(i, j) for i, j, value in zip(links.row, links.col, links.data, strict=True) if value == FAINTEST}
    found = 0
    for part in range(parts.max() + 1):
        shortest = np.where((parts == part)[:, None] & (parts != part), apart, np.inf)
        found += np.unravel_index(shortest.argmin(), shortest.shape) in faint
    assert parts.max() >= 11 and found >= parts.max()  # of all but, perhaps, the largest
    assert connected_components(graph, directed=False)[0] == 1


def test_a_map_of_fewer_images_than_groups_is_refused():
    X = np.random.default_rng(0).random((40, 40))
    with pytest.raises(InputError, match="max_samples=3 cannot be used: .*n_clusters=10"):
        Diffusion(10, max_samples=3, random_state=0).fit(X)


@pytest.mark.parametrize("white", [255, 65535])
def test_a_map_is_drawn_of_images_as_the_network_sees_them(white):
    pixels = np.random.default_rng(0).random((30, 32, 32, 3)).astype(np.float32)
    model = Diffusion(3, backbone=Backbone("hog-color"), random_state=0)
    whole, scaled = (clone(model).fit(one).map_features(one) for one in (pixels, pixels * white))
    assert np.allclose(whole, scaled, atol=1e-4)
