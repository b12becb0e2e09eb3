"""What a user has set in torch for his own work changes no group, and is there again afterwards."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from asterism import DBC, DEC, FCAE, FCN, SAE, TEMI, Backbone, ConvNet, KMeans, Training, load, open_images
from asterism.clustering.advice import suggest_k
from asterism.clustering.graph import knn
from asterism.clustering.kmeans import assign, kmeans
from asterism.clustering.nmf_transformer import GSNMF
from asterism.clustering.spectral import landmark_spectral, njw, self_tuning
from asterism.images.duplicates import duplicates
from asterism.inspection.filters import maximise_activation
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.methods.joint_training import JointTraining
from asterism.networks.fcae import unpool
from asterism.runtime import Runtime
from asterism.training import Run

ONE = Training(n_epochs=1, batch_size=16)
JOINT = JointTraining(n_epochs=1, batch_size=16, lr=0.01)
FIRST = ClusterInitialisation("k-means", rounds=0)
X = np.random.RandomState(0).randint(256, size=(24, 8, 8)).astype(np.uint8)
ROWS = np.random.RandomState(0).rand(60, 6).astype(np.float32)
BODY = ConvNet(width=0.1).drawn((1, 16, 16), torch.Generator().manual_seed(0))


@contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SET = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "float64": float64,
    "device": lambda: torch.device("meta"),  # as "cuda" would be where there is a GPU
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": deterministic,
}
MODELS = {
    "KMeans": lambda: KMeans(3, random_state=0),
    "FCAE": lambda: FCAE(training=ONE, max_unexplained=1, random_state=0),
    "DBC": lambda: DBC(3, training=JOINT, autoencoder=FCAE(training=ONE), cluster_initialisation=FIRST, random_state=0),
    "DEC": lambda: DEC(3, training=JOINT, autoencoder=SAE((8, 4), training=ONE, layer_training=ONE), random_state=0),
    "TEMI": lambda: TEMI(3, backbone=Backbone("hog-color"), training=ONE, n_heads=2, random_state=0),
    "FCN": lambda: FCN(3, backbone=Backbone("hog-color"), random_state=0),
}


def found(name, folder):
    """What a fit, a save and a load give."""
    model = MODELS[name]().fit(X)
    model.save(folder)
    again = load(folder)
    made = [model.transform(X[:4]), again.transform(X[:4]), [model.score(X)]]
    if name == "FCAE":
        return [*made, again.reconstruct(X[:2])]
    more = [again.group(again.transform(X))] if hasattr(again, "group") else []
    return [*made, *more, model.labels_, again.predict(X), again.predict_proba(X), again.cut(5, X), again.pick(3, X)]


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_is_the_same_whatever_is_set(name, tmp_path):
    expected = found(name, tmp_path / "usual")
    for what, context in SET.items():
        with context():
            got = found(name, tmp_path / what)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other, what)


def test_what_is_set_is_there_afterwards():
    with float64(), torch.no_grad(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        KMeans(3, random_state=0).fit(X)
        assert torch.get_default_dtype() == torch.float64
        assert not torch.is_grad_enabled()
        assert torch.get_default_device().type == "meta"
        assert torch.is_autocast_enabled("cpu")


def test_threads_share_the_default_dtype():
    labels = []
    with float64():
        threads = [threading.Thread(target=lambda: labels.append(MODELS["DEC"]().fit(X).labels_)) for _ in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert torch.get_default_dtype() == torch.float64
    assert len(labels) == 3
    assert all(np.array_equal(one, labels[0]) for one in labels)


FUNCTIONS = {
    "kmeans": lambda: kmeans(ROWS, 3, random_state=0).labels,
    "assign": lambda: assign(ROWS, ROWS[:3])[0],
    "knn": lambda: knn(ROWS, 3)[0],
    "njw": lambda: njw(ROWS, 3, random_state=0),
    "self_tuning": lambda: self_tuning(ROWS, 3, random_state=0),
    "landmark_spectral": lambda: landmark_spectral(ROWS, 3, random_state=0),
    "suggest_k": lambda: suggest_k(ROWS).k,
    "gsnmf": lambda: GSNMF(3, random_state=0, max_iter=20).fit_transform(ROWS),
    "duplicates": lambda: duplicates(open_images(np.concatenate([X, X[:2]]))),
    "filters": lambda: maximise_activation(BODY, "conv1", [0], (1, 16, 16), Run(Runtime("cpu"), 0), n_steps=2).numpy(),
    "open_images": lambda: open_images(X).batch(slice(0, 4)).numpy(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_give_the_same(name):
    expected = FUNCTIONS[name]()
    for what, context in SET.items():
        with context():
            got = FUNCTIONS[name]()
        np.testing.assert_array_equal(got, expected, what)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpooling_where_torch_is_to_be_deterministic(layout):
    images = torch.rand(2, 3, 7, 9).to(memory_format=layout)
    maps, where = torch.nn.functional.max_pool2d(images, 2, return_indices=True)
    expected = unpool(maps, where, images.shape, "switches")
    with deterministic():
        got = unpool(maps, where, images.shape, "switches")
    assert torch.equal(got, expected)
