"""What scikit-learn's users do with an estimator beyond its own checks: searches, pipelines, frames, forks."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.metrics import silhouette_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from asterism import DBC, FCAE, METHODS, SAE, KMeans, load, open_images
from asterism.clustering.advice import suggest_k
from asterism.clustering.kmeans import kmeans
from asterism.clustering.linkage import GraphAgglomerativeClustering, average_linkage, cut
from asterism.clustering.nmf_transformer import GSNMF
from asterism.images.duplicates import duplicates
from asterism.training import Training

RNG = np.random.default_rng(0)
Y = RNG.permutation(np.repeat(np.arange(3), 20))
X = (RNG.normal(0, 6, (3, 8))[Y] + RNG.normal(0, 0.3, (60, 8))).astype(np.float32)
IMAGES = (0.25 + 0.25 * Y[:, None, None] + RNG.normal(0, 0.02, (60, 8, 8))).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("method", ["ac-link", "ac-gdl", "sc-ls", "iec"])
def test_a_grid_search_without_scoring_finds_the_number_of_groups(method):
    few = {"n_partitions": 5} if method == "iec" else {}
    search = GridSearchCV(METHODS[method](random_state=0, **few), {"n_clusters": [2, 3, 5]}, cv=2).fit(X)
    assert search.best_params_ == {"n_clusters": 3}
    assert -1 <= search.best_score_ <= 1


def test_the_silhouette_is_near_that_of_scikit_learn_and_0_for_one_group():
    model = METHODS["ac-gdl"](3, normalise=False).fit(X)
    assert model.score(X) == pytest.approx(silhouette_score(X, model.labels_), abs=0.05)
    assert METHODS["ac-gdl"](1).fit(X).score(X) == 0


@pytest.mark.parametrize("moved", [X + np.float32(1e5), np.ldexp(X, 66), np.ldexp(X, -80)])
def test_the_silhouette_knows_no_unit(moved):
    usual, model = (METHODS["ac-gdl"](3, normalise=False).fit(one) for one in (X, moved))
    assert model.score(moved) == pytest.approx(usual.score(X), abs=0.01)


def test_k_means_scores_minus_its_inertia():
    model = KMeans(3, random_state=0).fit(X)
    inertia = ((X - model.cluster_centers_[model.labels_]) ** 2).sum()
    assert model.score(X) == pytest.approx(-inertia, rel=1e-4)
    found = cross_validate(KMeans(3, random_state=0), X, Y, cv=2, scoring="adjusted_rand_score")
    assert found["test_score"].min() > 0.9
    assert GridSearchCV(KMeans(random_state=0), {"n_clusters": [2, 3]}, cv=2).fit(X).best_params_ == {"n_clusters": 3}


@pytest.mark.parametrize("made", [FCAE(), SAE((8, 4), layer_training=Training(n_epochs=1))])
def test_auto_encoders_score_their_reconstructions(made):
    model = made.set_params(training=Training(n_epochs=1), random_state=0, device="cpu").fit(IMAGES)
    error = ((model.reconstruct(IMAGES)[:, 0] - IMAGES) ** 2).mean()
    assert model.score(IMAGES) == pytest.approx(-error, rel=1e-4)


def test_every_method_has_centers_in_the_space_of_its_features():
    for method in ("kmeans", "dbc", "sc-njw"):
        params = {"training": Training(n_epochs=1), "autoencoder": SAE((8, 4))} if method == "dbc" else {}
        model = METHODS[method](3, random_state=0, device="cpu", **params).fit(IMAGES)
        assert np.isfinite(model.score(IMAGES))


def test_unions_and_pipelines():
    union = FeatureUnion([("a", KMeans(3, random_state=0)), ("b", StandardScaler())]).fit(X)
    assert union.transform(X).shape == (60, 16)
    assert make_pipeline(StandardScaler(), KMeans(3, random_state=0)).fit(X).score(X) < 0


def test_frames_and_their_columns():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(8)])
    model = KMeans(3, random_state=0).set_output(transform="pandas").fit(frame)
    assert list(model.feature_names_in_) == list(frame.columns)
    assert list(model.transform(frame).columns[:2]) == ["kmeans0", "kmeans1"]
    columns = ColumnTransformer([("k", KMeans(2, random_state=0), ["f0", "f1"])]).fit(frame)
    assert columns.transform(frame).shape == (60, 2)


def test_a_fitted_estimator_is_pickled(tmp_path):
    model = DBC(3, autoencoder=SAE((8, 4)), training=Training(n_epochs=1), random_state=0, device="cpu").fit(IMAGES)
    joblib.dump(model, tmp_path / "model")
    again = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(IMAGES), model.labels_)
    assert again.names_ == model.names_ and again.units_ == model.units_


FORK = """
import multiprocessing, sys
import numpy as np
from asterism import METHODS
X = np.random.default_rng(0).random((300, 16, 16)).astype("f4")
model = METHODS[sys.argv[1]](3, random_state=0, device="cpu").fit(X)
def work(queue):
    again = METHODS[sys.argv[1]](3, random_state=0, device="cpu").fit(X)
    queue.put([(model.predict(X) == model.labels_).all(), (again.labels_ == model.labels_).mean() > 0.9])
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=work, args=(queue,), daemon=True)
child.start()
print(all(queue.get(timeout=60)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("method", ["kmeans", "ac-gdl"])
def test_a_process_forked_after_a_fit_computes(method):
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", FORK, method], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "True", done.stderr[-500:]


class Silhouette(KMeans):
    """k-means that is scored as the other methods are: its own score grows with the number of groups."""

    score = DBC.score


def test_a_halving_search_finds_the_number_of_groups():
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    rng = np.random.default_rng(0)
    X = (8 * np.eye(4)[:3, None] + rng.normal(size=(3, 30, 4)) / 2).reshape(90, 4)[rng.permutation(90)]
    search = HalvingGridSearchCV(
        Silhouette(n_init=3, random_state=0),
        {"n_clusters": [2, 3, 6]},
        cv=2,
        factor=2,
        min_resources=40,
        random_state=0,
    )
    assert search.fit(X).best_params_ == {"n_clusters": 3}


class Groups(torch.utils.data.Dataset):
    """Images seen as the groups that a fitted estimator puts them into."""

    def __init__(self, model, images):
        self.model, self.images = model, images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return int(self.model.predict(self.images[index : index + 1])[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_workers_of_a_loader_predict():
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8)).astype(np.uint8)
    model = KMeans(3, n_init=1, random_state=0).fit(images)
    loader = torch.utils.data.DataLoader(Groups(model, images), batch_size=4, num_workers=1, timeout=120)
    assert torch.cat(list(loader)).tolist() == model.labels_.tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64])
def test_numbers_may_be_numpys_integers(dtype):
    many, k = np.tile(X, (6, 1)) + RNG.normal(0, 0.1, (360, 8)), dtype(3)
    for name in ("kmeans", "ac-link", "ac-gdl", "sc-ls", "diffusion"):
        usual, found = (METHODS[name](n_clusters=one, random_state=0).fit(many) for one in (3, k))
        np.testing.assert_array_equal(found.labels_, usual.labels_)
    assert len(np.unique(GraphAgglomerativeClustering(k, n_neighbors=k).fit(many).labels_)) == 3
    assert kmeans(many, k, n_init=dtype(2), max_iter=dtype(9)).centers.shape == (3, 8)
    assert GSNMF(k, batch_size=dtype(60), random_state=0).fit_transform(np.abs(many)).shape == (360, 3)
    assert np.unique(cut(average_linkage(many), k)).tolist() == [0, 1, 2]


@pytest.fixture(params=["float64", "no gradients", "inference", "device", "errors"])
def caller(request):
    """What a caller may have set for all that comes after."""
    if request.param == "float64":
        torch.set_default_dtype(torch.float64)
        yield
        assert torch.get_default_dtype() == torch.float64
        torch.set_default_dtype(torch.float32)
    elif request.param == "device":
        torch.set_default_device("meta")
        yield
        assert torch.get_default_device().type == "meta"
        torch.set_default_device(None)
    else:
        contexts = {"no gradients": torch.no_grad, "inference": torch.inference_mode}
        with contexts[request.param]() if request.param in contexts else np.errstate(all="raise"):
            yield


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Estimators, what they are fitted to, and what a fit gives where the caller has set nothing."""
    few = {"training": Training(n_epochs=1), "random_state": 0, "device": "cpu"}
    names = ("kmeans", "sc-njw", "sc-st", "sc-ls", "ac-gdl", "diffusion", "discriminant-diffusion")
    made = [(METHODS[name](n_clusters=3, random_state=0), X) for name in names] + [(FCAE(**few), IMAGES)]
    folder = tmp_path_factory.mktemp("runs")
    usual = [clone(one).fit(images).transform(images) for one, images in made]
    made[0][0].fit(X).save(folder / "kmeans")
    return made, usual, folder / "kmeans"


def test_what_the_caller_has_set_changes_nothing(fitted, caller):
    made, usual, run = fitted
    for (one, images), wanted in zip(made, usual, strict=True):
        np.testing.assert_array_equal(clone(one).fit(images).transform(images), wanted)
    loaded = load(run)
    np.testing.assert_array_equal(loaded.predict(X), loaded.labels_)
    assert loaded.score(X) < 0 and loaded.predict_proba(X).shape == (60, 3)
    assert kmeans(X, 3, random_state=0).centers.dtype == np.float32
    assert GSNMF(3, random_state=0).fit_transform(np.abs(X)).dtype == np.float32
    assert len(np.unique(GraphAgglomerativeClustering(3).fit(X).labels_)) == 3
    assert suggest_k(X).k == 3
    assert duplicates(open_images(np.repeat(IMAGES[:9], 2, 0))).tolist() == np.repeat(np.arange(0, 18, 2), 2).tolist()


@pytest.mark.parametrize("name", ["kmeans", "ac-link", "diffusion"])
def test_a_model_that_joblib_maps_into_memory_warns_of_nothing(name, tmp_path, recwarn):
    """As `joblib.Parallel` hands large models to its workers."""
    torch.set_warn_always(True)
    try:
        model = METHODS[name](n_clusters=3, random_state=0).fit(X, outliers=0.01)
        joblib.dump(model, tmp_path / "model")
        mapped = joblib.load(tmp_path / "model", mmap_mode="r")
        assert not mapped.cluster_centers_.flags.writeable
        np.testing.assert_array_equal(mapped.predict(X), model.predict(X))
        assert mapped.score(X) == model.score(X) and mapped.predict_proba(X).shape == (60, 3)
        mapped.save(tmp_path / "run")
        joblib.dump(GSNMF(2, random_state=0).fit(np.abs(X)), tmp_path / "nmf")
        joblib.load(tmp_path / "nmf", mmap_mode="r").transform(np.abs(X))
    finally:
        torch.set_warn_always(False)
    assert not recwarn.list
