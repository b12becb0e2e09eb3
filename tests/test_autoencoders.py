"""Auto-encoders that go on where their training left too much of the images unexplained."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from asterism import FCAE, SAE, Training, open_images
from asterism.methods import autoencoders
from asterism.methods.joint_training import JointTraining
from asterism.networks import FullyConvolutionalAutoEncoder
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training import autoencoder as autoencoder_training
from asterism.training import run as run_module
from asterism.training.autoencoder import REST_EPOCHS, pixel_variance, train_autoencoder


@pytest.fixture(scope="module")
def digits():
    return load_digits().images[:200].astype(np.float32) / 16


def fitted(images, **settings):
    settings = {"training": Training(n_epochs=4, optimizer="sgd", lr=0.05), "augmentation": "none"} | settings
    return FCAE(12, device="cpu", random_state=0, **settings).fit(images)


def stages(model):
    return [entry["stage"] for entry in model.history_]


def test_the_variance_is_the_error_of_the_mean_image(digits):
    wanted = np.square(digits - digits.mean(0)).mean()
    assert pixel_variance(open_images(digits)) == pytest.approx(wanted, rel=1e-5)


def test_few_images_are_learnt_until_they_are_explained(digits):
    model = fitted(digits)
    error = np.square(model.reconstruct(digits)[:, 0] - digits).mean() / digits.var(0).mean()
    short = fitted(digits, max_unexplained=1.0)
    left = np.square(short.reconstruct(digits)[:, 0] - digits).mean() / digits.var(0).mean()
    assert stages(short) == ["autoencoder"] * 4 and left > 0.5
    assert stages(model)[:5] == ["autoencoder"] * 4 + ["autoencoder-adam"] and len(stages(model)) <= 4 + 5 * 4
    assert error < 0.6 * left


def test_it_ends_at_half_of_what_may_be_missed(digits):
    model = fitted(digits, max_unexplained=0.6)
    losses = [entry["loss"] / digits.var(0).mean() for entry in model.history_]
    assert losses[3] > 0.6 and losses[-1] <= 0.3 < losses[-2] and len(losses) < 24


def test_it_begins_anew_where_nothing_was_learnt(digits, monkeypatch):
    kept, begun = autoencoders.train_autoencoder, []

    def seen(network, *rest, **options):
        begun.append(next(network.parameters()).detach().clone())
        kept(network, *rest, **options)

    monkeypatch.setattr(autoencoders, "train_autoencoder", seen)
    for epochs in (1, 8):
        model = fitted(digits, training=Training(n_epochs=epochs, optimizer="sgd", lr=0.05))
        assert (model.history_[epochs - 1]["loss"] > digits.var(0).mean()) == (epochs == 1)
    first, anew, second, onwards = begun
    assert torch.equal(first, anew) and torch.equal(first, second) and not torch.equal(second, onwards)


def test_what_is_explained_is_left_alone(digits):
    enough = Training(n_epochs=40, optimizer="adam", lr=0.003)
    assert set(stages(fitted(digits, training=enough, max_unexplained=0.5))) == {"autoencoder"}


def test_vectors_and_half_trained_starts_are_left_alone(digits):
    assert set(stages(fitted(digits.reshape(len(digits), -1)))) == {"autoencoder"}
    run = Run(Runtime("cpu"), 0)
    FCAE(12, training=Training(n_epochs=4)).train_network(open_images(digits), run, share=0.5)
    assert [entry["stage"] for entry in run.history] == ["autoencoder"] * 2


def test_it_ends_where_the_loss_rests(digits):
    run, network = Run(Runtime("cpu"), 0), FullyConvolutionalAutoEncoder((1, 8, 8))
    training = Training(n_epochs=100, optimizer="sgd", lr=1e-9)
    train_autoencoder(network, open_images(digits), training, run, target=0.0)
    assert len(run.history) == REST_EPOCHS + 1


def test_a_run_killed_while_it_goes_on_ends_as_the_unbroken_one(digits, tmp_path, monkeypatch):
    whole = fitted(digits)
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", 0)
    kept, seen = autoencoders.train_autoencoder, []

    def dies(network, images, training, run, **options):
        def record(**values):
            seen.append(values)
            if len(seen) == 9:  # the fifth epoch of the second stage
                raise KeyboardInterrupt
            Run.record(run, **values)

        monkeypatch.setattr(run, "record", record)
        kept(network, images, training, run, **options)

    monkeypatch.setattr(autoencoders, "train_autoencoder", dies)
    with pytest.raises(KeyboardInterrupt):
        fitted(digits, run_dir=tmp_path)
    monkeypatch.setattr(autoencoders, "train_autoencoder", kept)
    again = fitted(digits, run_dir=tmp_path)
    assert [entry["loss"] for entry in again.history_] == [entry["loss"] for entry in whole.history_]
    np.testing.assert_array_equal(again.transform(digits), whole.transform(digits))


def test_a_layer_learns_the_same_whether_what_lies_below_it_is_kept_or_made_anew(digits, monkeypatch):
    training = Training(n_epochs=2, optimizer="adam", lr=0.001)

    def learnt():
        model = SAE((30, 20, 4), training=training, layer_training=training, random_state=0)
        return model.fit(digits).transform(digits)

    kept = learnt()
    monkeypatch.setattr(autoencoder_training, "memory_budget", lambda: 0)
    monkeypatch.setattr(autoencoder_training, "extract", None)  # is not called
    np.testing.assert_allclose(learnt(), kept, rtol=1e-3, atol=1e-4)


def test_layers_are_trained_alone_where_that_is_asked_for_and_half_with_half_a_start(digits):
    settings = {"training": Training(n_epochs=0), "layer_training": Training(n_epochs=2)}
    model = SAE((6, 4), **settings, random_state=0)
    assert [entry["stage"] for entry in model.fit(digits[:40]).history_] == 2 * ["layer-1"] + 2 * ["layer-2"]
    images, run = open_images(digits[:40]), Run(Runtime("cpu"), 0)
    model.train_network(images, run, share=0.5)
    assert [entry["stage"] for entry in run.history] == ["layer-1", "layer-2"]


def test_the_first_weights_are_the_papers_where_that_is_asked_for(digits):
    untrained = {"training": Training(n_epochs=0), "layer_training": Training(n_epochs=0), "random_state": 0}
    theirs, ours = (SAE((60, 4), weight_std=std, **untrained).fit(digits[:40]) for std in (0.01, None))
    for layer in [*theirs.encoder_.layers, *theirs.network_.decoder]:
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.15) and not layer.bias.any()
    assert ours.encoder_.layers[0].weight.std().item() == pytest.approx((3 * digits[0].size) ** -0.5, rel=0.1)
    assert ours.encoder_.layers[0].bias.any()


@pytest.mark.slow
def test_two_processes_end_together(digits, tmp_path):
    """Each sees half of a batch and has a loss of its own: what ends a stage must be that of all."""
    np.savez(tmp_path / "digits.npz", images=(digits * 255).astype(np.uint8))
    settings = {"autoencoder.training.n_epochs": 4, "autoencoder.max_unexplained": 0.4, "training.n_epochs": 1}
    settings["autoencoder.augmentation"] = "none"
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    asked = ["cluster", tmp_path / "digits.npz", "-k", "5", "--method", "dbc", *words, "--out", tmp_path / "run"]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "asterism"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([*map(str, start + asked)], env=environment, timeout=300, check=True, capture_output=True)
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert 1 <= sum(entry["stage"] == "autoencoder-adam" for entry in history) < 20


def test_a_training_of_another_class_goes_on_too(digits):
    """`JointTraining` has more parameters than `Training`, which go on with it."""
    model = FCAE(training=JointTraining(n_epochs=1, lr=1e-4), max_unexplained=0.001, random_state=0).fit(digits[:40])
    assert {entry["stage"] for entry in model.history_} == {"autoencoder", "autoencoder-adam"}
