"""The weighted triplet loss: golden values by hand, gradients, and which triplets a batch has."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from asterism.training.triplets import TripletLoss, affinity_loss, draw_triplets, hinge_loss, squared_distances


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(*angles):
    """Points of the unit circle at these degrees."""
    radians = torch.tensor(angles, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], 1).float()


def test_squared_distances_of_unit_vectors():
    distances = squared_distances(unit(0, 90, 180))
    torch.testing.assert_close(distances, torch.tensor([[0.0, 2, 4], [2, 0, 2], [4, 2, 0]]), atol=1e-6, rtol=0)


def test_hinge_by_hand():
    to_positive, to_negative = torch.tensor([0.5, 0.1, 1.0]), torch.tensor([0.6, 2.0, 0.2])
    # 0.5 − 0.6 + 0.2 = 0.1; 0.1 − 2 + 0.2 < 0; 1 − 0.2 + 0.2 = 1.0; the mean is over all three
    assert float(hinge_loss(to_positive, to_negative, 1.0, 0.2)) == pytest.approx(1.1 / 3, abs=1e-6)
    # γ = 2: 1 − 0.6 + 0.2 = 0.6; 0; 2 − 0.2 + 0.2 = 2
    assert float(hinge_loss(to_positive, to_negative, 2.0, 0.2)) == pytest.approx(2.6 / 3, abs=1e-6)


def test_affinities_by_hand():
    loss = affinity_loss(torch.tensor([0.0, 0.5]), torch.tensor([0.5, 1.0]), gamma=2.0, sigma2=0.5)
    e = math.exp
    expected = -((2 - e(-1)) + (2 * e(-1) - e(-2))) / 2
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_the_whole_loss_by_hand():
    x, labels = unit(0, 60, 180), torch.tensor([0, 0, 1])
    # one pair, one negative: ‖x0 − x1‖² = 1, ‖x0 − x2‖² = 4
    assert float(TripletLoss(gamma=4.0)(x, labels, 1.0, generator())) == pytest.approx(0.2, abs=1e-5)
    # both ways: 4 − 4 + 0.2 and 4·1 − ‖x1 − x2‖² + 0.2 = 4 − 3 + 0.2
    both = TripletLoss(gamma=4.0, pairs="ordered")
    assert float(both(x, labels, 1.0, generator())) == pytest.approx((0.2 + 1.2) / 2, abs=1e-5)
    # eq. 11 with K_c = 5 and λ = 2: 2/4 · −(2·e^(−1/0.5) − e^(−4/0.5))
    paper = TripletLoss("affinity", gamma=2.0, negatives="nearest", n_negatives=5, local_weight=2.0)
    expected = -0.5 * (2 * math.exp(-2) - math.exp(-8))
    assert float(paper(x, labels, 0.5, generator())) == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30), st.integers(1, 6), st.booleans(), st.booleans())
def test_triplets_are_what_they_should_be(labels, n_negatives, ordered, nearest):
    labels = torch.tensor(labels)
    nearness = torch.rand(len(labels), len(labels), generator=generator(1)) if nearest else None
    found = draw_triplets(labels, n_negatives, generator(), nearness, ordered)
    i, j, k = found.anchors, found.positives, found.negatives
    assert bool((labels[i] == labels[j]).all()) and bool((labels[i] != labels[k]).all()) and bool((i != j).all())
    if not ordered:
        assert bool((i < j).all())
    sizes = torch.bincount(labels)
    most = n_negatives if nearest else min(n_negatives, len(labels.unique()) - 1)  # of a pair of one cluster each
    pairs = sizes * (sizes - 1) // (1 if ordered else 2)
    assert len(i) == int((pairs * (len(labels) - sizes).clamp_max(most)).sum())
    assert len(set(zip(i.tolist(), j.tolist(), k.tolist(), strict=True))) == len(i)


def test_random_negatives_are_uniform():
    labels = torch.tensor([0, 0, 1, 1, 2, 3])
    counts = torch.zeros(6)
    noise = generator()
    for _ in range(2000):
        found = draw_triplets(labels, 2, noise)
        counts += torch.bincount(found.negatives[found.anchors == 0], minlength=6)
    share = counts / counts.sum()
    torch.testing.assert_close(share, torch.tensor([0, 0, 0.25, 0.25, 0.25, 0.25]), atol=0.03, rtol=0)


def test_nearest_negatives():
    labels = torch.tensor([0, 0, 1, 2, 3])
    nearness = squared_distances(unit(0, 10, 90, 30, 60))
    found = draw_triplets(labels, 2, generator(), nearness)
    assert sorted(found.negatives.tolist()) == [3, 4]


def test_the_papers_loss_is_equation_11_in_a_plain_loop():
    noise = generator(3)
    x = torch.nn.functional.normalize(torch.randn(14, 5, generator=noise)).requires_grad_()
    labels, sigma2, k_c = torch.tensor([0] * 10 + [1, 1, 2, 3]), 0.7, 5  # only 4 samples lie outside of cluster 0
    loss = TripletLoss("affinity", gamma=2.0, negatives="nearest", n_negatives=k_c, pairs="ordered", gradient="all")
    found = loss(x, labels, sigma2, noise)

    def affinity(i, j):
        return torch.exp(-(x[i] - x[j]).square().sum() / sigma2)

    terms = []
    for i in range(14):
        others = sorted((k for k in range(14) if labels[k] != labels[i]), key=lambda k: (x[i] - x[k]).norm().item())
        for j in range(14):
            if j != i and labels[j] == labels[i]:
                terms += [2.0 * affinity(i, j) - affinity(i, k) for k in others[:k_c]]
    expected = -1.0 / (k_c - 1) * torch.stack(terms).mean()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        *(tangential(torch.autograd.grad(one, x, retain_graph=True)[0], x) for one in (found, expected))
    )


def tangential(gradient, x):
    """What scaling to length 1 leaves of a gradient."""
    return gradient - (gradient * x).sum(1, keepdim=True) * x


def gradients(loss, labels, x):
    """Gradient of a loss with respect to vectors that are scaled to length 1 first."""
    x = x.clone().requires_grad_()
    loss(F.normalize(x), labels, 0.5, generator()).backward()
    return x.grad


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_the_gradient_is_that_of_differences(gamma):
    x, labels = torch.randn(8, 5, generator=generator(2)), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    loss = TripletLoss(gamma=gamma, margin=5.0, n_negatives=3, gradient="all")  # so wide that every triplet counts
    found = draw_triplets(labels, 3, generator())
    plain = x.clone().requires_grad_()
    unit_length = plain / plain.norm(dim=1, keepdim=True)
    a, p, n = (unit_length[one] for one in (found.anchors, found.positives, found.negatives))
    (gamma * (a - p).square().sum(1) - (a - n).square().sum(1) + 5.0).clamp_min(0).mean().backward()
    torch.testing.assert_close(gradients(loss, labels, x), plain.grad, atol=1e-5, rtol=1e-4)


def test_torchs_gradient_moves_anchors_alone():
    """docs/papers/jule.md: at γ = 1 the Torch code's positives and negatives stay where they are."""
    x, labels = torch.randn(3, 5, generator=generator(2)), torch.tensor([0, 0, 1])
    anchors = gradients(TripletLoss(margin=5.0, gradient="anchor"), labels, x)
    everything = gradients(TripletLoss(margin=5.0, gradient="all"), labels, x)
    assert float(anchors[0].norm()) > 0.1 and float(anchors[1:].abs().max()) < 1e-6
    assert float(everything[1:].norm(dim=1).min()) > 0.05
    torch.testing.assert_close(anchors[0], everything[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 0]])
def test_without_triplets_the_loss_is_zero_and_can_be_differentiated(labels):
    x = torch.randn(4, 3, generator=generator()).requires_grad_()
    loss = TripletLoss()(F.normalize(x), torch.tensor(labels), 1.0, generator())
    loss.backward()
    assert float(loss.detach()) == 0 and float(x.grad.abs().max()) == 0


@pytest.mark.parametrize("gradient", ["anchor", "all"])
@pytest.mark.parametrize("sigma2", [0.0, 1e-20])
def test_a_graph_whose_neighbours_are_all_copies_makes_no_nan(sigma2, gradient):
    drawn = F.normalize(torch.randn(4, 8, generator=generator()))
    vectors = drawn.repeat(3, 1).requires_grad_()
    loss = TripletLoss("affinity", gradient=gradient)
    value = loss(F.normalize(vectors), torch.arange(4).repeat(3), sigma2, generator())
    value.backward()
    assert abs(float(value.detach()) + 1 / 19) < 0.05 and vectors.grad.abs().max() < 1
