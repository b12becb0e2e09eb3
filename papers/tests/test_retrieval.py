"""R-MAC's regions and the benchmarks' scores by hand; the search on made objects and on UKBench's photos."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from asterism import JULE, ConvNet, DeepCluster, FCAEKMeans, KMeans, Training
from asterism.cli.app import app
from asterism.errors import InputError
from asterism.images import ImageSource, open_images
from asterism.runtime import Runtime
from asterism.training import Run
from asterism_papers.transfer.backbone import searchable
from asterism_papers.transfer.retrieval import (
    average_precision,
    fit_whitening,
    region_vectors,
    regions,
    retrieval,
    rmac,
)


def test_regions_of_a_square_by_hand():
    assert regions(12, 12, 1) == [(0, 0, 12)]
    assert regions(12, 12, 2)[1:] == [(0, 0, 8), (0, 4, 8), (4, 0, 8), (4, 4, 8)]
    assert len(regions(12, 12, 3)) == 1 + 4 + 9 and {side for _, _, side in regions(12, 12)} == {12, 8, 6}


def test_regions_of_a_long_map_overlap_by_forty_percent():
    found = [(left, side) for _, left, side in regions(10, 16, 1)]
    assert found == [(0, 10), (6, 10)]  # two regions overlap by .4 of their side
    assert [(top, side) for top, _, side in regions(16, 10, 1)] == found
    for top, left, side in regions(9, 31):
        assert top >= 0 and left >= 0 and top + side <= 9 and left + side <= 31


def test_region_vectors_are_maxima_of_length_one():
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 0, 0, 0], maps[0, 1, 3, 3] = 3.0, 4.0
    vectors = region_vectors(maps)[0]
    np.testing.assert_allclose(vectors[0], [0.6, 0.8])  # the whole map
    np.testing.assert_allclose(vectors[1], [1.0, 0.0])  # top left
    np.testing.assert_allclose(vectors[4], [0.0, 1.0])  # bottom right


def test_average_precision_by_hand():
    assert average_precision(np.array([True, True, False])) == 1
    # found at ranks 2 and 4: precision before and after 0 and 1/2, then 1/3 and 2/4; recall rises by 1/2 each
    assert average_precision(np.array([False, True, False, True])) == pytest.approx(
        ((0 + 1 / 2) / 2 + (1 / 3 + 1 / 2) / 2) / 2
    )
    assert average_precision(np.array([True]), n_relevant=2) == pytest.approx(0.5)
    assert average_precision(np.zeros(3, bool)) == 0


def test_scores_of_a_search_by_hand():
    points = torch.tensor([[0.0], [0.1], [0.2], [0.35], [5.0], [5.1], [5.2], [5.35]])
    perfect = retrieval(points, np.repeat([0, 1], 4))
    assert (perfect.mean_average_precision, perfect.n_s) == (1.0, 4.0)
    wrong = retrieval(points, np.array([0, 1, 0, 1, 0, 1, 0, 1]))
    assert wrong.n_s < 3 and wrong.mean_average_precision < 0.7
    with pytest.raises(InputError, match="no object has two images"):
        retrieval(points, np.arange(8))


def objects(n_objects=12, side=24, seed=0):
    """Four photos of each of some textures: shifted, brighter or darker, with noise."""
    rng = np.random.default_rng(seed)
    pixels = []
    for _ in range(n_objects):
        texture = rng.integers(30, 220, (side // 4, side // 4, 3)).repeat(4, 0).repeat(4, 1)
        for _ in range(4):
            one = np.roll(texture, rng.integers(0, 4, 2), (0, 1)) * rng.uniform(0.8, 1.1)
            pixels.append(np.clip(one + rng.normal(0, 8, one.shape), 0, 255))
    labels = np.repeat(np.arange(n_objects), 4)
    return ImageSource(torch.from_numpy(np.stack(pixels).astype(np.uint8)), [""] * len(labels), labels)


def test_a_network_finds_objects_again():
    run, images, others = Run(Runtime("cpu"), 0), objects(), objects(seed=9)
    body = ConvNet(width=0.15, sobel=False).drawn_for(others, torch.Generator().manual_seed(0))
    whitening = fit_whitening(body, "conv2", others, run)
    found = rmac(body, "conv2", images, whitening, run)
    np.testing.assert_allclose(found.norm(dim=1), 1, rtol=1e-4)
    scores = retrieval(found, images.labels)
    assert scores.n_s > 3 and scores.mean_average_precision > 0.75  # by chance 1.2 and about .15


@pytest.mark.parametrize("method", [JULE(12), FCAEKMeans(12)])
def test_networks_of_other_methods_find_objects_by_their_last_maps(method):
    run, images, others = Run(Runtime("cpu"), 0), objects(), objects(seed=9)
    body = searchable(method._encoder_for((3, 28, 28)))
    last = body.layer_names[-1]
    found = rmac(body, last, images, fit_whitening(body, last, others, run), run)
    assert retrieval(found, images.labels).n_s > 2  # by chance 1.2


def test_networks_without_convolutions_cannot_search():
    with pytest.raises(InputError, match="no convolutions"):
        searchable(KMeans(2)._encoder_for((1, 28, 28)))


def test_retrieval_command(tmp_path):
    images = objects(4)
    np.savez(tmp_path / "objects.npz", images=images.pixels.numpy(), labels=images.labels)
    DeepCluster(
        4, network=ConvNet(width=0.05), training=Training(n_epochs=0), random_state=0, device="cpu",
        run_dir=tmp_path / "run",
    ).fit(str(tmp_path / "objects.npz"))  # fmt: skip

    def invoke(*more):
        arguments = ["transfer", "retrieval", tmp_path / "run", tmp_path / "objects.npz", "--size", "32", *more]
        done = CliRunner().invoke(app, [str(one) for one in arguments])
        return done.exit_code, done.output

    code, text = invoke("--json")
    assert code == 0, text
    found = json.loads(text)
    assert found["layer"] == "conv5" and 1 <= found["n_s"] <= 4
    assert json.loads((tmp_path / "run" / "retrieval.json").read_text()) == found
    code, text = invoke("--layer", "conv8")
    assert code == 1 and "there are conv1" in text
    code, text = invoke("--size", "3x200")
    assert code == 1 and "3x200 pixels are too few for the network's conv5" in text
    for kind in ("cup", "key"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (40, 40), (90 * i, 40, 200)).save(tmp_path / "photos" / kind / f"{i}.png")
    (tmp_path / "photos" / "cup" / "2.jpg").write_bytes(b"\xff\xd8\xff damaged")
    command = ["transfer", "retrieval", str(tmp_path / "run"), str(tmp_path / "photos"), "--labels", "folders"]
    done = CliRunner().invoke(app, [*command, "--size", "32", "-q"])
    assert done.exit_code == 0 and "skipped 1 file" in done.output


def test_a_run_on_many_channels_is_shown_no_photographs(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 5)).astype(np.uint8)
    network, training = ConvNet(width=0.05, sobel=False), Training(n_epochs=0)
    model = DeepCluster(4, network=network, training=training, random_state=0, device="cpu", run_dir=tmp_path / "run")
    model.fit(open_images(pixels, layout="NHWC"))
    np.save(tmp_path / "photos.npy", pixels[..., :3])
    command = ["transfer", "retrieval", str(tmp_path / "run"), str(tmp_path / "photos.npy"), "-q"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1 and "the run's images have 5 channels; photos have 1 or 3" in done.output
