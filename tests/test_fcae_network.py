"""The FCAE against Table 2 of its paper, and the rule for other sizes."""

import numpy as np
import pytest
import torch

from asterism.networks import FullyConvolutionalAutoEncoder, fcae_blocks
from asterism.networks.fcae import FEATURE_LAYERS, unpool
from asterism.networks.initialise import build


def feature_maps(encoder, shape):
    """(side, channels) after each convolution and each pooling, as Table 2 writes them."""
    maps, seen = torch.zeros(2, *shape), []
    for block, convolve in zip(encoder.blocks, encoder.convolutions, strict=True):
        maps = convolve(maps)
        seen.append((maps.shape[2], maps.shape[1]))
        if block.pool:
            maps = torch.nn.functional.max_pool2d(maps, 2)
            seen.append((maps.shape[2], maps.shape[1]))
    return seen


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 28, 28), [(24, 6), (12, 6), (8, 16), (4, 16), (1, 120)]),
        ((1, 16, 16), [(16, 20), (8, 20), (8, 20), (4, 20), (1, 160)]),
        (
            (3, 128, 128),
            [(120, 20), (60, 20), (56, 20), (28, 20), (24, 20), (12, 20), (8, 40), (4, 40), (1, 320)],
        ),
    ],
)
def test_table_2(shape, expected):
    assert feature_maps(FullyConvolutionalAutoEncoder(shape).encoder, shape) == expected


@pytest.mark.parametrize("height", [1, 2, 7, 8, 9, 15, 29, 31, 32, 55, 64, 92, 97, 112, 131])
@pytest.mark.parametrize("width", [8, 33, 64])
def test_any_size_gives_one_feature_vector_and_its_own_size_back(height, width):
    network = FullyConvolutionalAutoEncoder((3, height, width), n_features=12)
    images = torch.rand(2, 3, height, width)
    assert network.encoder(images).shape == (2, 12)
    assert network(images).shape == images.shape


def test_vectors_are_one_pixel_images():
    network = FullyConvolutionalAutoEncoder((7, 1, 1))
    assert network(torch.rand(5, 7, 1, 1)).shape == (5, 7, 1, 1)
    assert network.n_features == 10


def test_batch_norm_after_every_convolution_but_the_output():
    network = FullyConvolutionalAutoEncoder((1, 28, 28))
    assert len(network.encoder.norms) == len(network.encoder.convolutions) == 3
    assert len(network.decoder.norms) == len(network.decoder.deconvolutions) - 1 == 2


def test_unpooling_puts_values_back_where_pooling_took_them():
    network = FullyConvolutionalAutoEncoder((1, 28, 28)).eval()
    images = torch.rand(3, 1, 28, 28)
    maps, switches = network.encoder.layers(images)
    torch.testing.assert_close(maps[-1].flatten(1), network.encoder(images))
    where, before = switches[0]
    maps = torch.relu(network.encoder.norms[0](network.encoder.convolutions[0](images)))
    kept = torch.nn.functional.max_unpool2d(torch.nn.functional.max_pool2d(maps, 2), where, 2, output_size=before)
    assert ((kept == maps) | (kept == 0)).all()
    assert (kept != 0).float().mean() <= 0.25 + 1e-6


def test_pooling_before_relu_is_relu_before_pooling():
    encoder = FullyConvolutionalAutoEncoder((1, 16, 16)).encoder
    images = torch.rand(8, 1, 16, 16)
    by_the_paper = images
    for block, convolve, normalise in zip(encoder.blocks, encoder.convolutions, encoder.norms, strict=True):
        by_the_paper = torch.relu(normalise(convolve(by_the_paper)))
        if block.pool:
            by_the_paper = torch.nn.functional.max_pool2d(by_the_paper, 2)
    expected = torch.autograd.grad(by_the_paper.square().sum(), list(encoder.parameters()))
    features = encoder(images)
    torch.testing.assert_close(features, by_the_paper.flatten(1))
    found = torch.autograd.grad(features.square().sum(), list(encoder.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_building_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first = build(lambda: FullyConvolutionalAutoEncoder((1, 16, 16)), torch.Generator().manual_seed(3))
    second = build(lambda: FullyConvolutionalAutoEncoder((1, 16, 16)), torch.Generator().manual_seed(3))
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    bound = 1 / 9**0.5  # first convolution: fan-in 3·3·1
    weight = first.encoder.convolutions[0].weight
    assert weight.abs().max() <= bound and weight.abs().max() > 0.8 * bound


def test_feature_width_can_be_chosen():
    assert fcae_blocks(28, 28, 50)[-1].channels == 50


def test_pixels_are_seen_from_their_ground_and_in_units_of_one():
    network = build(lambda: FullyConvolutionalAutoEncoder((1, 16, 16)), torch.Generator().manual_seed(0)).eval()
    images = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    network.measure(0.0, 1.0)
    features, made = network.encoder(images), network(images)
    network.measure(200.0, 190.0)
    assert network.loss_scale == pytest.approx(1 / 190**2)
    others = 200 + 190 * images
    torch.testing.assert_close(network.encoder(others), features, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(network(others), 200 + 190 * made, atol=0.1, rtol=1e-3)
    network.measure(0.0, 0.7)  # near enough to 1
    assert network.loss_scale == 1


def by_hand(maps, height, width, unpooling):
    """Un-pooling of (B, C, h, w) numpy maps, written out value by value."""
    found = np.zeros((*maps.shape[:2], height, width), maps.dtype)
    for y in range(maps.shape[2]):
        for x in range(maps.shape[3]):
            if unpooling == "corner":
                found[:, :, 2 * y, 2 * x] = maps[:, :, y, x]
            else:
                found[:, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] = maps[:, :, y, x, None, None]
    return found


@pytest.mark.parametrize("size", [(4, 4), (5, 4), (4, 7)])
@pytest.mark.parametrize("unpooling", ["repeat", "corner"])
def test_unpooling_without_switches_by_hand(unpooling, size):
    maps = torch.rand(2, 3, size[0] // 2, size[1] // 2, requires_grad=True)
    where = torch.zeros(maps.shape, dtype=torch.int64)
    found = unpool(maps, where, torch.Size((2, 3, *size)), unpooling)
    expected = by_hand(maps.detach().numpy(), *size, unpooling)
    np.testing.assert_array_equal(found.detach().numpy(), expected)
    weights = torch.rand(found.shape)
    (gradient,) = torch.autograd.grad((found * weights).sum(), maps)
    places = torch.from_numpy(by_hand(np.ones(maps.shape, np.float32), *size, unpooling))
    sums = torch.nn.functional.avg_pool2d(weights * places, 2) * 4
    torch.testing.assert_close(gradient, sums)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 31, 45)])
@pytest.mark.parametrize("unpooling", ["repeat", "corner"])
def test_without_switches_a_decoder_knows_the_features_alone(unpooling, shape):
    torch.manual_seed(0)
    network = FullyConvolutionalAutoEncoder(shape, 6, unpooling, "linear").eval()
    images, others = torch.rand(2, *shape), torch.rand(2, *shape)
    (*_, features), switches = network.encoder.layers(images)
    foreign = network.encoder.layers(others)[1]
    made = network.decoder(features.flatten(1), switches)[-1]
    assert made.shape == images.shape and torch.equal(made, network.decoder(features.flatten(1), foreign)[-1])
    plain = FullyConvolutionalAutoEncoder(shape, 6).eval()
    plain.load_state_dict({**plain.state_dict(), **network.state_dict()})  # the same layers, but for the last norm
    (*_, features), switches = plain.encoder.layers(images)
    foreign = plain.encoder.layers(others)[1]
    made = plain.decoder(features.flatten(1), switches)[-1]
    assert not torch.equal(made, plain.decoder(features.flatten(1), foreign)[-1])


def test_the_feature_layer_ends_as_it_is_told():
    images = torch.rand(9, 1, 16, 16)
    made = {kind: FullyConvolutionalAutoEncoder((1, 16, 16), 7, feature_layer=kind) for kind in FEATURE_LAYERS}
    for network in made.values():
        network.encoder.convolutions.load_state_dict(made["relu"].encoder.convolutions.state_dict())
    found = {kind: network.encoder(images) for kind, network in made.items()}
    normal = (found["linear"] - found["linear"].mean(0)) / (found["linear"].var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(found["bn"], normal, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found["relu"], normal.relu(), atol=1e-4, rtol=1e-3)
    assert [len(network.encoder.feature_layers()) for network in made.values()] == [2, 2, 1]
    assert set(made["relu"].state_dict()) == set(FullyConvolutionalAutoEncoder((1, 16, 16), 7).state_dict())
