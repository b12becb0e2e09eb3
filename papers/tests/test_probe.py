"""Linear and nearest-neighbour probes, and their command."""

import json
import os

import numpy as np
import pytest
import torch

from asterism import ImageSource, KMeans
from asterism.errors import InputError
from asterism_papers.transfer.probe import LinearProbe, cut, knn_probe, layer_features, layers_of, linear_probe, pooled
from test_filters import body, fitted, invoke, one_thread, run, stripes  # noqa: F401  (fixtures)


def test_the_grids_of_the_paper():
    shapes = {"conv1": (96, 55), "conv2": (256, 27), "conv3": (384, 13), "conv4": (384, 13), "conv5": (256, 13)}
    found = [pooled(torch.zeros(1, n, side, side), layer).shape[1] for layer, (n, side) in shapes.items()]
    assert found == [9600, 9216, 9600, 9600, 9216]  # docs/papers/deepcluster.md
    ramp = torch.arange(27.0).expand(1, 1, 27, 27)
    np.testing.assert_allclose(pooled(ramp, "conv2")[0, :3], [1.5, 5.5, 9.5])  # kernel 4, stride 4
    assert pooled(torch.zeros(2, 8, 3, 3), "conv5").shape == (2, 72)  # never more than the map has


def test_a_linear_probe_learns_what_the_layers_hold(body, run):
    settings = LinearProbe(n_epochs=15, batch_size=32)
    found = linear_probe(body, stripes(300), stripes(150, 1), run, ["conv1", "conv3"], settings)
    assert [one.layer for one in found] == ["conv1", "conv3"]
    assert found[1].accuracy > 0.95 and found[1].n_features == 38 * 9  # round(.1 · 384) filters on 3²
    assert all(one.weight_decay in LinearProbe.CHOICES for one in found)
    again = linear_probe(body, stripes(300), stripes(150, 1), run, ["conv1", "conv3"], settings)
    assert found == again


def test_labels_that_mean_nothing_give_chance(body, run):
    train, test = stripes(300), stripes(300, 1)
    for one in (train, test):
        one.pixels = torch.randint(
            0, 256, (300, 16, 16, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(4)
        )
    (found,) = linear_probe(body, train, test, run, ["conv2"], LinearProbe(n_epochs=3))
    assert 0.3 < found.accuracy < 0.7


def test_ten_crops(body, run):
    settings = LinearProbe(n_epochs=6, batch_size=32, ten_crops=True, weight_decay=1e-4)
    (found,) = linear_probe(body, stripes(200), stripes(100, 1), run, ["conv3"], settings)
    assert found.accuracy > 0.85 and found.weight_decay == 1e-4
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    left, right, flipped = (
        cut(ramp, torch.tensor([[x, 0.0]]), torch.tensor([flip]))
        for x, flip in ((-1.0, False), (1.0, False), (-1.0, True))
    )
    assert float(left.min()) < 0.02 and float(left.max()) < 0.9 and float(right.max()) > 0.98
    np.testing.assert_allclose(flipped, left.flip(3), atol=1e-5)


def test_one_space_before_and_after_training_is_the_last_layer_averaged(body, run):
    images = stripes(40)
    (found,) = layer_features(body.eval(), images.batch(slice(0, 40)), ["pooled"])
    expected = body.maps(images.batch(slice(0, 40)), ["conv5"])["conv5"].mean((2, 3))
    np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-6)
    assert knn_probe(body, stripes(200), stripes(80, 1), run, layer="pooled") > 0.6


def test_an_mlp_reads_what_a_linear_classifier_cannot(run):
    from asterism.networks.pixels import Pixels

    def xor(n, seed):
        rows = np.random.default_rng(seed).choice([-1.0, 1.0], (n, 2))
        labels = (rows[:, 0] * rows[:, 1] > 0).astype(int)
        return ImageSource(torch.from_numpy(rows).float()[:, None, None], [""] * n, labels, is_table=True)

    train, test = xor(600, 0), xor(200, 1)
    settings = LinearProbe(n_epochs=20, batch_size=32, weight_decay=0.0)
    (linear,) = linear_probe(Pixels(False), train, test, run, ["features"], settings)
    settings.hidden = 16
    (mlp,) = linear_probe(Pixels(False), train, test, run, ["features"], settings)
    assert linear.accuracy < 0.8 < 0.95 < mlp.accuracy


def test_neighbours_vote(run):
    from asterism.networks.pixels import Pixels

    rng = np.random.default_rng(0)
    means = rng.normal(size=(3, 12))

    def near(n):
        labels = rng.integers(0, 3, n)
        rows = means[labels] + 0.2 * rng.normal(size=(n, 12))
        return ImageSource(torch.from_numpy(rows).float()[:, None, None], [""] * n, labels, is_table=True)

    assert knn_probe(Pixels(False), near(80), near(40), run, n_neighbors=7) > 0.95


def test_what_cannot_be_probed_is_one_line(body, run):
    assert layers_of(body) == ("conv1", "conv2", "conv3", "conv4", "conv5", "pooled", "features")
    with pytest.raises(InputError, match="no layer 'conv9'; there are conv1"):
        linear_probe(body, stripes(20), stripes(10), run, ["conv9"])
    unlabelled = stripes(20)
    unlabelled.labels = None
    with pytest.raises(InputError, match="training images have no classes"):
        linear_probe(body, unlabelled, stripes(10), run, ["conv1"])
    with pytest.raises(InputError, match="there are 1 and 10"):
        linear_probe(body, stripes(1), stripes(10), run, ["conv1"])
    with pytest.raises(InputError, match="there are 20 and 0"):
        linear_probe(body, stripes(20), stripes(1).subset([]), run, ["conv1"])


def test_of_few_images_too_one_chooses_the_weight_decay(body, run):
    """A tenth of fewer than ten was none, and the accuracy on it no number."""
    (found,) = linear_probe(body, stripes(4), stripes(6), run, ["features"], LinearProbe(n_epochs=1, ten_crops=True))
    assert 0 <= found.accuracy <= 1


# ---------------------------------------------------------------- the command


def test_probe_command(fitted):
    code, text = invoke("transfer", "probe", fitted / "run", fitted / "stripes.npz", "--set", "n_epochs=3", "--json")
    rows = json.loads(text)
    assert code == 0 and [row["layer"] for row in rows][:2] == ["conv1", "conv2"]
    assert rows[-1]["layer"].startswith("k-NN")
    written = json.loads((fitted / "run" / "probe.json").read_text())
    assert (written["n_train"], written["n_test"]) == (96, 24) and written["layers"] == rows
    code, text = invoke("transfer", "probe", fitted / "run", fitted / "stripes.npz", "--layers", "conv7")
    assert code == 1 and "no layer 'conv7'" in text


def test_a_run_of_another_method_is_probed_by_its_features(fitted, tmp_path):
    KMeans(2, n_init=1, random_state=0, run_dir=tmp_path / "run").fit(str(fitted / "stripes.npz"))
    code, text = invoke("transfer", "probe", tmp_path / "run", fitted / "stripes.npz", "--set", "n_epochs=2")
    assert code == 0 and "features" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_probe_of_a_run_that_cannot_be_written_to_is_told_at_once(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("asterism_papers.cli.probing.linear_probe", None)
    (fitted / "run").chmod(0o555)
    try:
        code, text = invoke("transfer", "probe", fitted / "run", fitted / "x.npz")
    finally:
        (fitted / "run").chmod(0o755)
    assert code == 1 and "no permission" in text


def test_classes_that_were_given_count_for_a_set_with_parts_too(monkeypatch):
    from asterism.images import open_images
    from asterism_papers.cli import probing

    source = open_images(np.zeros((10, 4, 4), np.uint8))
    monkeypatch.setattr(probing, "named_set", lambda name: True)
    monkeypatch.setattr(probing, "open_new_images", lambda fitted, images: source)
    monkeypatch.setattr(probing, "known_labels", lambda labels, images: (np.arange(10) % 2, ["a", "b"]))
    parts = probing._split(None, "data:mnist", "classes.csv", 0)
    assert [len(one) for one in parts] == [8, 2] and all(one.label_names == ["a", "b"] for one in parts)


def test_layers_of_a_collapsed_network_hold_the_commonest_class(run):
    train = stripes(60)
    train.labels[:] = np.arange(60) % 3 > 0  # class 1 is twice as common
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 4))
    for values in network.parameters():
        torch.nn.init.zeros_(values)
    (found,) = linear_probe(network, train, train, run, ["features"], LinearProbe(n_epochs=10, weight_decay=1e-4))
    assert found.accuracy == pytest.approx(2 / 3)
