"""GSNMF against its definition, against scikit-learn, and where it is easily wrong."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import NMF
from sklearn.utils.estimator_checks import parametrize_with_checks

from asterism.clustering.nmf import (
    OnlineBases,
    Penalty,
    coefficients,
    factorise,
    gram,
    initialise,
    step_h,
    step_w,
    unit_bases,
)
from asterism.clustering.nmf_transformer import GSNMF
from asterism.errors import InputError
from asterism.networks.pixels import unit_length


@parametrize_with_checks([GSNMF(3, max_iter=20), GSNMF(3, max_iter=20, batch_size=16, l21=0.1)])
def test_scikit_learn(estimator, check):
    check(estimator)


def samples(n=40, m=20, rank=5, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((n, rank)) ** 3 @ rng.random((rank, m)) ** 3 + 0.01 * rng.random((n, m)))


def slow_objective(X, W, H, l1, l2, l21=0.0):
    """Eq. 2, element by element."""
    found = 0.5 * float(((X - H @ W) ** 2).sum()) + 0.5 * l2 * float((H**2).sum()) + l1 * float(H.sum())
    return found + l21 * sum(float((H[:, i] ** 2).sum()) ** 0.5 for i in range(H.shape[1]))


def test_rules_are_equation_6_element_by_element():
    X, (W, H) = samples(6, 4), [torch.rand(3, 4, dtype=torch.float64), torch.rand(6, 3, dtype=torch.float64)]
    new_h, new_w = step_h(H, X @ W.T, W @ W.T, 0.3, 0.2), step_w(W, H.T @ X, H.T @ H)
    for i in range(6):
        for j in range(3):
            above = sum(X[i, m] * W[j, m] for m in range(4))
            below = sum((H[i] @ W)[m] * W[j, m] for m in range(4)) + 0.2 * H[i, j] + 0.3
            assert float(new_h[i, j]) == pytest.approx(float(H[i, j] * above / below))
    for j in range(3):
        for m in range(4):
            above, below = (float(H[:, j] @ one[:, m]) for one in (X, H @ W))
            assert float(new_w[j, m]) == pytest.approx(float(W[j, m]) * above / below)


@settings(max_examples=40)
@given(
    st.integers(2, 12),
    st.integers(2, 9),
    st.integers(1, 14),
    st.sampled_from([0.0, 0.05, 2.0]),
    st.sampled_from([0.0, 0.02, 1.0]),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.booleans(),
    st.integers(0, 5),
)
def test_the_objective_never_rises(n, m, n_components, l1, l2, l21, unit, seed):
    X = torch.from_numpy(
        np.random.default_rng(seed).random((n, m)) * (np.random.default_rng(seed + 1).random((n, m)) < 0.7)
    )
    penalty = Penalty(l1, l2, l21)
    found = factorise(X, *initialise(X, n_components, "nndsvda", seed), penalty, n_iter=25, tol=0, unit=unit)
    values = np.array(found.objective)
    assert (np.diff(values) <= 1e-9 * max(values[0], 1)).all()
    assert (found.W >= 0).all() and (found.H >= 0).all()
    assert values[-1] == pytest.approx(slow_objective(X, found.W, found.H, l1, l2, l21), rel=1e-6, abs=1e-9)
    if unit:
        lengths = found.W.norm(dim=1)
        assert (((lengths - 1).abs() < 1e-9) | (lengths == 0)).all()


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.1, 0.0), (0.03, 0.05)])
def test_the_same_as_scikit_learns_where_the_penalties_coincide(l1, l2):
    X = samples()
    W, H = initialise(X, 4, "nndsvda", 0)
    ours = factorise(X, W, H, Penalty(l1, l2), n_iter=30, tol=0, unit=False)
    alpha = (l1 + l2) / X.shape[1]  # it multiplies by the number of features, and its W is our H
    model = NMF(
        4,
        solver="mu",
        init="custom",
        alpha_W=alpha,
        alpha_H=0.0,
        l1_ratio=l1 / (l1 + l2) if l1 + l2 else 0.0,
        max_iter=30,
        tol=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = model.fit_transform(X.numpy(), W=H.numpy().copy(), H=W.numpy().copy())
    np.testing.assert_allclose(ours.H.numpy(), theirs, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.W.numpy(), model.components_, rtol=1e-6, atol=1e-9)


def test_gram_is_the_whole_product():
    A = torch.rand(300, 20, dtype=torch.float64)
    torch.testing.assert_close(gram(A), A @ A.T)


def test_a_penalty_needs_bases_of_length_one():
    X = unit_length(samples())
    start = initialise(X, 4, "nndsvda", 0)
    free = factorise(X, *start, Penalty(l1=0.5), n_iter=300, tol=0, unit=False)
    held = factorise(X, *start, Penalty(l1=0.5), n_iter=300, tol=0)
    assert free.W.norm(dim=1).max() > 2  # H is small only because W has grown
    assert held.H.sum() > 2 * free.H.sum()


def test_penalties_do_what_they_are_for():
    X = unit_length(samples(60, 30, 6))
    start = initialise(X, 10, "nndsvdar", 0)

    def coded(**penalty):
        return factorise(X, *start, Penalty(**penalty), n_iter=200, tol=0)

    plain, sparse, grouped = coded(), coded(l1=0.1), coded(l21=0.5)
    n_zero = {name: int((one.H < 1e-6).sum()) for name, one in (("plain", plain), ("sparse", sparse))}
    assert n_zero["sparse"] > n_zero["plain"] + 60  # of 600
    assert (coded(l2=0.5).H ** 2).sum() < (plain.H**2).sum()
    idle = (grouped.H.norm(dim=0) < 1e-3 * grouped.H.norm(dim=0).max()).sum()
    assert idle > (plain.H.norm(dim=0) < 1e-3 * plain.H.norm(dim=0).max()).sum()  # whole components are given up


@pytest.mark.parametrize("init", ["nndsvd", "nndsvda", "nndsvdar", "random"])
def test_starts(init):
    X = samples()
    W, H = initialise(X, 4, init, 0)
    again = initialise(X, 4, init, 0)
    assert W.shape == (4, 20) and H.shape == (40, 4) and (W >= 0).all() and (H >= 0).all()
    assert torch.equal(W, again[0]) and torch.equal(H, again[1])
    assert (init == "nndsvd") or ((W > 0).all() and (H > 0).all())
    reference = {"nndsvd": 0.45, "nndsvda": 0.9, "nndsvdar": 0.45, "random": 1.5}[init]
    assert float((X - H @ W).norm() / X.norm()) < reference


def test_nndsvd_is_the_one_of_scikit_learn():
    from sklearn.decomposition._nmf import _initialize_nmf

    X = samples()
    W, H = initialise(X, 4, "nndsvda", 0)
    H_theirs, W_theirs = _initialize_nmf(X.numpy(), 4, "nndsvda", random_state=0)
    np.testing.assert_allclose(H.numpy() @ W.numpy(), H_theirs @ W_theirs, rtol=1e-5, atol=1e-7)


def test_more_components_than_samples_or_rank():
    X = unit_length(samples(6, 30, 2))
    W, H = initialise(X, 12, "nndsvda", 0)
    assert W.shape == (12, 30)
    found = factorise(X, W, H, n_iter=500, tol=0)
    assert found.objective[-1] < 0.02 * found.objective[0]
    line = unit_length(torch.outer(torch.rand(9, dtype=torch.float64) + 0.1, torch.rand(5, dtype=torch.float64)))
    assert torch.isfinite(factorise(line, *initialise(line, 4, "nndsvd", 0), Penalty(0.05, 0.02)).H).all()


def test_zero_rows_and_columns_stay_zero():
    X = samples()
    X[3], X[:, 5] = 0, 0
    X = unit_length(X)
    found = factorise(X, *initialise(X, 4, "nndsvda", 0), Penalty(0.05, 0.02), n_iter=200)
    assert torch.isfinite(found.H).all() and torch.isfinite(found.W).all()
    assert found.H[3].max() < 1e-9 and found.W[:, 5].max() < 1e-9
    assert coefficients(X, found.W)[3].max() == 0


def test_negative_input_is_named_with_the_fix():
    X = samples().numpy() - 0.5
    with pytest.raises(InputError, match=r"Negative values.*GSNMF.*np.maximum\(-X, 0\)"):
        GSNMF(3).fit(X)
    with pytest.warns(UserWarning, match="every value is 0"):
        assert (GSNMF(2).fit_transform(np.zeros((5, 4))) == 0).all()


def test_coefficients_of_new_samples_are_the_best_and_do_not_depend_on_each_other():
    X = unit_length(samples(50, 20))
    W = unit_bases(initialise(X, 5, "nndsvda", 0)[0])[0]
    H = coefficients(X, W, l1=0.02, ridge=0.05, n_iter=4000)
    gradient = H @ (W @ W.T) - X @ W.T + 0.05 * H + 0.02  # eq. 4: 0 where h > 0, at least 0 where h = 0
    assert float((gradient * H).abs().max()) < 1e-3 and float(gradient.min()) > -1e-2
    torch.testing.assert_close(coefficients(X[7:8], W, l1=0.02, n_iter=50), coefficients(X, W, l1=0.02, n_iter=50)[7:8])


def test_samples_of_length_one_have_no_unit():
    X = samples(30, 12).numpy()
    usual = GSNMF(3, max_iter=30, random_state=0).fit_transform(X)
    np.testing.assert_allclose(GSNMF(3, max_iter=30, random_state=0).fit_transform(X * 1e-17), usual, atol=1e-6)


def test_transform_finds_what_fit_found():
    X = samples(80, 30).numpy()
    model = GSNMF(5, l1=0.01, l2=0.01, max_iter=600, tol=0, random_state=0)
    fitted = model.fit_transform(X)
    rows = unit_length(torch.from_numpy(X))
    found = factorise(rows, *initialise(rows, 5, "nndsvda", 0), Penalty(0.01, 0.01), n_iter=600, tol=0)
    np.testing.assert_allclose(model.components_, found.W.numpy(), atol=1e-9)
    np.testing.assert_allclose(fitted, found.H.numpy(), atol=0.02)
    assert np.linalg.norm(model.inverse_transform(fitted) - X / np.linalg.norm(X, axis=1, keepdims=True)) < 1.2


def pass_over(online, X):
    """See every sample once."""
    for batch in X.split(50):
        online.see(batch, len(X))


def test_online_bases_come_near_those_of_all_samples():
    X = unit_length(samples(600, 25, 5))
    start, _ = initialise(X, 5, "nndsvdar", 0)
    whole = factorise(X, *initialise(X, 5, "nndsvdar", 0), n_iter=400, tol=0).objective[-1]
    online = OnlineBases(start, Penalty())
    before = float((X - coefficients(X, online.W) @ online.W).norm() ** 2) / 2
    for _ in range(30):
        pass_over(online, X)
    after = float((X - coefficients(X, online.W) @ online.W).norm() ** 2) / 2
    assert after < 0.05 * before and after < 4 * whole
    assert torch.allclose(online.W.norm(dim=1), torch.ones(5, dtype=torch.float64))


def test_online_bases_know_the_mixed_norm_of_all_samples():
    """The decayed sums hold the data several times over; ‖h_l‖ is no sum, and must not."""
    X, penalty = unit_length(samples(600, 25, 5)), Penalty(l21=0.1)
    found = factorise(X, *initialise(X, 5, "nndsvdar", 0), penalty, n_iter=400, tol=0)
    online = OnlineBases(found.W, penalty, n_inner=200)
    for _ in range(20):
        pass_over(online, X)
    H = coefficients(X, online.W, ridge=online.ridge, n_iter=400)
    torch.testing.assert_close(online.ridge, penalty.ridge(H), rtol=0.05, atol=0)
