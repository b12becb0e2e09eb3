"""Samplers, the head that lives for a round, and collapse detection."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from asterism.runtime import Runtime
from asterism.training import Run, Training
from asterism.training.collapse import CollapseWarning, diagnosis, examine, watch
from asterism.training.pseudolabels import also_training, draw_images, new_head


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


SKEWED = torch.tensor([0] * 700 + [1] * 250 + [3] * 49 + [4])[torch.randperm(1000, generator=generator(5))]


def test_the_uniform_sampler_draws_every_cluster_equally_often():
    draws = draw_images(SKEWED, 1000, "uniform", generator())
    counts = torch.bincount(SKEWED[draws], minlength=5)
    assert len(draws) == 1000 and counts[2] == 0  # cluster 2 is empty
    assert (counts[[0, 1, 3, 4]] >= 247).all() and (counts <= 251).all()  # 1000 // 4 + 1, cut to 1000
    large = draws[SKEWED[draws] == 0]
    assert len(large.unique()) == len(large)  # without replacement where there are enough


def test_the_legacy_sampler_follows_the_sizes_after_all():
    sizes = torch.arange(40, 440, 20)  # twenty clusters, in no order among the images
    labels = torch.repeat_interleave(torch.arange(20), sizes)
    labels = labels[torch.randperm(len(labels), generator=generator(1))]

    def correlation(sampler):
        counts = torch.bincount(labels[draw_images(labels, len(labels), sampler, generator())], minlength=20)
        return np.corrcoef(counts, sizes)[0, 1]

    assert correlation("legacy") > 0.95  # docs/papers/deepcluster.md found .98
    assert correlation("uniform") < 0.9


def test_legacy_takes_image_numbers_for_places_in_the_sorted_list():
    labels = torch.tensor([1, 0])  # sorted by cluster: image 1, image 0
    uniform = draw_images(labels, 6, "uniform", generator(3))
    legacy = draw_images(labels, 6, "legacy", generator(3))
    assert torch.equal(legacy, 1 - uniform)


def test_the_natural_sampler_is_a_pass():
    assert sorted(draw_images(SKEWED, 1000, "natural", generator()).tolist()) == list(range(1000))
    twice = draw_images(SKEWED, 1500, "natural", generator())
    assert len(twice) == 1500 and len(twice[:1000].unique()) == 1000


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_the_networks_momentum_outlives_the_head(kind):
    body = nn.Linear(3, 3)
    optimizer = Training(optimizer=kind, lr=0.1, momentum=0.9).make_optimizer(body.parameters())
    run = Run(Runtime("cpu"), 0)
    for t in range(2):
        head = new_head(3, 2, run, ("x", t))
        before = [group.copy() for group in optimizer.param_groups]
        with also_training(optimizer, head, momentum=0.5):
            own = optimizer.param_groups[1]
            assert (own["momentum"] if kind == "sgd" else own["betas"][0]) == 0.5
            head(body(torch.ones(4, 3))).square().sum().backward()
            optimizer.step()
            assert head.weight in optimizer.state
        assert len(optimizer.param_groups) == len(before) == 1
        assert set(optimizer.state) == set(body.parameters())


def test_heads_are_new_each_round_and_small():
    run = Run(Runtime("cpu"), 0)
    first, second = (new_head(4096, 10, run, ("x", t)) for t in (0, 1))
    assert not torch.equal(first.weight, second.weight) and float(first.bias.detach().abs().max()) == 0
    assert float(first.weight.detach().std()) == pytest.approx(0.01, rel=0.05)


def test_figures_of_a_clustering_by_hand():
    labels, before = torch.tensor([0, 0, 1, 1, 3, 3]), torch.tensor([2, 2, 0, 0, 1, 1])
    found = examine(labels, before, 4)
    assert (found["empty_clusters"], found["smallest_cluster"], found["largest_cluster"]) == (1, 0, 2)
    assert found["effective_clusters"] == pytest.approx(3)
    assert found["entropy"] == pytest.approx(math.log(3) / math.log(4))
    assert found["nmi_to_previous"] == pytest.approx(1)  # the same groups under other numbers
    assert "nmi_to_previous" not in examine(labels, torch.full((6,), -1), 4)
    half = examine(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 3]), 4)
    assert half["nmi_to_previous"] == pytest.approx(math.log(2) / math.sqrt(math.log(2) * math.log(4)))  # √, §4.1


def round_of(labels, loss, k):
    return {**examine(labels, torch.full_like(labels, -1), k), "loss": loss}


def test_a_collapse_is_said_in_one_line():
    collapsed = torch.zeros(1000, dtype=torch.int64)
    collapsed[:30] = torch.arange(30)
    said = diagnosis([round_of(collapsed, 0.1, 100)], 100)
    assert "collapse" in said and "largest has 971" in said and "sampler='uniform'" in said and "\n" not in said
    assert diagnosis([round_of(torch.arange(1000) % 100, 3.0, 100)], 100) is None


def test_a_network_that_does_not_learn_is_told():
    sane = torch.arange(1000) % 100
    assert diagnosis([round_of(sane, 4.60, 100)] * 9, 100) is None  # patience
    assert "ln k = 4.605" in diagnosis([round_of(sane, 4.60, 100)] * 10, 100)
    assert diagnosis([round_of(sane, 4.60, 100)] * 9 + [round_of(sane, 4.0, 100)], 100) is None


def test_the_doctor_warns_once():
    run = Run(Runtime("cpu"), 0)
    round_ = run, "x", torch.zeros(100, dtype=torch.int64), torch.full((100,), -1), 50, 1.0
    with pytest.warns(CollapseWarning, match="collapse in round 1"):
        for _ in run.rounds("x", 1):
            watch(*round_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch(*round_)
    assert "collapse" in run.history[0]["warning"]
