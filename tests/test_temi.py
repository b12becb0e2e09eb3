"""TEMI: its loss by hand, and groups that neighbours decide."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from asterism import TEMI, Training
from asterism.methods.temi import Heads, follow, teacher_momentum, temi_loss


def test_the_loss_by_hand():
    student = torch.tensor([[[[0.8, 0.2]]], [[[0.6, 0.4]]]])  # an image and its neighbour, one head
    teacher = torch.tensor([[[[0.9, 0.1]]], [[[0.7, 0.3]]]])
    prior = torch.tensor([[0.25, 0.75]])
    weight = 0.9 * 0.7 + 0.1 * 0.3
    one = math.log((0.8 * 0.7) ** 0.6 / 0.25 + (0.2 * 0.3) ** 0.6 / 0.75)
    other = math.log((0.6 * 0.9) ** 0.6 / 0.25 + (0.4 * 0.1) ** 0.6 / 0.75)
    loss, per_head = temi_loss(student, teacher, prior, 0.6)
    assert float(loss) == pytest.approx(-weight * (one + other) / 2, rel=1e-5)
    assert per_head.shape == (1,)


def test_the_teacher_follows_slowly():
    student, teacher = (Heads(2, 4, 3, 2, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    before = teacher.first.clone()
    follow(teacher, student, 0.996)
    torch.testing.assert_close(teacher.first, 0.996 * before + 0.004 * student.first)


def test_the_teacher_is_a_mean_over_a_fortieth_of_the_training():
    assert teacher_momentum(10_000) == pytest.approx(0.996)  # the paper's
    assert teacher_momentum(1_000_000) == pytest.approx(0.996)
    assert teacher_momentum(800) == pytest.approx(0.95)
    assert teacher_momentum(1) == pytest.approx(0.5)


def test_a_short_training_of_few_images_a_cluster_is_sure():
    """With a teacher of 250 steps, or from features that are not centred, these heads still know nothing."""
    rng = np.random.default_rng(1)
    kinds = np.repeat(np.arange(10), 8)
    X = 6 + rng.normal(size=(10, 32))[kinds] + rng.normal(size=(80, 32)) * 0.3
    training = Training(n_epochs=40, batch_size=512, optimizer="adamw", lr=0.003)
    model = TEMI(10, n_heads=4, hidden=64, training=training, random_state=0).fit(X)
    assert adjusted_rand_score(kinds, model.labels_) > 0.8
    assert model.confidence_.mean() > 0.5


def test_neighbours_become_groups():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(4, 16)) * 2
    kinds = np.repeat(np.arange(4), 50)
    X = centers[kinds] + rng.normal(size=(200, 16)) * 0.4
    training = Training(n_epochs=40, batch_size=64, optimizer="adamw", lr=0.003)
    model = TEMI(4, n_neighbors=10, n_heads=4, hidden=32, training=training, random_state=0).fit(X)
    assert adjusted_rand_score(kinds, model.labels_) > 0.95
    new = centers[[2, 0]] + rng.normal(size=(2, 16)) * 0.2
    np.testing.assert_array_equal(model.predict(new), [model.labels_[100], model.labels_[0]])
    np.testing.assert_allclose(model.transform(X).sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.group(model.transform(X)), model.labels_)
