"""Distances in units of the spread, soft resets, and the stop of Algorithm 2."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from asterism import DBC, DEC, FCAE, SAE, Training, load, open_images
from asterism.clustering.soft import soft_scores
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.methods.joint_training import JointTraining, measure_batch_norm, soft_reset
from asterism.networks import FullyConvolutionalAutoEncoder, StackedAutoEncoderNetwork
from asterism.networks.initialise import build
from asterism.runtime import Runtime
from asterism.training import Run

SHAPE = (1, 8, 8)
KMEANS = ClusterInitialisation("k-means", n_init=2, rounds=0)
SHORT = Training(n_epochs=2, optimizer="sgd", lr=0.1)


@pytest.fixture(scope="module")
def digits():
    return load_digits().images[:200].astype(np.float32) / 16


def drawn(construct, seed=0):
    return build(construct, torch.Generator().manual_seed(seed))


ENCODERS = {
    **{
        name: lambda name=name: FullyConvolutionalAutoEncoder(SHAPE, 5, feature_layer=name)
        for name in ("relu", "bn", "linear")
    },
    "stacked": lambda: StackedAutoEncoderNetwork(SHAPE, (9, 5)),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_features_are_scaled_exactly(kind):
    encoder, images = drawn(ENCODERS[kind]).encoder.eval(), torch.rand(6, *SHAPE)
    before = encoder(images)
    encoder.scale_features(0.125)
    torch.testing.assert_close(encoder(images), before / 8)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_soft_reset_interpolates_all_but_the_feature_layer(kind):
    encoder, fresh = drawn(ENCODERS[kind], 1).encoder, drawn(ENCODERS[kind], 2).encoder
    with torch.no_grad():  # batch norm too must be seen to move
        for values in encoder.parameters():
            values.add_(0.5)
    before = {name: values.detach().clone() for name, values in encoder.named_parameters()}
    soft_reset(encoder, fresh, 0.2)
    last = "layers.1" if kind == "stacked" else "convolutions.1", "norms.1"
    drawn_anew = dict(fresh.named_parameters())
    for name, values in encoder.named_parameters():
        kept = name.startswith(last)
        expected = before[name] if kept else 0.8 * before[name] + 0.2 * drawn_anew[name]
        torch.testing.assert_close(values, expected)
    assert any(name.startswith(last) for name in before) and not all(name.startswith(last) for name in before)


def test_batch_norm_is_measured_anew(digits):
    encoder = drawn(ENCODERS["relu"]).encoder
    images = open_images(digits)
    measure_batch_norm(encoder, images, 50, Run(Runtime("cpu"), 0), "now")
    maps = encoder.convolutions[0](torch.from_numpy(digits)[:, None])
    torch.testing.assert_close(encoder.norms[0].running_mean, maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert encoder.training and encoder.norms[0].momentum == 0.1


def fitted(images, method=DBC, **settings):
    settings = {"training": JointTraining(n_epochs=4, lr=0.05, batch_size=50)} | settings
    if method is DBC:
        settings = {"autoencoder": FCAE(12, training=SHORT, max_unexplained=1.0)} | settings
        settings = {"cluster_initialisation": KMEANS} | settings
    else:
        layers = Training(n_epochs=0)
        settings = {"autoencoder": SAE((9, 5), layer_training=layers, training=SHORT), "tol": 0.0} | settings
    return method(5, device="cpu", random_state=0, **settings).fit(images)


@pytest.mark.parametrize("method", [DBC, DEC])
def test_scores_in_units_of_the_spread_do_not_know_the_features_size(digits, method, monkeypatch):
    training = JointTraining(n_epochs=0, distance_scale="spread")
    plain = fitted(digits, method, training=training)
    kind = type(plain.autoencoder)
    train_network = kind.train_network

    def larger(self, *rest):
        network = train_network(self, *rest)
        network.encoder.scale_features(1000.0)
        return network

    monkeypatch.setattr(kind, "train_network", larger)
    other = fitted(digits, method, training=training)
    np.testing.assert_allclose(other.confidence_, plain.confidence_, rtol=1e-3)
    features = torch.from_numpy(plain.transform(digits))
    centers = torch.from_numpy(plain.cluster_centers_)
    distances = torch.cdist(features, centers).square()
    assert float(distances.amin(1).mean()) == pytest.approx(1, abs=0.2)  # groups go by direction: not all are nearest
    np.testing.assert_allclose(soft_scores(features, centers).amax(1).numpy(), plain.confidence_, rtol=1e-4)
    unit = fitted(digits, method, training=JointTraining(n_epochs=0))
    assert not np.allclose(unit.confidence_, plain.confidence_, rtol=0.1)


@pytest.mark.parametrize("method", [DBC, DEC])
def test_a_soft_reset_groups_anew_and_forgets(digits, method, monkeypatch):
    training = JointTraining(n_epochs=6, lr=0.05, batch_size=50, reset_interval=2)
    assert [epoch for epoch in range(6) if training.resets_at(epoch)] == [2, 4]
    forgotten = []
    found = ClusterInitialisation.find

    def seen(self, *rest):
        forgotten.append(rest[-1])
        return found(self, *rest)

    monkeypatch.setattr(ClusterInitialisation, "find", seen)
    model = fitted(digits, method, training=training, autoencoder=None if method is DBC else SAE((9, 5)))
    assert forgotten[-2:] == ["reset-2", "reset-4"]
    assert len([entry for entry in model.history_ if entry["stage"] == "joint"]) == 6
    assert len(np.unique(model.labels_)) > 1 and np.isfinite(model.transform(digits)).all()


def test_the_stop_waits_for_the_last_reset():
    training = JointTraining(n_epochs=7, reset_interval=3)
    assert [epoch for epoch in range(7) if training.resets_at(epoch)] == [3]  # not at 6: one epoch would be left
    assert training.resets_after(2) and not training.resets_after(3)
    assert not any(JointTraining(n_epochs=7).resets_at(epoch) for epoch in range(7))


def test_it_ends_where_no_image_changes_its_group(digits):
    slow = JointTraining(n_epochs=60, lr=0.002, batch_size=50)
    model = fitted(digits, training=slow)
    changed = [entry["changed"] for entry in model.history_ if entry["stage"] == "joint"]
    assert changed[-1] == 0 and 0 not in changed[:-1] and len(changed) < 60


def test_a_plain_training_is_the_papers(digits):
    plain = Training(n_epochs=2, lr=0.05, batch_size=50)
    same = JointTraining(n_epochs=2, lr=0.05, batch_size=50)
    assert np.array_equal(fitted(digits, training=plain).confidence_, fitted(digits, training=same).confidence_)


def test_it_is_saved_and_loaded(digits, tmp_path):
    autoencoder = FCAE(6, training=SHORT, unpooling="repeat", feature_layer="linear", max_unexplained=1.0)
    training = JointTraining(n_epochs=4, reset_interval=2, distance_scale="spread", lr=0.05)
    model = fitted(digits, autoencoder=autoencoder, training=training, run_dir=tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.training.reset_interval == 2 and again.autoencoder.feature_layer == "linear"
    np.testing.assert_allclose(again.transform(digits), model.transform(digits), rtol=1e-5)
    assert np.array_equal(again.predict(digits), model.predict(digits))


def test_as_many_groups_as_images_have_no_spread():
    images = np.random.default_rng(0).random((24, 8, 8), dtype=np.float32)
    autoencoder = FCAE(training=Training(n_epochs=1), max_unexplained=1.0)
    training = JointTraining(n_epochs=2, lr=0.01, distance_scale="spread")
    model = DBC(24, autoencoder=autoencoder, cluster_initialisation=KMEANS, training=training, random_state=0)
    assert np.isfinite(model.fit(images).confidence_).all()
