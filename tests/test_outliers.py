"""Images that belong nowhere: the rule, the method, and all that reads its labels."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from asterism import Diffusion, load
from asterism.cli.app import app
from asterism.clustering.outliers import p_values, typical


def vectors(seed=0, n=150, centers=3):
    """Vectors (n, 40) around directions, whose group is known."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % centers
    return (np.eye(40, dtype="f4")[y] * 5 + rng.normal(0, 0.4, (n, 40))).astype("f4"), y


@pytest.fixture(scope="module")
def strange():
    """Vectors of which the last three are like none."""
    X, y = vectors()
    far = np.zeros((3, 40), "f4")
    far[[0, 1, 2], [20, 25, 30]] = 8
    return np.concatenate([X, far]), np.concatenate([y, [0, 1, 2]])


def test_outliers_hardly_change_what_is_typical():
    rng = np.random.RandomState(0)
    usual, far = rng.normal(3, 0.5, 4000), np.full(400, 20.0)
    median, deviation = typical(np.concatenate([usual, far]))
    assert abs(median - 3) < 0.1 and abs(deviation - 0.5) < 0.1
    p = p_values(usual, median, deviation)
    assert 0.001 < (p < 0.01).mean() < 0.02
    assert (p_values(far, median, deviation) < 1e-6).all()
    assert (p_values(far, *typical(np.ones(9))) == 1).all()  # all equal: nothing is known


def test_what_is_like_nothing_else_gets_no_group_and_the_others_theirs(strange):
    X, _ = strange
    without, with_ = (Diffusion(3, outliers=alpha, random_state=0).fit(X) for alpha in (None, 0.01))
    found = with_.labels_ < 0
    assert found[-3:].all() and found[:-3].mean() <= 0.03
    assert (with_.labels_[~found] == without.labels_[~found]).all() and (without.labels_ >= 0).all()
    assert (with_.confidence_[found] > 0.99).all()


def test_new_images_are_refused_where_that_is_asked_for(strange):
    X, _ = vectors()
    new, _ = vectors(seed=1)
    noise = np.random.RandomState(2).normal(0, 1, (60, 40)).astype("f4")
    model = Diffusion(3, random_state=0).fit(X)
    assert (model.predict(noise) >= 0).all()
    assert (model.predict_with_confidence(noise, outliers=0.01)[0] < 0).mean() > 0.95
    labels, confidence = model.predict_with_confidence(new, outliers=0.01)
    assert (labels < 0).mean() <= 0.05 and confidence.dtype == np.float32
    assert (labels[labels >= 0] == model.predict(new)[labels >= 0]).all()
    assert (Diffusion(3, random_state=0, outliers=0.01).fit(X).predict(noise) < 0).mean() > 0.95


def test_a_run_keeps_what_tells_them_and_says_nothing_of_what_is_off(strange, tmp_path):
    X, _ = strange
    model = Diffusion(3, outliers=0.01, random_state=0, run_dir=tmp_path / "run").fit(X)
    again = load(tmp_path / "run")
    assert (again.labels_ == model.labels_).all() and (again.predict(X) == model.predict(X)).all()
    header, *rows = csv.reader((tmp_path / "run" / "labels.csv").open(newline=""))
    assert header == ["path", "cluster", "confidence", "duplicate_of", "outlier"]
    assert [row[4] for row in rows] == ["1" if y < 0 else "0" for y in model.labels_] and not any(r[3] for r in rows)
    Diffusion(3, random_state=0, run_dir=tmp_path / "off").fit(X)
    assert not {"outliers", "drop_duplicates"} & set(json.loads((tmp_path / "off" / "run.json").read_text())["params"])
    assert (tmp_path / "off" / "labels.csv").read_text().startswith("path,cluster,confidence\n")


def test_every_command_takes_images_in_no_group(tmp_path, strange):
    X, y = strange
    np.savez(tmp_path / "x.npz", images=X, labels=y)
    run, x = tmp_path / "run", str(tmp_path / "x.npz")
    call = CliRunner().invoke
    made = call(app, ["cluster", x, "-k", "3", "--outliers", "--method", "diffusion", "--out", str(run)])
    assert made.exit_code == 0, made.output
    assert "in no group: label -1" in made.output and "outliers)" in made.output
    page = (run / "report.html").read_text()
    assert "In no group" in page and '"none": 3' in page and "in 3 groups" in page
    assert "n_outliers" in call(app, ["evaluate", str(run)]).output
    assert call(app, ["report", str(run)]).exit_code == 0
    plain, out = tmp_path / "plain", str(tmp_path / "p.csv")
    assert call(app, ["cluster", x, "-k", "3", "--method", "diffusion", "--out", str(plain)]).exit_code == 0
    predicted = call(app, ["predict", str(plain), x, "--outliers", "--out", out])
    assert predicted.exit_code == 0 and "in none" in predicted.output, predicted.output
    assert [row["outlier"] for row in csv.DictReader((tmp_path / "p.csv").open(newline=""))][-3:] == ["1"] * 3


def test_a_method_that_cannot_tell_says_so(tmp_path):
    X, _ = vectors(n=30)
    np.savez(tmp_path / "x.npz", images=X)
    asked = ["--method", "kmeans", "--outliers", "--out", str(tmp_path / "r")]
    said = CliRunner().invoke(app, ["cluster", str(tmp_path / "x.npz"), "-k", "2", *asked])
    assert said.exit_code == 1 and "outliers" in said.output and not (tmp_path / "r").exists()
