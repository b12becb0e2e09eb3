"""Scores by hand, and what must not change them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.errors import InputError
from asterism.evaluation.metrics import accuracy, ari, contingency, match_clusters, nmi, purity, scores

Y = [0, 0, 0, 1, 1, 2]
FOUND = [5, 5, 7, 7, 7, 9]


def test_by_hand():
    assert contingency(Y, FOUND).tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 1]]
    assert accuracy(Y, FOUND) == pytest.approx(5 / 6)
    assert purity(Y, FOUND) == pytest.approx(5 / 6)
    assert match_clusters(Y, FOUND) == {5: 0, 7: 1, 9: 2}


def test_nmi_by_hand():
    def entropy(p):
        p = np.array(p)
        return -(p * np.log(p)).sum()

    h_y = entropy([3 / 6, 2 / 6, 1 / 6])
    h_c = entropy([2 / 6, 3 / 6, 1 / 6])
    joint = entropy([2 / 6, 1 / 6, 2 / 6, 1 / 6])
    mutual = h_y + h_c - joint
    assert nmi(Y, FOUND, "sqrt") == pytest.approx(mutual / np.sqrt(h_y * h_c))
    assert nmi(Y, FOUND, "max") == pytest.approx(mutual / max(h_y, h_c))
    assert nmi(Y, FOUND, "arithmetic") == pytest.approx(2 * mutual / (h_y + h_c))


def test_more_clusters_than_classes():
    assert accuracy([0, 0, 0, 0], [0, 0, 1, 2]) == 0.5  # one cluster alone may be the class
    assert purity([0, 0, 0, 0], [0, 0, 1, 2]) == 1.0
    assert accuracy([0, 1, 2, 3], [0, 0, 0, 0]) == 0.25


def test_the_average_must_be_named():
    with pytest.raises(TypeError):
        nmi(Y, FOUND)
    with pytest.raises(InputError, match="'arithmetic'|arithmetic"):
        nmi(Y, FOUND, "mean")


def test_bad_input():
    with pytest.raises(InputError, match="6.*5|5.*6"):
        accuracy(Y, FOUND[:5])
    with pytest.raises(InputError):
        scores([], [])


def test_all_scores_have_their_names():
    found = scores(["a", "a", "b"], [1, 1, 0])
    assert found == {
        "acc": 1.0,
        "nmi_sqrt": pytest.approx(1),
        "nmi_max": pytest.approx(1),
        "nmi_arith": pytest.approx(1),
        "ari": 1.0,
        "purity": 1.0,
        "n_clusters": 2,
    }
    assert list(found) == ["acc", "nmi_sqrt", "nmi_max", "nmi_arith", "ari", "purity", "n_clusters"]


labels = st.lists(st.integers(0, 4), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(labels, st.randoms(use_true_random=False))
def test_names_and_order_of_clusters_do_not_matter(y, random):
    found = [random.randint(0, 3) for _ in y]
    renamed = [{0: 7, 1: 3, 2: 11, 3: 0}[c] for c in found]
    order = list(range(len(y)))
    random.shuffle(order)
    a, b = scores(y, found), scores([y[i] for i in order], [renamed[i] for i in order])
    assert a == pytest.approx(b)
    assert all(-1 <= a[name] <= 1 + 1e-12 for name in ("acc", "nmi_sqrt", "nmi_max", "nmi_arith", "ari", "purity"))
    assert a["acc"] <= a["purity"] + 1e-12
    assert a["nmi_max"] <= a["nmi_sqrt"] + 1e-12
    assert ari(y, y) == accuracy(y, y) == 1
