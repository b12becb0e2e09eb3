"""The networks of JULE: layers by image size, first weights, length 1."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from asterism.networks.jule_net import ConvNetwork, build_conv, conv_blocks

# docs/papers/jule.md: input, output of the last block.
MAPS = {
    "MNIST": ((1, 28, 28), (50, 8, 8)),
    "USPS": ((1, 16, 16), (50, 6, 6)),
    "COIL-20": ((1, 128, 128), (50, 5, 5)),
    "COIL-100": ((3, 128, 128), (50, 5, 5)),
    "UMist": ((1, 112, 92), (50, 14, 12)),
    "FRGC": ((3, 32, 32), (50, 5, 5)),
    "YTF": ((3, 55, 55), (50, 14, 14)),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_those_of_the_authors_files(name):
    shape, expected = MAPS[name]
    network = build_conv(shape, torch.Generator().manual_seed(0))
    assert network.linear.in_features == expected[0] * expected[1] * expected[2]
    with torch.no_grad():
        last = network.eval().layer_names[-1]
        assert network.maps(torch.zeros(1, *shape), [last])[last].shape == (1, *expected)


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 2), (3, 7), (4, 4), (6, 30), (8, 8), (12, 12), (13, 13), (20, 45), (64, 64)]
)
def test_any_other_size_has_a_network(size):
    network = build_conv((2, *size), torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = network.eval()(torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(1)))
    assert features.shape == (3, 160)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))


def test_the_rule_continues_the_authors_sizes():
    assert [block.pool for block in conv_blocks(127, 127)] == [True] * 4
    assert [block.pool for block in conv_blocks(33, 40)] == [True] * 2
    assert [block.pool for block in conv_blocks(17, 17)] == [True]
    (single,) = conv_blocks(8, 8)
    assert not single.pool and single.kernel == (5, 5) and single.padding == 0


def test_first_weights():
    network = build_conv((1, 28, 28), torch.Generator().manual_seed(0))
    weights = network.linear.weight
    assert abs(float(weights.detach().std()) - 0.01) < 1e-4 and abs(float(weights.detach().mean())) < 1e-4
    assert all(float(layer.bias.detach().abs().max()) == 0 for layer in (*network.convolutions, network.linear))
    assert all(bool((norm.weight == 1).all() and (norm.bias == 0).all()) for norm in network.norms)
    uniform = build_conv((1, 28, 28), torch.Generator().manual_seed(0), norm_scale="uniform").norms[0].weight
    assert 0 <= float(uniform.min()) < 0.2 and 0.8 < float(uniform.max()) <= 1 and 0.3 < float(uniform.mean()) < 0.7


def test_the_same_generator_gives_the_same_weights_and_the_global_one_is_left_alone():
    before = torch.random.get_rng_state()
    one, two = (build_conv((1, 16, 16), torch.Generator().manual_seed(3)) for _ in range(2))
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(before, torch.random.get_rng_state())


def test_it_is_the_plain_sequence_of_layers():
    network = build_conv((1, 28, 28), torch.Generator().manual_seed(0)).train()
    plain = nn.Sequential(
        *(network.convolutions[0], network.norms[0], nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
        *(network.convolutions[1], network.norms[1], nn.ReLU(), nn.Flatten(), network.linear),
    )
    images = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(images), F.normalize(plain(images)))


def test_the_mean_image_is_taken_off():
    network = build_conv((1, 8, 8), torch.Generator().manual_seed(0)).eval()
    images, mean = (torch.rand(n, 8, 8, generator=torch.Generator().manual_seed(n)) for n in (4, 1))
    expected = network(images[:, None] - mean)
    network.mean.copy_(mean)
    torch.testing.assert_close(network(images[:, None]), expected)
    restored = ConvNetwork((1, 8, 8))
    restored.load_state_dict(network.state_dict())
    torch.testing.assert_close(restored.mean, mean)
