"""What is done with an estimator after its fit, or before it is loaded again: another fit, other parameters, moves."""

import copy
import json
import os
import pickle

import numpy as np
import pytest
import sklearn

from asterism import DBC, FCAE, FCN, KMeans, Training, load
from asterism.clustering.advice import suggest_k
from asterism.errors import InputError, MissingDataError, RunError
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.methods.joint_training import JointTraining
from asterism.runtime import device_here

X = np.random.RandomState(0).randint(256, size=(24, 8, 8)).astype(np.uint8)
ROWS = np.random.RandomState(0).rand(60, 6)
OTHERS = np.random.RandomState(0).rand(20, 16, 16)


def small(**params):
    """A DBC of two rounds."""
    return DBC(
        3,
        training=JointTraining(n_epochs=2, batch_size=16, lr=0.01),
        autoencoder=FCAE(training=Training(n_epochs=1, batch_size=16), max_unexplained=1),
        cluster_initialisation=ClusterInitialisation("k-means", rounds=0),
        **{"random_state": 0, **params},
    )


def stop(labels):
    raise KeyboardInterrupt


def test_a_fit_that_is_refused_leaves_what_was_found_before():
    model = KMeans(3, random_state=0).fit(X)
    before = dict(vars(model))
    with pytest.raises(InputError, match="more than the number of images"):
        model.fit(OTHERS[:2])
    assert vars(model) == before
    assert len(model.names_) == len(X)


def test_a_fit_that_is_stopped_midway_leaves_what_was_found_before():
    model = small().fit(X)
    model.on_round = stop
    with pytest.raises(KeyboardInterrupt):
        model.fit(OTHERS, outliers=0.01)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    assert model.significance is None


def test_a_first_fit_that_fails_leaves_no_half_of_one():
    model = small()
    model.on_round = stop
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize(
    ("model", "params"),
    [
        (FCAE(5, training=Training(n_epochs=1), max_unexplained=1), {"n_features": 7}),
        (small(), {"autoencoder__n_features": 9}),
        (small(), {"training__lr": 0.5}),
        (KMeans(3, random_state=0), {"n_clusters": -5}),
    ],
)
def test_what_is_saved_has_the_parameters_of_its_fit(model, params, tmp_path):
    (name,) = params
    before, expected = model.get_params()[name], model.fit(X).transform(X)
    model.set_params(**params, device="cpu").save(tmp_path / "one")
    again = load(tmp_path / "one")
    np.testing.assert_array_equal(again.transform(X), expected)
    assert again.get_params()[name] == before
    assert again.device == "cpu"
    assert model.get_params()[name] == params[name]
    again.set_params(**params).save(tmp_path / "two")
    assert load(tmp_path / "two").get_params()[name] == before


@pytest.mark.parametrize(("began", "then"), [(0, None), (None, None), (0, np.int64(0)), (None, "its own")])
def test_an_unfinished_run_goes_on_with_its_seed(began, then, tmp_path):
    model = small(random_state=began, run_dir=tmp_path)
    model.on_round = stop
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    seed = json.loads((tmp_path / "run.json").read_text())["seed"]
    with pytest.raises(RunError, match=rf"random_state={seed}, not {seed + 1}; resume it with its own"):
        small(random_state=seed + 1, run_dir=tmp_path).fit(X)
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "interrupted"
    assert small(random_state=seed if then == "its own" else then, run_dir=tmp_path).fit(X).seed_ == seed


def test_a_loaded_run_has_its_names_wherever_the_work_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = KMeans(3, random_state=0).fit(X)
    expected.save("run")
    model, other, third = load("run"), load("run"), load("run")
    monkeypatch.chdir("/")
    assert model.names_ == expected.names_
    other.save(tmp_path / "again")
    assert (tmp_path / "again" / "labels.csv").read_text() == (tmp_path / "run" / "labels.csv").read_text()
    copies = [pickle.loads(pickle.dumps(third)), copy.deepcopy(load(tmp_path / "run"))]
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert [one.names_ for one in copies] == [expected.names_] * 2


def test_a_table_that_is_gone_is_told(tmp_path):
    KMeans(3, random_state=0).fit(X).save(tmp_path / "run")
    model = load(tmp_path / "run")
    (tmp_path / "run" / "labels.csv").unlink()
    with pytest.warns(UserWarning, match=r"gets no labels\.csv: .*labels\.csv does not give the names"):
        model.save(tmp_path / "again")
    assert load(tmp_path / "again").predict(X).shape == (24,)


def test_a_fit_that_changes_the_working_folder_writes_in_one(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    model = small(run_dir="run")
    model.on_round = lambda labels: os.chdir(tmp_path / "other")
    model.fit(X)
    assert not list((tmp_path / "other").iterdir())
    assert not (tmp_path / "run" / ".lock").exists()
    np.testing.assert_array_equal(load(tmp_path / "run").labels_, model.labels_)


def test_tables_as_what_transform_gives_change_nothing_else(tmp_path):
    model = small(run_dir=tmp_path / "usual").fit(X)
    expected = [model.cut(5, X), model.pick(3, X), suggest_k(ROWS).k]
    with sklearn.config_context(transform_output="pandas"):  # asks for pandas wherever it takes effect
        model = small(run_dir=tmp_path / "tables").fit(X)
        got = [model.cut(5, X), model.pick(3, X), suggest_k(ROWS).k]
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    kept = [tmp_path / name / "pictures.safetensors" for name in ("usual", "tables")]
    assert kept[0].read_bytes() == kept[1].read_bytes()


@pytest.mark.parametrize("device", ["cuda", "cuda:17", "mps", "cpu", "auto"])
def test_a_run_of_another_machine_predicts_on_this_one(device, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    model = KMeans(3, random_state=0, device="cpu").fit(X)
    model.save(tmp_path)
    content = json.loads((tmp_path / "run.json").read_text())
    content["params"]["device"] = device
    (tmp_path / "run.json").write_text(json.dumps(content))
    again = load(tmp_path)
    assert again.device == ("cpu" if device == "cpu" else "auto")
    np.testing.assert_array_equal(again.set_params(device="cpu").predict(X), model.labels_)


@pytest.mark.parametrize(
    ("device", "here"), [("cuda", "cuda"), ("cuda:1", "cuda:1"), ("cuda:2", "auto"), ("cuda:x", "auto")]
)
def test_a_gpu_that_is_there_is_kept(device, here, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert device_here(device) == here


def test_a_network_that_nobody_named_is_that_of_the_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("asterism.networks.backbones.default_network", lambda: "mobilenet_v2")
    model = FCN(3, random_state=0).fit(ROWS)
    monkeypatch.setattr("asterism.networks.backbones.default_network", lambda: "vgg16")
    model.save(tmp_path)
    assert load(tmp_path).backbone.name == "mobilenet_v2"
    assert model.backbone is None


def test_a_file_of_a_run_is_told_from_its_folder(tmp_path):
    KMeans(3, random_state=0).fit(X).save(tmp_path / "one")
    with pytest.raises(MissingDataError, match=r"run\.json is a file, and runs are folders: give .*one$"):
        load(tmp_path / "one" / "run.json")
