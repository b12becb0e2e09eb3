"""Groups and a linear head in turns: the axes, the estimator's contract, and that it can win."""

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import adjusted_rand_score

from asterism import Diffusion, DiscriminantDiffusion, load
from asterism.cli.cutting import levels_of
from asterism.methods.discriminant_diffusion import discriminant_axes
from asterism.report.fitted import open_run


def blobs(n_groups: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_groups), n)
    return rng.normal(0, 4, (n_groups, 10))[y] + rng.normal(0, 1, (len(y), 10)), y


def test_axes_are_those_of_scikit_learn():
    X, y = blobs(4, 30, 0)
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(X, y).scalings_[:, :3]
    ours = discriminant_axes(X, y, shrinkage=0)
    assert ours.shape == (10, 3)
    cosines = (ours * theirs).sum(0) / np.linalg.norm(ours, axis=0) / np.linalg.norm(theirs, axis=0)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-6)


def test_axes_of_groups_that_are_points_are_none():
    X = np.repeat(np.eye(7), 5, 0)
    assert discriminant_axes(X, np.repeat(np.arange(7), 5)).shape == (7, 0)
    assert np.bincount(DiscriminantDiffusion(7, random_state=0).fit(X).labels_).tolist() == [5] * 7


def with_a_nuisance(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten groups on ten axes, and what is strong, shared by all of them, and says nothing."""
    X, y = blobs(10, 40, seed)
    rng = np.random.default_rng(seed)
    return np.hstack([X, rng.normal(0, 1.6, (len(X), 60))]), y


def test_the_head_learns_what_to_look_at():
    gains = []
    for seed in range(3):
        X, y = with_a_nuisance(seed)
        models = [cls(10, metric="cosine", random_state=0).fit(X) for cls in (Diffusion, DiscriminantDiffusion)]
        gains.append(np.diff([adjusted_rand_score(y, model.labels_) for model in models])[0])
    assert min(gains) >= 0 and max(gains) > 0.03, gains


def test_new_rows_and_a_saved_run_get_the_same_groups(tmp_path):
    X, y = with_a_nuisance(0)
    model = DiscriminantDiffusion(10, random_state=0, run_dir=tmp_path / "run").fit(X[::2])
    assert (model.predict(X[::2]) == model.labels_).all()
    new = model.predict(X[1::2])
    assert adjusted_rand_score(y[1::2], new) > 0.8
    assert (load(tmp_path / "run").predict(X[1::2]) == new).all()


def test_confidences_differ_and_say_how_well_halves_agree(tmp_path):
    X, y = with_a_nuisance(0)
    model = DiscriminantDiffusion(10, random_state=0, run_dir=tmp_path / "run").fit(X)
    assert model.confidence_.mean() == pytest.approx(float(model.agreement_), abs=1e-3)
    again = load(tmp_path / "run")
    np.testing.assert_allclose(again.predict_proba(X).max(1), model.confidence_, atol=1e-6)
    again._set_attributes({"spread": model.spread_})  # a run that an earlier version made has no fuzzifier
    softmax = again.predict_proba(X).max(1)
    assert (again.predict(X) == model.labels_).all()
    assert model.confidence_.std() > 1.5 * softmax.std()


def test_the_stability_is_of_the_frozen_features():
    """Halves are no strangers to a head that has learnt from both."""
    noise = np.random.default_rng(0).normal(size=(300, 20))
    frozen, learnt = (cls(7, random_state=0).fit(noise).stability_ for cls in (Diffusion, DiscriminantDiffusion))
    assert float(learnt) == float(frozen) < 0.15


def test_the_levels_are_judged_by_the_frozen_features(tmp_path):
    """By those of the head, that all images taught, noise had nine groups as sure as can be."""
    noise = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    DiscriminantDiffusion(9, random_state=0, run_dir=tmp_path / "run").fit(noise)
    levels = levels_of(open_run(tmp_path / "run"))
    assert levels and max(level.stability for level in levels) < 0.3


@pytest.mark.parametrize(("n", "k"), [(2, 2), (3, 1), (7, 6), (9, 7), (12, 2)])
def test_few_rows_and_few_groups(n, k):
    X = np.random.default_rng(n).normal(size=(n, 5))
    assert len(np.unique(DiscriminantDiffusion(k, random_state=0).fit(X).labels_)) <= k


def test_of_few_groups_nothing_is_learnt():
    X, y = make_moons(200, noise=0.05, random_state=0)
    model = DiscriminantDiffusion(2, random_state=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) == 1
    assert (model.labels_ == Diffusion(2, random_state=0).fit(X).labels_).all()
