"""FCN: where a network is cut, the alternating scheme, train and test, and what its paper compares with."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import nn

from asterism import FCN, Backbone, Training, load, open_images
from asterism.clustering.nmf import OnlineBases
from asterism.errors import InputError
from asterism.methods.fcn import n_bases
from asterism.networks.backbones import PretrainedNetwork, without_classifier
from asterism.networks.freezing import cut
from asterism.runtime import Runtime
from asterism.training import Run

SIDE = 16
PLAIN = {"n_components": 6, "random_state": 0, "device": "cpu"}


class SmallNet(nn.Module):
    """Two residual steps and a parallel pair of convolutions, as in the networks that are cut."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.block = nn.Conv2d(6, 6, 3, 1, 1)
        self.squeeze = nn.Conv2d(6, 4, 1)
        self.left, self.right = nn.Conv2d(4, 5, 1), nn.Conv2d(4, 5, 3, 1, 1)
        self.classifier = nn.Linear(10, 3)

    def forward(self, x):
        x = self.stem(x)
        x = (x + self.block(x)).relu()
        x = self.squeeze(x).relu()
        x = torch.cat([self.left(x), self.right(x)], 1).relu()
        return self.classifier(x.mean((2, 3)))


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PretrainedNetwork(without_classifier(SmallNet(), SIDE), size=SIDE).requires_grad_(False).eval()


@pytest.fixture
def small_backbone(monkeypatch):
    """`Backbone` gives the small network; each call a new one with the same weights."""

    def build(self, shape, pretrained=True):
        if shape[1:] == (1, 1):
            return original(self, shape, pretrained)
        with torch.random.fork_rng():
            torch.manual_seed(0 if pretrained else 1)
            return PretrainedNetwork(without_classifier(SmallNet(), SIDE), size=SIDE).requires_grad_(False).eval()

    original = Backbone.build
    monkeypatch.setattr(Backbone, "build", build)


@pytest.fixture(scope="module")
def photos():
    """Three kinds of stripes, 60 images."""
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], 20)
    images = rng.integers(0, 60, (60, SIDE, SIDE, 3))
    images[kinds == 0, ::2] += 150
    images[kinds == 1, :, ::2] += 150
    images[kinds == 2, :, :, 1] += 150
    return images.astype(np.uint8), kinds


@pytest.mark.parametrize(
    ("n_layers", "names", "shape"),
    [
        (1, ["right"], (4, 8, 8)),
        (2, ["left", "right"], (4, 8, 8)),
        (3, ["squeeze", "left", "right"], (6, 8, 8)),
        (4, ["block", "squeeze", "left", "right"], (6, 8, 8)),  # below the residual step, where one tensor passes
        (5, ["stem.0", "block", "squeeze", "left", "right"], (3, SIDE, SIDE)),
    ],
)
def test_cut_where_one_tensor_passes(network, n_layers, names, shape):
    parts = cut(network, n_layers, (3, SIDE, SIDE))
    images = torch.rand(2, 3, SIDE, SIDE)
    tuned = {id(one) for one in parts.tuned}
    moving = [name for name, layer in network.body.named_modules() if id(getattr(layer, "weight", None)) in tuned]
    assert sorted(moving) == sorted(names) and tuple(parts.top.shape) == shape
    activations = parts.bottom(images)
    torch.testing.assert_close(parts.top(activations[..., None, None]), network(images))


def test_cut_that_cannot_be_is_one_line(network):
    with pytest.raises(InputError, match="fine_tune=9 is more than the 5 layers"):
        cut(network, 9, (3, SIDE, SIDE))
    with pytest.raises(InputError, match="fine_tune=1 needs a backbone"):
        FCN(2, fine_tune=1).fit(np.random.default_rng(0).random((20, 5)))


def test_a_penalty_that_leaves_nothing_is_said():
    X = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    with pytest.warns(UserWarning, match="every coefficient is 0, .*: lower l1=10"):
        FCN(4, l1=10.0, random_state=0).fit(X)


@pytest.mark.parametrize("assign", ["kmeans", "spectral"])
def test_groups_train_and_test(small_backbone, photos, assign, tmp_path):
    X, kinds = photos
    train, test = np.arange(0, 60, 2), np.arange(1, 60, 2)
    model = FCN(3, assign=assign, **PLAIN).fit(X[train])
    assert adjusted_rand_score(kinds[train], model.labels_) > 0.9
    assert adjusted_rand_score(kinds[test], model.predict(X[test])) > 0.9
    codes = model.transform(X[test])
    assert codes.shape == (30, 6) and (codes >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, rtol=1e-5)
    assert adjusted_rand_score(kinds[test], model.group(codes)) > 0.9
    model.save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.transform(X[test]), codes)
    np.testing.assert_array_equal(loaded.predict(X[test]), model.predict(X[test]))


def test_fine_tuning_lowers_the_loss_and_moves_the_last_layer_only(small_backbone, photos):
    X, _ = photos
    training = Training(n_epochs=6, batch_size=32, lr=0.05)
    plain, tuned = (FCN(3, fine_tune=n, training=training, **PLAIN).fit(X) for n in (0, 1))
    losses = [entry["loss"] for entry in tuned.history_ if entry["stage"] == "fine-tuning"]
    assert len(losses) == 6 and losses[-1] < 0.9 * losses[0]
    before, after = plain.encoder_.state_dict(), tuned.encoder_.state_dict()
    moved = {name for name, value in before.items() if name.startswith("0.") and not value.equal(after[name])}
    assert moved == {"0.body.right.weight", "0.body.right.bias"}
    assert not any(one.requires_grad for one in tuned.encoder_.parameters())


def test_each_process_begins_fine_tuning_with_its_share_of_the_images(network, monkeypatch):
    """Else the first look would count as often as there are processes."""

    class SeenError(Exception):
        pass

    class Second(Runtime):
        world_size, rank = 2, 1

        def gather_rows(self, part, n):
            return torch.zeros(n, *part.shape[1:])

    def see(self, X, *n):
        raise SeenError(len(X))

    monkeypatch.setattr(OnlineBases, "see", see)
    images = open_images(np.zeros((9, SIDE, SIDE, 3), np.float32))
    with pytest.raises(SeenError, match=r"^4$"):
        FCN(2, fine_tune=1)._tune(
            {"W": torch.ones(4, 10)}, torch.ones(9, 10), network, images, Run(Second("cpu"), 0), False
        )


def test_fine_tuning_resumes_where_it_was_killed(small_backbone, photos, tmp_path, monkeypatch):
    X, _ = photos
    training = Training(n_epochs=4, batch_size=32, lr=0.05)
    whole = FCN(3, fine_tune=1, training=training, **PLAIN).fit(X)
    monkeypatch.setattr("asterism.training.run.CHECKPOINT_SECONDS", -1.0)
    real, calls = Run.record, []

    def record(self, **values):
        real(self, **values)
        calls.append(values)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "record", record)
    with pytest.raises(KeyboardInterrupt):
        FCN(3, fine_tune=1, training=training, run_dir=tmp_path, **PLAIN).fit(X)
    resumed = FCN(3, fine_tune=1, training=training, run_dir=tmp_path, **PLAIN).fit(X)
    np.testing.assert_array_equal(resumed.labels_, whole.labels_)
    np.testing.assert_allclose(resumed.transform(X), whole.transform(X), atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "k", "n", "m", "found"),
    [
        (None, 20, 1000, 512, 60),  # three a cluster
        (None, 3, 1000, 512, 32),  # and not fewer than 32
        (None, 20, 60, 512, 20),  # but not more than a third of the images
        (None, 500, 10_000, 512, 512),  # or than there are features
        (0.25, 20, 10_000, 4096, 1024),  # the paper's
        (0.25, 20, 1020, 4096, 510),
        (7, 20, 10, 5, 7),  # as asked, whatever the rank
    ],
)
def test_number_of_bases(asked, k, n, m, found):
    assert n_bases(asked, k, n, m) == found


def test_signed_features_are_factorised_by_their_two_parts():
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1], 20)
    X = rng.normal(size=(40, 8)) + np.outer(2.0 * kinds - 1, np.ones(8)) * 2  # the sign alone tells them apart
    model = FCN(2, n_components=4, random_state=0).fit(X)
    assert adjusted_rand_score(kinds, model.labels_) == 1
    assert model.encoder_[1].W.shape == (4, 16)


def test_new_images_may_be_negative_where_the_fitted_were_not():
    X = np.random.default_rng(0).random((30, 6))
    assert np.isfinite(FCN(2, n_components=3, random_state=0).fit(X).transform(-X)).all()


def test_examples_of_components(small_backbone, photos):
    model = FCN(3, **PLAIN).fit(photos[0])
    examples = model.examples_
    codes = torch.from_numpy(model.transform(photos[0]))
    first = int(examples["components"][0])
    chosen = examples["component_images"][0]  # (8,)
    torch.testing.assert_close(codes[chosen, first], codes[:, first].topk(8).values)
    torch.testing.assert_close(examples["component_weights"][0], codes[chosen, first])


def test_the_page_shows_the_images_of_each_component(small_backbone, photos, tmp_path):
    from asterism.report import write_report

    np.savez(tmp_path / "photos.npz", images=photos[0])
    FCN(3, run_dir=tmp_path / "run", **PLAIN).fit(str(tmp_path / "photos.npz"))
    page = write_report(tmp_path / "run").read_text()
    assert "a sum of 6 learned components" in page and page.count('class="pictures component"') == 6


@pytest.mark.parametrize(("name", "told"), [("fcn", True), ("diffusion", False)])
def test_vectors_of_one_direction_are_told_where_directions_count(name, told):
    from asterism import METHODS

    rng = np.random.default_rng(0)
    X = (rng.normal(size=(3, 1, 6)) * 6 + rng.normal(size=(3, 30, 6))).reshape(90, 6)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        METHODS[name](n_clusters=3, random_state=0).fit(X + 1e4)
        assert any("same direction" in str(one.message) for one in said) == told
        said.clear()
        METHODS[name](n_clusters=3, random_state=0).fit(X)
        assert not any("same direction" in str(one.message) for one in said)


def test_a_few_vectors_have_two_bases_at_least():
    """Of a single one all codes have the same direction."""
    X = 1 + np.random.default_rng(0).random((2, 40))
    assert FCN(2, random_state=0).fit(X).labels_.tolist() in ([0, 1], [1, 0])
