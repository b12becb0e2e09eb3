"""The baselines that only a table needs: factorisations, task-specific deep clustering."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import non_negative_factorization, sparse_encode
from sklearn.metrics import adjusted_rand_score

from asterism import METHODS
from asterism.errors import InputError
from asterism.training import Training, train_epoch
from asterism_papers.clustering.nmf_deep import deep_semi_nmf, semi_nmf
from asterism_papers.clustering.nmf_graph import _updates, divergence, graph_nmf
from asterism_papers.methods.sparse_coding import SparseCoder
from asterism_papers.methods.task_specific import entropy_loss
from test_baselines import groups  # noqa: F401  (a fixture)

# ---------------------------------------------------------------- factorisation


def test_weighted_updates_reach_sklearns_loss():
    """w KL(x ‖ y) = KL(wx ‖ wy): the weighted problem is the plain one of scaled rows."""
    rng = np.random.RandomState(0)
    X = (rng.rand(60, 3) @ rng.rand(3, 20) + 0.1 * rng.rand(60, 20)).astype(np.float32)
    weights = rng.uniform(0.5, 2, (60, 1)).astype(np.float32)
    start = rng.uniform(0.5, 1, (60, 3)).astype(np.float32), rng.uniform(0.5, 1, (20, 3)).astype(np.float32)
    found = _updates(X, *start, weights, None, 500)
    V, U, _ = non_negative_factorization(
        (weights * X).astype(np.float64), n_components=3, solver="mu", beta_loss="kullback-leibler", max_iter=2000,
        tol=1e-8, init="random", random_state=0,
    )  # fmt: skip
    theirs = divergence(weights * X, V, U.T)
    assert found.loss == pytest.approx(divergence(X, found.loadings, found.basis, weights), rel=1e-4)
    assert found.loss == pytest.approx(theirs, rel=0.1)
    np.testing.assert_allclose(np.linalg.norm(found.basis, axis=0), 1, rtol=1e-5)


def test_updates_lower_the_divergence():
    X = np.random.RandomState(0).rand(50, 12)
    losses = [graph_nmf(X, 4, max_updates=n, n_trials=1, trial_iter=n, random_state=0).loss for n in (0, 1, 5, 20, 60)]
    assert all(after < before for before, after in zip(losses, losses[1:], strict=False))


def test_the_graph_brings_neighbours_together(groups):
    X, _ = groups
    spread = []
    for alpha in (0.0, 10.0):
        V = graph_nmf(X, 4, alpha=alpha, n_trials=2, random_state=0).loadings
        V = V / np.linalg.norm(V, axis=1, keepdims=True)
        spread.append(np.mean([np.linalg.norm(V[g] - V[g].mean(0)) for g in np.split(np.arange(120), 4)]))
        assert (V >= 0).all()
    assert spread[1] < 0.5 * spread[0]


def test_one_black_image_does_not_outweigh_all_others(groups):
    X, _ = groups
    with_black = np.concatenate([X, np.zeros_like(X[:1])])
    plain, found = (graph_nmf(one, 4, alpha=10.0, n_trials=1, random_state=0) for one in (X, with_black))
    assert found.loss > 0.5 * plain.loss and np.isfinite(found.loadings).all()


def test_negative_values_are_refused_by_the_function_and_shifted_by_the_class(groups):
    X = groups[0] - 1
    with pytest.raises(InputError, match="values >= 0"):
        graph_nmf(X, 3)
    found = METHODS["nmf-lp"](4, n_factors=None, random_state=0).fit_predict(X)
    assert adjusted_rand_score(groups[1], found) > 0.9


def test_semi_nmf_lowers_the_error_and_keeps_the_coefficients_positive():
    rng = np.random.RandomState(0)
    X = (rng.randn(20, 4) @ rng.rand(4, 80)).astype(np.float32)
    errors = []
    for n in (1, 10, 100):
        Z, H = semi_nmf(X, 4, max_updates=n, random_state=0)
        assert (H >= 0).all()
        errors.append(np.linalg.norm(X - Z @ H) / np.linalg.norm(X))
    assert errors[2] < errors[1] < errors[0] and errors[2] < 0.05


def test_deep_semi_nmf_is_tuned_as_a_whole():
    rng = np.random.RandomState(0)
    X = (rng.randn(15, 6) @ rng.rand(6, 90)).astype(np.float32)
    (first, second), H = deep_semi_nmf(X, (8, 5), max_updates=200, random_state=0)
    assert first.shape == (15, 8) and second.shape == (8, 5) and H.shape == (5, 90) and (H >= 0).all()
    Z1, H1 = semi_nmf(X, 8, max_updates=200, random_state=0)
    Z2, H2 = semi_nmf(H1, 5, max_updates=200, random_state=0)
    tuned, stacked = np.linalg.norm(X - first @ second @ H), np.linalg.norm(X - Z1 @ Z2 @ H2)
    assert tuned < stacked


# ---------------------------------------------------------------- task-specific deep clustering


def test_the_coder_starts_as_shrinkage_iterations():
    rng = np.random.RandomState(0)
    D, X = rng.randn(6, 10), rng.randn(4, 10)  # six atoms of ten numbers
    coder = SparseCoder(10, 6, n_stages=300)
    coder.set_dictionary(torch.tensor(D, dtype=torch.float32), 0.5)
    codes = coder(torch.tensor(X, dtype=torch.float32)).detach().numpy()
    exact = sparse_encode(X, D, algorithm="lasso_cd", alpha=0.5, max_iter=10_000)
    np.testing.assert_allclose(codes, exact, atol=1e-3)


def test_entropy_loss_by_hand():
    sure = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    assert entropy_loss(sure).item() == pytest.approx(-np.log(2), abs=1e-5)  # certain and balanced: the least
    assert entropy_loss(sure[[0, 0]]).item() == pytest.approx(0, abs=1e-5)  # certain, all in one cluster
    assert entropy_loss(torch.zeros(2, 2)).item() == pytest.approx(0, abs=1e-5)  # as balanced as uncertain


def test_task_specific_clustering_learns_and_resumes(groups, tmp_path, monkeypatch):
    X, y = groups
    # At ten times this rate Adam leaves the groups that k-means began with, and rounding decides which it ends in.
    make = {"n_atoms": 12, "training": Training(n_epochs=8, optimizer="adam", lr=0.001)}
    for seed in (1, 2, 0):
        whole = METHODS["tsc-d"](4, **make, random_state=seed).fit(X)
        assert adjusted_rand_score(y, whole.labels_) > 0.9
        assert whole.history_[-1]["loss"] < -0.9 * np.log(4)  # certain and balanced
    make["random_state"] = 0
    epochs = []

    def broken(*given, **named):
        epochs.append(given)
        if len(epochs) > 5:
            raise KeyboardInterrupt
        return train_epoch(*given, **named)

    monkeypatch.setattr("asterism.training.run.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("asterism_papers.methods.task_specific.train_epoch", broken)
    with pytest.raises(KeyboardInterrupt):
        METHODS["tsc-d"](4, **make, run_dir=tmp_path).fit(X)
    monkeypatch.undo()
    resumed = METHODS["tsc-d"](4, **make, run_dir=tmp_path).fit(X)
    np.testing.assert_array_equal(resumed.labels_, whole.labels_)
    np.testing.assert_allclose(resumed.head_weight_, whole.head_weight_, rtol=1e-5)
