"""Parametric t-SNE: its divergence against plain numpy, and digits that stay neighbours."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import check_fit2d_1sample, check_get_params_invariance, check_n_features_in

from asterism_papers.transfer.embedding import nearest_neighbor_error, trustworthiness
from asterism_papers.transfer.parametric_tsne import ParametricTSNE, affinities, divergence


@pytest.mark.parametrize("alpha", [1.0, 9.0])
def test_the_divergence_is_equations_3_and_4(alpha):
    rng = np.random.RandomState(0)
    P = rng.rand(7, 7)
    P = np.triu(P, 1) + np.triu(P, 1).T
    P /= P.sum()
    places = rng.randn(7, 3)
    Q = (1 + ((places[:, None] - places[None]) ** 2).sum(2) / alpha) ** (-(alpha + 1) / 2)
    np.fill_diagonal(Q, 0)
    Q /= Q.sum()
    off = ~np.eye(7, dtype=bool)
    expected = (P[off] * np.log(P[off] / Q[off])).sum()
    found = divergence(torch.tensor(P), torch.tensor(places), alpha)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_affinities_are_those_of_t_sne():
    P = affinities(np.random.RandomState(0).rand(40, 5).astype(np.float32), 30.0, np.random.RandomState(0)).numpy()
    assert P.shape == (40, 40) and P.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(P, P.T, atol=1e-8)


def test_digits_that_were_not_seen_are_placed_among_their_own():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    model = ParametricTSNE(5, batch_size=125, n_epochs=12, hidden=(100, 100), learning_rate=0.003, random_state=0)
    places = model.fit(X[:1000]).transform(X[:1000])
    found = model.transform(X[1000:])
    assert places.shape == (1000, 5) and model.kl_divergences_[-1] < model.kl_divergences_[0] / 1.6
    assert nearest_neighbor_error(places, y[:1000], found, y[1000:]) < 0.3
    assert trustworthiness(X[1000:].astype(np.float32), found) > 0.85


def test_the_same_seed_gives_the_same_places():
    X = np.random.RandomState(0).rand(60, 6)
    first, second = (ParametricTSNE(n_epochs=2, hidden=(9,), random_state=3).fit_transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("check", [check_get_params_invariance, check_n_features_in, check_fit2d_1sample])
def test_it_is_an_estimator(check):
    check("ParametricTSNE", ParametricTSNE(n_epochs=1, hidden=(5,)))
