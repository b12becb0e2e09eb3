"""Equations (1)–(5) of the DBC paper: values by hand, and the gradients that its appendix derives."""

import pytest
import torch

from asterism.clustering.soft import boosted_targets, fuzzifier_for, kl_loss, memberships, soft_scores


def test_scores_by_hand():
    features = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    centers = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    # distances² 0, 1 → kernel 1, 1/2; and 9, 4 → 1/10, 1/5
    expected = torch.tensor([[2 / 3, 1 / 3], [1 / 3, 2 / 3]])
    torch.testing.assert_close(soft_scores(features, centers), expected)


def test_scores_with_other_degrees_of_freedom():
    features, centers = torch.tensor([[0.0]]), torch.tensor([[0.0], [2.0]])
    # v = 4: (1 + 4/4)^(−5/2) = 2^−2.5
    expected = torch.tensor([[1.0, 2**-2.5]])
    torch.testing.assert_close(soft_scores(features, centers, v=4.0), expected / expected.sum())


def test_memberships_by_hand():
    squared = torch.tensor([[0.001, 0.007, 0.015]])  # + .001: 2, 8, 16 thousandths
    torch.testing.assert_close(memberships(squared, 2.0), torch.tensor([[8 / 11, 2 / 11, 1 / 11]]))  # as 8 : 2 : 1
    torch.testing.assert_close(memberships(squared, 1.5)[0, 0], torch.tensor(64 / 69))  # squared: 64 : 4 : 1
    assert memberships(torch.zeros(1, 4), 2.0).tolist() == [[0.25] * 4]


@pytest.mark.parametrize("wanted", [0.4, 0.7, 0.95])
def test_the_fuzzifier_brings_the_mean_to_what_is_wanted(wanted):
    squared = torch.rand(500, 6, generator=torch.Generator().manual_seed(0)) * 2
    found = fuzzifier_for(squared, wanted)
    assert float(memberships(squared, found).amax(1).mean()) == pytest.approx(wanted, abs=1e-4)


SCORES = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.5, 0.5]])


@pytest.mark.parametrize("balance", ["boosted", "soft", "none"])
@pytest.mark.parametrize("boost", [1.5, 2.0, 4.0])
def test_targets_by_transcription(balance, boost):
    n = {
        "boosted": [sum(float(s[j]) ** boost for s in SCORES) for j in range(2)],
        "soft": [sum(float(s[j]) for s in SCORES) for j in range(2)],
        "none": [1.0, 1.0],
    }[balance]
    for i, row in enumerate(boosted_targets(SCORES, boost, balance)):
        raw = [float(SCORES[i, j]) ** boost / n[j] for j in range(2)]
        assert row.tolist() == pytest.approx([r / sum(raw) for r in raw], rel=1e-5)


def test_property_1_and_2_hold_without_balance():
    scores = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.4, 0.3, 0.2, 0.1]])
    for _ in range(8):  # the chain S → R = S → …
        scores = boosted_targets(scores, 2.0, "none")
    torch.testing.assert_close(scores[0], torch.full((4,), 0.25))
    torch.testing.assert_close(scores[1], torch.tensor([1.0, 0.0, 0.0, 0.0]))


def test_gradients_are_equations_4_and_5():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    mu = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    scores = soft_scores(z, mu)
    targets = boosted_targets(scores, 2.0, "boosted")
    (kl_loss(targets, scores) * len(z)).backward()  # the paper sums over images
    s, r = scores.detach(), targets
    difference = z.detach()[:, None] - mu.detach()[None]  # (6, 4, 3)
    weight = (r - s) / (1 + difference.square().sum(2))  # v = 1: factor (1 + v)/v = 2
    torch.testing.assert_close(z.grad, 2 * (weight[..., None] * difference).sum(1))
    torch.testing.assert_close(mu.grad, -2 * (weight[..., None] * difference).sum(0))


def test_an_empty_cluster_makes_no_nan():
    scores = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert torch.isfinite(boosted_targets(scores)).all()
    assert torch.isfinite(kl_loss(boosted_targets(scores), scores))


def test_scores_keep_their_precision_under_autocast():
    generator = torch.Generator().manual_seed(0)
    features = 10 + torch.randn(50, 120, generator=generator)
    centers = features[:5] + 0.1
    exact = soft_scores(features.double(), centers.double()).float()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(soft_scores(features, centers), exact, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("balance", ["boosted", "soft", "none"])
def test_targets_of_powers_that_float32_cannot_hold(balance):
    torch.testing.assert_close(boosted_targets(torch.full((6, 100), 0.01), 25.0, balance), torch.full((6, 100), 0.01))
    scores = torch.rand(20, 5, generator=torch.Generator().manual_seed(0))
    scores[:, 0] *= 1e-9  # of a cluster that is far from all images
    scores[0, 1:] = torch.tensor([0.26, 0.25, 0.25, 0.24])
    scores /= scores.sum(1, keepdim=True)
    for boost in (5.0, 30.0, 200.0):
        powers = scores.double().log() * boost
        sizes = {"boosted": powers.logsumexp(0), "soft": scores.double().sum(0).log(), "none": 0.0}[balance]
        exact = torch.softmax(powers - sizes, 1).float()
        torch.testing.assert_close(boosted_targets(scores, boost, balance), exact, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("v", [10.0, 100.0])
def test_scores_of_features_that_are_far_from_all_centers(v):
    features = torch.tensor([[100.0], [0.5]], requires_grad=True)
    centers = torch.tensor([[0.0], [1.0], [2.0]])
    found = soft_scores(features, centers, v)
    exact = torch.softmax(-(v + 1) / 2 * torch.log1p((features.double() - centers.T.double()).square() / v), 1)
    torch.testing.assert_close(found, exact.float(), atol=1e-4, rtol=1e-3)
    found[:, 0].sum().backward()
    expected = torch.autograd.grad(exact[:, 0].sum(), features)[0]
    torch.testing.assert_close(features.grad, expected, atol=1e-4, rtol=1e-3)
