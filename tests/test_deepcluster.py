"""DeepCluster and DeepCluster-v2: rounds, options, resuming, one process and two."""

import json
import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score

from asterism import ConvNet, Crops, DeepCluster, DeepClusterV2, Training, load
from asterism.methods import deepcluster as module
from asterism.methods.deepcluster import Whitening
from asterism.methods.deepcluster_settings import Assignment, ContrastiveStart, MultiCrop, Projection
from asterism.methods.deepcluster_v2 import Embedding, _rate, multi_head_loss
from asterism.training import run as run_module

TINY = ConvNet(width=0.05, sobel=False)
SHORT = Training(n_epochs=3, lr=0.05, batch_size=64, weight_decay=1e-5)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return (data.images[:240] / 16).astype(np.float32), data.target[:240]


def small(**params):
    settings = {"network": TINY, "training": SHORT, "whitening": Whitening(16), "random_state": 0, "device": "cpu"}
    return DeepCluster(12, **{**settings, **params})


def small_v2(**params):
    settings = {"network": TINY, "training": SHORT, "projection": Projection(16, 8), "random_state": 0, "device": "cpu"}
    crops = MultiCrop(large=Crops(0.5, flip=False), small=Crops(0.3, 0.5, flip=False), n_small=1)
    return DeepClusterV2(12, **{"crops": crops, **settings, **params})


# ---------------------------------------------------------------- what a round does


def test_a_round_records_what_the_doctor_needs(digits):
    model = small().fit(digits[0])
    first, _, last = model.history_
    assert "nmi_to_previous" not in first and 0 < last["nmi_to_previous"] <= 1
    assert last["loss_of_guessing"] == pytest.approx(math.log(12)) and last["empty_clusters"] == 0
    sizes = np.bincount(model.labels_, minlength=12)
    assert sizes.min() > 0 and sizes.sum() == 240
    assert model.transform(digits[0]).shape == (240, 16)
    np.testing.assert_allclose(np.linalg.norm(model.transform(digits[0]), axis=1), 1, rtol=1e-4)


def test_the_last_labels_are_k_means_of_the_last_features(digits):
    model = small().fit(digits[0])
    vectors = model.transform(digits[0])
    squared = ((vectors[:, None] - model.cluster_centers_[None]) ** 2).sum(2)
    assert (squared.argmin(1) == model.labels_).mean() > 0.99
    # Lloyd's last step: each center is near the mean of its members
    means = np.stack([vectors[model.labels_ == j].mean(0) for j in range(12)])
    assert np.abs(means - model.cluster_centers_).max() < 0.2


@pytest.mark.slow
def test_learning_ties_the_clusters_to_the_classes(digits):
    """The network's clusters agree more with the digits than those of the random network it began as (Fig. 2a)."""
    data = load_digits()
    X, y = (data.images / 16).astype(np.float32), data.target
    network = ConvNet(width=0.08, sobel=False, dropout=0.2)
    crops = Crops(0.5, flip=False)

    def agreement(n_epochs):
        training = Training(n_epochs=n_epochs, lr=0.1, batch_size=64, weight_decay=1e-5)
        model = small(network=network, training=training, augmentation=crops).set_params(n_clusters=30).fit(X)
        return normalized_mutual_info_score(y, model.labels_)

    assert agreement(12) > agreement(0) + 0.05


@pytest.mark.parametrize(("every", "rounds", "draws"), [(1.0, 3, 240), (0.5, 6, 120), (2.0, 2, 480)])
def test_reassignment_cuts_the_epochs_into_rounds(digits, monkeypatch, every, rounds, draws):
    seen = []
    original = module.train_on_pseudo_labels

    def watched(*arguments, **options):
        seen.append(options["n_draws"])
        return original(*arguments, **options)

    monkeypatch.setattr(module, "train_on_pseudo_labels", watched)
    model = small(reassign_every=every).fit(digits[0])
    assert len(model.history_) == rounds and seen == [draws] * rounds


@pytest.mark.parametrize(
    ("n", "n_epochs", "epochs"),
    [
        (50_000, 500, 500 / 195),  # 97 656 steps of 256: 195 rounds
        (1_281_167, 500, 1.0),  # ImageNet, 5000 steps an epoch
        (2_000, 100, 100 / 6),  # 32 steps an epoch
        (2_000, 20, 5.0),  # a quarter
        (240, 3, 1.0),
        (240, 0, 1.0),
    ],
)
def test_a_round_has_steps_enough_to_learn_its_classifier(n, n_epochs, epochs):
    assert DeepCluster()._epochs_a_round(Training(n_epochs=n_epochs, batch_size=256), n) == pytest.approx(epochs)
    assert DeepCluster(reassign_every=0.3)._epochs_a_round(Training(n_epochs=n_epochs), n) == 0.3


@pytest.mark.parametrize(
    "options",
    [
        {"clustering": "pic"},
        {"sampler": "legacy", "head_momentum": 0.0},
        {"whitening": Whitening(None, whiten=False, normalise=False)},
        {"network": ConvNet("vgg16", width=0.03)},
        {"training": Training(n_epochs=2, optimizer="adam", lr=1e-3)},
    ],
    ids=["pic", "released", "plain features", "vgg", "adam"],
)
def test_options_fit_and_load(digits, tmp_path, options):
    model = small(**options, run_dir=tmp_path / "run").fit(digits[0])
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.labels_, model.labels_)
    np.testing.assert_allclose(again.transform(digits[0]), model.transform(digits[0]), atol=1e-6)
    assert again.encoder_.body.layer_names[0] == "conv1"


def test_a_collapse_warns_and_the_fit_goes_on(digits, monkeypatch):
    from asterism.training.collapse import CollapseWarning

    monkeypatch.setattr("asterism.training.collapse.FEW_CLUSTERS", 2.0)  # every clustering looks collapsed
    with pytest.warns(CollapseWarning, match="clusters in effect of 12"):
        model = small().fit(digits[0])
    assert sum("warning" in entry for entry in model.history_) == 1


# ---------------------------------------------------------------- killed and resumed


@pytest.mark.parametrize("make", [small, small_v2])
def test_resumes_as_if_it_had_not_been_killed(digits, tmp_path, monkeypatch, make):
    X = digits[0]
    whole = make().fit(X)
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
    killed = make(run_dir=tmp_path / "run")

    def kill(labels, calls=[]):  # noqa: B006  (counts)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {}

    killed.on_round = kill
    with pytest.raises(KeyboardInterrupt):
        killed.fit(X)
    resumed = make(run_dir=tmp_path / "run").fit(X)
    np.testing.assert_array_equal(resumed.labels_, whole.labels_)
    assert [entry.get("loss") for entry in resumed.history_] == [entry.get("loss") for entry in whole.history_]


# ---------------------------------------------------------------- DeepCluster-v2


def test_the_loss_of_several_heads_by_hand():
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])  # two crops of two images
    centroids = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, -1.0]]])
    labels = torch.tensor([[0, 1], [0, 0]])
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))  # τ = 0.5: logits 2 and 0
    first = (3 * right + wrong) / 4
    even = math.log(2)  # logits (0, 0) for [1, 0]; (2, −2) for [0, 1]
    second = (3 * even + math.log(1 + math.exp(-4))) / 4
    assert float(multi_head_loss(vectors, centroids, labels, 0.5)) == pytest.approx((first + second) / 2)


def test_v2_learns_from_its_own_clusters(digits):
    model = small_v2(training=Training(n_epochs=6, lr=0.05, batch_size=64)).fit(digits[0])
    losses = [entry["loss"] for entry in model.history_]
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(np.linalg.norm(model.transform(digits[0]), axis=1), 1, rtol=1e-5)


def test_the_rate_rises_and_falls():
    training = Training(n_epochs=400, lr=1.0, schedule="cosine")
    rates = [_rate(training, t) for t in range(400)]
    assert rates[0] == pytest.approx(0.1) and max(rates) > 0.99 and rates[-1] < 0.01
    assert int(np.argmax(rates)) in (9, 10)


@pytest.mark.parametrize("memory", ["pass", "crops"])
def test_what_is_clustered_comes_from_a_pass_or_from_the_last_crops(digits, memory):
    model = small_v2(training=Training(n_epochs=2, lr=0.05, batch_size=64), assignment=Assignment(memory=memory), n_heads=2)
    seen = []
    original = model._cluster
    model._cluster = lambda vectors, *rest: (seen.append(vectors.clone()), original(vectors, *rest))[1]
    model.fit(digits[0])
    first, second, later, other, _ = seen  # two heads of the first and of the second round, the last clustering
    assert torch.equal(first, second) and not torch.equal(first, later)
    assert torch.equal(later, other) is (memory == "pass")  # the two crops of an image are not the same
    np.testing.assert_allclose(later.norm(dim=1), 1, rtol=1e-5)


def test_embedding_shows_positive_features_to_its_mlp():
    from asterism.networks.initialise import build

    body = ConvNet(n_features=6).drawn((4, 1, 1), torch.Generator().manual_seed(0))
    model = build(lambda: Embedding(ConvNet(n_features=6).construct((4, 1, 1)), 5, 3), torch.Generator().manual_seed(0))
    model.body = body
    images = torch.ones(2, 4, 1, 1)
    expected = F.normalize(model.eval().projection[1:](F.relu(body.eval()(images))))
    np.testing.assert_allclose(model(images).detach(), expected.detach(), atol=1e-6)


# ---------------------------------------------------------------- two processes

SCRIPT = """
import json, os, sys
import numpy as np, torch
torch.set_num_threads(1)
from sklearn.datasets import load_digits
from asterism import ConvNet, DeepCluster, Training
from asterism.methods.deepcluster import Whitening
from asterism.training import run as run_module
run_module.CHECKPOINT_SECONDS = 0.0
X = (load_digits().images[:241] / 16).astype(np.float32)
out, n_epochs, die = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "die"
model = DeepCluster(
    12, network=ConvNet(width=0.05, sobel=False), whitening=Whitening(16), random_state=0, device="cpu",
    training=Training(n_epochs=n_epochs, lr=0.05, batch_size=64), run_dir=out + "/run",
)
if die:
    calls = []
    def kill(labels):
        calls.append(1)
        if len(calls) == 3 and os.environ["RANK"] == "1":
            os._exit(9)  # one of two, in the middle of the third round
        return {}
    model.on_round = kill
model.fit(X)
if os.environ.get("RANK", "0") == "0":
    np.savez(out + "/found.npz", labels=model.labels_, centers=model.cluster_centers_)
"""


def launch(tmp_path, name, processes, n_epochs, mode="live"):
    script = tmp_path / "fit.py"
    script.write_text(SCRIPT)
    out = tmp_path / name
    out.mkdir(exist_ok=True)
    single = [sys.executable, str(script)]
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = (single if processes == 1 else [*several, str(script)]) + [str(out), str(n_epochs), mode]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    return done, out


@pytest.mark.slow
def test_two_processes_find_the_clusters_of_one(tmp_path):
    """Without an epoch between, both cluster the same network's features."""
    for name, processes in (("one", 1), ("two", 2)):
        done, _ = launch(tmp_path, name, processes, 0)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (np.load(tmp_path / name / "found.npz") for name in ("one", "two"))
    np.testing.assert_allclose(two["centers"], one["centers"], atol=1e-4)
    assert (one["labels"] == two["labels"]).mean() > 0.995  # ties


@pytest.mark.slow
def test_the_model_of_two_processes_is_the_one_that_made_the_labels(tmp_path):
    """Each takes batch norm's statistics of its own share; one network's are saved, and must have been everybody's."""
    done, out = launch(tmp_path, "trained", 2, 2)
    assert done.returncode == 0, done.stderr[-2000:]
    X = (load_digits().images[:241] / 16).astype(np.float32)
    assert np.array_equal(load(out / "run").predict(X), np.load(out / "found.npz")["labels"])


@pytest.mark.slow
def test_killed_with_two_processes_it_goes_on_with_one(tmp_path):
    done, out = launch(tmp_path, "killed", 2, 4, "die")
    assert done.returncode != 0 and not (out / "found.npz").exists()
    content = json.loads((out / "run" / "run.json").read_text())
    assert content["status"] == "running" and (out / "run" / "checkpoint" / "deepcluster.safetensors").is_file()
    done, out = launch(tmp_path, "killed", 1, 4)
    assert done.returncode == 0, done.stderr[-2000:]
    history = [json.loads(line) for line in (out / "run" / "history.jsonl").read_text().splitlines()]
    assert [entry["round"] for entry in history] == [0, 1, 2, 3]
    assert len(np.load(out / "found.npz")["labels"]) == 241


def test_nothing_warns_in_a_plain_fit(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(digits[0])
