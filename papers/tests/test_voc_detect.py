"""Detection's score by hand, proposals from files, and Fast and Faster R-CNN on coloured shapes."""

import errno
import json

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision.models.detection.image_list import ImageList
from typer.testing import CliRunner

from asterism import ConvNet, DeepCluster, ImageSource, Training
from asterism.cli.app import app
from asterism.errors import InputError, MissingDataError, StorageError
from asterism.networks.jule_net import build_conv
from asterism.networks.pixels import Pixels
from asterism.runtime import Runtime
from asterism.training import Run
from asterism_papers.transfer import fine_tune as tuning
from asterism_papers.transfer.detect import DetectionTuning, detect, mirror, scene
from asterism_papers.transfer.detector import NearMisses, SeededSampler, detector_of
from asterism_papers.transfer.proposals import proposals_of, read_proposals
from asterism_papers.transfer.voc import open_voc
from asterism_papers.transfer.voc_scores import Detections, Truth, detection_precisions, overlaps
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
    return make_voc(tmp_path_factory.mktemp("voc"), 30, 16)


@pytest.fixture(scope="module")
def body():
    noise = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = ImageSource(noise, [""] * 64)
    return ConvNet(width=0.06, sobel=False).drawn_for(images, torch.Generator().manual_seed(0))


def near(voc, n_random=20, seed=0):
    """Proposals: every object's box moved a little, thrice, and boxes anywhere; VOC's way of counting."""
    rng, found = np.random.default_rng(seed), {}
    for split in ("trainval", "test"):
        images = open_voc(voc, split)
        for name, things in zip(images.ids, images.things, strict=True):
            boxes = np.array([thing.box for thing in things for _ in range(3)]) + rng.integers(
                -3, 4, (3 * len(things), 4)
            )
            corners = rng.integers(0, (60, 40), (n_random, 2))
            anywhere = np.concatenate([corners, corners + rng.integers(8, 20, (n_random, 2))], 1)
            found[name] = np.concatenate([boxes, anywhere]).astype(np.float32) + [1, 1, 0, 0]
    return found


# ---------------------------------------------------------------- the score


def test_overlaps_by_hand():
    # VOC's boxes (1, 1, 10, 10) and (6, 1, 15, 10), pixels counted in: 50 of 150 pixels
    found = overlaps(np.array([0.0, 0, 10, 10]), np.array([[5.0, 0, 15, 10], [0, 0, 10, 10], [20, 20, 30, 30]]))
    np.testing.assert_allclose(found, [1 / 3, 1, 0])


def test_detection_precision_by_hand():
    square = [0.0, 0, 10, 10]
    truth = [
        Truth(np.array([square, [20, 0, 30, 10]]), np.array([0, 0]), np.array([False, True])),
        Truth(np.array([square]), np.array([0]), np.array([False])),
        Truth(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool)),
    ]
    found = [
        # right; found again: wrong; on a difficult object: does not count; half of another: an overlap of 1/3, wrong
        Detections(np.array([square, square, [20, 0, 30, 10]]), np.array([0, 0, 0]), np.array([0.9, 0.8, 0.7])),
        Detections(np.array([[5.0, 0, 15, 10], [0, 0, 10, 9]]), np.array([0, 0]), np.array([0.6, 0.5])),
        Detections(np.array([square]), np.array([1]), np.array([1.0])),
    ]
    first, second = detection_precisions(found, truth, 2)
    # right, wrong, wrong, right; 2 to be found: precision 1 up to recall .5, then 2/4
    assert first == pytest.approx((6 * 1 + 5 * 0.5) / 11)
    assert np.isnan(second)  # nothing of the second class is there


def test_an_overlap_of_exactly_a_half_is_enough():
    truth = [Truth(np.array([[0.0, 0, 10, 10]]), np.array([0]), np.array([False]))]
    half = Detections(np.array([[0.0, 0, 10, 5]]), np.array([0]), np.array([1.0]))
    less = Detections(np.array([[0.0, 0, 10, 4.9]]), np.array([0]), np.array([1.0]))
    assert detection_precisions([half], truth, 1) == [1.0] and detection_precisions([less], truth, 1) == [0.0]


# ---------------------------------------------------------------- boxes


def test_proposals_from_files(tmp_path):
    rows = np.array([[1.0, 2, 10, 20], [3, 3, 3, 3]])
    names, boxes = np.empty((2, 1), object), np.empty((1, 2), object)
    names[:, 0], boxes[0, :] = ["a", "b"], [rows[:, [1, 0, 3, 2]], rows[:1, [1, 0, 3, 2]]]
    savemat(tmp_path / "x.mat", {"images": names, "boxes": boxes})
    np.savez(tmp_path / "x.npz", a=rows, b=rows[:1])
    lines = ["image,xmin,ymin,xmax,ymax", "a,1,2,10,20", "b,1,2,10,20", "a,3,3,3,3"]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    for kind in ("mat", "npz", "csv"):
        found = read_proposals([tmp_path / f"x.{kind}"])
        np.testing.assert_array_equal(found["a"], [[0, 1, 10, 20], [2, 2, 3, 3]])
        np.testing.assert_array_equal(found["b"], [[0, 1, 10, 20]])
    with pytest.raises(InputError, match="no proposals for image c"):
        proposals_of(found, ["a", "c"])


def test_bad_proposals_are_one_line(tmp_path):
    with pytest.raises(MissingDataError, match="does not exist"):
        read_proposals([tmp_path / "none.csv"])
    with pytest.raises(InputError, match=r"ending in \.mat, \.npz or \.csv"):
        read_proposals([tmp_path / "x.txt"])
    (tmp_path / "x.csv").write_text("a,1,2,3\n")
    with pytest.raises(InputError, match="line 1 has 4 fields"):
        read_proposals([tmp_path / "x.csv"])
    (tmp_path / "x.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(InputError, match=r"x.mat cannot be read as proposals"):
        read_proposals([tmp_path / "x.mat"])
    for box in ([5.0, 5, 1, 9], [5.0, np.nan, 8, 9]):
        np.savez(tmp_path / "x.npz", a=np.array([box]))
        with pytest.raises(InputError, match="the boxes of image a are no rows"):
            read_proposals([tmp_path / "x.npz"])


def test_the_machines_trouble_is_not_the_files(tmp_path, monkeypatch):
    np.savez(tmp_path / "boxes.npz", a=np.ones((1, 4)))

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("asterism_papers.transfer.proposals._from_npz", refuse)
    with pytest.raises(StorageError, match="boxes.npz.*allow reading it"):
        read_proposals([tmp_path / "boxes.npz"])


def test_a_scene_is_scaled_and_mirrored_whole(voc):
    images = open_voc(voc, "trainval")
    index = next(i for i, things in enumerate(images.things) if len(things) == 1 and not things[0].difficult)
    (thing,) = images.things[index]
    plain, mirrored = (
        scene(images, index, 3, 120, list(CLASSES), np.array([thing.box], np.float32), torch.Generator(), flip)
        for flip in (False, True)
    )
    assert plain.pixels.shape == (3, 120, 160) and plain.scale == 2
    np.testing.assert_allclose(plain.boxes[0], 2 * np.array(thing.box))
    np.testing.assert_allclose(plain.proposals, plain.boxes)
    assert torch.equal(mirrored.pixels, plain.pixels.flip(2))
    np.testing.assert_allclose(mirrored.boxes, mirrored.proposals)
    np.testing.assert_allclose(mirror(mirrored.boxes, 160), plain.boxes)
    left, top, right, bottom = plain.boxes[0].tolist()
    np.testing.assert_allclose(mirrored.boxes[0], [160 - right, top, 160 - left, bottom])
    inside = mirrored.pixels[:, :, int(160 - right) : int(160 - left)].float()
    assert inside.std() > mirrored.pixels[:, :, : max(1, int(160 - right) - 4)].float().std()  # the shape is in the box


def test_background_is_what_nearly_was_an_object():
    matcher = NearMisses(0.5, 0.5)
    found = matcher(torch.tensor([[0.6, 0.4, 0.1, 0.05, 0.0], [0.2, 0.1, 0.3, 0.0, 0.0]]))
    assert found.tolist() == [0, -1, -1, -2, -2]


def test_the_sampler_draws_a_quarter_of_objects():
    sampler = SeededSampler(8, 0.25)
    labels = torch.tensor([3, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1])
    sampler.generator = torch.Generator().manual_seed(0)
    (objects,), (background,) = sampler([labels])
    assert int(objects.sum()) == 2 and int(background.sum()) == 6
    assert (labels[objects.bool()] > 0).all() and (labels[background.bool()] == 0).all()


# ---------------------------------------------------------------- training


def test_training_finds_what_is_there(body, voc):
    train, test, boxes = open_voc(voc, "trainval"), open_voc(voc, "test"), near(voc)
    given = {name: rows - np.array([1, 1, 0, 0], np.float32) for name, rows in boxes.items()}
    settings = DetectionTuning(n_steps=120, lr=0.02, dropout=0.0)
    before = torch.get_rng_state()
    found = detect(body, SHAPE, train, test, Run(Runtime("cpu"), 0), settings, given)
    untrained = detect(body, SHAPE, train, test, Run(Runtime("cpu"), 0), DetectionTuning(n_steps=1, lr=1e-9), given)
    assert torch.equal(torch.get_rng_state(), before)  # nothing global is drawn from
    assert found.mean_ap > untrained.mean_ap + 0.3
    assert found.proposals == "given" and found.learnt == "the learnt fc6 and fc7, new outputs"


@pytest.mark.slow
def test_without_proposals_a_network_makes_them(body, voc):
    train, test = open_voc(voc, "trainval"), open_voc(voc, "test")
    settings = DetectionTuning(n_steps=300, lr=0.02, dropout=0.0, learn="all")
    found = detect(body, SHAPE, train, test, Run(Runtime("cpu"), 0), settings)
    assert "region proposal network" in found.proposals and found.learnt.startswith("all convolutions")
    assert found.mean_ap > 0.5


def test_anchors_lie_over_the_whole_image():
    """75 pixels and a stride of 2 give maps of 38, and 75 // 38 is 1."""
    draws, shape = torch.Generator().manual_seed(0), (1, 28, 28)
    model, _ = detector_of(build_conv(shape, draws), shape, 2, DetectionTuning(), 75, False, draws)
    images = torch.zeros(2, 1, 75, 100)
    with torch.no_grad():
        maps = model.convolutions(images)
    assert maps.shape[2:] == (38, 50)
    anchors = model.learnt[1].anchor_generator(ImageList(images, [(75, 100), (75, 90)]), [maps])
    assert [one.shape for one in anchors] == [(38 * 50 * 9, 4)] * 2
    centers = (anchors[0][:, :2] + anchors[0][:, 2:]) / 2
    np.testing.assert_array_equal(centers.amax(0), [98, 74])


def test_without_convolutions_there_are_no_boxes(voc):
    train, test = open_voc(voc, "trainval"), open_voc(voc, "test")
    with pytest.raises(InputError, match="has no convolutions"):
        detect(Pixels(False), SHAPE, train, test, Run(Runtime("cpu"), 0))


def test_killed_and_resumed_gives_the_same(body, voc, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "STEPS_A_ROUND", 3)
    monkeypatch.setattr("asterism.training.run.CHECKPOINT_SECONDS", 0.0)
    train, test = open_voc(voc, "trainval"), open_voc(voc, "test")
    settings = DetectionTuning(n_steps=7, lr=0.02)
    whole = detect(body, SHAPE, train, test, Run(Runtime("cpu"), 3), settings)
    plain = tuning._jobs

    def killing(step, *rest):
        if step == 5:
            raise KeyboardInterrupt
        return plain(step, *rest)

    monkeypatch.setattr(tuning, "_jobs", killing)
    with pytest.raises(KeyboardInterrupt):
        detect(body, SHAPE, train, test, Run(Runtime("cpu"), 3, tmp_path), settings)
    monkeypatch.setattr(tuning, "_jobs", plain)
    run = Run(Runtime("cpu"), 3, tmp_path)
    resumed = detect(body, SHAPE, train, test, run, settings)
    assert [entry["round"] for entry in run.history] == [0, 1, 2]
    assert resumed.precisions == pytest.approx(whole.precisions)


def test_the_command(voc, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype(np.uint8)
    network = ConvNet(width=0.05)
    DeepCluster(4, network=network, training=Training(n_epochs=1), run_dir=tmp_path / "run", random_state=0).fit(pixels)
    np.savez(tmp_path / "boxes.npz", **near(voc))
    command = ["transfer", "voc-detect", str(tmp_path / "run"), str(voc), "-q", "--device", "cpu", "--set", "n_steps=2"]
    done = CliRunner().invoke(app, [*command, "--json", "--proposals", str(tmp_path / "boxes.npz")])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "run" / "voc-detect.json").read_text())
    assert found["proposals"] == "given" and set(found["precisions"]) == set(CLASSES)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and "no --proposals" in done.stderr and "mean_ap" in done.stdout
