"""The inside of the auto-encoder: what `inner_activations` gives, and the section of the page."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from asterism.images import open_images
from asterism.methods.autoencoders import reconstruction_examples
from asterism.networks import FullyConvolutionalAutoEncoder, StackedAutoEncoderNetwork
from asterism.networks.initialise import build
from asterism.report.inside import SIDE, inside
from asterism.runtime import Runtime
from asterism.training import Run
from test_report import decoded


@pytest.fixture(scope="module")
def network():
    made = build(lambda: FullyConvolutionalAutoEncoder((1, 28, 28)), torch.Generator().manual_seed(0))
    return made.eval()


@pytest.fixture(scope="module")
def examples(network):
    pixels = np.random.default_rng(0).random((20, 28, 28)).astype(np.float32)
    return reconstruction_examples(network, open_images(pixels), Run(Runtime("cpu"), 0))


@torch.no_grad()
def test_inner_activations_are_the_layers_of_table_2(network):
    batch = torch.rand(2, 1, 28, 28)
    inner = network.inner_activations(batch)
    assert {name: tuple(maps.shape[1:]) for name, maps in inner.items()} == {
        "conv1": (6, 12, 12),
        "conv2": (16, 4, 4),
        "features": (120, 1, 1),
        "deconv1": (16, 4, 4),
        "deconv2": (6, 12, 12),
    }
    assert torch.equal(inner["features"].flatten(1), network.encoder(batch))
    where, before = network.encoder.layers(batch)[1][0]
    last = network.decoder.deconvolutions[-1]
    again = last(F.max_unpool2d(inner["deconv2"], where, [2, 2], output_size=before))
    assert torch.allclose(again, network(batch), atol=1e-6)


def test_examples_hold_what_the_figures_show(examples, network):
    assert examples["originals"].shape == examples["reconstructions"].shape == (16, 1, 28, 28)
    assert examples["inner_02_features"].shape == (3, 120, 1, 1)
    assert torch.equal(examples["filters_first"], network.encoder.convolutions[0].weight)
    assert examples["filters_last"].shape == (6, 1, 5, 5)


def test_a_stacked_auto_encoder_and_vectors_have_no_inside():
    run = Run(Runtime("cpu"), 0)
    images = open_images(np.random.default_rng(0).random((10, 8, 8)).astype(np.float32))
    stacked = build(lambda: StackedAutoEncoderNetwork((1, 8, 8), (6, 2)), torch.Generator().manual_seed(0))
    vectors = open_images(np.random.default_rng(0).random((10, 7)).astype(np.float32))
    plain = build(lambda: FullyConvolutionalAutoEncoder(vectors.shape), torch.Generator().manual_seed(0))
    for network, source in ((stacked, images), (plain, vectors)):
        found = reconstruction_examples(network.eval(), source, run)
        assert set(found) == {"originals", "reconstructions"}
        assert inside(SimpleNamespace(estimator=SimpleNamespace(examples_=found))) is None


def test_section_draws_every_layer_on_its_own_scale(examples):
    section = inside(SimpleNamespace(estimator=SimpleNamespace(examples_=examples)))
    assert len(section.values["images"]) == 3
    layers = section.values["images"][1]
    assert [one["name"] for one in layers] == [
        "image", "conv1", "conv2", "features", "deconv1", "deconv2", "reconstruction",
    ]  # fmt: skip
    assert [len(one["sprites"]) for one in layers] == [1, 6, 16, 1, 16, 6, 1]
    assert layers[3]["total"] == 120
    found = np.stack([decoded(section.sprites, i) for i in layers[1]["sprites"]])
    maps = examples["inner_00_conv1"][1]
    low, high = float(maps.min()), float(maps.max())
    wanted = F.interpolate((maps - low)[None] / (high - low), (SIDE, SIDE), mode="nearest")[0].numpy() * 255
    found = found if found.ndim == 3 else found[..., 0]
    assert np.abs(found - wanted).max() < 40 and np.abs(found - wanted).mean() < 4  # pictures are compressed
    zeros = float((examples["inner_02_features"] == 0).float().mean())
    assert section.values["zeros"] == pytest.approx(100 * zeros)
    assert [len(one["sprites"]) for one in section.values["filters"]] == [6, 6]
