"""Every network of the library is a `Body`: its steps compose, its maps are named, what is cut or frozen is what was
asked for."""

import copy

import pytest
import torch
from torch import nn

from asterism.errors import InputError
from asterism.networks.backbones import Backbone, PretrainedNetwork
from asterism.networks.body import Body, network_of
from asterism.networks.convnet import ConvNet
from asterism.networks.fcae import FullyConvolutionalAutoEncoder
from asterism.networks.freezing import cut
from asterism.networks.handcrafted import HandCrafted
from asterism.networks.initialise import build
from asterism.networks.jule_net import build_conv
from asterism.networks.pixels import Pixels
from asterism.networks.stacked import StackedAutoEncoderNetwork

PHOTO, DIGIT = (3, 32, 32), (1, 28, 28)


def trained(architecture, shape=PHOTO, **settings):
    return lambda: ConvNet(architecture, **settings).drawn(shape, torch.Generator().manual_seed(0))


def pretrained(name, size=64):
    def make():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Backbone(name, size=size).build(PHOTO, pretrained=False)

    return make


def drawn(construct):
    def make():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return construct()

    return make


# How it is made, what it is shown, and its layers: channels and sides of their maps.
NETWORKS = {
    "alexnet": (trained("alexnet", width=0.05), PHOTO, {"conv1": (5, 32), "conv2": (13, 15), "conv5": (13, 7)}),
    "alexnet of vectors": (trained("alexnet", (7, 1, 1), width=0.05), (7, 1, 1), {}),
    "vgg16": (trained("vgg16", width=0.05), PHOTO, {"conv1": (3, 32), "conv13": (26, 4)}),
    "small-resnet": (trained("small-resnet"), PHOTO, {"layer1": (32, 16), "layer2": (64, 8), "layer3": (128, 4)}),
    "torchvision's resnet18": (trained("resnet18"), PHOTO, {"layer1": (64, 32), "layer4": (512, 4)}),
    "torchvision's mobilenet": (trained("mobilenet_v2"), PHOTO, {"features": (1280, 1)}),
    "jule of digits": (lambda: build_conv(DIGIT, torch.Generator().manual_seed(0)), DIGIT, {"conv2": (50, 8)}),
    "jule of vectors": (lambda: build_conv((9, 1, 1), torch.Generator().manual_seed(0)), (9, 1, 1), {}),
    "fcae": (drawn(lambda: FullyConvolutionalAutoEncoder(DIGIT).encoder), DIGIT, {"conv1": (6, 12), "conv2": (16, 4)}),
    "fcae of vectors": (drawn(lambda: FullyConvolutionalAutoEncoder((9, 1, 1)).encoder), (9, 1, 1), {}),
    "fcae, linear": (
        drawn(lambda: FullyConvolutionalAutoEncoder(PHOTO, feature_layer="linear").encoder),
        PHOTO,
        {"conv1": (20, 14)},
    ),
    "stacked auto-encoder": (drawn(lambda: StackedAutoEncoderNetwork(DIGIT, (20, 5)).encoder), DIGIT, {}),
    "pixels": (lambda: Pixels(True), PHOTO, {}),
    "hog-color": (HandCrafted, PHOTO, {}),
    "pre-trained squeezenet": (pretrained("squeezenet1_1"), PHOTO, {"features": (512, 3)}),
    "pre-trained shufflenet": (pretrained("shufflenet_v2_x0_5"), PHOTO, {"stage4": (192, 2), "conv5": (1024, 2)}),
    "timm's resnet": (pretrained("resnet10t"), PHOTO, {"layer1": (64, 16), "layer4": (512, 2)}),
    "timm's convnext": (pretrained("convnext_atto"), PHOTO, {"stem": (40, 16), "stages": (320, 2)}),
    "timm's transformer": (pretrained("vit_tiny_patch16_224", 224), PHOTO, {}),
}


BUILT = {
    "fcae": lambda: FullyConvolutionalAutoEncoder(DIGIT),
    "stacked auto-encoder": lambda: StackedAutoEncoderNetwork(DIGIT, (20, 5)),
}


@pytest.mark.parametrize("name", [*NETWORKS, *(f"built {name}" for name in BUILT)])
def test_no_part_of_a_network_is_left_as_the_memory_was(name, monkeypatch):
    """The memory of networks that are made anew is full of NaN here."""
    empty = torch.nn.Module.to_empty

    def full_of_nan(module, **options):
        made = empty(module, **options)
        for values in (*made.parameters(), *made.buffers()):
            values.data.fill_(float("nan") if values.is_floating_point() else 99)
        return made

    monkeypatch.setattr(torch.nn.Module, "to_empty", full_of_nan)
    if name in NETWORKS:
        make, shape, _ = NETWORKS[name]
        network = make()
    else:
        network = build(BUILT[name.removeprefix("built ")], torch.Generator().manual_seed(0)).encoder
        shape = DIGIT
    assert network.eval()(torch.rand(2, *shape)).isfinite().all()


def test_buffers_that_nothing_sets_are_refused():
    class Shifted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("shift", torch.ones(1))

    with pytest.raises(InputError, match="nothing sets the buffers of a Shifted"):
        build(Shifted, torch.Generator().manual_seed(0))


@pytest.fixture(params=NETWORKS, scope="module")
def network(request):
    make, shape, layers = NETWORKS[request.param]
    return make().eval().requires_grad_(False), shape, layers


def images_of(shape, n=2):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1))


def test_the_steps_are_the_network_and_its_maps(network):
    body, shape, layers = network
    assert isinstance(body, Body) and network_of(nn.Sequential(body, nn.Identity())) is body
    images = images_of(shape)
    found, values = {}, images
    for name, step in body.steps().items():
        values = found[name] = step(values)
    torch.testing.assert_close(values, body(images), atol=0, rtol=0)
    assert values.ndim == 2 and set(layers) <= set(body.layer_names) and bool(layers) == bool(body.layer_names)
    maps = body.maps(images, body.layer_names)
    assert sorted(maps) == sorted(body.layer_names)
    for name, one in maps.items():
        torch.testing.assert_close(one, found[name], atol=0, rtol=0)
    for name, (channels, side) in layers.items():
        assert maps[name].shape == (2, channels, side, side)
        torch.testing.assert_close(body.maps(images, [name])[name], maps[name], atol=0, rtol=0)


@pytest.mark.parametrize("name", ["alexnet", "small-resnet", "jule of digits", "fcae", "timm's convnext"])
def test_maps_of_larger_images_lie_over_what_they_show(name):
    """A bright corner moves the maps there, and not at the opposite one."""
    make, shape, _ = NETWORKS[name]
    large = make().eval().requires_grad_(False)
    side = 2 * (large.input_shape or shape)[1]
    large.open_to_any_size()
    dark, bright = torch.zeros(1, shape[0], side, side), torch.zeros(1, shape[0], side, side)
    bright[..., : side // 8, : side // 8] = 1
    first = large.layer_names[0]
    maps, plain = (large.maps(images, [first])[first][0] for images in (bright, dark))
    moved = (maps - plain).abs().sum(0)
    half = -(-len(moved) // 2)
    assert moved[:half, :half].sum() > 10 * moved[-half:, -half:].sum() and moved[:half, :half].max() == moved.max()


def test_a_cut_trains_what_was_asked_for(network):
    body, shape, _ = network
    images = images_of(shape)
    before = body(images)
    weighted = [one for one in body.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    for n_layers in sorted({1, 2, len(weighted)} - {0}):
        if n_layers > len(weighted):
            continue
        parts = cut(body, n_layers, shape)
        activations = parts.bottom(images)
        torch.testing.assert_close(parts.top(activations[..., None, None]), before, atol=0, rtol=0)
        own = {id(one) for one in body.parameters()}
        layers = {id(layer) for layer in weighted if any(layer.weight is one for one in parts.tuned)}
        assert len(layers) == n_layers and {id(one) for one in parts.tuned} <= own
        for one in parts.tuned:
            one.requires_grad_(True)
        assert {id(one) for one in body.parameters() if one.requires_grad} == {id(one) for one in parts.tuned}
        assert not any(one.requires_grad for one in parts.bottom.parameters())
        body.requires_grad_(False)


def test_features_are_the_same_when_the_weights_come_back(network):
    body, shape, _ = network
    state = body.state_dict()
    other = copy.deepcopy(body)
    for values in (*other.parameters(), *other.buffers()):
        values.data.zero_()
    other.load_state_dict(state)
    torch.testing.assert_close(other(images_of(shape)), body(images_of(shape)), atol=0, rtol=0)


def test_a_network_that_cannot_be_traced_is_one_step():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            x = self.stem(x).mean((2, 3))
            return self.head(x if x.sum() > 0 else -x)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = PretrainedNetwork(Branching(), size=16).requires_grad_(False).eval()
    assert list(body.steps()) == ["prepare", "network", "flat"] and body.layer_names == ()
    parts, images = cut(body, 1, PHOTO), images_of(PHOTO)
    assert parts.top.shape == (3, 16, 16) and len(parts.tuned) == 2
    torch.testing.assert_close(parts.top(parts.bottom(images)[..., None, None]), body(images))


def test_an_encoder_without_a_network_of_ours_has_no_layers():
    assert network_of(nn.Linear(2, 2)).layer_names == ()


@pytest.mark.parametrize("name", ["convnext_tiny", "swin_t"])
def test_weights_that_no_rule_draws_are_one_line(name):
    from asterism.errors import InputError

    with pytest.raises(InputError, match="no rule draws the weights of a"):
        ConvNet(name).drawn((3, 64, 64), torch.Generator())
