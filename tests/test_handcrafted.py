"""Histograms of gradients and colours: what photographs are grouped by without a pre-trained network."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from asterism import Backbone, Diffusion, load
from asterism.networks.handcrafted import ORIENTATIONS, PLACES, SIDE, HandCrafted, colors, gradients

NUMBERS = ORIENTATIONS * PLACES**2


def stripes(angle, side=SIDE):
    """(1, 3, S, S): a wave whose gradient points at an angle, in half turns."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    phase = x * np.cos(np.pi * angle) + y * np.sin(np.pi * angle)
    return (0.5 + 0.4 * torch.sin(phase * 0.4)).expand(1, 3, -1, -1)


@pytest.mark.parametrize("orientation", [0, 2, 5, 8])
def test_a_wave_fills_the_bin_of_its_direction(orientation):
    bins = gradients(stripes(orientation / ORIENTATIONS)).reshape(ORIENTATIONS, -1).mean(1)
    assert int(bins.argmax()) == orientation
    assert bins[orientation] > 5 * bins[(orientation + 4) % ORIENTATIONS]


def test_colours_do_not_depend_on_brightness_and_grey_has_none():
    red, grey = torch.zeros(1, 3, 8, 8), torch.rand(2, 1, 8, 8).expand(-1, 3, -1, -1)
    red[:, 0] = 0.8
    assert torch.allclose(colors(red).sum(1), torch.ones(1), atol=1e-5)
    assert torch.allclose(colors(grey)[0], colors(grey)[1], atol=1e-4)
    assert (colors(red) - colors(grey)[:1]).abs().sum() > 1


@pytest.mark.parametrize("shape", [(3, 20, 50), (1, 9, 9), (3, SIDE, SIDE)])
def test_images_of_any_size_alone_or_with_others(shape):
    images = torch.rand(5, *shape)
    network = HandCrafted()
    together = network(images)
    assert together.shape == (5, NUMBERS + 256) and bool(torch.isfinite(together).all())
    assert torch.allclose(network(images[2:3]), together[2:3], atol=1e-6)


def test_drawings_are_grouped_without_weights(tmp_path):
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(4), 15)
    waves = [stripes(angle, 32)[0].permute(1, 2, 0).numpy() for angle in (0.0, 0.5)]
    tints = [np.array([1, 0.3, 0.3]), np.array([0.3, 0.3, 1])]
    images = np.stack([waves[kind % 2] * tints[kind // 2] + rng.normal(0, 0.02, (32, 32, 3)) for kind in kinds])
    images = (images.clip(0, 1) * 255).astype("u1")
    model = Diffusion(4, backbone=Backbone("hog-color"), random_state=0).fit(images)
    assert adjusted_rand_score(kinds, model.labels_) == 1
    model.save(tmp_path / "run")
    assert (load(tmp_path / "run").predict(images) == model.labels_).all()
