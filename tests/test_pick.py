"""A few images that stand for all: what is picked, and the command."""

import csv

import numpy as np
import pytest
from PIL import Image

from asterism import Diffusion, KMeans
from asterism.clustering.representatives import representatives, typical_members
from asterism.errors import InputError
from test_cli import run


def blobs(sizes=(60, 30, 6), seed=0):
    """Vectors (N, 40) around directions, and their groups."""
    y = np.repeat(np.arange(len(sizes)), sizes)
    return (np.eye(40)[y] * 6 + np.random.default_rng(seed).normal(0, 0.5, (len(y), 40))).astype("f4"), y


def draw():
    return np.random.RandomState(0)


def test_small_groups_are_among_the_picks():
    X, y = blobs()
    assert set(y[representatives(X, 3, draw())]) == {0, 1, 2}
    found = representatives(X, 96, draw())
    assert sorted(found) == list(range(96))


@pytest.mark.parametrize("change", [lambda X: X * 1e-20, lambda X: X * 1e20, lambda X: X + 1e9])
def test_picks_are_the_same_in_any_unit_and_at_any_distance_from_0(change):
    X, _ = blobs()
    X = X.astype(float)
    assert representatives(change(X), 5, draw()).tolist() == representatives(X, 5, draw()).tolist()


def test_the_first_pick_is_the_one_most_similar_to_all():
    X = np.array([[1.0, 0], [0, 1], [0, 0], [-1, 0], [0, -1]])
    assert representatives(X, 1, draw()).tolist() == [2]
    assert representatives(np.ones((4, 2)), 3, draw()).tolist() == [0, 1, 2]  # all alike


def test_greedy_reaches_what_is_known_of_it():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(9, 3)).astype("f4")
    Z = X - X.mean(0)
    S = np.clip(1 - ((Z[:, None] - Z[None]) ** 2).sum(2) / 2 / (Z**2).sum(1).mean(), 0, None)
    best = max(S[[i, j]].max(0).sum() for i in range(9) for j in range(i))
    assert S[representatives(X, 2, draw())].max(0).sum() >= (1 - 1 / np.e) * best


def test_many_of_very_many(monkeypatch):
    monkeypatch.setattr("asterism.clustering.representatives.MOST_ROWS", 40)
    monkeypatch.setattr("asterism.clustering.representatives.MOST_PICKS", 10)
    X, y = blobs((200, 100, 50))
    for n in (3, 25, 350):
        found = representatives(X, n, draw())
        assert len(set(found.tolist())) == n and set(y[found]) == {0, 1, 2}


@pytest.mark.parametrize(("n", "shares"), [(2, [1, 1, 0]), (6, [2, 2, 2]), (10, [4, 3, 3]), (40, [17, 17, 6])])
def test_as_many_of_each_group(n, shares):
    X, y = blobs()
    found = typical_members(X, y, n, draw())
    assert np.bincount(y[found], minlength=3).tolist() == shares and (np.diff(y[found]) >= 0).all()


def test_copies_and_outliers_are_not_picked():
    X, _ = blobs()
    X = np.concatenate([X, X[:5], np.full((1, 40), 9, "f4")])
    model = KMeans(3, random_state=0).fit(X, outliers=0.01, drop_duplicates=True)
    left = int(((model.labels_ >= 0) & (model.duplicate_of_ == np.arange(len(X)))).sum())
    assert left < len(X) - 5
    for how in ("diverse", "typical"):
        found = model.pick(left, X, how=how)
        assert (model.labels_[found] >= 0).all() and (model.duplicate_of_[found] == found).all()
    with pytest.raises(InputError, match=f"of {left} that are no copies"):
        model.pick(left + 1, X)


def test_what_cannot_be_picked():
    model = Diffusion(3, random_state=0).fit(blobs()[0])
    assert len(model.pick(5)) == 5 and (model.pick(5) == model.pick(5)).all()
    for n in (0, -1, 97, 1.5):
        with pytest.raises(InputError, match="cannot be picked of 96"):
            model.pick(n)
    with pytest.raises(InputError, match="how='best'"):
        model.pick(3, how="best")
    with pytest.raises(InputError, match="keeps no features"):
        KMeans(3, random_state=0).fit(blobs()[0]).pick(3)


def test_the_command(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(24):
        picture = (rng.random((12, 12)) * 90).astype(np.uint8)
        picture[:, 4 * (i % 3) : 4 * (i % 3) + 4] += 150
        Image.fromarray(picture).save(tmp_path / "photos" / f"{i}.png")
    fitted = tmp_path / "run"
    run("cluster", tmp_path / "photos", "-k", 3, "--method", "kmeans", "--no-report", "-q", "--out", fitted)
    done = run("pick", fitted, "-n", 6, "--typical", "--out", tmp_path / "p.csv", "--export", tmp_path / "p", "--copy")
    assert "6 images of 3 groups" in done.stdout
    rows = list(csv.DictReader((tmp_path / "p.csv").open(newline="")))
    assert [row["group"] for row in rows] == ["0", "0", "1", "1", "2", "2"]
    assert sorted(path.name for path in (tmp_path / "p").rglob("*.png")) == sorted(row["path"] for row in rows)
    run("pick", fitted, "-n", 4, "--out", tmp_path / "p.csv", "--export", tmp_path / "p", "--overwrite")
    assert len(list((tmp_path / "p").rglob("*.png"))) == 4
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").write_text("mine")
    (tmp_path / "own.csv").write_text("mine")
    assert "holds other things" in run("pick", fitted, "-n", 4, "--export", tmp_path / "own", code=1).stderr
    assert "not written by this" in run("pick", fitted, "-n", 4, "--out", tmp_path / "own.csv", code=1).stderr
    assert "lies among the images" in run("pick", fitted, "-n", 4, "--export", tmp_path / "photos" / "x", code=1).stderr
    assert "cannot be picked of 24" in run("pick", fitted, "-n", 25, "--out", tmp_path / "q.csv", code=1).stderr
    assert "Give --out" in run("pick", fitted, "-n", 4, code=2).stderr
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert "does not exist" in run("pick", fitted, "-n", 4, "--out", tmp_path / "q.csv", code=1).stderr
    run("pick", fitted, "-n", 4, "--out", tmp_path / "q.csv", "--images", tmp_path / "moved")
