"""DeepCluster's networks: the paper's sizes, the Sobel front by hand, small images, weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from asterism.errors import InputError
from asterism.images import ImageSource
from asterism.networks.alexnet_vgg import Dropout, alexnet_layers, seed_dropout, vgg16_layers
from asterism.networks.convnet import ConvNet
from asterism.networks.residual import ResidualBlock
from asterism.networks.sobel import Front, sobel


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sides(layers, side):
    found, height = [], side
    for layer in layers:
        found.append(layer.sides(height, height)[0])
        height = layer.pooled(height, height)[0]
    return found, height


def test_alexnet_at_224_is_the_papers():
    layers = alexnet_layers(224, 224)
    assert sides(layers, 224) == ([55, 27, 13, 13, 13], 6)
    assert [layer.filters for layer in layers] == [96, 256, 384, 384, 256]
    with torch.device("meta"):
        body = ConvNet().construct((3, 224, 224))
    first, second = body.classifier[2], body.classifier[5]
    assert (first.in_features, first.out_features, second.out_features) == (256 * 6 * 6, 4096, 4096)
    assert body.convolutions[0][0].in_channels == 2  # Sobel
    assert [layer.rate for layer in body.modules() if isinstance(layer, Dropout)] == [0.5, 0.5]


def test_vgg_at_224_is_the_papers():
    layers = vgg16_layers(224, 224)
    assert len(layers) == 13 and sides(layers, 224)[1] == 7 and layers[-1].filters == 512
    with torch.device("meta"):
        body = ConvNet("vgg16", sobel=False).construct((3, 224, 224))
    assert body.classifier[2].in_features == 512 * 49 and body.convolutions[0][0].in_channels == 3
    assert [layer.rate for layer in body.modules() if isinstance(layer, Dropout)] == [0.0, 0.5]  # one dropout


@pytest.mark.parametrize("side", [2, 8, 16, 28, 32, 64, 96, 128, 300])
@pytest.mark.parametrize("layers_of", [alexnet_layers, vgg16_layers])
def test_no_image_size_starves_the_maps(layers_of, side):
    found, last = sides(layers_of(side, side), side)
    assert last >= min(side, 2) and min(found) >= min(side, 2)


def test_alexnet_at_32_keeps_its_resolution():
    assert sides(alexnet_layers(32, 32), 32) == ([32, 15, 7, 7, 7], 3)


def test_sobel_by_hand():
    image = torch.zeros(1, 3, 5, 5)
    image[:, :, :, 3:] = torch.tensor([1.0, 2.0, 6.0])[:, None, None]  # mean 3 from the fourth column on
    edges = sobel(image)[0]
    assert edges.shape == (2, 5, 5)
    # rows 1-3: [1 0 -1; 2 0 -2; 1 0 -1] across the step is -(1 + 2 + 1)·3
    np.testing.assert_allclose(edges[0, 1:4, 1:4], [[0, -12, -12]] * 3)
    np.testing.assert_allclose(edges[1, 1:4, 1:4], 0)  # nothing changes from top to bottom
    np.testing.assert_allclose(edges[1, 0, 4], -(2 + 1) * 3)  # zeros come in at the border


def test_the_front_measures_its_images():
    images = torch.randn(50, 2, 6, 6, generator=generator()) * torch.tensor([2.0, 5.0])[:, None, None] + 7
    front = Front(2, edges=False)
    front.measure(images)
    standard = front(images)
    np.testing.assert_allclose(standard.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std((0, 2, 3), correction=0), 1, rtol=1e-5)
    front.measure(torch.full((3, 2, 4, 4), 0.3))  # nothing varies: nothing is divided by 0
    assert float(front(torch.full((3, 2, 4, 4), 0.3)).abs().max()) < 1e-6


def test_weights_are_drawn_as_in_the_released_code():
    body = ConvNet(width=0.5).drawn((3, 32, 32), generator())
    body.requires_grad_(False)
    first, second = body.convolutions[0][0], body.convolutions[1][0]
    assert float(first.weight.std()) == pytest.approx((2 / (25 * 48)) ** 0.5, rel=0.05)
    assert float(second.weight.std()) == pytest.approx((2 / (25 * 128)) ** 0.5, rel=0.02)
    assert float(second.bias.abs().max()) == 0
    assert float(body.classifier[5].weight.std()) == pytest.approx(0.64 / 2048**0.5, rel=0.02)
    again = ConvNet(width=0.5).drawn((3, 32, 32), generator())
    assert torch.equal(again.classifier[2].weight, body.classifier[2].weight)


@pytest.mark.parametrize(
    ("side", "maps"),
    [(8, (4, 2, 1)), (16, (8, 4, 2)), (28, (14, 7, 4)), (32, (16, 8, 4)), (64, (32, 16, 8)), (224, (56, 28, 14))],
)
def test_the_small_residual_network_takes_images_of_any_size(side, maps):
    body = ConvNet("small-resnet", sobel=False).drawn((3, side, side), generator()).eval().requires_grad_(False)
    images = torch.rand(2, 3, side, side, generator=generator())
    found = body.maps(images, body.layer_names)
    assert [tuple(one.shape[1:]) for one in found.values()] == [
        (n, m, m) for n, m in zip((32, 64, 128), maps, strict=True)
    ]
    np.testing.assert_allclose(body(images), found["layer3"].mean((2, 3)), atol=1e-6)
    assert body(torch.rand(2, 3, 24, 24)).shape == (2, 128)  # crops of another size


def test_a_residual_block_by_hand():
    block = ResidualBlock(2, 2, 1).eval().requires_grad_(False)
    maps = torch.rand(1, 2, 5, 5, generator=generator())
    scale = (1 + 1e-5) ** -0.5  # batch norm that has seen nothing
    inner = F.relu(F.conv2d(maps, block.conv1.weight, padding=1) * scale)
    np.testing.assert_allclose(
        block(maps), F.relu(F.conv2d(inner, block.conv2.weight, padding=1) * scale + maps), atol=1e-5
    )


def test_width_scales_the_small_residual_network_and_nothing_else_does():
    assert ConvNet("small-resnet", width=0.5).drawn((1, 16, 16), generator()).n_features == 64
    with pytest.raises(InputError, match="network.dropout is for alexnet and vgg16; 'small-resnet' has it fixed"):
        ConvNet("small-resnet", dropout=0.1).construct((1, 16, 16))
    with pytest.raises(InputError, match="network.width is for alexnet and vgg16 and small-resnet; 'resnet18' has"):
        ConvNet("resnet18", width=0.5).construct((1, 16, 16))


@pytest.mark.parametrize("architecture", ["alexnet", "vgg16", "small-resnet", "resnet18"])
def test_every_network_takes_small_grey_images_and_vectors(architecture):
    network = ConvNet(architecture, width=1.0 if architecture == "resnet18" else 0.05)
    source = ImageSource(torch.randint(0, 256, (6, 16, 16, 1), dtype=torch.uint8, generator=generator()), [""] * 6)
    body = network.drawn_for(source, generator()).eval().requires_grad_(False)
    features = body(source.batch(slice(0, 6)))
    assert features.shape == (6, body.n_features) and torch.isfinite(features).all()
    assert network.drawn((7, 1, 1), generator())(torch.ones(4, 7, 1, 1)).shape[0] == 4
    maps = body.maps(source.batch(slice(0, 6)), body.layer_names)
    assert list(maps) == list(body.layer_names) and all(
        one.ndim == 4 and float(one.min()) >= 0 for one in maps.values()
    )


def test_networks_leave_the_global_generator_alone():
    state = torch.random.get_rng_state()
    for architecture, width in (("alexnet", 0.05), ("resnet18", 1.0)):
        body = ConvNet(architecture, width=width).drawn((3, 16, 16), generator())
        seed_dropout(body, 1, torch.device("cpu"))
        body.train()(torch.ones(2, 3, 16, 16))
    assert torch.equal(state, torch.random.get_rng_state())


def test_an_unknown_network_is_one_line():
    with pytest.raises(InputError, match="network.architecture='alexnett' is none of"):
        ConvNet("alexnett").construct((3, 32, 32))


def test_dropout_follows_its_seed():
    layer = Dropout(0.25)
    values = torch.ones(20_000)
    seed_dropout(layer, 3, torch.device("cpu"))
    once = layer(values)
    seed_dropout(layer, 3, torch.device("cpu"))
    assert torch.equal(once, layer(values))
    assert not torch.equal(once, layer(values))  # the stream goes on
    assert set(once.unique().tolist()) == {0.0, float(torch.tensor(1.0) / torch.tensor(0.75))}
    assert float((once > 0).float().mean()) == pytest.approx(0.75, abs=0.02)
    assert torch.equal(layer.eval()(values), values)


def test_a_network_with_classifiers_beside_its_main_one_gives_features_in_training_too():
    with torch.device("meta"):
        body = ConvNet("googlenet", sobel=False).construct((3, 32, 32))
        assert body.train()(torch.zeros(2, 3, 32, 32)).shape == (2, 1024)
