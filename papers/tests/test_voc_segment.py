"""Mean intersection over union by hand, and a fully convolutional network on coloured shapes."""

import errno
import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from asterism import ConvNet, DeepCluster, ImageSource, Training
from asterism.cli.app import app
from asterism.errors import InputError, MissingDataError, StorageError
from asterism.runtime import Runtime
from asterism.training import Run
from asterism_papers.transfer import fine_tune as tuning
from asterism_papers.transfer.segment import SegmentationTuning, count_classes, pixel_loss, segment, segmenter_of, shown
from asterism_papers.transfer.voc import open_voc
from asterism_papers.transfer.voc_scores import Confusion
from voc_like import make_voc

SHAPE = (3, 32, 32)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    return make_voc(tmp_path_factory.mktemp("voc"), 30, 12, year=2012)


@pytest.fixture(scope="module")
def body():
    noise = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = ImageSource(noise, [""] * 64)
    return ConvNet(width=0.06, sobel=False).drawn_for(images, torch.Generator().manual_seed(0))


def parts(voc):
    return open_voc(voc, "train", 2012, "Segmentation"), open_voc(voc, "val", 2012, "Segmentation")


def test_intersection_over_union_by_hand():
    counts = Confusion(4)
    counts.add(np.array([[0, 0, 1], [1, 2, 255]]), np.array([[0, 1, 1], [1, 0, 3]]))
    counts.add(np.array([[2]]), np.array([[2]]))
    # background: 1 right of {2 there, 2 said}; class 1: 2 of 3; class 2: 1 of 2; class 3: only said of a void pixel
    np.testing.assert_allclose(counts.overlaps()[:3], [1 / 3, 2 / 3, 1 / 2])
    assert np.isnan(counts.overlaps()[3]) and counts.accuracy == pytest.approx(4 / 6)


def test_void_pixels_cost_nothing():
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 1, 0, 0] = 2.0
    masks = torch.tensor([[[1, 0, 255]]])
    assert float(pixel_loss(logits, masks)) == pytest.approx((np.log1p(np.exp(-2)) + np.log(2)) / 2, rel=1e-5)
    assert float(pixel_loss(logits, torch.full_like(masks, 255))) == 0


def test_fc6_and_fc7_as_convolutions_are_the_network(body):
    model, words = segmenter_of(body, SHAPE, 4, SegmentationTuning(), torch.Generator())
    images, layers = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(5)), list(model.eval().head)
    with torch.no_grad():
        maps = torch.relu(layers[1](layers[0](model.convolutions(images))))  # the pool, then fc6 on 3x3 maps
        found = layers[4](maps)[:, :, 1, 1]  # in the middle no padding is seen
        torch.testing.assert_close(found, body.eval()(images), rtol=1e-4, atol=1e-4)
        assert model(images, (50, 40)).shape == (2, 4, 50, 40)
    assert words == "the learnt fc6 and fc7, new outputs"


def test_an_even_kernel_puts_its_outputs_on_corners():
    body = ConvNet(width=0.05, sobel=False).drawn((3, 64, 64), torch.Generator().manual_seed(0))
    model, _ = segmenter_of(body, (3, 64, 64), 2, SegmentationTuning(), torch.Generator())
    even = {side: segmenter_of(ConvNet(width=0.05).drawn((3, side, side), torch.Generator().manual_seed(0)),
                               (3, side, side), 2, SegmentationTuning(), torch.Generator())[0]
            for side in (32, 224)}  # fmt: skip
    assert even[224].corners and not even[32].corners  # 6x6 and 3x3
    assert model.corners == (model.head[1].kernel_size[0] % 2 == 0)


def test_training_beats_the_background(body, voc):
    train, test = parts(voc)
    assert count_classes(train) == 4
    settings = SegmentationTuning(n_steps=150, lr=0.02, dropout=0.0, scale=1.0, learn="all")
    found = segment(body, SHAPE, train, test, Run(Runtime("cpu"), 0), settings)
    untrained = segment(body, SHAPE, train, test, Run(Runtime("cpu"), 0), SegmentationTuning(n_steps=1, lr=1e-9))
    assert untrained.mean_iou < 0.3 and found.mean_iou > untrained.mean_iou + 0.1
    assert list(found.overlaps) == ["background", "class 1", "class 2", "class 3"]


def test_other_networks_get_a_head(voc):
    body = ConvNet("resnet18", sobel=False).drawn(SHAPE, torch.Generator().manual_seed(0))
    model, words = segmenter_of(body, SHAPE, 4, SegmentationTuning(learn="all"), torch.Generator().manual_seed(0))
    assert words == "all convolutions and a new 3x3 convolution and new outputs"
    assert model.train()(torch.zeros(1, 3, 40, 56), (40, 56)).shape == (1, 4, 40, 56)


def test_killed_and_resumed_gives_the_same(body, voc, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "STEPS_A_ROUND", 3)
    monkeypatch.setattr("asterism.training.run.CHECKPOINT_SECONDS", 0.0)
    settings = SegmentationTuning(n_steps=7, lr=0.02, learn="all")
    whole = segment(body, SHAPE, *parts(voc), Run(Runtime("cpu"), 3), settings)
    plain = tuning._jobs

    def killing(step, *rest):
        if step == 5:
            raise KeyboardInterrupt
        return plain(step, *rest)

    monkeypatch.setattr(tuning, "_jobs", killing)
    with pytest.raises(KeyboardInterrupt):
        segment(body, SHAPE, *parts(voc), Run(Runtime("cpu"), 3, tmp_path), settings)
    monkeypatch.setattr(tuning, "_jobs", plain)
    resumed = segment(body, SHAPE, *parts(voc), Run(Runtime("cpu"), 3, tmp_path), settings)
    assert resumed.overlaps == pytest.approx(whole.overlaps)


def test_bad_masks_are_one_line(tmp_path):
    with pytest.raises(MissingDataError, match=r"expected the layout VOCdevkit/VOC2012/\{JPEGImages,SegmentationClass"):
        open_voc(tmp_path, "val", 2012, "Segmentation")
    voc = make_voc(tmp_path, 2, 2, year=2012)
    train, test = parts(voc)
    Image.new("RGB", (80, 60)).save(train.mask_path(0))
    with pytest.raises(InputError, match=r"000000.png has pixels of mode RGB; expected a palette PNG"):
        count_classes(train)
    Image.new("L", (8, 6)).save(test.mask_path(0))
    with pytest.raises(InputError, match=r"000002.png has \(6, 8\) pixels, its image \(60, 80\)"):
        shown(test, 0, SHAPE, 1.0)
    Image.new("L", (80, 60)).save(train.mask_path(0))
    Image.new("L", (80, 60), 255).save(train.mask_path(1))
    with pytest.raises(InputError, match="shows an object"):
        count_classes(train)
    train.mask_path(1).unlink()
    with pytest.raises(MissingDataError, match=r"000001.png does not exist, of those that .*train.txt names"):
        parts(voc)


def test_masks_are_png_alone_and_the_machines_trouble_is_not_theirs(voc, monkeypatch):
    train, _ = parts(voc)
    path = train.mask_path(0)
    kept = path.read_bytes()
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 80 60\n%%EndComments\n")  # Pillow would run gs
    with pytest.raises(InputError, match="000000.png cannot be read as a PNG of class numbers: cannot identify"):
        train.mask(0)
    path.write_bytes(kept)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="000000.png cannot be read as a PNG of class numbers: .*exceeds limit"):
        train.mask(0)
    monkeypatch.undo()

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(StorageError, match="000000.png.*allow reading it"):
        train.mask(0)


def test_the_weight_decay_is_for_a_mean_over_the_pixels():
    """FCN's 5e-4 stands beside a sum over them."""
    assert SegmentationTuning().recipe.weight_decay * 190_000 == pytest.approx(5e-4)


def test_the_command(voc, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype(np.uint8)
    network = ConvNet(width=0.05)
    DeepCluster(4, network=network, training=Training(n_epochs=1), run_dir=tmp_path / "run", random_state=0).fit(pixels)
    command = [
        "transfer",
        "voc-segment",
        str(tmp_path / "run"),
        str(voc),
        "-q",
        "--device",
        "cpu",
        "--set",
        "n_steps=2",
    ]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "run" / "voc-segment.json").read_text())
    assert 0 < found["mean_iou"] < 1 and found["settings"]["batch_size"] == 1
    assert "mean_iou" in CliRunner().invoke(app, command).stdout
