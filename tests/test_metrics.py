"""Scores against hand-made values, brute force, and what must not change them."""

import itertools
from math import log, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.errors import InputError
from asterism.metrics import accuracy, ari, contingency, match_clusters, nmi, purity, scores

Y = ["a", "a", "b", "b"]
FOUND = [7, 7, -1, 3]  # b is cut in two

labelings = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 5), min_size=n, max_size=n) for _ in range(2)])
)


def test_contingency_by_hand():
    assert contingency(Y, FOUND).tolist() == [[0, 0, 2], [1, 1, 0]]  # columns −1, 3, 7


def test_scores_by_hand():
    """I = H(y) = log 2 and H(labels) = 1.5 log 2; of 6 pairs 1 is together in both, 2 in y, 1 in labels."""
    expected = {
        "acc": 3 / 4,
        "nmi_sqrt": 1 / sqrt(1.5),
        "nmi_max": 1 / 1.5,
        "nmi_arith": 1 / 1.25,
        "ari": (1 - 2 / 6) / (1.5 - 2 / 6),
        "purity": 1,
        "n_clusters": 3,
    }
    found = scores(Y, FOUND)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected)


def test_information_by_hand():
    """Three of four right: I = (1/2) log (4/3) + (1/4) log (2/3) + (1/4) log 2."""
    y, labels = [0, 0, 1, 1], [0, 0, 0, 1]
    information = log(4 / 3) / 2 + log(2 / 3) / 4 + log(2) / 4
    entropies = log(2), 3 / 4 * log(4 / 3) + 1 / 4 * log(4)
    assert nmi(y, labels, "sqrt") == pytest.approx(information / sqrt(entropies[0] * entropies[1]))
    assert nmi(y, labels, "max") == pytest.approx(information / max(entropies))
    assert nmi(y, labels, "arithmetic") == pytest.approx(information / (sum(entropies) / 2))
    assert ari(y, labels) == pytest.approx((1 - 2 * 3 / 6) / (2.5 - 2 * 3 / 6))  # = 0
    assert purity(y, labels) == accuracy(y, labels) == 3 / 4


def test_accuracy_takes_the_best_map_not_the_greedy_one():
    """Clusters of 3 + 2 and 2 + 0: the greedy map gets 3 right, the best 4."""
    y = [0, 0, 0, 1, 1, 0, 0]
    labels = [0, 0, 0, 0, 0, 1, 1]
    assert accuracy(y, labels) == 4 / 7
    assert match_clusters(y, labels) == {0: 1, 1: 0}
    assert purity(y, labels) == 5 / 7


def test_matched_clusters_keep_their_types():
    assert match_clusters(Y, FOUND) in ({-1: "b", 7: "a"}, {3: "b", 7: "a"})
    found = match_clusters(np.array([5, 5, 2]), torch.tensor([0, 0, 1]))
    assert found == {0: 5, 1: 2} and all(type(one) is int for one in (*found, *found.values()))
    assert match_clusters(["x", "x"], ["p", "q"]) in ({"p": "x"}, {"q": "x"})
    assert match_clusters([0, 1], [4, 4]) in ({4: 0}, {4: 1})
    # the map of all three clusters would give one of them a class that it has no sample of
    assert match_clusters([0, 0, 0, 1], [0, 1, 1, 1]) in ({0: 0, 1: 1}, {1: 0})


@pytest.mark.parametrize(
    "y, labels, acc, information, pairs, pure",
    [
        ([0, 0], [1, 1], 1, 1, 1, 1),
        ([4], ["x"], 1, 1, 1, 1),
        ([0] * 4, [0, 1, 2, 3], 1 / 4, 0, 0, 1),
        ([0, 1, 2, 3], [0] * 4, 1 / 4, 0, 0, 1 / 4),
        ([0, 1, 2], ["c", "a", "b"], 1, 1, 1, 1),
    ],
)
def test_degenerate(y, labels, acc, information, pairs, pure):
    found = scores(y, labels)
    assert [found[name] for name in ("nmi_sqrt", "nmi_max", "nmi_arith")] == pytest.approx([information] * 3)
    assert (found["acc"], found["ari"], found["purity"]) == pytest.approx((acc, pairs, pure))
    assert found["n_clusters"] == len(set(labels))


@given(labelings)
@settings(max_examples=30, deadline=None)
def test_accuracy_equals_brute_force(pair):
    y, labels = map(np.array, pair)
    table = np.zeros((6, 6), int)
    np.add.at(table, (y, labels), 1)  # padded to a square with zeros
    best = max(sum(table[i, j] for j, i in enumerate(order)) for order in itertools.permutations(range(6)))
    assert accuracy(y, labels) == pytest.approx(best / len(y))
    named = match_clusters(y, labels)
    assert sum(named.get(label) == known for label, known in zip(labels, y, strict=True)) == best


@given(labelings, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_names_and_order_do_not_matter(pair, random):
    y, labels = map(np.array, pair)
    before = scores(y, labels)
    names, order = list("uvwxyz"), list(range(len(y)))
    random.shuffle(names)
    random.shuffle(order)
    assert scores(y[order], labels[order]) == pytest.approx(before)
    assert scores([names[i] for i in y], np.array([names[i] for i in labels], dtype=object)) == pytest.approx(before)
    assert scores(10 - y, torch.from_numpy(labels) * 3 - 4) == pytest.approx(before)


@given(labelings)
@settings(max_examples=30, deadline=None)
def test_bounds_and_symmetry(pair):
    y, labels = pair
    one, other = scores(y, labels), scores(labels, y)
    for name in ("acc", "nmi_sqrt", "nmi_max", "nmi_arith", "ari"):
        assert one[name] == pytest.approx(other[name])
    assert one["nmi_max"] <= one["nmi_arith"] + 1e-12 and one["nmi_arith"] <= one["nmi_sqrt"] + 1e-12
    assert 0 < one["acc"] <= one["purity"] <= 1
    assert -0.5 <= one["ari"] <= 1 + 1e-12 and 0 <= one["nmi_sqrt"] <= 1 + 1e-12
    assert scores(y, y) == pytest.approx({**dict.fromkeys(one, 1), "n_clusters": len(set(y))})


def test_labels_that_all_differ_take_no_table():
    names = np.arange(200_000)  # 320 GB as a table
    found = scores(names, -names)
    assert found == pytest.approx({**dict.fromkeys(found, 1), "n_clusters": len(names)})
    assert match_clusters(names, -names)[-7] == 7


def test_errors_say_what_to_change():
    for call, message in [
        (lambda: scores([0, 1], [0]), "y has 2 entries and labels has 1"),
        (lambda: accuracy([], []), "n_samples=0"),
        (lambda: ari([[0, 1]], [0, 1]), r"y must be one label a sample, shape \(N,\); got shape \(1, 2\)"),
        (lambda: nmi([0], [0], "geometric"), "'sqrt', 'max', 'arithmetic'"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(TypeError):
        nmi([0], [0])  # which mean it is must be said


def test_tensors_that_require_grad_are_scored():
    found = torch.tensor([7.0, 7.0, -1.0, 3.0], requires_grad=True)
    assert scores(Y, found) == scores(Y, FOUND)
    assert accuracy(found, found) == 1


@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan")])
def test_a_sample_without_a_label_is_no_class(missing):
    texts = ["a", missing, "b", missing]
    for y in ([1, missing, 2, missing], texts, np.array(texts, object)):
        with pytest.raises(InputError, match="y has no label for 2 of 4 samples"):
            scores(y, [0, 0, 1, 1])
        with pytest.raises(InputError, match="labels has no label for 2 of 4 samples"):
            scores([0, 0, 1, 1], y)


def test_what_is_missing_is_no_class_in_any_array():
    days = np.array(["2026-01-01", "NaT", "2026-01-02", "NaT"], "M8[D]")
    masked, complex_ = np.ma.array([1, 5, 2, 5], mask=[0, 1, 0, 1]), np.array([1, np.nan, 2, np.nan], complex)
    for y in (days, days - days[0], masked, complex_):
        with pytest.raises(InputError, match="y has no label for 2 of 4 samples"):
            scores(y, [0, 0, 1, 1])
    assert accuracy(days[::2], np.ma.array([7, 8])) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.uint8, torch.bool])
def test_tensors_of_any_kind_are_scored(dtype):
    assert accuracy(torch.tensor([0, 0, 1, 1], dtype=dtype), [5, 5, 6, 6]) == 1


def test_entries_of_several_lengths_are_said_in_one_line():
    with pytest.raises(InputError, match="y must be one label a sample"):
        accuracy([[1], [2, 3]], [0, 1])


def test_numbers_that_a_table_holds_as_objects_stay_numbers():
    found = match_clusters(np.array([3, 4, 4], object), np.array([10, 9, 9], object))
    assert found == {9: 4, 10: 3} and list(found) == [9, 10]
    assert match_clusters(np.array(["c", 4], object), np.array(["x", "y"], object)) == {"x": "c", "y": "4"}
