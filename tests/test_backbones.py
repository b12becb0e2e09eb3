"""Pre-trained networks: the layer that is found, what belongs to the weights, and the cache of features."""

import sys

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from asterism.errors import InputError, MissingDataError, MissingDependencyError
from asterism.features import cache
from asterism.features.cache import cached_extract
from asterism.images import open_images
from asterism.networks import weights as weights_module
from asterism.networks.backbones import Backbone, without_classifier
from asterism.networks.weights import construct
from asterism.runtime import Runtime

NET = "squeezenet1_1"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a small network as a file, drawn once."""
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(torchvision.models.get_model(NET).state_dict(), path)
    return str(path)


@pytest.fixture
def photos():
    return open_images(np.random.default_rng(0).integers(0, 256, (5, 40, 30, 3), dtype=np.uint8))


def test_features_are_what_the_classifier_would_have_seen(weights):
    network = Backbone(NET, weights=weights, size=64).build((3, 64, 64))
    whole = torchvision.models.get_model(NET)
    whole.load_state_dict(weights_module._read(weights_module.Path(weights)))
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        maps = whole.eval().features((images - network.prepare.mean) / network.prepare.std)  # (3, 512, 3, 3)
        torch.testing.assert_close(network(images), maps.mean((2, 3)), atol=1e-5, rtol=1e-4)
    assert network.is_non_negative and network.layer == "classifier.2 (ReLU)"
    assert not any(one.requires_grad for one in network.parameters())


@pytest.mark.parametrize(
    ("name", "width", "layer", "non_negative"),
    [
        ("resnet18", 512, "layer4.1.relu (ReLU)", True),
        ("mobilenet_v3_small", 1024, "input of classifier.3", False),  # hard swish has both signs
        ("shufflenet_v2_x0_5", 1024, "conv5.2 (ReLU)", True),
    ],
)
def test_the_last_non_negative_layer_is_found(name, width, layer, non_negative):
    network = Backbone(name, size=64).build((3, 64, 64), pretrained=False)
    assert (network.layer, network.is_non_negative) == (layer, non_negative)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, width)


def test_the_papers_network_gives_fc7_after_relu():
    class SmallVGG(torch.nn.Module):  # VGG's classifier, an image of it without 138 million weights
        def __init__(self):
            super().__init__()
            relu, drop, linear = torch.nn.ReLU, torch.nn.Dropout, torch.nn.Linear
            self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), relu(), torch.nn.AdaptiveAvgPool2d(2))
            self.classifier = torch.nn.Sequential(
                linear(16, 8), relu(), drop(), linear(8, 6), relu(), drop(), linear(6, 3)
            )

        def forward(self, x):
            return self.classifier(self.features(x).flatten(1))

    body, layer, non_negative = without_classifier(SmallVGG(), 32)
    assert (layer, non_negative) == ("classifier.4 (ReLU)", True)
    assert body(torch.rand(2, 3, 32, 32)).shape == (2, 6)


def test_preprocessing_belongs_to_the_weights(weights):
    plain = Backbone(NET, weights=weights, size=64).build((3, 64, 64))
    turned = Backbone(NET, weights=weights, size=64, turned=True, mean=[0, 0, 0], std=[1, 1, 1]).build((3, 64, 64))
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(turned.prepare(images), images.flip(-1, -2))
    torch.testing.assert_close(plain.prepare(images)[:, 0], (images[:, 0] - 0.485) / 0.229, atol=1e-6, rtol=1e-5)
    other = Backbone(NET, size=32).build((3, 64, 64), pretrained=False)
    other.load_state_dict(turned.state_dict())  # what a run folder holds
    torch.testing.assert_close(other(images), turned(images))
    grey = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(plain(grey), plain(grey.expand(-1, 3, -1, -1)))


def test_known_weights_are_turned(data_dir):
    path = data_dir / "weights" / "mobilenet_v2.safetensors"
    if not path.is_file():
        pytest.skip("no weights of mobilenet_v2 in the data folder")
    assert Backbone("mobilenet_v2").build((3, 224, 224)).prepare.turned
    assert not Backbone("mobilenet_v2", turned=False).build((3, 224, 224)).prepare.turned


@pytest.mark.parametrize(
    ("backbone", "shape", "error", "words"),
    [
        (Backbone("alexnet"), (3, 64, 64), MissingDataError, "alexnet are not.*https://.*alexnet.pth.*dbc"),
        (Backbone(NET, weights="nowhere.pth"), (3, 64, 64), MissingDataError, "backbone.weights='nowhere.pth'"),
        (Backbone("squeezenet"), (3, 64, 64), MissingDependencyError, "squeezenet1_.*pip install timm"),
        (Backbone(NET), (4, 64, 64), InputError, "1 or 3 channels; got 4"),
        (Backbone(NET, mean=[0.5]), (3, 64, 64), InputError, "backbone.mean=.*3 numbers"),
    ],
)
def test_what_cannot_be_used_is_one_line(backbone, shape, error, words, monkeypatch, weights, tmp_path):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("ASTERISM_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "timm", None)
    if backbone.mean is not None:
        backbone.weights = weights
    with pytest.raises(error, match=words) as raised:
        backbone.build(shape)
    assert "\n" not in str(raised.value)


def test_weights_of_another_model_and_pickles_are_refused(weights, tmp_path):
    with pytest.raises(InputError, match="not those of resnet18"):
        Backbone("resnet18", weights=weights).build((3, 64, 64))
    torch.save({"state": np.zeros(3), "run": print}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match="bad.pth") as raised:
        Backbone(NET, weights=str(tmp_path / "bad.pth")).build((3, 64, 64))
    assert "\n" not in str(raised.value)


def test_constructing_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    construct(NET)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_second_run_does_no_forward_pass(weights, photos, monkeypatch):
    network, runtime = Backbone(NET, weights=weights, size=64).build(photos.shape), Runtime("cpu")
    seen = []

    def counted(network, images, runtime, only):
        seen.extend([len(only)] if len(only) else [])
        return feature_batches(network, images, runtime, only=only)

    feature_batches = cache.feature_batches
    monkeypatch.setattr(cache, "feature_batches", counted)
    first = cached_extract(network, photos.subset([0, 1, 2]), runtime)
    whole = cached_extract(network, photos, runtime)
    again = cached_extract(network, photos.subset([4, 2, 0]), runtime)
    assert seen == [3, 2]  # only what was new; another order costs nothing
    torch.testing.assert_close(whole[:3], first)
    assert torch.equal(again, whole[[4, 2, 0]])
    with torch.no_grad():
        network.prepare.mean += 0.1  # other preprocessing, other features
    assert not torch.equal(cached_extract(network, photos, runtime), whole)
    assert seen == [3, 2, 5]


def test_a_cache_that_cannot_be_written_costs_no_run(weights, photos, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "file"))
    network = Backbone(NET, weights=weights, size=64).build(photos.shape)
    assert cached_extract(network, photos, Runtime("cpu")).shape == (5, 512)
