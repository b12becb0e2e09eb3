"""PASCAL VOC's layout, its average precision by hand, and classification on coloured shapes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from typer.testing import CliRunner

from asterism import ConvNet, DeepCluster, ImageSource, Training
from asterism.cli.app import app
from asterism.errors import InputError, MissingDataError
from asterism.networks.backbones import PretrainedNetwork, without_classifier
from asterism.networks.fcae import FullyConvolutionalAutoEncoder
from asterism.networks.jule_net import build_conv
from asterism.networks.pixels import Pixels
from asterism.runtime import Runtime
from asterism.training import Run
from asterism_papers.transfer import fine_tune as tuning
from asterism_papers.transfer.backbone import input_shape, parts_of, pieces_of
from asterism_papers.transfer.classify import ClassificationTuning, classifier_of, classify, masked_loss, random_crop
from asterism_papers.transfer.detect import detect
from asterism_papers.transfer.fine_tune import prefetched
from asterism_papers.transfer.segment import segment
from asterism_papers.transfer.voc import VocImages, open_voc, read_annotation
from asterism_papers.transfer.voc_scores import area, eleven_point, ranked
from test_networks import NETWORKS, images_of
from voc_like import CLASSES, make_voc

SHAPE = (3, 32, 32)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    return make_voc(tmp_path_factory.mktemp("voc"))


@pytest.fixture(scope="module")
def body():
    noise = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = ImageSource(noise, [""] * 64)
    return ConvNet(width=0.1, sobel=False, dropout=0.1).drawn_for(images, torch.Generator().manual_seed(0))


# ---------------------------------------------------------------- scores


def test_eleven_point_precision_by_hand():
    # right, wrong, right, wrong, right; 4 to be found: recalls 1/4, 1/2, 3/4; precisions there 1, 2/3, 3/5
    found = np.array([True, False, True, False, True])
    # recalls 0, .1, .2 → 1; .3, .4, .5 → 2/3; .6, .7 → 3/5; .8, .9, 1 → 0
    assert eleven_point(found, 4) == pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11)
    assert area(found, 4) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    assert eleven_point(np.array([True, True]), 2) == 1 and eleven_point(np.zeros(3, bool), 2) == 0
    assert np.isnan(eleven_point(np.zeros(3, bool), 0)) and eleven_point(np.zeros(0, bool), 3) == 0
    # 3 of 10 found first: recall .3 is reached, though 3/10 ≥ .1·3 fails in floating point
    assert eleven_point(np.array([True, True, True]), 10) == pytest.approx(4 / 11)


def test_ties_gain_nothing_and_difficult_images_are_left_out():
    scores, labels = np.array([0.5, 0.5, 0.9, 0.1]), np.array([1, 0, -1, 1])
    np.testing.assert_array_equal(ranked(scores, labels), [False, True, True])


# ---------------------------------------------------------------- the folder


def test_annotations_and_labels(voc, tmp_path):
    images = open_voc(voc, "trainval")
    assert len(images) == 40 and images.classes == list(CLASSES)
    assert images.pixels(0, 3).shape == (60, 80, 3) and images.pixels(0, 1).shape == (60, 80, 1)
    one = tmp_path / "one.xml"
    one.write_text(
        "<annotation><object><name>dog</name><difficult>1</difficult><part><name>head</name></part>"
        "<bndbox><xmin>3</xmin><ymin>4.0</ymin><xmax>5</xmax><ymax>4</ymax></bndbox></object></annotation>"
    )
    (thing,) = read_annotation(one)
    assert (thing.name, thing.box, thing.difficult) == ("dog", (2, 3, 5, 4), True)
    rows = [[thing], [], [thing, type(thing)("dog", thing.box, False)]]
    labels = type(images)(images.root, "", ["a", "b", "c"], rows).labels(["cat", "dog"])
    np.testing.assert_array_equal(labels, [[0, -1], [0, 0], [0, 1]])


def test_the_folder_may_be_named_in_three_ways(voc):
    assert open_voc(voc, "test").ids == open_voc(voc / "VOC2007", "test").ids == open_voc(voc.parent, "test").ids


def test_bad_layouts_are_one_line(tmp_path):
    with pytest.raises(
        MissingDataError, match=r"holds no ImageSets/Main; expected the layout VOCdevkit/VOC2007/\{JPEG"
    ):
        open_voc(tmp_path, "test")
    root = make_voc(tmp_path, 3, 2) / "VOC2007"
    with pytest.raises(MissingDataError, match="val.txt does not exist; .* has test, trainval"):
        open_voc(root, "val")
    (root / "JPEGImages" / "000001.jpg").unlink()
    with pytest.raises(MissingDataError, match=r"000001.jpg does not exist, of those that .*trainval.txt names"):
        open_voc(root, "trainval")
    (root / "Annotations" / "000003.xml").write_text("<annotation><object><name>x</name></object></annotation>")
    with pytest.raises(InputError, match=r"000003.xml is no annotation of PASCAL VOC"):
        open_voc(root, "test")
    (root / "ImageSets" / "Main" / "test.txt").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        open_voc(root, "test")
    (root / "ImageSets" / "Main" / "test.txt").write_bytes(b"\xff\n")
    with pytest.raises(InputError, match="test.txt is no text in UTF-8"):
        open_voc(root, "test")
    (root / "ImageSets" / "Main" / "test.txt").write_bytes(b"\xef\xbb\xbf000002\n")
    assert open_voc(root, "test").ids == ["000002"]


def test_no_image_is_learnt_from_and_scored_on():
    """VOC's ``trainval``, the default, holds ``val``."""
    one = VocImages(Path("VOC2007"), "trainval", ["a", "b", "c"], [])
    other = VocImages(Path("VOC2007"), "val", ["b", "d"], [])
    for task in (classify, detect, segment):
        with pytest.raises(InputError, match="1 of the 2 images of the list val, b for one, are in trainval too"):
            task(None, SHAPE, one, other, None)


def test_a_damaged_image_is_named(voc, tmp_path):
    root = make_voc(tmp_path, 2, 1) / "VOC2007"
    (root / "JPEGImages" / "000000.jpg").write_bytes(b"\xff\xd8\xff damaged")
    with pytest.raises(InputError, match=r"000000.jpg cannot be read"):
        open_voc(root, "trainval").pixels(0, 3)


# ---------------------------------------------------------------- the protocol


def test_crops_are_squares_of_a_tenth_to_a_half():
    across = np.broadcast_to(np.arange(100, dtype=np.uint8)[None, :, None], (50, 100, 3))
    widths, mirrored = [], 0
    for seed in range(60):
        crop = random_crop(np.ascontiguousarray(across), (3, 40, 40), torch.Generator().manual_seed(seed))
        assert crop.shape == (3, 40, 40)
        row = crop[0, 0].float()
        mirrored += int(row[0] > row[-1])
        widths.append(float((row[30] - row[10]).abs()) * 2)  # of 40 pixels: the side of the crop
    assert min(widths) < 26 and max(widths) > 46 and min(widths) >= 20 and max(widths) <= 52
    assert 15 < mirrored < 45


def test_difficult_labels_cost_nothing():
    logits, labels = torch.tensor([[2.0, -1.0], [0.0, 3.0]]), torch.tensor([[1.0, -1.0], [0.0, 1.0]])
    each = [np.log1p(np.exp(-2)), np.log(2), np.log1p(np.exp(-3))]
    assert float(masked_loss(logits, labels)) == pytest.approx(sum(each) / 2, rel=1e-5)


def test_prefetching_keeps_the_order_and_ends_at_an_error():
    assert list(prefetched(lambda x: x * x, [[1, 2], [3], [], [4, 5], [6]])) == [[1, 4], [9], [], [16, 25], [36]]

    def fail(x):
        raise InputError("no such image")

    with pytest.raises(InputError, match="no such image"):
        list(prefetched(fail, [[1]]))


QUICK = ClassificationTuning(n_steps=100, lr=0.02, dropout=0.0)


def test_training_beats_chance_and_is_the_same_again(body, voc):
    train, test = open_voc(voc, "trainval"), open_voc(voc, "test")
    found = classify(body, SHAPE, train, test, Run(Runtime("cpu"), 0), QUICK)
    untrained = classify(body, SHAPE, train, test, Run(Runtime("cpu"), 0), ClassificationTuning(n_steps=1, lr=1e-9))
    assert found.learnt == "new fc6, fc7 and fc8" and set(found.precisions) == set(CLASSES)
    assert found.mean_ap > untrained.mean_ap + 0.15 and found.mean_ap > 0.7
    brief = ClassificationTuning(n_steps=3)
    again = [classify(body, SHAPE, train, test, Run(Runtime("cpu"), 7), brief) for _ in range(2)]
    assert again[0] == again[1]


def test_what_is_learnt_is_what_was_asked_for(body, voc):
    for learn, wanted in (("fc6-8", 0), ("fc6-8+norm", 10), ("all", 20)):
        model, words = classifier_of(body, SHAPE, 3, ClassificationTuning(learn=learn), torch.Generator())
        free = [name for name, one in model.convolutions.named_parameters() if one.requires_grad]
        assert len(free) == wanted  # scale and shift, weight and bias of five convolutions
        assert words.endswith("new fc6, fc7 and fc8") and (learn != "all" or words.startswith("all convolutions"))
        model.train()
        assert not any(part.training for part in model.convolutions.modules()) and model.head.training


def test_killed_and_resumed_gives_the_same(body, voc, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "STEPS_A_ROUND", 4)
    monkeypatch.setattr("asterism.training.run.CHECKPOINT_SECONDS", 0.0)
    train, test = open_voc(voc, "trainval"), open_voc(voc, "test")
    settings = ClassificationTuning(n_steps=10, learn="all", lr=0.01)
    whole = classify(body, SHAPE, train, test, Run(Runtime("cpu"), 3), settings)

    class Killed(Exception):
        pass

    calls = []
    plain = tuning._jobs

    def killing(step, *rest):
        calls.append(step)
        if len(calls) == 8:
            raise Killed
        return plain(step, *rest)

    monkeypatch.setattr(tuning, "_jobs", killing)
    with pytest.raises(Killed):
        classify(body, SHAPE, train, test, Run(Runtime("cpu"), 3, tmp_path), settings)
    monkeypatch.setattr(tuning, "_jobs", plain)
    run = Run(Runtime("cpu"), 3, tmp_path)
    resumed = classify(body, SHAPE, train, test, run, settings)
    assert [entry["round"] for entry in run.history] == [0, 1, 2]
    assert resumed.mean_ap == pytest.approx(whole.mean_ap) and resumed.precisions == pytest.approx(whole.precisions)


def test_networks_of_every_kind_come_apart():
    draws = torch.Generator().manual_seed(0)
    jule = build_conv((1, 16, 16), draws)
    parts = parts_of(jule, (1, 16, 16))
    assert parts.fully_connected is None and parts.convolutions(torch.zeros(1, 1, 40, 24)).shape[2:] == (20, 12)
    assert jule.convolutions[0].padding == (0, 0)  # the encoder stays as it is
    autoencoder = FullyConvolutionalAutoEncoder((3, 32, 32)).encoder
    assert parts_of(autoencoder, SHAPE).convolutions(torch.zeros(1, 3, 64, 64)).shape[2:] == (16, 16)
    parts = parts_of(ConvNet("resnet18").drawn(SHAPE, draws), SHAPE)
    assert parts.n_filters == 512 and parts.grid == (4, 4) and parts.fully_connected is None
    deep = parts_of(ConvNet(width=0.1).drawn(SHAPE, draws), SHAPE)
    assert deep.fully_connected is not None and deep.grid == (3, 3) and deep.n_filters == 26
    with pytest.raises(InputError, match="a Pixels, has no convolutions"):
        parts_of(Pixels(False), SHAPE)
    words = classifier_of(Pixels(False), SHAPE, 3, ClassificationTuning(), draws)[1]
    assert words == "a new linear layer on the 3072 features"


def test_pieces_are_the_network(body):
    """Convolutions, pool, fc6 and fc7, put together again, are what was taken to pieces."""
    parts, images = parts_of(body, SHAPE), torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        maps = parts.pool(parts.convolutions(images)).flatten(1)
        found = parts.fully_connected[1](torch.relu(parts.fully_connected[0](maps)))
        torch.testing.assert_close(found, body.eval()(images))


@pytest.mark.parametrize("name", [name for name, (_, _, layers) in NETWORKS.items() if layers])
def test_pieces_of_every_network_are_the_network(name):
    make, shape, _ = NETWORKS[name]
    network = make().eval().requires_grad_(False)
    pieces = pieces_of(network, network.input_shape or shape)
    images, last = images_of(network.input_shape or shape), network.layer_names[-1]
    torch.testing.assert_close(pieces.convolutions(images), network.maps(images, [last])[last], atol=0, rtol=0)
    assert pieces.pool(pieces.convolutions(images)).shape == (2, pieces.n_filters, *pieces.grid)
    if pieces.fully_connected:
        fc6, fc7 = pieces.fully_connected
        flat = pieces.pool(pieces.convolutions(images)).flatten(1)
        torch.testing.assert_close(fc7(fc6(flat).relu()), network(images), atol=0, rtol=0)


def test_a_pretrained_network_is_shown_its_own_size_and_upright_maps():
    network = torchvision.models.squeezenet1_0(weights=None)
    turned = torch.nn.Sequential(
        PretrainedNetwork(without_classifier(network, 128), size=128, turned=True), torch.nn.Identity()
    )
    assert input_shape(turned, SHAPE) == (3, 128, 128)
    parts, image = parts_of(turned, SHAPE), torch.zeros(1, 3, 128, 128)
    image[..., :20, :20] = 1
    with torch.no_grad():
        moved = (parts.convolutions(image) - parts.convolutions(torch.zeros(1, 3, 128, 128))).abs().sum(1)[0]
    assert moved.shape == (7, 7) and moved[0, 0] > 3 * moved[-1, -1]


# ---------------------------------------------------------------- the command


def interrupt(*_):
    raise KeyboardInterrupt


def test_the_command(voc, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 32, 32, 3)).astype(np.uint8)
    model = DeepCluster(
        4, network=ConvNet(width=0.05), training=Training(n_epochs=1), run_dir=tmp_path / "run", random_state=0
    )
    model.fit(images)
    command = ["transfer", "voc-classify", str(tmp_path / "run"), str(voc), "--quiet", "--device", "cpu"]
    short = ["--set", "n_steps=4"]
    done = CliRunner().invoke(app, [*command, *short, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "run" / "voc-classify.json").read_text())
    assert set(found["precisions"]) == set(CLASSES) and 0 < found["mean_ap"] <= 1
    assert found["settings"]["n_steps"] == 4 and found["settings"]["lr"] == 0.003
    assert not list((tmp_path / "run" / "transfer").glob("voc*"))  # nothing is left to go on with
    assert "mean_ap" in CliRunner().invoke(app, [*command, *short, "--learn", "all"]).stdout
    monkeypatch.setattr(tuning, "_jobs", interrupt)
    stopped = CliRunner().invoke(app, [*command, *short])
    assert stopped.exit_code == 130 and "the same command goes on where it was" in stopped.output
    wrong = CliRunner().invoke(app, [*command, "--learn", "fc9"])
    assert wrong.exit_code == 1 and "learn='fc9'" in wrong.output
    missing = CliRunner().invoke(app, [*command[:3], str(tmp_path), "--quiet"])
    assert missing.exit_code == 1 and "holds no ImageSets/Main" in missing.output
