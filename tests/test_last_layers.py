"""Last layers of a network that learn from groups: the loss, what moves, new images, resumed and saved runs."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from asterism import Backbone, DiscriminantDiffusion, load
from asterism.cli.cutting import levels_of, shown_levels
from asterism.errors import InputError
from asterism.methods.last_layers import GROUP_TRAINING, MARGIN, activations_below, batch_size_for, hardest_triplets
from asterism.methods.registry import KNOWN_CLASSES
from asterism.networks.freezing import cut
from asterism.parameters.plain import from_json, to_json
from asterism.report.fitted import open_run
from asterism.training import Run
from test_fcn import photos, small_backbone  # noqa: F401

PLAIN = {"fine_tune": 2, "random_state": 0, "device": "cpu"}


def test_the_loss_is_of_the_hardest_pair_of_each_image():
    rows = normalize(torch.randn(12, 5, generator=torch.Generator().manual_seed(0)))
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4])
    losses = []
    for i in range(11):  # the last is alone in its group
        cosine = [float(rows[i] @ rows[j]) for j in range(12)]
        own = min(cosine[j] for j in range(12) if j != i and labels[j] == labels[i])
        other = max(cosine[j] for j in range(12) if labels[j] != labels[i])
        losses.append(max(0.0, MARGIN + other - own))
    assert float(hardest_triplets(rows, labels)) == pytest.approx(np.mean(losses), abs=1e-6)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]])
def test_a_batch_without_triplets_costs_nothing(labels):
    rows = torch.eye(3).requires_grad_(True)
    loss = hardest_triplets(rows, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0 and rows.grad is not None


def test_batches_have_pairs_of_many_groups():
    assert [batch_size_for(k) for k in (2, 32, 89, 10_000)] == [64, 64, 178, 256]


def test_the_last_layers_alone_learn_and_the_loss_falls(small_backbone, photos):
    X, _ = photos
    frozen, tuned = (DiscriminantDiffusion(7, **PLAIN | {"fine_tune": n}).fit(X) for n in (0, 2))
    losses = [entry["loss"] for entry in tuned.history_ if entry["stage"] == "fine-tuning"]
    assert len(losses) == GROUP_TRAINING.n_epochs and losses[-1] < losses[0]
    before, after = frozen.encoder_[0].state_dict(), tuned.encoder_[0].state_dict()
    moved = {name for name, value in before.items() if not value.equal(after[name])}
    assert moved == {f"body.{side}.{what}" for side in ("left", "right") for what in ("weight", "bias")}
    assert not any(one.requires_grad for one in tuned.encoder_.parameters())
    assert float(tuned.stability_) == float(frozen.stability_)  # that of features which no image has taught


def test_new_images_and_a_saved_run_get_the_same_groups(small_backbone, photos, tmp_path):
    X, _ = photos
    model = DiscriminantDiffusion(3, **PLAIN).fit(X[::2])
    assert (model.predict(X[::2]) == model.labels_).all()
    model.save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    assert loaded.fine_tune == 2
    np.testing.assert_array_equal(loaded.predict(X[1::2]), model.predict(X[1::2]))
    np.testing.assert_array_equal(loaded.transform(X[1::2]), model.transform(X[1::2]))


@pytest.mark.parametrize("killed", ["in its second epoch", "after its last"])
def test_it_resumes_where_it_was_killed(small_backbone, photos, tmp_path, monkeypatch, killed):
    X, _ = photos
    whole = DiscriminantDiffusion(7, **PLAIN).fit(X)
    monkeypatch.setattr("asterism.training.run.CHECKPOINT_SECONDS", -1.0)
    name = "record" if killed == "in its second epoch" else "cached"
    real, calls = getattr(Run, name), []

    def dying(self, *what, **values):
        calls.append(what)
        if (name == "record" and len(calls) == 2) or what[:1] == ("tuned maps",):
            raise KeyboardInterrupt
        return real(self, *what, **values)

    with monkeypatch.context() as patch:
        patch.setattr(Run, name, dying)
        with pytest.raises(KeyboardInterrupt):
            DiscriminantDiffusion(7, run_dir=tmp_path, **PLAIN).fit(X)
    resumed = DiscriminantDiffusion(7, run_dir=tmp_path, **PLAIN).fit(X)
    np.testing.assert_array_equal(resumed.labels_, whole.labels_)
    np.testing.assert_array_equal(resumed.transform(X), whole.transform(X))


@pytest.mark.parametrize("asked", [{"outliers": 0.05}, {"drop_duplicates": True}])
def test_what_does_not_count_teaches_nothing(small_backbone, photos, asked):
    """Images that are left out, or beyond the largest number of the map, must not shift the groups of the others."""
    X = np.concatenate([photos[0], photos[0][:5], np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3))])
    model = DiscriminantDiffusion(3, max_samples=50, **PLAIN).fit(X.astype(np.uint8), **asked)
    inside = model.labels_ >= 0
    assert inside.mean() > 0.8 and len(model.labels_) == len(X)
    assert (model.predict(X.astype(np.uint8))[inside] == model.labels_[inside]).mean() > 0.9


def test_activations_that_do_not_fit_are_computed_again(small_backbone, photos, monkeypatch):
    X, _ = photos
    kept = DiscriminantDiffusion(7, **PLAIN).fit(X)
    monkeypatch.setattr("asterism.methods.last_layers.memory_budget", lambda: 0)
    anew = DiscriminantDiffusion(7, **PLAIN).fit(X)
    np.testing.assert_array_equal(anew.labels_, kept.labels_)
    np.testing.assert_allclose(anew.transform(X), kept.transform(X), atol=1e-3)


def test_what_has_no_layers_or_too_few_is_told_in_one_line(small_backbone, photos):
    with pytest.raises(InputError, match=r"^fine_tune=2 needs a backbone: pixels and vectors have no layers to train$"):
        DiscriminantDiffusion(7, **PLAIN).fit(np.random.default_rng(0).random((40, 5)))
    with pytest.raises(InputError, match=r"^fine_tune=9 is more than the 5 layers of the backbone; give fewer$"):
        DiscriminantDiffusion(7, **PLAIN | {"fine_tune": 9}).fit(photos[0])


def test_it_is_said_before(small_backbone, photos):
    from asterism.images import open_images
    from asterism.runtime import Runtime

    images, runtime = open_images(photos[0]), Runtime("cpu")
    said = DiscriminantDiffusion(7, backbone=Backbone(), **PLAIN)._choices(images, runtime)
    assert said[-1] == "fine_tune=2 trains for 4 epochs, 64 images a step"


def test_levels_of_features_that_the_groups_taught_are_told(small_backbone, photos, tmp_path):
    np.savez(tmp_path / "photos.npz", images=photos[0])
    for n, told in ((0, False), (2, True)):
        folder = tmp_path / str(n)
        DiscriminantDiffusion(3, run_dir=folder, **PLAIN | {"fine_tune": n}).fit(str(tmp_path / "photos.npz"))
        run = open_run(folder)
        assert ("learnt from all images" in shown_levels(run, levels_of(run))) == told


def test_runs_of_before_go_on():
    """Their run.json has no ``fine_tune``; FCN's always had."""
    fcn, frozen, tuned = (
        KNOWN_CLASSES["FCN"](3),
        KNOWN_CLASSES["DiscriminantDiffusion"](3),
        KNOWN_CLASSES["DiscriminantDiffusion"](3, fine_tune=2),
    )
    assert to_json(fcn)["params"]["fine_tune"] == 0 and "fine_tune" not in to_json(frozen)["params"]
    assert to_json(tuned)["params"]["fine_tune"] == 2
    for one in (fcn, frozen, tuned):
        assert to_json(from_json(to_json(one), KNOWN_CLASSES)) == to_json(one)


def test_where_no_layer_lies_below_nothing_is_kept(small_backbone, photos):
    """A transformer that cannot be traced is cut at its input: its images lay in the cache as floats."""
    from asterism.images import open_images
    from asterism.runtime import Runtime

    images, runtime = open_images(photos[0]), Runtime("cpu")
    kept = []
    for n_layers in (4, 5):
        parts = cut(Backbone().build(images.shape), n_layers, images.shape)
        kept.append(activations_below(parts, images, runtime) is not None)
    assert kept == [True, False]
