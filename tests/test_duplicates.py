"""Copies of pictures: which are found, which are not, and what becomes of them."""

import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import adjusted_rand_score
from typer.testing import CliRunner

from asterism import METHODS, Backbone, Diffusion, open_images
from asterism.cli.app import app
from asterism.images import duplicates as duplicates_module
from asterism.images import pack as pack_module
from asterism.images.duplicates import duplicates, stars


def picture(seed, width=160, height=120):
    """A picture of blobs of light, as smooth and as rich as a photograph."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width] / height
    found = np.zeros((height, width, 3))
    for _ in range(25):
        (a, b), size, tint = rng.uniform(0, 1.4, 2), rng.uniform(0.03, 0.25), rng.uniform(-120, 120, 3)
        found += np.exp(-((x - a) ** 2 + (y - b) ** 2) / size**2)[..., None] * tint
    return Image.fromarray((found + 110 + rng.normal(0, 6, found.shape)).clip(5, 240).astype("u1"))


def as_jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def cut(image, share):
    width, height = image.size
    edges = (width * share * 0.8, height * share * 0.3, width * (1 - share * 0.2), height * (1 - share * 0.7))
    return image.crop(tuple(map(int, edges)))


COPIES = {
    "smaller": lambda one: one.resize((96, 72), Image.LANCZOS),
    "jpeg": lambda one: as_jpeg(one, 30),
    "cut": lambda one: cut(one, 0.05),
    "brighter": lambda one: one.point(lambda value: value * 1.05),
    "all": lambda one: as_jpeg(cut(one, 0.03).resize((120, 90)), 40),
}
OTHERS = {
    "half": lambda one: cut(one, 0.4),
    "mirrored": lambda one: one.transpose(Image.FLIP_LEFT_RIGHT),
    "negative": lambda one: one.point(lambda value: 255 - value),
    "tinted": lambda one: Image.merge("RGB", one.split()[::-1]),
}


@pytest.fixture
def photos(tmp_path):
    """A folder of 14 pictures, and copies of three of them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(14):
        picture(i).save(folder / f"p{i:02d}.png")
    COPIES["all"](picture(2)).save(folder / "a-small.png")
    COPIES["brighter"](picture(5)).save(folder / "q5.png")
    COPIES["cut"](picture(5)).save(folder / "q5-cut.png")
    return folder


def sources(images):
    return open_images([np.asarray(one.resize((96, 96))) for one in images])


def test_copies_of_the_same_pictures_are_looked_for_once(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    found = duplicates(open_images(photos))
    kept = next((tmp_path / "cache" / "packed").glob("copies-*.json"))
    with monkeypatch.context() as patch:
        patch.setattr(duplicates_module, "_pictures", None)
        np.testing.assert_array_equal(duplicates(open_images(photos)), found)
        with pytest.raises(TypeError):
            duplicates(open_images(photos).subset(np.arange(10)))
    for damaged in ("[]", "{}", '{"pairs": [[0, 99]]}', '{"pairs": [[0]]}', '{"pairs": "x"}', '{"pairs": [[1e99, 0]]}'):
        kept.write_text(damaged)
        np.testing.assert_array_equal(duplicates(open_images(photos)), found)


@pytest.mark.parametrize("seed", [0, 1])
def test_copies_are_found_and_other_pictures_are_not(seed):
    one = picture(seed)
    for name, make in COPIES.items():
        assert duplicates(sources([picture(50), one, picture(51), make(one)])).tolist() == [0, 1, 2, 1], name
    for name, make in OTHERS.items():
        assert duplicates(sources([one, make(one)])).tolist() == [0, 1], name


def test_flat_pictures_and_few_are_no_copies():
    flat = [Image.new("RGB", (64, 64), (shade, shade, shade)) for shade in (10, 10, 200)]
    assert duplicates(sources(flat)).tolist() == [0, 1, 2]
    assert duplicates(open_images(np.zeros((1, 64, 64), "u1"))).tolist() == [0]


def test_no_chain_joins_what_is_not_alike():
    pairs = np.array([[0, 1], [1, 2], [2, 3], [4, 5]])
    assert stars(6, pairs, np.zeros(6)).tolist() == [0, 0, 2, 2, 4, 4]
    assert stars(6, pairs, np.array([0, 9, 0, 0, 0, 9])).tolist() == [1, 1, 1, 3, 5, 5]  # the largest is kept
    assert stars(3, np.zeros((0, 2), int), np.zeros(3)).tolist() == [0, 1, 2]


def test_the_largest_file_is_kept(photos):
    found = open_images(photos, size=96, crop=False)
    of = {found.names[i]: found.names[kept] for i, kept in enumerate(duplicates(found)) if kept != i}
    assert of == {"a-small.png": "p02.png", "q5.png": "p05.png", "q5-cut.png": "p05.png"}


def test_equal_vectors_are_copies():
    assert duplicates(open_images(np.array([[1.0, 2], [3, 4], [1, 2], [1, 2.5]]))).tolist() == [0, 1, 0, 3]


def test_copies_count_once_and_get_the_group_of_the_one_that_is_kept(photos):
    images, backbone = open_images(photos, size=96, crop=False), Backbone("hog-color")
    model = Diffusion(3, backbone=backbone, drop_duplicates=True, random_state=0).fit(images)
    kept = np.flatnonzero(model.duplicate_of_ == np.arange(17))
    assert len(kept) == 14 and (model.labels_ == model.labels_[model.duplicate_of_]).all()
    alone = Diffusion(3, backbone=backbone, random_state=0).fit(images.subset(kept))
    assert (alone.labels_ == model.labels_[kept]).all()
    with pytest.raises(ValueError, match="more than the 14 images"):
        Diffusion(15, backbone=backbone, drop_duplicates=True).fit(images)


def test_the_table_the_summary_and_the_page_tell_of_copies(photos, tmp_path):
    run = tmp_path / "run"
    asked = ["cluster", str(photos), "-k", "3", "--size", "96", "--method", "diffusion"]
    asked += ["--set", "backbone.name=hog-color", "--out", str(run)]
    made = CliRunner().invoke(app, asked)
    assert made.exit_code == 0 and "3 images are copies of others" in made.output, made.output
    rows = {row["path"]: row for row in csv.DictReader((run / "labels.csv").open(newline=""))}
    assert rows["a-small.png"]["duplicate_of"] == "p02.png" and rows["p02.png"]["duplicate_of"] == ""
    page = (run / "report.html").read_text()
    assert 'id="copies"' in page and "a-small.png: a copy" in page
    assert CliRunner().invoke(app, ["export", str(run), str(tmp_path / "groups")]).exit_code == 0
    dropped = CliRunner().invoke(app, [*asked[:-1], str(tmp_path / "once"), "--drop-duplicates"])
    assert dropped.exit_code == 0 and "counted once with" not in dropped.output, dropped.output


@pytest.mark.parametrize("name", ["sc-njw", "sc-st", "sc-ls", "ncuts", "ac-link", "ac-gdl", "diffusion", "kmeans"])
@pytest.mark.parametrize("copies", [2, 10])
def test_copies_of_every_image_change_no_group(name, copies):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(3, 1, 12)) * 4 + rng.normal(size=(3, 12, 12))).reshape(36, 12).astype(np.float32)
    alone = METHODS[name](n_clusters=3, random_state=0).fit(X).labels_
    found = METHODS[name](n_clusters=3, random_state=0).fit(np.tile(X, (copies, 1))).labels_.reshape(copies, 36)
    assert (found == found[0]).all() and adjusted_rand_score(alone, found[0]) == 1


@pytest.mark.parametrize("name", ["jule", "dbc", "temi"])
def test_many_copies_are_told_where_neighbours_decide(name):
    distinct = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    source = open_images(np.repeat(distinct, 2, axis=0))
    model = METHODS[name](n_clusters=2)
    with pytest.warns(UserWarning, match="20 of the 40 images are equal to others: .*drop_duplicates=True"):
        model._tell_of_copies(source)
    assert model._goes_by_neighbors


def test_equal_pictures_are_copies_however_many_they_are(monkeypatch):
    pictures = [np.asarray(picture(i).resize((48, 48))) for i in range(5)]
    X = np.stack([pictures[0]] * 60 + pictures[1:])
    order = np.random.default_rng(0).permutation(len(X))
    monkeypatch.setattr(duplicates_module, "_areas", lambda images, asked: (order == 33).astype(float))
    found = duplicates(open_images(X[order]))
    same = order < 60
    assert (order[found[same]] == 33).all()  # the largest file of them
    assert (found[~same] == np.flatnonzero(~same)).all()


def test_the_pictures_that_are_compared_lie_in_a_file_where_they_are_many(monkeypatch):
    """Those of a million images took 38 GB of memory."""
    images = open_images(np.stack([np.asarray(picture(i).resize((64, 64))) for i in range(5)]))
    held = duplicates_module._pictures(images, np.array([0, 2, 3]))
    monkeypatch.setattr(duplicates_module, "ROWS", 2)
    monkeypatch.setattr(pack_module, "memory_budget", lambda: 0)
    mapped = duplicates_module._pictures(images, np.array([0, 2, 3]))
    assert torch.allclose(held.float(), mapped.float(), atol=1e-3) and mapped.dtype == torch.float16
    assert mapped.untyped_storage().data_ptr() in pack_module._MAPPED


def test_near_copies_are_one_group_however_many_they_are(monkeypatch):
    """A burst, or a picture that was sent around: each finds a few of the others, the one that is kept all."""
    monkeypatch.setattr(duplicates_module, "CANDIDATES", 2)
    one, rng = np.asarray(picture(3).resize((64, 64))), np.random.default_rng(0)
    near = [np.clip(one + rng.normal(0, 4, one.shape), 0, 255).astype("u1") for _ in range(9)]
    others = [np.asarray(picture(seed).resize((64, 64))) for seed in (50, 51)]
    assert duplicates(open_images([others[0], *near, others[1]])).tolist() == [0, *[1] * 9, 10]
