"""scikit-learn's own checks for every method, and what images add to its contract."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from asterism import (
    DBC,
    DEC,
    FCAE,
    FCN,
    JULE,
    METHODS,
    SAE,
    TEMI,
    AverageLinkage,
    Backbone,
    ConvNet,
    DeepCluster,
    DeepClusterV2,
    FCAEKMeans,
    GraphDegreeLinkage,
    KMeans,
    LandmarkSpectral,
    PathIntegral,
    SelfTuningSpectral,
    SpectralNJW,
    Training,
    ZetaFunction,
    load,
)
from asterism.errors import AsterismError, DivergenceError, InputError, NotFittedError, RunError
from asterism.features.extract import _rows_at_once
from asterism.methods import KNOWN_CLASSES
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.methods.deepcluster import Whitening
from asterism.methods.deepcluster_settings import Projection
from asterism.methods.jule_settings import TripletTraining
from asterism.parameters import Parameters

SHORT = Training(n_epochs=1, max_grad_norm=1.0)
FCAE_SHORT = FCAE(training=SHORT, max_unexplained=1.0)
SAE_SHORT = SAE((16, 8), training=Training(n_epochs=2, optimizer="adam"), layer_training=SHORT)

CHECKED = [
    FCAE_SHORT,
    SAE((16, 8), training=SHORT, layer_training=SHORT),
    DBC(
        3, autoencoder=FCAE_SHORT, cluster_initialisation=ClusterInitialisation(rounds=1), training=SHORT, device="cpu"
    ),
    DEC(3, autoencoder=SAE_SHORT, training=SHORT, n_init=2, device="cpu"),
    FCAEKMeans(3, autoencoder=FCAE_SHORT, n_init=2),
    KMeans(3, center=True, normalise=True, n_init=2),
    SpectralNJW(3, n_init=3),
    GraphDegreeLinkage(3),
    FCN(3, n_components=3),
    TEMI(3, n_heads=2, hidden=8, training=Training(n_epochs=2, optimizer="adamw", lr=0.03)),
    JULE(3, n_neighbors=5, training=TripletTraining(n_epochs=1)),
    DeepCluster(3, network=ConvNet(width=0.05, n_features=16), whitening=Whitening(2), training=SHORT),
    DeepClusterV2(
        3, network=ConvNet(width=0.05, n_features=16), projection=Projection(16, 8), n_heads=2, training=SHORT
    ),
]
# What differs from one of these in a function of vectors alone: checked by `make slow`.
ALIKE = [SelfTuningSpectral(3, n_init=3), LandmarkSpectral(3), AverageLinkage(3), PathIntegral(3), ZetaFunction(3)]


def named_checks(estimators=CHECKED):
    """What `parametrize_with_checks` gives; its names, of every parameter, take seconds of each collection."""
    for estimator in estimators:
        for one, check in estimator_checks_generator(estimator):
            options = "".join(f"-{name}" for name in check.keywords) if isinstance(check, partial) else ""
            name = (check.func if isinstance(check, partial) else check).__name__
            yield pytest.param(one, check, id=f"{type(estimator).__name__}-{name}{options}")


@pytest.mark.parametrize(("estimator", "check"), named_checks())
def test_scikit_learn(estimator, check, monkeypatch):
    # The last digit of float32 differs on some CPUs, whose kernels treat the rows at a batch's end in another way.
    loose = partial(estimator_checks.assert_allclose_dense_sparse, rtol=1e-5)
    monkeypatch.setattr(estimator_checks, "assert_allclose_dense_sparse", loose)
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ALIKE, ids=lambda one: type(one).__name__)
def test_scikit_learn_once_more(estimator):
    check_estimator(estimator, on_skip=None)


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return (data.images / 16).astype(np.float32), data.target


def small(method, k=10, **params):
    """The method with epochs for a test."""
    made = METHODS[method](k, random_state=0, device="cpu", **params)
    names = made.get_params(deep=False)
    if "autoencoder" in names:
        autoencoder = clone(made.resolved("autoencoder"))
        autoencoder.set_params(training=Training(n_epochs=2))
        if isinstance(autoencoder, SAE):
            autoencoder.set_params(widths=(32, 10), layer_training=Training(n_epochs=1))
        else:
            autoencoder.set_params(max_unexplained=1.0)
        made.set_params(autoencoder=autoencoder)
    if "network" in names and isinstance(made.resolved("network"), ConvNet):
        made.set_params(network=ConvNet(width=0.05))
    if "cluster_initialisation" in names:
        made.set_params(cluster_initialisation=ClusterInitialisation(rounds=2))
    if "n_partitions" in names:
        made.set_params(n_partitions=5)
    if method == "nmf-d":
        made.set_params(max_updates=20)
    if method == "deepcluster-v2":
        made.set_params(projection=Projection(64, 16), n_heads=2)
    if "backbone" in names:
        made.set_params(backbone=Backbone("pixels"), **({"n_sets": 2} if "n_sets" in names else {}))
    if "training" in names:
        made.set_params(training=TripletTraining(n_epochs=2) if method == "jule" else Training(n_epochs=2))
    return made


@pytest.mark.parametrize("method", METHODS)
def test_a_run_may_name_all_that_a_method_is_made_of(method):
    """Else it trains, and then cannot be loaded."""
    parts = [METHODS[method]]
    for part in parts:
        known = KNOWN_CLASSES.get(part.__name__)
        assert known is part, f"{part.__name__} is not in KNOWN_CLASSES"
        parts += [type(one) for one in getattr(part, "DEFAULTS", {}).values() if isinstance(one, Parameters)]


@pytest.mark.parametrize("method", METHODS)
def test_fit_predict_save_load(method, digits, tmp_path):
    X, _ = digits
    model = small(method).fit(X[:200])
    assert model.labels_.shape == (200,) and model.labels_.dtype == np.int64
    assert set(model.labels_) <= set(range(10))
    assert ((model.confidence_ >= 0) & (model.confidence_ <= 1 + 1e-6)).all()
    assert (model.predict(X[:200]) == model.labels_).mean() > 0.99
    proba = model.predict_proba(X[200:210])
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)
    model.save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.labels_, model.labels_)
    np.testing.assert_array_equal(loaded.predict_proba(X[200:210]), proba)
    assert loaded.history_ == model.history_
    with pytest.raises(RunError, match="holds a run"):
        model.save(tmp_path / "run")


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_labels(method, digits):
    X = digits[0][:120]
    np.testing.assert_array_equal(small(method).fit_predict(X), small(method).fit_predict(X))


@pytest.mark.parametrize("method", METHODS)
def test_a_finished_run_folder_loads(method, digits, tmp_path):
    X = digits[0][:100]
    model = small(method, run_dir=tmp_path / "run").fit(X)
    loaded = load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.labels_, model.labels_)
    lines = (tmp_path / "run" / "labels.csv").read_text().splitlines()
    assert lines[0] == "path,cluster,confidence" and len(lines) == 101
    with pytest.raises(RunError, match="finished run"):
        small(method, run_dir=tmp_path / "run").fit(X)


def test_dbc_groups_digits_better_than_kmeans_on_pixels_when_trained(digits):
    X, y = digits[0][:800], digits[1][:800]
    model = DBC(
        10,
        autoencoder=FCAE(training=Training(n_epochs=8, lr=0.2, batch_size=64)),
        training=Training(n_epochs=3, lr=0.05, batch_size=64),
        random_state=0,
        device="cpu",
    ).fit(X)
    on_pixels = KMeans(10, random_state=0).fit_predict(X)
    assert adjusted_rand_score(y, model.labels_) > adjusted_rand_score(y, on_pixels) > 0.5
    losses = [entry["loss"] for entry in model.history_ if entry["stage"] == "autoencoder"]
    assert losses[-1] < 0.5 * losses[0]


def test_pipeline(digits):
    X = digits[0][:200].reshape(200, -1)
    pipeline = make_pipeline(clone(FCAE_SHORT), SklearnKMeans(10, n_init=1, random_state=0))
    assert pipeline.fit_predict(X).shape == (200,)
    images = digits[0][:200]
    assert make_pipeline(clone(FCAE_SHORT), SklearnKMeans(10, n_init=1)).fit(images).predict(images).shape == (200,)


def test_reconstructions_have_the_images_shape(digits):
    X = digits[0][:100]
    model = clone(FCAE_SHORT).fit(X)
    assert model.reconstruct(X).shape == (100, 1, 8, 8)
    assert model.transform(X).shape == (100, 160)
    assert list(model.get_feature_names_out()[:2]) == ["fcae0", "fcae1"]


@pytest.mark.parametrize("start", ["half-trained", "random"])
def test_starts(digits, start):
    model = small("dbc", start=start)
    model.autoencoder.set_params(training=Training(n_epochs=4))
    model.fit(digits[0][:100])
    epochs = [entry for entry in model.history_ if entry["stage"] == "autoencoder"]
    assert len(epochs) == {"half-trained": 2, "random": 0}[start]


def test_stops_when_the_assignments_rest(digits):
    model = small("dbc")
    model.set_params(training=Training(n_epochs=50, lr=1e-9), augmentation="none").fit(digits[0][:100])
    joint = [entry for entry in model.history_ if entry["stage"] == "joint"]
    assert len(joint) < 50 and joint[-1]["changed"] == 0


@pytest.mark.parametrize("method", ["dbc", "dec"])
def test_mixed_precision_trains(digits, method):
    model = small(method, precision="bf16-mixed").fit(digits[0][:100])
    assert model.cluster_centers_.dtype == np.float32 and np.isfinite(model.cluster_centers_).all()
    assert (model.predict(digits[0][:100]) == model.labels_).mean() > 0.95


def test_nothing_global_is_touched(digits):
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  (the global state is the point)
    small("dbc").fit(digits[0][:60])
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


@pytest.mark.parametrize(
    ("model", "X", "words"),
    [
        (DBC(11), np.zeros((10, 8, 8), np.float32), "n_clusters=11.*n_samples=10"),
        (DBC(1), np.zeros((1, 8, 8), np.float32), "at least 2 images"),
        (DBC(2, boost=1.0), np.zeros((10, 8, 8), np.float32), "boost=1.0.*> 1"),
        (DBC(2, training=Training(lr=-1.0)), np.zeros((10, 8, 8), np.float32), "training.lr=-1.0"),
        (DBC(2, balance="x"), np.zeros((10, 8, 8), np.float32), "'boosted', 'none', 'soft'"),
        (DBC(2), np.full((10, 8, 8), np.nan, np.float32), "NaN"),
        (DBC(2, device="cuda:99"), np.zeros((10, 8, 8), np.float32), "device='cuda:99'"),
    ],
)
def test_bad_input_is_one_line(model, X, words):
    with pytest.raises(InputError, match=words) as error:
        model.fit(X)
    assert "\n" not in str(error.value)


def test_a_training_that_diverges_says_so(digits):
    with pytest.raises(DivergenceError, match="autoencoder is .*lower training.lr=1e"):
        FCAE(training=Training(lr=1e6, n_epochs=5), random_state=0).fit(digits[0][:60])


def test_one_cluster_and_equal_images():
    equal = np.full((12, 8, 8), 0.5, np.float32)
    assert (small("dbc", k=1).fit_predict(equal) == 0).all()
    assert small("dbc", k=3).fit_predict(equal).shape == (12,)
    assert (small("kmeans", k=1).fit_predict(equal) == 0).all()


def test_predict_on_another_shape_names_both(digits):
    model = small("dbc").fit(digits[0][:60])
    with pytest.raises(InputError, match=r"\(3, 8, 8\).*\(1, 8, 8\)"):
        model.predict(np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(NotFittedError):
        small("dbc").predict(digits[0][:5])


def test_resume_refuses_other_images_and_parameters(digits, tmp_path, monkeypatch):
    X = digits[0][:60]

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("asterism.methods.cluster_initialisation.Merger", stop)
    with pytest.raises(KeyboardInterrupt):
        small("dbc", run_dir=tmp_path).fit(X)
    monkeypatch.undo()
    with pytest.raises(RunError, match="unfinished"):
        load(tmp_path)
    with pytest.raises(RunError, match="other images"):
        small("dbc", run_dir=tmp_path).fit(X + 0.01)
    with pytest.raises(RunError, match=r"other parameters \(boost\)"):
        small("dbc", run_dir=tmp_path, boost=3.0).fit(X)
    resumed = small("dbc", run_dir=tmp_path).fit(X)
    np.testing.assert_array_equal(resumed.labels_, small("dbc").fit(X).labels_)


def test_loading_runs_nothing_from_the_folder(digits, tmp_path):
    small("kmeans", run_dir=tmp_path).fit(digits[0][:60])
    text = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(text.replace('"KMeans"', '"os.system"'))
    with pytest.raises(AsterismError, match="unknown class 'os.system'"):
        load(tmp_path)


def test_a_damaged_model_is_one_line(digits, tmp_path):
    small("kmeans", run_dir=tmp_path).fit(digits[0][:60])
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(RunError, match="damaged"):
        load(tmp_path)


def test_nested_parameters_that_are_none_start_from_the_defaults():
    model = DBC(3).set_params(training__lr=0.1, autoencoder__training__lr=0.3)
    assert model.training.lr == 0.1 and model.training.n_epochs == DBC.DEFAULTS["training"].n_epochs
    assert model.autoencoder.training.lr == 0.3 and DBC.DEFAULTS["training"].lr != 0.1
    assert DBC(3).set_params(training=clone(SHORT), training__lr=0.2).training.n_epochs == SHORT.n_epochs


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (torch.utils.data.DataLoader([1, 2]), "X.dataset"),
        ({"a": [1, 2]}, "X is a dict"),
        (None, "X is a NoneType"),
    ],
)
def test_what_is_no_image_is_told_so(X, words):
    with pytest.raises(InputError, match=words):
        KMeans(2).fit(X)


def test_few_images_cost_a_heavy_network_little():
    """A batch is computed whole, however few images there are."""
    heavy, light = torch.nn.Conv2d(3, 900, 64), torch.nn.Conv2d(3, 8, 3)
    assert _rows_at_once(light, (3, 32, 32)) == 1024
    assert 16 <= _rows_at_once(heavy, (3, 32, 32)) < 1024
