"""N-Cuts against its definition, and what its eigenvectors become."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from asterism import METHODS
from asterism.clustering import affinities
from asterism.errors import InputError
from asterism_papers.clustering import normalized_cuts
from test_baselines import groups  # noqa: F401  (a fixture)


def test_normalised_cuts_find_groups(groups):
    X, y = groups
    assert adjusted_rand_score(y, normalized_cuts.normalized_cuts(X, 4, random_state=0)) == 1


@pytest.mark.parametrize("squared, scale", [(True, 0.05), (False, 0.2)])
def test_normalised_cuts_as_their_definition_says(squared, scale, monkeypatch):
    """A dense transcription: half a unit on the diagonal, a whole one on the degrees, eigenvectors of equal length."""
    X = np.random.RandomState(0).randn(150, 2) * [1, 3]  # no groups: what is left out is seen in the labels
    delta = np.linalg.norm(X[:, None] - X[None], axis=2) ** (2 if squared else 1)
    W = np.exp(-np.square(delta / (scale * delta.max())))
    W[W < 1e-6] = 0
    degrees = W.sum(1) + 1
    P = (W + 0.5 * np.eye(len(W))) / np.sqrt(degrees[:, None] * degrees)
    uneven = np.linalg.eigh(P)[1][:, -1:-6:-1] / np.sqrt(degrees)[:, None]
    vectors = uneven / np.linalg.norm(uneven, axis=0)
    expected = normalized_cuts.discretise(vectors, np.random.RandomState(1))
    assert adjusted_rand_score(expected, normalized_cuts.discretise(uneven, np.random.RandomState(1))) < 0.99
    for block in (1024, 16):
        monkeypatch.setattr(affinities, "BLOCK", block)
        found = normalized_cuts.normalized_cuts(X, 5, squared=squared, scale=scale, random_state=1)
        assert adjusted_rand_score(expected, found) > 0.995


def test_too_many_affinities_is_one_line(monkeypatch, groups):
    monkeypatch.setattr(normalized_cuts, "MAX_AFFINITIES", 500)
    with pytest.raises(InputError, match="more than 500 affinities between the n_samples=120 samples") as error:
        METHODS["ncuts"](4).fit(groups[0])
    assert "\n" not in str(error.value)


def test_discretise_takes_any_rotation_back():
    rng = np.random.RandomState(0)
    labels = rng.randint(3, size=60)
    R = np.linalg.qr(rng.randn(3, 3))[0]
    found = normalized_cuts.discretise(np.eye(3)[labels] @ R + 0.05 * rng.randn(60, 3), rng)
    assert adjusted_rand_score(labels, found) == 1
