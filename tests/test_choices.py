"""What images or device decide of the parameters that are left to a method is said before the fit, in a line."""

import logging

import numpy as np
import pytest

from asterism.images import open_images
from asterism.methods import DBC, DEC, FCAE, FCN, JULE, SAE, TEMI, DeepCluster, Diffusion, DiscriminantDiffusion, KMeans
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.networks.convnet import ConvNet
from asterism.runtime import Runtime
from asterism.training import Training

FEW, ENOUGH = "as a group has fewer than 100 images on average", "as a group has at least 100 images on average"
FIRST = "cluster_initialisation"
NO_AUGMENTATION = f"autoencoder.augmentation=none, {FIRST}.augmentation=none"
FEW_STEPS = "as the training has 800 steps"
RULE = ClusterInitialisation(n_neighbors=7, multiples=(1,), augmentation="none")


def batches(n, *names):
    return f"{', '.join(f'{name}.batch_size=32' for name in names)}, as there are {n} images"


TWO_BATCHES = [batches(199, "autoencoder.training", "training")]
SAE_BATCHES = [batches(199, "autoencoder.layer_training", "autoencoder.training", "training")]
FOR_A_GPU = {"network": ConvNet(), "augmentation": "none", "training": Training(n_epochs=100, batch_size=32)}


@pytest.mark.parametrize(
    ("estimator", "n", "wanted"),
    [
        (JULE(2), 199, [f"n_neighbors=10, {FEW}"]),
        (JULE(2), 200, [f"n_neighbors=20, {ENOUGH}"]),
        (JULE(2, n_neighbors=5), 199, []),
        (
            DBC(2),
            199,
            [
                f"{NO_AUGMENTATION}, {FIRST}.n_neighbors=5, {FIRST}.multiples=1,1,1, {FEW}",
                batches(199, "autoencoder.training", "training"),
            ],
        ),
        (DBC(2, autoencoder=FCAE(augmentation="none"), cluster_initialisation=RULE), 199, TWO_BATCHES),
        (DBC(2, autoencoder=SAE(), cluster_initialisation=RULE), 199, SAE_BATCHES),
        (
            DBC(2, cluster_initialisation=RULE),
            200,
            [
                f"autoencoder.augmentation=Augmentation, {ENOUGH}",
                batches(200, "autoencoder.training", "training"),
            ],
        ),
        (DEC(2), 199, SAE_BATCHES),
        (DEC(2), 9000, []),
        (KMeans(2), 199, []),
        (
            TEMI(2, n_neighbors=50),
            100,
            [
                "n_neighbors=25, half as many as a group has images",
                f"the teacher's momentum=0.95, {FEW_STEPS}",
                "training.batch_size=25, as there are 100 images",
            ],
        ),
        (TEMI(2, training=Training(n_epochs=1000, batch_size=20)), 200, []),
        (FCN(20), 600, ["n_components=60, three a group, but at least 32 and at most 200 and the number of features"]),
        (FCN(20, n_components=9), 600, []),
        (FCN(20, n_components=9, fine_tune=1), 600, [batches(600, "training")]),
        (Diffusion(2), 50, []),
        (DeepCluster(2, **FOR_A_GPU), 640, ["reassign_every=25, as an epoch has 20 steps"]),
        (DeepCluster(2, **FOR_A_GPU, reassign_every=1), 640, []),
    ],
)
def test_what_the_size_of_a_group_decides(estimator, n, wanted):
    images = open_images(np.zeros((n, 8, 8), np.uint8))
    assert estimator._choices(images, Runtime("cpu")) == wanted


@pytest.mark.parametrize(("n_numbers", "metric"), [(31, "euclidean"), (32, "cosine")])
def test_how_vectors_are_compared_is_said_as_it_is_done(n_numbers, metric):
    vectors, model = open_images(np.zeros((40, n_numbers), np.float32)), Diffusion(2)
    (line,) = model._choices(vectors, Runtime("cpu"))
    assert line.startswith(f"metric={metric}, as vectors have") and line.endswith("32 numbers")
    assert model._by_angles(n_numbers) == (metric == "cosine")
    assert Diffusion(2, metric=metric)._choices(vectors, Runtime("cpu")) == []
    few = "no head is trained, as groups are fewer than 6: these are the groups of Diffusion"
    assert DiscriminantDiffusion(5)._choices(vectors, Runtime("cpu")) == [line, few]
    assert DiscriminantDiffusion(6)._choices(vectors, Runtime("cpu")) == [line]


def test_it_is_what_the_fit_takes(monkeypatch):
    for n in (199, 200):
        autoencoder, first = DBC(2)._recipe(n)
        said = DBC(2)._choices(open_images(np.zeros((n, 8, 8), np.uint8)), Runtime("cpu"))[0]
        for name, part in (("autoencoder", autoencoder), ("cluster_initialisation", first)):
            assert (f"{name}.augmentation=none" in said) == (part.augmentation == "none")
        assert ("multiples=1,1,1" in said) == (first.learnt(n, 2) != [4, 2, 2])
        merger = JULE(2)._merger(type("Run", (), {"runtime": Runtime("cpu")})(), n)
        line = JULE(2)._choices(open_images(np.zeros((n, 8, 8), np.uint8)), Runtime("cpu"))[0]
        assert line.startswith(f"n_neighbors={merger.n_neighbors},")


@pytest.fixture
def model():
    whole = Training(n_epochs=1, batch_size=16)
    return DeepCluster(2, training=whole, random_state=0, device="cpu")


def test_it_is_logged_or_shown_once_and_never_twice(model, caplog, capsys):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 8, 8), dtype=np.uint8)
    with caplog.at_level(logging.INFO, "asterism"):
        model.set_params(verbose=1).fit(pixels)
    told = [one.getMessage() for one in caplog.records if one.getMessage().startswith("auto: ")]
    assert len(told) == 1 and "no GPU" in told[0]
    assert "auto: " not in capsys.readouterr().err
    model.fit(pixels)
    assert capsys.readouterr().err.count("auto: ") == 1
    model.set_params(verbose=0).fit(pixels)
    assert "auto: " not in capsys.readouterr().err
