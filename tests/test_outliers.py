"""Images that belong nowhere: the rule, the method, and all that reads its labels."""

import csv
import json
import weakref

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from typer.testing import CliRunner

from asterism import (
    DBC,
    FCAE,
    FCN,
    JULE,
    Backbone,
    Diffusion,
    GraphDegreeLinkage,
    KMeans,
    LandmarkSpectral,
    Training,
    load,
    open_images,
)
from asterism.cli.app import app
from asterism.cli.new_images import placed
from asterism.clustering.outliers import conformal_p_values, p_values, typical
from asterism.errors import InputError, RunError
from asterism.estimator import screening
from asterism.methods.jule_settings import TripletTraining


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
    assert adjusted_rand_score(without.labels_[~found], with_.labels_[~found]) == 1 and (without.labels_ >= 0).all()
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


def test_a_new_fit_keeps_nothing_of_the_one_before():
    X, other = vectors()[0], vectors(seed=1)[0]
    model = Diffusion(3, random_state=0).fit(X, outliers=0.01)
    model.fit(other)
    assert not hasattr(model, "significance_") and not hasattr(model, "reference_distances_")
    asked = model.predict_with_confidence(X, outliers=0.01)[1]
    known = model.reference_distances_  # found when they were asked for
    assert np.array_equal(known, Diffusion(3, random_state=0).fit(other, outliers=1e-9).reference_distances_)
    model.fit(X)
    model.fit(other)
    assert np.array_equal(model.predict_with_confidence(X, outliers=0.01)[1], asked)


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


def test_predict_says_that_images_are_like_none_of_the_runs(tmp_path):
    """Noise got a group at confidence .99, and no word."""
    X, _ = vectors()
    np.savez(tmp_path / "x.npz", images=X)
    np.savez(tmp_path / "new.npz", images=np.concatenate([vectors(seed=1)[0][:40], -9 * np.eye(5, 40, dtype="f4")]))
    run, call = str(tmp_path / "run"), CliRunner().invoke
    made = call(
        app, ["cluster", str(tmp_path / "x.npz"), "-k", "3", "--method", "diffusion", "--out", run, "--no-report"]
    )
    assert made.exit_code == 0, made.output
    done = call(app, ["predict", run, str(tmp_path / "new.npz"), "--out", str(tmp_path / "p.csv")])
    assert done.exit_code == 0 and "like none of the run's images: 5 of 45;" in done.stderr, done.output
    found = [int(row["cluster"]) for row in csv.DictReader((tmp_path / "p.csv").open(newline=""))]
    assert np.array_equal(found, load(run).predict(np.load(tmp_path / "new.npz")["images"]))
    same = call(app, ["predict", run, str(tmp_path / "x.npz"), "--out", str(tmp_path / "q.csv")])
    assert same.exit_code == 0 and "like none" not in same.stderr


def test_features_of_new_images_are_computed_once_however_strange_they_are(monkeypatch):
    X, new = vectors()[0], np.concatenate([vectors(seed=1)[0][:40], -9 * np.eye(5, 40, dtype="f4")])
    model, asked = Diffusion(3, random_state=0).fit(X), []
    real = Diffusion._vectors

    def counted(self, images, *more):
        asked.append(len(images))
        return real(self, images, *more)

    monkeypatch.setattr(Diffusion, "_vectors", counted)
    with pytest.warns(UserWarning, match="5 of 45"):
        labels, confidence = placed(model, open_images(new), None)
    assert asked == [45]
    known, sure = model.predict_with_confidence(new)
    assert np.array_equal(labels, known) and np.array_equal(confidence, sure)
    refused, p = model.predict_with_confidence(new, outliers=0.01)
    assert (refused[40:] == -1).all() and (p[40:] > 0.99).all() and np.array_equal(refused[:40], known[:40])


@pytest.mark.parametrize(("n", "n_strange", "told"), [(500, 12, False), (500, 30, True), (1, 1, True), (1, 0, False)])
def test_predict_says_nothing_of_as_many_as_chance_makes_strange(n, n_strange, told, recwarn):
    """Was told of 12 of the 500 images of UKBench's other half (docs/reliability.md), which belong."""

    class Fitted:
        reference_ = np.zeros((500, 2))

        def _placed(self, images, layout, judged):
            n = len(images)
            return np.zeros(n, int), np.ones(n), np.where(np.arange(n) < n_strange, 0.001, 0.5)

    labels, _ = placed(Fitted(), open_images(np.zeros((n, 4, 4), np.uint8)), None)
    assert not labels.any() and [str(one.message)[:4] for one in recwarn] == ["like"] * told


TRAINED = Training(n_epochs=1)
EVERY_KIND = [  # of methods: k-means and voting on pixels, a tree, frozen features, a network that is learnt
    KMeans(3),
    LandmarkSpectral(3),
    GraphDegreeLinkage(3, n_neighbors=5),
    FCN(3, backbone=Backbone("pixels"), training=TRAINED),
    DBC(3, training=TRAINED, autoencoder=FCAE(training=TRAINED)),
    JULE(3, n_neighbors=6, training=TripletTraining(n_epochs=1, batch_size=30)),
]


def pictures(n=60, seed=0):
    """Grey pictures (n, 12, 12) of three kinds: one bright third."""
    rng = np.random.default_rng(seed)
    images = rng.random((n, 12, 12)).astype("f4") * 0.3
    for i in range(n):
        images[i, :, 4 * (i % 3) : 4 * (i % 3) + 4] += 0.6
    return images


@pytest.mark.parametrize("model", EVERY_KIND, ids=lambda one: type(one).__name__)
def test_every_method_leaves_out_what_belongs_nowhere_and_counts_copies_once(model, tmp_path):
    clean, noise = pictures(), np.random.default_rng(5).random((2, 12, 12)).round().astype("f4")
    X = np.concatenate([clean, noise, clean[:4]])  # 60 pictures, two of nothing, four copies
    model = clone(model).set_params(random_state=0, run_dir=tmp_path / "run")
    model.fit(X, outliers=0.01, drop_duplicates=True)
    assert (model.labels_[-4:] == model.labels_[:4]).all() and (model.duplicate_of_[-4:] == range(4)).all()
    assert (model.labels_ < 0).mean() < 0.1 and (model.labels_[:60] >= 0).sum() > 54
    if not isinstance(model, (DBC, JULE)):  # networks that have learnt nothing yet
        assert (model.labels_[60:62] == -1).all() and (model.confidence_[60:62] > 0.99).all()
    again = load(tmp_path / "run")
    new = pictures(30, seed=1)
    for one in (again, model):
        assert set(one.predict(new)) <= {-1, 0, 1, 2}
    assert (again.predict(new) == model.predict(new)).all() and again.significance == 0.01
    assert (again.predict(new) < 0).mean() <= 0.1
    for k in (2, 5):
        cut = model.cut(k, X)
        assert len(np.unique(cut[cut >= 0])) == k and (cut[-4:] == cut[:4]).all()
        assert ((cut < 0) == (model.labels_ < 0)).all()


def test_hardly_more_than_the_stated_share_of_what_belongs_is_refused():
    rng = np.random.default_rng(0)
    known, new = rng.gamma(9, 1, 2000), rng.gamma(9, 1, 20_000)
    for alpha in (0.01, 0.05, 0.2):
        assert (conformal_p_values(new, known) < alpha).mean() < 1.2 * alpha
    p = conformal_p_values(np.array([1.0, 30.0, 60.0]), known)
    assert p[0] > 0.99 and p[1] < 1 / 2001 and p[2] < p[1]
    strange = conformal_p_values(np.full(1, 60.0), np.concatenate([known, np.full(60, 50.0)]))
    assert strange[0] < 0.01  # three per cent of strange ones among the known hide nothing
    assert (conformal_p_values(np.array([0.0, 5.0]), np.ones(9)) == [1, 0.1]).all()  # all alike


def test_a_few_strange_ones_that_are_alike_do_not_hide_each_other():
    X, _ = vectors()
    strange = np.zeros((4, 40), "f4")
    strange[:, 30] = 8
    alike = np.concatenate([X, strange + np.random.RandomState(3).normal(0, 0.01, strange.shape).astype("f4")])
    model = Diffusion(3, random_state=0).fit(alike, outliers=0.01)
    assert (model.labels_[-4:] == -1).all() and (model.labels_[:-4] < 0).mean() < 0.05
    assert (model.predict(strange + 0.01) == -1).all()


@pytest.mark.parametrize("outliers", [0, 0.5, -1, float("nan"), "many", True])
def test_a_share_that_is_none(outliers):
    with pytest.raises(InputError, match="outliers="):
        KMeans(2).fit(np.eye(6), outliers=outliers)


@pytest.mark.parametrize("method", [Diffusion, KMeans])
def test_outliers_are_looked_for_part_by_part(strange, method, monkeypatch):
    """A million vectors were held six times over, as float64 too."""
    X, asked = strange[0], []
    whole = method(3, random_state=0).fit(X, outliers=0.01)
    real = screening.neighbor_distance

    def watched(rows, samples, own=None):
        asked.append(len(rows) if rows is not samples else 0)
        return real(rows, samples, own)

    monkeypatch.setattr(screening, "neighbor_distance", watched)
    monkeypatch.setattr(screening, "AT_ONCE", 16 * 40)
    monkeypatch.setattr("asterism.features.store.IN_MEMORY", 0)
    parts = method(3, random_state=0).fit(X, outliers=0.01)
    assert max(asked) == 16 and sum(asked) == len(X) and (parts.labels_[-3:] == -1).all()
    for name in ("labels_", "confidence_", "reference_", "reference_distances_"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-6)


def test_too_few_are_left():
    with pytest.raises(InputError, match="n_clusters=4 is more than the 3 images that are no copies of others"):
        KMeans(4).fit(np.repeat(np.eye(3), 2, 0), drop_duplicates=True)
    with pytest.raises(InputError, match="pass outliers to fit, and fit anew"):
        KMeans(2, random_state=0).fit(np.eye(6)).predict(np.eye(6), outliers=0.01)
    with pytest.raises(InputError, match="drop_duplicates="):
        KMeans(2).fit(np.eye(6), drop_duplicates="yes")


def test_the_command_asks_every_method_and_a_run_goes_on_as_it_began(tmp_path):
    X, _ = vectors(n=60)
    np.savez(tmp_path / "x.npz", images=np.concatenate([X, X[:3], np.full((1, 40), 30, "f4")]))
    call, x, run = CliRunner().invoke, str(tmp_path / "x.npz"), tmp_path / "run"
    asked = ["-k", "3", "--method", "kmeans", "--no-report"]
    done = call(app, ["cluster", x, *asked, "--outliers", "--drop-duplicates", "--out", str(run)])
    assert done.exit_code == 0 and "in no group" in done.output and "3 images are copies" in done.output
    content = json.loads((run / "run.json").read_text())
    assert content["screening"] == {"outliers": 0.01, "drop_duplicates": True}
    rows = list(csv.DictReader((run / "labels.csv").open(newline="")))
    assert [row["duplicate_of"] for row in rows[60:63]] == [row["path"] for row in rows[:3]]
    assert rows[63]["outlier"] == "1"
    like = call(app, ["cluster", x, "--like", str(run), "--no-report", "--out", str(tmp_path / "like")])
    assert like.exit_code == 0, like.output
    assert (tmp_path / "like" / "labels.csv").read_text() == (run / "labels.csv").read_text()
    (run / "run.json").write_text(json.dumps(content | {"status": "interrupted"}))
    assert call(app, ["cluster", "--resume", "--no-report", "--out", str(run)]).exit_code == 0
    plain = tmp_path / "plain"
    assert call(app, ["cluster", x, *asked, "--out", str(plain)]).exit_code == 0
    (plain / "run.json").write_text((plain / "run.json").read_text().replace('"finished"', '"interrupted"'))
    other = call(app, ["cluster", "--resume", "--outliers", "--no-report", "--out", str(plain)])
    assert other.exit_code == 1 and "other outliers or copies" in other.output
    out = ["--outliers", "--out", str(tmp_path / "p.csv")]
    (plain / "run.json").write_text((plain / "run.json").read_text().replace('"interrupted"', '"finished"'))
    refused = call(app, ["predict", str(plain), x, *out])
    assert refused.exit_code == 1 and "make the run anew with --outliers" in refused.output


@pytest.mark.parametrize("damage", [{"outliers": "x"}, {"else": 1}, [], {"drop_duplicates": 1}])
def test_what_was_asked_is_read_with_care(tmp_path, damage):
    KMeans(2, random_state=0, run_dir=tmp_path / "r").fit(np.eye(6))
    path = tmp_path / "r" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"screening": damage}))
    with pytest.raises(RunError, match="screening"):
        load(tmp_path / "r")


def test_predict_keeps_nothing_of_the_blocks_that_are_done(monkeypatch):
    monkeypatch.setattr("asterism.estimator.base.LARGEST_BLOCK", 16)
    X, made = np.random.RandomState(0).rand(80, 6, 6).astype(np.float32), []
    model = KMeans(3, n_init=1, random_state=0, device="cpu").fit(X)
    features, most = KMeans._features, 0

    def watched(self, images):
        nonlocal most
        most = max(most, sum(one() is not None for one in made))
        found = features(self, images)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(KMeans, "_features", watched)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    assert len(made) == 5 and most <= 1  # those of one block
