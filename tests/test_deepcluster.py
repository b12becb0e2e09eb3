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
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from sklearn.mixture import GaussianMixture

from asterism import ConvNet, Crops, DeepCluster, DeepClusterV2, GraphDegreeLinkage, Training, load
from asterism.errors import InputError
from asterism.images import open_images
from asterism.methods import deepcluster as module
from asterism.methods.deepcluster import Whitening
from asterism.methods.deepcluster_settings import (
    Assignment,
    ContrastiveStart,
    MultiCrop,
    Projection,
    epochs_for,
    processor_defaults,
)
from asterism.methods.deepcluster_v2 import Embedding, _rate, multi_head_loss
from asterism.methods.swav import Queue, contrastive_loss, crop_groups, sinkhorn, swapped_loss
from asterism.runtime import Runtime
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
        {"clusterer": "pic"},
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
    model = small_v2(
        training=Training(n_epochs=2, lr=0.05, batch_size=64), assignment=Assignment(memory=memory), n_heads=2
    )
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
from asterism.runtime import Runtime
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
    assert content["status"] in ("running", "failed")  # the other one may see its peer go before it is ended too
    assert (out / "run" / "checkpoint" / "deepcluster.safetensors").is_file()
    done, out = launch(tmp_path, "killed", 1, 4)
    assert done.returncode == 0, done.stderr[-2000:]
    history = [json.loads(line) for line in (out / "run" / "history.jsonl").read_text().splitlines()]
    assert [entry["round"] for entry in history] == [0, 1, 2, 3]
    assert len(np.load(out / "found.npz")["labels"]) == 241


def test_nothing_warns_in_a_plain_fit(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(digits[0])


# ---------------------------------------------------------------- SwAV and SimCLR


def test_sinkhorn_spreads_rows_evenly_as_a_plain_loop_does():
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-1, 1, (24, 6))
    expected = np.exp(cosines / 0.05)
    for _ in range(50):
        for j in range(6):
            expected[:, j] /= expected[:, j].sum()
        for i in range(24):
            expected[i] /= expected[i].sum()
    found = sinkhorn(torch.from_numpy(cosines), 0.05, 50).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(found.sum(0), 24 / 6, rtol=1e-2)
    one_sided = torch.tensor([[1.0, -1.0]]).repeat(8, 1)  # all prefer the first group: half must go to the second
    np.testing.assert_allclose(sinkhorn(one_sided, 0.005, 3).sum(0), 4, rtol=1e-5)


def test_the_contrastive_loss_by_a_loop():
    vectors = F.normalize(torch.randn(10, 4, generator=torch.Generator().manual_seed(0)))
    total = 0.0
    for i in range(10):
        others = [math.exp(float(vectors[i] @ vectors[j]) / 0.3) for j in range(10) if j != i]
        partner = math.exp(float(vectors[i] @ vectors[(i + 5) % 10]) / 0.3)
        total -= math.log(partner / sum(others)) / 10
    assert float(contrastive_loss(vectors, 0.3)) == pytest.approx(total, rel=1e-5)
    alike = torch.tensor([[1.0, 0.0]]).repeat(6, 1)
    assert float(contrastive_loss(alike, 0.3)) == pytest.approx(math.log(5))


def test_the_swapped_loss_by_a_loop():
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(3, 2, 2, 4, generator=generator) * 2 - 1  # two large crops and a small one
    groups = torch.rand(2, 2, 2, 4, generator=generator).softmax(3)
    parts = []
    for v in range(2):
        for u in range(3):
            if u != v:
                logs = torch.log(torch.exp(cosines[u] / 0.1) / torch.exp(cosines[u] / 0.1).sum(2, keepdim=True))
                parts += [-float((groups[v, i, h] * logs[i, h]).sum()) for i in range(2) for h in range(2)]
    assert float(swapped_loss(cosines, groups, 0.1)) == pytest.approx(np.mean(parts), rel=1e-4)


def test_a_queue_counts_when_it_is_full_and_holds_the_newest():
    queue = Queue(3, 1, torch.device("cpu"))
    queue.push(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]))
    assert queue.full.shape == (2, 0, 1)
    queue.push(torch.tensor([[[5.0], [6.0]], [[7.0], [8.0]]]))
    assert queue.full[..., 0].tolist() == [[5, 6, 1], [7, 8, 3]]
    prototypes = torch.eye(2)[None]
    cosines = torch.einsum("cbd,hkd->cbhk", torch.eye(2).expand(2, 2, 2), prototypes)
    queued = cosines[:, :1].expand(2, 4, 1, 2)  # four more that are like the first
    alone = crop_groups(cosines, cosines[:, :0], Assignment(epsilon=0.5))
    together = crop_groups(cosines, queued, Assignment(epsilon=0.5))
    assert together[0, 0, 0, 0] < alone[0, 0, 0, 0]  # its group is full


@pytest.mark.parametrize(
    "options",
    [
        {"assignment": Assignment("sinkhorn", queue=100)},
        {"contrastive_start": ContrastiveStart(2, lr=0.1)},
        {"network": ConvNet("small-resnet", sobel=False, width=0.2), "assignment": Assignment("sinkhorn")},
    ],
    ids=["swav with a queue", "contrastive start", "small residual network"],
)
def test_v2_options_fit_resume_and_load(digits, tmp_path, monkeypatch, options):
    X = digits[0][:120]
    whole = small_v2(**options).fit(X)
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
    killed = small_v2(**options, run_dir=tmp_path / "run")

    def kill(labels, calls=[]):  # noqa: B006  (counts)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {}

    killed.on_round = kill
    with pytest.raises(KeyboardInterrupt):
        killed.fit(X)
    small_v2(**options, run_dir=tmp_path / "run").fit(X)
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.labels_, whole.labels_)
    np.testing.assert_allclose(again.transform(X), whole.transform(X), atol=1e-5)
    assert [entry["loss"] for entry in again.history_] == [entry["loss"] for entry in whole.history_]


# ---------------------------------------------------------------- other clusterers, and what nobody has set


class Halves:
    """Leaves out the first vector, and halves the others by their place."""

    def fit_predict(self, X):
        return np.r_[-1, np.arange(len(X) - 1) % 2 + 5]

    def get_params(self, deep=True):
        return {}


@pytest.mark.parametrize(
    "clusterer",
    [
        MiniBatchKMeans(5, n_init=1),
        GaussianMixture(5, covariance_type="diag"),
        GraphDegreeLinkage(5),
        "sklearn.cluster.Birch(threshold=0.1)",
    ],
    ids=["minibatch", "mixture", "ours", "path"],
)
def test_any_clusterer_can_group_the_features(digits, tmp_path, clusterer):
    X = digits[0][:120]
    model = small(clusterer=clusterer, run_dir=tmp_path / "run").fit(X)
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.labels_, model.labels_)
    assert len(np.unique(model.labels_)) == (12 if isinstance(clusterer, str) else 5)
    same = small(clusterer=clone(clusterer) if not isinstance(clusterer, str) else clusterer).fit(X)
    np.testing.assert_array_equal(same.labels_, model.labels_)  # its seed is the run's


def test_images_that_a_clusterer_leaves_out_join_the_nearest_mean(digits):
    labels = module._fit_predict(Halves(), torch.eye(5), 3, np.random.RandomState(0))
    assert labels.tolist()[1:] == [0, 1, 0, 1] and labels[0] in (0, 1)
    with pytest.raises(InputError, match="clusterer=7 cannot be used: clusterer must be .* a clusterer with fit_pr"):
        small(clusterer=7).fit(digits[0])
    with pytest.raises(InputError, match="is no class with settings"):
        small(clusterer="sklearn.cluster.Birch(__import__('os'))").fit(digits[0])


def test_what_nobody_has_set_is_of_a_processors_size():
    digits_sized = processor_defaults((1, 16, 16), 11_000)
    photos = processor_defaults((3, 32, 32), 50_000)
    large = processor_defaults((3, 224, 224), 1_281_167)
    for sized in (digits_sized, photos, large):
        for one in ("DeepCluster", "DeepClusterV2"):
            assert sized[one]["network"].architecture == "small-resnet"
    assert digits_sized["DeepCluster"]["augmentation"].flip is False
    assert photos["DeepClusterV2"]["crops"].large.side == 24 and photos["DeepClusterV2"]["crops"].n_small == 0
    assert large["DeepCluster"]["training"].n_epochs == 1 and digits_sized["DeepCluster"]["training"].n_epochs == 95
    assert processor_defaults((7, 1, 1), 100)["DeepCluster"] == {}
    assert epochs_for(5) == 100


@pytest.mark.parametrize("make", [DeepCluster, DeepClusterV2])
def test_a_network_of_the_users_is_shown_crops_of_the_images_size(make):
    images = open_images(np.zeros((40, 32, 32, 3), "u1"))
    for network, side in ((None, 24), (ConvNet(width=0.125), None)):
        model = make(2, network=network)
        model._choices(images, Runtime("cpu"))
        crops = model.resolved("crops").large if make is DeepClusterV2 else model.resolved("augmentation")
        assert crops.side == side


@pytest.mark.parametrize("make", [DeepCluster, DeepClusterV2])
def test_the_choice_is_said_kept_and_gives_way(digits, tmp_path, monkeypatch, capsys, make):
    monkeypatch.setattr("asterism.methods.deepcluster_settings.MOST_EPOCHS", 2)
    model = make(5, device="cpu", random_state=0, verbose=1, run_dir=tmp_path / "run").fit(digits[0])
    said = " ".join(capsys.readouterr().err.split())
    assert "auto: no GPU, so network=ConvNet(architecture='small-resnet', sobel=False)" in said
    again = load(tmp_path / "run")
    assert again.network is None and again.encoder_.body.layer_names == ("layer1", "layer2", "layer3")
    np.testing.assert_allclose(again.transform(digits[0]), model.transform(digits[0]), atol=1e-5)
    own = make(5, network=TINY, training=SHORT, device="cpu", random_state=0).fit(digits[0])
    assert own.encoder_.body.layer_names[0] == "conv1" and own.resolved("training") is own.training
    assert {entry["stage"] for entry in own.history_} <= {"deepcluster", "deepcluster-v2"}  # no start of many epochs


def test_a_rate_that_falls_from_step_to_step(digits):
    seen = []

    class Watched(Training):
        def rate(self, epoch):
            seen.append(epoch)
            return super().rate(epoch)

    small_v2(training=Training(n_epochs=2, lr=0.05, batch_size=64, schedule="cosine")).fit(digits[0])
    training = Watched(n_epochs=2, lr=0.05, batch_size=64, schedule="cosine-steps")
    small_v2(training=training).fit(digits[0])
    assert len(set(seen)) > 8 and max(seen) < 2  # 240 images in batches of at most 32: eight steps an epoch
    assert _rate(training, 0.0) == 0 and _rate(training, 2.0) == pytest.approx(0, abs=1e-9)
    assert _rate(training, 0.05) == pytest.approx(training.rate(0.05))
