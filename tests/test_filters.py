"""Pictures of filters, and their command."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from typer.testing import CliRunner

from asterism import ConvNet, DeepCluster, ImageSource, KMeans, Training
from asterism.cli.app import app
from asterism.inspection.filters import first_layer, maximise_activation, strongest
from asterism.methods.deepcluster import Whitening
from asterism.networks.sobel import sobel
from asterism.runtime import Runtime
from asterism.training import Run


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stripes(n, seed=0):
    """Images of 16² with a stripe, upright (class 0) or lying (1), at any place, in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    pixels = rng.integers(0, 60, (n, 16, 16, 1))
    for image, label in zip(pixels, labels, strict=True):
        at = rng.integers(2, 13)
        part = image[:, at : at + 2] if label == 0 else image[at : at + 2]
        part += 150
    return ImageSource(torch.from_numpy(pixels.astype(np.uint8)), [str(i) for i in range(n)], labels)


@pytest.fixture(scope="module")
def body():
    return ConvNet(width=0.1, sobel=True).drawn_for(stripes(64), torch.Generator().manual_seed(0))


@pytest.fixture
def run():
    return Run(Runtime("cpu"), 0)


# ---------------------------------------------------------------- feature visualisation


def test_first_filters_are_those_of_front_and_layer_together(body):
    found, grey = first_layer(body), torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    weight = body.convolutions[0][0].weight.detach()
    expected = F.conv2d(sobel(grey)[:, :, 1:-1, 1:-1], weight)  # without the zeros of the border
    np.testing.assert_allclose(F.conv2d(grey, found), expected, atol=1e-4)
    colour = ConvNet(width=0.1, sobel=False).drawn((3, 16, 16), torch.Generator().manual_seed(0))
    assert torch.equal(first_layer(colour), colour.convolutions[0][0].weight)


def test_ascent_pleases_its_filter(body, run):
    body.eval()
    made = maximise_activation(body, "conv2", [3, 11], (1, 16, 16), run, n_steps=60)
    start = maximise_activation(body, "conv2", [3, 11], (1, 16, 16), run, n_steps=0)
    assert made.shape == (2, 1, 16, 16) and float(made.min()) >= 0 and float(made.max()) <= 1

    def share(images):
        return F.log_softmax(body.maps(images, ["conv2"])["conv2"].mean((2, 3)), 1)[[0, 1], [3, 11]]

    with torch.no_grad():
        assert (share(made) > share(start)).all()


def test_strongest_is_the_sorted_mean_response(body, run):
    images = stripes(90)
    found = strongest(body, "conv3", images, run, n=5)
    with torch.no_grad():
        means = body.eval().maps(images.batch(slice(0, 90)), ["conv3"])["conv3"].mean((2, 3))
    values = means.T.gather(1, found)
    np.testing.assert_allclose(values, means.T.sort(1, descending=True).values[:, :5], atol=1e-5)


# ---------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    images = stripes(120)
    np.savez(folder / "stripes.npz", images=images.pixels[..., 0].numpy(), labels=images.labels)
    DeepCluster(
        6, network=ConvNet(width=0.05), whitening=Whitening(8), training=Training(n_epochs=1), random_state=0,
        device="cpu", run_dir=folder / "run",
    ).fit(str(folder / "stripes.npz"))  # fmt: skip
    return folder


def invoke(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    return done.exit_code, done.output


def test_filters_command(fitted, tmp_path):
    code, text = invoke("filters", fitted / "run", "--out", tmp_path / "out", "--n", 2, "--steps", 3)
    assert code == 0, text
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"first-layer.png"} | {f"conv{i}-{what}.png" for i in (1, 3, 5) for what in ("ascent", "strongest")}
    assert Image.open(tmp_path / "out" / "conv3-strongest.png").size == (9 * 66, 2 * 66)  # 64 pixels and a gap
    KMeans(2, n_init=1, random_state=0, run_dir=tmp_path / "plain").fit(str(fitted / "stripes.npz"))
    code, text = invoke("filters", tmp_path / "plain")
    assert code == 1 and "no network of DeepCluster's" in text


@pytest.mark.parametrize("what", ["photo.png", "first-layer.png/mine", "conv1-ascent.png ->", "a file"])
def test_filters_leave_other_peoples_folders_alone(fitted, tmp_path, what):
    out = tmp_path / "mine"
    if what == "a file":
        out.write_text("mine")
    else:
        path = out / what.removesuffix(" ->")
        path.parent.mkdir(parents=True)
        path.symlink_to(tmp_path / "elsewhere") if what.endswith("->") else path.write_text("mine")
    code, text = invoke("filters", fitted / "run", "--out", out, "--n", 1, "--steps", 0)
    assert code == 1 and "choose" in text
    assert not (tmp_path / "elsewhere").exists() and len(list(tmp_path.rglob("*"))) <= 3


def test_the_page_shows_first_layer_filters(fitted):
    code, text = invoke("report", fitted / "run")
    assert code == 0, text
    assert "First-layer filters" in (fitted / "run" / "report.html").read_text()
