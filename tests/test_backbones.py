"""Pre-trained networks: the layer that is found, what belongs to the weights, and the cache of features."""

import os
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file

from asterism import Diffusion
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
    assert not any(one.requires_grad for one in network.parameters())


@pytest.mark.parametrize(
    ("name", "width"), [("resnet18", 512), ("mobilenet_v3_small", 1024), ("shufflenet_v2_x0_5", 1024)]
)
def test_the_classifier_is_taken_off(name, width):
    network = Backbone(name, size=64).build((3, 64, 64), pretrained=False)
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

    features = without_classifier(SmallVGG(), 32)(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, 6) and float(features.min()) >= 0


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
        (Backbone("squeezenet"), (3, 64, 64), InputError, "neither torchvision nor timm; did you mean 'squeezenet1_"),
        (Backbone("squeezenet", size=16), (3, 64, 64), InputError, "neither torchvision nor timm"),
        (Backbone("qqqqqqq"), (3, 64, 64), InputError, "asterism backbones lists"),
        (Backbone("vit_tiny_patch16_224.none"), (3, 64, 64), InputError, "weights called augreg.*not 'none'"),
        (Backbone("vit_tiny_patch16_224"), (3, 64, 64), MissingDataError, "ASTERISM_OFFLINE.*weights/vit_tiny"),
        (Backbone("hf:owner/name"), (3, 64, 64), MissingDependencyError, r"pip install 'asterism-clustering\[hf\]'"),
        (Backbone("open_clip:ViT-B-32"), (3, 64, 64), MissingDependencyError, r"\[open_clip\]"),
        (Backbone(NET, mean=[0.5]), (3, 64, 64), InputError, "backbone.mean=.*3 numbers"),
    ],
)
def test_what_cannot_be_used_is_one_line(backbone, shape, error, words, monkeypatch, weights, tmp_path):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("ASTERISM_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
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


def test_features_that_nobody_wanted_for_a_month_are_removed(photos, monkeypatch, tmp_path):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path))
    network, past = torch.nn.Flatten(), time.time() - 31 * 86400
    for row in (0, 1):
        cached_extract(network, photos.subset([row]), Runtime("cpu"))
    for path in tmp_path.rglob("*.safetensors"):
        os.utime(path, (past, past))
    cached_extract(network, photos.subset([1]), Runtime("cpu"))
    cached_extract(network, photos.subset([2]), Runtime("cpu"))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2  # of the second, wanted again, and of the third


def test_a_cache_that_cannot_be_written_costs_no_run(weights, photos, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "file"))
    network = Backbone(NET, weights=weights, size=64).build(photos.shape)
    assert cached_extract(network, photos, Runtime("cpu")).shape == (5, 512)


# ---------------------------------------------------------------- timm, transformers, open_clip


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A machine with a folder for weights, and nothing else."""
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("ASTERISM_OFFLINE", "1")
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def drawn(name, **given):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model(name, **given).eval()


@pytest.mark.parametrize(("name", "size"), [("test_vit", None), ("test_vit", 96), ("test_convnext", 64)])
def test_a_model_of_timm_gives_what_timm_gives(alone, name, size):
    whole = drawn(name)  # with its classifier, at its own size
    save_file(whole.state_dict(), alone / f"{name}.safetensors")
    network = Backbone(name, size=size).build((3, 64, 64))
    side = size or whole.pretrained_cfg["input_size"][-1]
    assert network.input_shape == (3, side, side)
    assert network.prepare.bicubic == (whole.pretrained_cfg["interpolation"] == "bicubic")
    assert network.prepare.mean.flatten().tolist() == pytest.approx(whole.pretrained_cfg["mean"])
    images = torch.rand(2, 3, side, side)
    prepared = (images - network.prepare.mean) / network.prepare.std
    if "vit" in name and size is not None:
        whole.set_input_size((side, side))  # resamples its positions
    with torch.no_grad():
        expected = whole.forward_head(whole.forward_features(prepared), pre_logits=True)
        torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-3)


def test_dinov2_is_computed_at_224_pixels_unless_another_size_is_asked_for(alone):
    name = "vit_small_patch14_dinov2.lvd142m"
    file = alone / f"{name}.safetensors"
    save_file(drawn(name, num_classes=0).state_dict(), file)  # with positions for 37 patches a side
    network = Backbone().build((3, 64, 64))  # the first of those that are here
    assert network.input_shape == (3, 224, 224) and network.body.pos_embed.shape == (1, 257, 384)
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 384)
    assert Backbone(name, weights=str(file), size=112).build((3, 64, 64)).body.pos_embed.shape == (1, 65, 384)


def test_the_default_size_of_a_network_is_no_part_of_the_name(alone):
    for size in (None, 224):
        assert construct("vit_small_patch14_dinov2.lvd142m", size)[1]["size"] == 224
    with pytest.raises(InputError, match="cannot take images of 96 pixels a side .*leave backbone.size out"):
        Backbone("maxvit_t", size=96).build((3, 96, 96), pretrained=False)


def test_weights_of_another_timm_model_are_refused(alone):
    save_file(drawn("test_convnext").state_dict(), alone / "test_vit.safetensors")
    with pytest.raises(InputError, match="are not those of test_vit") as raised:
        Backbone("test_vit").build((3, 64, 64))
    assert "\n" not in str(raised.value)


def test_weights_in_the_cache_of_hugging_face_are_found(alone, tmp_path, monkeypatch):
    folder = tmp_path / "hub" / "hub" / "models--timm--test_vit.r160_in1k" / "snapshots" / "0a1b"
    folder.mkdir(parents=True)
    save_file(drawn("test_vit").state_dict(), folder / "model.safetensors")
    for name in ("test_vit.r160_in1k", "test_vit"):
        assert Backbone(name).build((3, 64, 64)).input_shape == (3, 160, 160)
        assert weights_module.find_weights(name) == folder / "model.safetensors"


class Answer(SimpleNamespace):
    pass


class HubModel(torch.nn.Module):
    """What transformers gives: outputs with names, a dense pooler that weights of self-supervision leave untrained."""

    def __init__(self, dense):
        super().__init__()
        self.embed = torch.nn.Conv2d(3, 4, 16, stride=16)
        self.pooler = torch.nn.Module()
        if dense:
            self.pooler.dense = torch.nn.Linear(4, 4)

    def forward(self, pixel_values, interpolate_pos_encoding=False):
        tokens = self.embed(pixel_values).flatten(2).transpose(1, 2)
        return Answer(last_hidden_state=tokens, pooler_output=tokens.max(1).values)


class Hub:
    """Stands for transformers: one model in the cache, others nowhere."""

    def __init__(self, model, missing=(), **more_looks):
        def loading(found):
            def load(source, output_loading_info=False, *, trust_remote_code, **_):
                assert trust_remote_code is False
                if source != "owner/here":
                    raise OSError(f"{source} is not a local folder")
                if isinstance(missing, Exception) and output_loading_info:
                    raise missing
                return (found, {"missing_keys": missing}) if output_loading_info else found

            return SimpleNamespace(from_pretrained=load, from_config=lambda config, trust_remote_code: model)

        looks = Answer(image_mean=[0.1, 0.2, 0.3], image_std=[1, 1, 1], crop_size={"height": 48}, resample=3)
        vars(looks).update(more_looks)
        self.AutoModel, self.AutoImageProcessor = loading(model), loading(looks)
        self.AutoConfig = loading(Answer(image_size=48))
        quiet = dict.fromkeys(("disable_progress_bar", "enable_progress_bar", "set_verbosity_error"), lambda: None)
        self.logging = SimpleNamespace(get_verbosity=lambda: 1, set_verbosity=lambda level: None, **quiet)


@pytest.mark.parametrize("dense", [False, True])
def test_a_model_of_hugging_face_is_a_backbone(alone, monkeypatch, dense):
    model = HubModel(dense)
    monkeypatch.setitem(sys.modules, "transformers", Hub(model))
    network = Backbone("hf:owner/here").build((3, 64, 64))
    assert network.input_shape == (3, 48, 48) and network.prepare.bicubic
    assert network.prepare.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    images = torch.rand(2, 3, 48, 48)
    out = model(network.prepare(images))
    torch.testing.assert_close(network(images), out.last_hidden_state[:, 0] if dense else out.pooler_output)
    with pytest.raises(MissingDataError, match="ASTERISM_OFFLINE.*huggingface.co/owner/away.*consent") as raised:
        Backbone("hf:owner/away").build((3, 64, 64))
    assert "\n" not in str(raised.value)


class OfWords(torch.nn.Linear):
    def forward(self, input_ids):
        return super().forward(input_ids)


def test_a_model_that_takes_no_images_is_one_line(alone, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", Hub(OfWords(2, 2)))
    with pytest.raises(InputError, match="cannot take images of 48 pixels a side .*'pixel_values'"):
        Backbone("hf:owner/here").build((3, 64, 64))


@pytest.mark.parametrize("dense", [False, True])
def test_weights_that_a_model_of_hugging_face_lacks_are_not_drawn(alone, monkeypatch, dense):
    """transformers draws them at random, and says so in its log alone."""
    of_others = ["embed.weight", "embed.bias"] if dense else SafetensorError("incomplete")
    monkeypatch.setitem(sys.modules, "transformers", Hub(HubModel(dense), of_others))
    with pytest.raises(InputError, match="the weights of hf:owner/here are .*of another model"):
        Backbone("hf:owner/here").build((3, 64, 64))
    monkeypatch.setitem(sys.modules, "transformers", Hub(HubModel(True), ["pooler.dense.weight", "embed.bias"]))
    Backbone("hf:owner/here").build((3, 64, 64))  # a pooling layer that is not used, and next to nothing


def test_pixels_go_to_a_model_of_hugging_face_as_its_processor_gives_them(alone, monkeypatch):
    looks = {"do_normalize": False, "do_flip_channel_order": True, "image_mean": None, "image_std": None}
    model = HubModel(False)
    monkeypatch.setitem(sys.modules, "transformers", Hub(model, **looks))
    network, images = Backbone("hf:owner/here").build((3, 48, 48)), torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(network(images), model(images.flip(1)).pooler_output)


def test_a_model_that_says_nothing_of_its_images_is_told_of(alone, monkeypatch):
    hub = Hub(HubModel(False))
    hub.AutoImageProcessor.from_pretrained = lambda source, **_: hub.AutoConfig.from_pretrained("owner/away", **_)
    monkeypatch.setitem(sys.modules, "transformers", hub)
    with pytest.warns(UserWarning, match="has no preprocessor_config.json: .* 224 pixels .*set backbone.size"):
        Backbone("hf:owner/here").build((3, 64, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Backbone("hf:owner/here").build((3, 64, 64), pretrained=False)


class FakeOpenClip:
    """Stands for open_clip: one model and two tags."""

    def list_models(self):
        return ["ViT-T-16"]

    def list_pretrained_tags_by_model(self, model):
        return ["one", "two"]

    def get_pretrained_cfg(self, model, tag):
        return {"hf_hub": "owner/ViT-T-16/", "mean": (0.1, 0.2, 0.3), "std": (1, 1, 1), "quick_gelu": True}


def test_a_model_of_open_clip_is_named_with_its_tag(alone, monkeypatch):
    fake = FakeOpenClip()
    visual = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 16, stride=16), torch.nn.Flatten())
    visual.image_size = (32, 32)
    fake.create_model = lambda *_, **__: SimpleNamespace(visual=visual)
    fake.load_checkpoint = lambda whole, path: loaded.append(path)
    loaded = []
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    file = alone / "open_clip-ViT-T-16-two.safetensors"
    file.touch()
    network = Backbone("open_clip:ViT-T-16/two").build((3, 64, 64))
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 16) and loaded == [str(file)]
    file.unlink()
    pickled = alone / "open_clip-ViT-T-16-two.pth"
    torch.save({"state_dict": torch.nn.Linear(2, 2)}, pickled)  # open_clip's loader would unpickle it
    with pytest.raises(InputError, match="holds more than tensors and is not opened"):
        Backbone("open_clip:ViT-T-16/two").build((3, 64, 64))
    for name, words in (
        ("open_clip:ViT-T-17/one", "no model 'ViT-T-17'; did you mean ViT-T-16"),
        ("open_clip:ViT-T-16", "TAG is one of one, two"),
        ("open_clip:ViT-T-16/three", "TAG is one of one, two"),
    ):
        with pytest.raises(InputError, match=words):
            Backbone(name).build((3, 64, 64))
    with pytest.raises(MissingDataError, match="owner/ViT-T-16/resolve/main/open_clip_model.safetensors"):
        Backbone("open_clip:ViT-T-16/one").build((3, 64, 64))


@pytest.mark.parametrize(("backbone", "side"), [("hog-color", 128), ("mobilenet_v2", 224), ("pixels", 224)])
def test_photographs_are_read_at_the_size_that_the_network_takes(tmp_path, monkeypatch, backbone, side):
    build = Backbone.build
    monkeypatch.setattr(Backbone, "build", lambda self, shape, pretrained=False: build(self, shape, False))
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    model = Diffusion(2, backbone=Backbone(backbone), random_state=0).fit(str(tmp_path))
    assert model.image_shape_ == (3, side, side)
    model.backbone = Backbone("mobilenet_v2", size=288)
    model._check_needs(str(tmp_path))
    assert model._opening["photo_side"] == 288
    model._check_needs(np.zeros((4, 9)))
    assert model._opening["photo_side"] == 224


@pytest.mark.parametrize(("n", "words"), [(2, "both and their mean"), (5, "means of channels 1–2, 3–4, 5;")])
def test_a_network_of_three_channels_says_what_it_sees_of_others(n, words):
    with pytest.warns(UserWarning, match=words):
        network = Backbone("hog-color").build((n, 32, 32))
    images = torch.rand(2, n, 32, 32)
    seen = [images[:, 0], images[:, 1], images.mean(1)] if n == 2 else []
    seen = seen or [images[:, :2].mean(1), images[:, 2:4].mean(1), images[:, 4]]
    assert torch.allclose(network(images), network(torch.stack(seen, 1)))
