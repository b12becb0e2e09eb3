"""The page's parts as data, without a browser: what is shown, in what order, and that all text stays text."""

import base64
import hashlib
import html
import io
import json
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism import DBC, FCAE, Backbone, Diffusion, ImageSource, KMeans, Training
from asterism.errors import InputError, RunError
from asterism.estimator.keeping import MOST_CARDS, shown_members
from asterism.images.sprites import make_sprites, morton_order
from asterism.metrics import scores
from asterism.parameters import spelled
from asterism.report import write_report
from asterism.report.agreement import confusion, mistakes, ordered_clusters, per_class
from asterism.report.curves import training
from asterism.report.fitted import open_run
from asterism.report.gallery import gallery
from asterism.report.map import embed
from asterism.report.material import Material, gather
from asterism.report.palette import palette
from asterism.report.reproduce import flat_parameters
from asterism.report.section import duration, grouped, short
from asterism.runs import RunFolder
from asterism.runs.pictures import MAP_SAMPLE, MAP_WHOLE, chosen_for_map, read_kept

HOSTILE = "</script><script>window.hacked = 1</script> \"quoted\" 'name' & <b>"
SHORT = Training(n_epochs=2, batch_size=16, lr=0.001)


def blobs(n=48, side=16, seed=0):
    """Images of three kinds, uint8 (n, side, side), and their kinds."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % 3
    images = rng.integers(0, 60, (n, side, side)).astype(np.uint8)
    for i, kind in enumerate(kinds):
        images[i, kind * side // 3 : (kind + 1) * side // 3] += 150
    return images, kinds


@pytest.fixture(scope="module")
def dbc_run(tmp_path_factory):
    """A finished run of DBC on a file of images with labels."""
    folder = tmp_path_factory.mktemp("dbc")
    images, kinds = blobs()
    np.savez(folder / "images.npz", images=images, labels=kinds)
    fcae = FCAE(training=SHORT, augmentation="none")
    DBC(3, autoencoder=fcae, training=SHORT, random_state=0, run_dir=folder / "run").fit(folder / "images.npz")
    return folder / "run"


def kmeans_run(path, X, k=3):
    KMeans(k, n_init=1, random_state=0, run_dir=path).fit(X)
    return path


def made_up(clusters, classes=None, confidence=None, k=None, **attributes):
    """A Material of given labels, without a run."""
    clusters = np.asarray(clusters)
    k = k or int(clusters.max()) + 1
    estimator = SimpleNamespace(cluster_centers_=np.zeros((k, 2)), image_shape_=(1, 8, 8), **attributes)
    return Material(
        content={"seed": 0},
        estimator=estimator,
        names=[str(i) for i in range(len(clusters))],
        clusters=clusters,
        confidence=np.full(len(clusters), 0.5) if confidence is None else np.asarray(confidence),
        classes=None if classes is None else np.asarray(classes),
        class_names=[] if classes is None else [f"class-{i}" for i in range(max(classes) + 1)],
    )


def decoded(sprites, index):
    """Picture `index` of the sheets."""
    number, place = divmod(index, sprites.per_sheet)
    sheet = Image.open(io.BytesIO(base64.b64decode(sprites.sheets[number].partition(",")[2])))
    left, top = (
        place % sprites.columns * sprites.cell[0],
        place // sprites.columns * sprites.cell[1],
    )
    return np.asarray(sheet.crop((left, top, left + sprites.width, top + sprites.height)), dtype=float)


# ------------------------------------------------------------------------------------------------ the whole page


def test_page_has_every_section_of_a_dbc_run(dbc_run):
    text = write_report(dbc_run).read_text(encoding="utf-8")
    found = re.findall(r'<section id="(\w+)"', text)
    assert found[:6] == ["sizes", "map", "gallery", "merge_tree", "training", "reconstructions"]
    assert found[6:8] == ["inside", "confusion"] and found[-1] == "reproduce"
    assert "48 images in 3 groups" in text and "score histogram" in text and "NMI max" in text
    assert RunFolder(dbc_run).read()["images"]["fingerprint"] in text


def test_page_is_the_same_twice(dbc_run, tmp_path):
    first = write_report(dbc_run, path=tmp_path / "first.html")
    second = write_report(dbc_run, path=tmp_path / "second.html")
    assert first.read_bytes() == second.read_bytes()


def test_page_lets_only_its_own_script_run_and_loads_nothing(dbc_run):
    text = write_report(dbc_run).read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    script = re.search(r"<script>(.*)</script>\s*</body>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", text)
    assert "connect-src" not in policy and "unsafe-eval" not in policy


def test_k_means_on_arrays_lacks_what_it_does_not_have(tmp_path):
    images, _ = blobs()
    run = kmeans_run(tmp_path / "run", images)
    (run / "pictures.safetensors").unlink()
    without = write_report(run).read_text(encoding="utf-8")
    assert "the images could not be opened again" in without
    assert re.findall(r'<section id="(\w+)"', without) == ["sizes", "gallery", "merge_tree", "reproduce"]
    page = write_report(run, asterism.open_images(images), path=tmp_path / "with.html").read_text(encoding="utf-8")
    assert "could not be opened" not in page
    assert re.findall(r'<section id="(\w+)"', page) == ["sizes", "map", "gallery", "merge_tree", "reproduce"]


def test_other_images_are_told(tmp_path):
    images, _ = blobs()
    run = kmeans_run(tmp_path / "run", images)
    (run / "pictures.safetensors").unlink()
    other = write_report(run, asterism.open_images(255 - images)).read_text(encoding="utf-8")
    assert "not those that the run was made from (some changed)" in other and '<section id="map"' in other
    fewer = write_report(run, asterism.open_images(images[:7])).read_text(encoding="utf-8")
    assert "(41 gone)" in fewer and '<section id="map"' not in fewer
    smaller = write_report(run, asterism.open_images(images[:, :8])).read_text(encoding="utf-8")
    assert "not (1, 8, 16)" in smaller and '<section id="map"' not in smaller


@pytest.fixture
def folder_run(tmp_path):
    """A finished run on a folder of files, and its page, which keeps map and pictures."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, image in enumerate(blobs()[0]):
        Image.fromarray(image).save(photos / f"{i:02d}.png")
    run = kmeans_run(tmp_path / "run", photos)
    write_report(run)
    return run, photos


def sections_of(page):
    """Everything below the head."""
    return page.read_text(encoding="utf-8").partition("<main")[2]


CHANGES = {
    "1 added": lambda photos: Image.new("L", (16, 16), 9).save(photos / "99.png"),
    "1 changed": lambda photos: Image.new("L", (16, 16), 9).save(photos / "07.png"),
    "1 gone": lambda photos: (photos / "07.png").unlink(),
    "could not be opened": lambda photos: photos.rename(photos.with_name("moved")),
    "not (1, 16, 16)|could not be opened|48 gone": lambda photos: [one.unlink() for one in photos.iterdir()],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_page_stays_whole_when_its_images_do_not(folder_run, change):
    run, photos = folder_run
    before = sections_of(run / "report.html")
    CHANGES[change](photos)
    with pytest.warns(UserWarning, match=change):
        after = sections_of(write_report(run))
    assert after == before and 'class="sheet"' in after and 'id="map"' in after


@pytest.mark.parametrize("how", ["run_dir", "save", "memory"])
def test_a_run_made_in_python_keeps_its_pictures(tmp_path, how):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, image in enumerate(blobs()[0]):
        Image.fromarray(image).save(photos / f"{i:02d}.png")
    run = tmp_path / "run"
    if how == "save":
        KMeans(3, n_init=1, random_state=0).fit(photos).save(run)
    else:
        kmeans_run(run, photos if how == "run_dir" else blobs()[0])
    photos.rename(tmp_path / "moved")
    with pytest.warns(UserWarning, match="With the pictures and the map"):
        page = write_report(run)
    first = sections_of(page)
    assert 'class="sheet"' in first and 'id="map"' in first and page.read_text().count("the images could not") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert sections_of(write_report(run)) == first
    if how == "run_dir":  # the same places as of a page that was made in time
        with_images = write_report(run, tmp_path / "moved", path=tmp_path / "p.html")
        assert map_of(sections_of(with_images)) == map_of(first)


def test_a_saved_run_that_is_loaded_takes_its_pictures_along(folder_run, tmp_path):
    run, photos = folder_run
    photos.rename(tmp_path / "moved")
    asterism.load(run).save(tmp_path / "again")
    with pytest.warns(UserWarning, match="With the pictures and the map"):
        assert 'class="sheet"' in sections_of(write_report(tmp_path / "again"))


def test_features_that_would_take_long_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("asterism.estimator.keeping.PATIENCE", -1.0)
    monkeypatch.setattr("asterism.estimator.keeping.SHARE", 0.0)
    run = kmeans_run(tmp_path / "run", blobs()[0])
    with pytest.warns(UserWarning, match="With the pictures"):
        page = sections_of(write_report(run))
    assert 'class="sheet"' in page and 'id="map"' not in page


def map_of(page):
    return re.search(r'class="data">(.*?)</script>', page[page.index('id="map"') :], re.DOTALL)[1]


def test_the_page_takes_the_classes_that_the_run_was_told(folder_run, tmp_path):
    run, photos = folder_run
    rows = [f"{path.name},{'abc'[i % 3]}" for i, path in enumerate(sorted(photos.iterdir()))]
    (tmp_path / "classes.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    RunFolder(run).update(labels=str(tmp_path / "classes.csv"))
    assert 'id="confusion"' in sections_of(write_report(run))
    RunFolder(run).update(labels=None)
    assert 'id="confusion"' not in sections_of(write_report(run))
    assert 'id="confusion"' in sections_of(write_report(run, labels=tmp_path / "classes.csv"))
    RunFolder(run).update(labels=str(tmp_path / "gone.csv"))
    with pytest.warns(UserWarning, match="going on without known classes") as told:
        write_report(run)
    assert len(told) == 1


def test_what_has_changed_is_said_once(tmp_path):
    images, kinds = blobs()
    np.savez(tmp_path / "x.npz", images=images, labels=kinds)
    run = kmeans_run(tmp_path / "run", tmp_path / "x.npz")
    write_report(run)
    images[5] = 9
    np.savez(tmp_path / "x.npz", images=images, labels=kinds)
    with pytest.warns(UserWarning, match="1 changed") as told:
        page = write_report(run).read_text()
    assert len(told) == 1 and "47 of 48 images is known" in page


def test_images_that_lie_elsewhere_are_given(folder_run):
    run, photos = folder_run
    photos.rename(photos.with_name("moved"))
    (run / "pictures.safetensors").unlink()
    page = write_report(run, photos.with_name("moved")).read_text(encoding="utf-8")
    assert "Without pictures" not in page and 'class="sheet"' in page
    assert (run / "pictures.safetensors").is_file()


def test_what_a_run_keeps_serves_other_choices_of_pictures(folder_run):
    run, photos = folder_run
    own = gather(open_run(run))
    photos.rename(photos.with_name("moved"))
    kept = gather(open_run(run))
    assert own.images is not None and kept.images is None and kept.names == own.names
    chosen = np.array([3, 40, 7])
    for i in range(3):
        one, other = decoded(own.sprites(chosen, 96), i), decoded(kept.sprites(chosen, 96), i)
        assert one.shape[:2] == other.shape[:2] and np.abs(one - other).mean() < 12
    labels = np.arange(48) // 16
    assert "taken for" in write_report(run, None, labels).read_text(encoding="utf-8"), "mistakes have pictures"


@pytest.mark.parametrize("damage", ["cut", "noise", "other", "link"])
def test_kept_pictures_that_cannot_be_used_are_left_aside(folder_run, damage, tmp_path):
    run, photos = folder_run
    path = run / "pictures.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "noise":
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        path.write_bytes(content)
    elif damage == "other":
        RunFolder(run).update(images={**RunFolder(run).read()["images"], "fingerprint": "0" * 32})
    else:
        path.rename(tmp_path / "away")
        path.symlink_to(tmp_path / "away")
    photos.rename(photos.with_name("moved"))
    assert "Without pictures" in write_report(run).read_text(encoding="utf-8")


def test_everything_from_outside_is_text(tmp_path):
    images, kinds = blobs()
    source = ImageSource(torch.from_numpy(images)[..., None], names=[f"{HOSTILE}{i}" for i in range(48)])
    run = kmeans_run(tmp_path / "run", source)
    RunFolder(run).update(skipped=[[HOSTILE, HOSTILE]], command=["asterism", "cluster", HOSTILE])
    text = write_report(run, source, kinds, [HOSTILE + str(i) for i in range(3)]).read_text(encoding="utf-8")
    assert "<script>window.hacked" not in text and "&lt;script&gt;window.hacked" in text
    assert re.search(r"<b>(?!<bdi>)", text) is None, "a <b> of the page itself holds a <bdi>"
    data = json.loads(re.search(r'class="data">(.*?)</script>', text[text.index('id="map"') :], re.DOTALL)[1])
    assert sorted(data["names"]) == sorted(source.names)


def test_vectors_have_a_map_but_no_pictures(tmp_path):
    table = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    run = kmeans_run(tmp_path / "run", table)
    text = write_report(run, asterism.open_images(table)).read_text(encoding="utf-8")
    assert '<section id="map"' in text and 'class="sheet"' not in text and "5 values" in text


@pytest.mark.parametrize("n", [1, 2, 13])
def test_few_or_equal_images_make_a_page(tmp_path, n):
    images = np.full((n, 8, 8, 3), 7, np.uint8)
    run = kmeans_run(tmp_path / "run", images, k=1)
    assert write_report(run, asterism.open_images(images), np.zeros(n, int)).stat().st_size > 10_000


def test_saved_estimators_have_pages_too(tmp_path):
    images, kinds = blobs()
    KMeans(3, n_init=1, random_state=0).fit(images).save(tmp_path / "saved")
    text = write_report(tmp_path / "saved", asterism.open_images(images), kinds).read_text(encoding="utf-8")
    assert '<section id="map"' in text and "not recorded" in text


def test_errors_name_what_to_do(tmp_path, dbc_run):
    with pytest.raises(InputError, match="one label an image"):
        write_report(dbc_run, labels=np.zeros(5))
    FCAE(training=SHORT, run_dir=tmp_path / "fcae", random_state=0).fit(blobs()[0])
    with pytest.raises(InputError, match="FCAE, which makes no groups"):
        write_report(tmp_path / "fcae")
    RunFolder(tmp_path / "fcae").update(status="running")
    with pytest.raises(RunError, match="unfinished"):
        write_report(tmp_path / "fcae")


def test_names_come_from_labels_csv_when_the_images_are_gone(dbc_run):
    moved = RunFolder(dbc_run).read()["images"]
    try:
        RunFolder(dbc_run).update(images={**moved, "origin": {"source": "/nowhere/at/all"}})
        material = gather(open_run(dbc_run))
    finally:
        RunFolder(dbc_run).update(images=moved)
    assert material.images is None and "/nowhere/at/all" in material.warnings[0]
    assert material.names == [str(i) for i in range(48)]


# ------------------------------------------------------------------------------------------------ the map


def test_embedding_is_deterministic_and_fills_the_square():
    features = np.random.default_rng(0).normal(size=(80, 7))
    features[:40] += 20
    points = embed(features, 3)
    assert np.array_equal(points, embed(features, 3))
    assert points.min() >= 0 and points.max() <= 1 and np.ptp(points, axis=0).max() == pytest.approx(1)
    distance = np.linalg.norm(points[:40].mean(0) - points[40:].mean(0))
    assert distance > 2 * points[:40].std(0).mean(), "the two groups lie apart"


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((1, 3)),
        np.ones((50, 4)),
        np.arange(5.0)[:, None],
        np.full((20, 2), np.nan),
        np.eye(12),
        np.r_[np.zeros((40, 3)), np.ones((1, 3))],
    ],
)
def test_odd_features_have_a_place(features):
    points = embed(features, 0)
    assert points.shape == (len(features), 2) and np.isfinite(points).all()
    assert points.min() >= 0 and points.max() <= 1


def test_large_sets_are_sampled_by_the_seed():
    assert len(chosen_for_map(MAP_WHOLE, 0)) == MAP_WHOLE
    sample = chosen_for_map(MAP_WHOLE + 1, 5)
    assert len(np.unique(sample)) == MAP_SAMPLE and np.array_equal(sample, chosen_for_map(MAP_WHOLE + 1, 5))


def test_samples_are_told(monkeypatch, dbc_run, tmp_path):
    monkeypatch.setattr("asterism.runs.pictures.MAP_WHOLE", 30)
    monkeypatch.setattr("asterism.runs.pictures.MAP_SAMPLE", 20)
    text = write_report(dbc_run, path=tmp_path / "page.html").read_text(encoding="utf-8")
    assert "20 of the 48 images, drawn at random" in text


def test_morton_order_keeps_neighbours_together():
    quarters = np.array([[0.9, 0.9], [0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.12, 0.11]])
    assert morton_order(quarters).tolist() == [1, 4, 2, 3, 0]


def test_pictures_that_the_fit_made_are_those_of_the_page(monkeypatch, tmp_path):
    images = np.random.RandomState(0).randint(0, 255, (60, 70, 70, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    Diffusion(3, backbone=Backbone("pixels", size=16), run_dir=str(tmp_path / "run"), random_state=0).fit(
        str(tmp_path / "images.npy")
    )
    monkeypatch.setattr("asterism.report.material.make_sprites", None)
    assert "data:image/webp" in write_report(tmp_path / "run").read_text(encoding="utf-8")
    before = read_kept(tmp_path / "run", 60, open_run(tmp_path / "run").fingerprint)
    write_report(tmp_path / "run")
    assert before.points is not None and set(before.stacks) == {"gallery", "map"}


def test_sprites_hold_each_picture_at_its_place():
    rng = np.random.default_rng(0)
    shades = rng.integers(0, 255, 2500).astype(np.uint8)
    pixels = torch.from_numpy(np.broadcast_to(shades[:, None, None, None], (2500, 20, 30, 1)).copy())
    sprites = make_sprites(ImageSource(pixels, [""] * 2500), np.arange(2500)[::-1], 48)
    assert (sprites.width, sprites.height, sprites.cell) == (30, 20, (32, 32))
    assert len(sprites.sheets) == 3
    for index in (0, 1, 31, 32, 1023, 1024, 2499):
        assert np.abs(decoded(sprites, index) - shades[2499 - index]).max() <= 4


def test_of_two_channels_both_are_shown():
    pixels = torch.zeros(2, 16, 16, 2, dtype=torch.uint8)
    pixels[0, ..., 0] = pixels[1, ..., 1] = 200
    sprites = make_sprites(ImageSource(pixels, ["", ""]), np.array([0, 1]), 16)
    assert [decoded(sprites, i).reshape(-1, 3).mean(0).argmax() for i in (0, 1)] == [0, 1]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sprites_shrink_large_images_and_take_any_channels(channels):
    pixels = torch.zeros(2, 40, 100, channels)
    pixels[1] = 1.0
    sprites = make_sprites(ImageSource(pixels, ["", ""]), np.array([0, 1]), 50)
    assert (sprites.width, sprites.height) == (50, 20)
    assert decoded(sprites, 0).max() < 4 and decoded(sprites, 1).min() > 251


def test_floats_outside_the_unit_range_are_stretched():
    pixels = torch.linspace(-3, 5, 64).reshape(1, 8, 8, 1)
    picture = decoded(make_sprites(ImageSource(pixels, [""]), np.array([0]), 48), 0)
    assert picture.min() < 12 and picture.max() > 243


# ------------------------------------------------------------------------------------------------ the groups


def test_cards_hold_the_most_and_least_certain_once():
    clusters = np.array([0] * 50 + [1] * 5 + [3])
    confidence = np.linspace(0, 1, 56)
    cards = shown_members(clusters, confidence, 4)
    assert [card.group for card in cards] == [0, 1, 2, 3]
    assert cards[0].certain.tolist() == list(range(49, 25, -1))
    assert cards[0].uncertain.tolist() == list(range(12))
    assert cards[1].certain.tolist() == [54, 53, 52, 51, 50] and len(cards[1].uncertain) == 0
    shown = gallery(made_up(clusters, confidence=confidence)).data["cards"]
    assert len(cards[2].certain) == 0 and sum(shown[2]["histogram"]) == 0
    assert shown[3]["histogram"] == [0] * 19 + [1]


def test_very_many_clusters_show_the_largest_with_fewer_members():
    clusters = np.concatenate([np.repeat(np.arange(1200), 20), np.full(5, 1199)])
    cards = shown_members(clusters, np.ones(len(clusters)), 1200)
    assert len(cards) == MOST_CARDS and cards[-1].group == 1199
    assert len(cards[0].certain) == 6 and len(cards[0].uncertain) == 3
    assert gallery(made_up(clusters)).values["is_part"]


def test_colours_are_many_and_different():
    colors = palette(200)
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)
    assert len(set(colors)) == 200 and palette(5) == colors[:5]


# ------------------------------------------------------------------------------------------------ with labels


def test_confusion_stands_in_the_order_of_the_classes():
    material = made_up(clusters=[0, 0, 0, 1, 1, 2, 2, 2, 3], classes=[1, 1, 0, 0, 0, 2, 2, 1, 1])
    assert material.matched.tolist() == [1, 0, 2, -1]
    assert material.stands_for.tolist() == [1, 0, 2, 1], "the one left over is read as its commonest class"
    assert ordered_clusters(material).tolist() == [1, 0, 2, 3]
    assert material.counts.tolist() == [[1, 2, 0], [2, 0, 0], [0, 1, 2], [0, 1, 0]]
    assert material.wrong.tolist() == [False, False, True, False, False, False, False, True, False]
    rows = confusion(material).values["rows"]
    assert rows[1]["cells"] == [(1, 1 / 3), (2, 2 / 3), (0, 0.0)] and rows[1]["matched"] == 1


def test_figures_of_each_class():
    material = made_up(clusters=[0, 0, 0, 1, 1, 2, 2, 2], classes=[1, 1, 0, 0, 0, 2, 2, 1])
    figures = {one["name"]: one for one in per_class(material)}
    assert figures["class-0"]["found"] == pytest.approx(2 / 3) and figures["class-0"]["pure"] == 1
    assert figures["class-1"]["cluster"] == 0 and figures["class-1"]["pure"] == pytest.approx(2 / 3)
    assert figures["class-1"]["other"] == 2 and figures["class-1"]["other_count"] == 1
    assert figures["class-2"]["other"] is None


def test_more_classes_than_clusters():
    material = made_up(clusters=[0, 0, 0, 0], classes=[0, 0, 1, 2])
    assert [one["cluster"] for one in per_class(material)] == [None, None, 0]
    assert len(set(material.class_colors)) == 3 and material.class_colors[0] == material.colors[0]


def test_mistakes_are_the_surest_ones():
    material = made_up([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1], confidence=[0.9, 0.8, 0.3, 0.7, 0.5, 0.6])
    material.images = ImageSource(torch.zeros(6, 8, 8, 1, dtype=torch.uint8), material.names)
    section = mistakes(material)
    assert [(one["name"], one["taken_for"], one["truth"]) for one in section.values["pictures"]] == [
        ("3", "class-0", "class-1"),
        ("2", "class-0", "class-1"),
    ]


def test_large_confusions_are_pictures():
    classes = np.arange(60) % 30
    section = confusion(made_up(classes, classes))
    assert section.values["rows"] == [] and len(section.data["cells"]) == 30
    assert all(row == column for row, column, _, _ in section.data["cells"])


# ------------------------------------------------------------------------------------------------ the training


def stages(history):
    section = training(made_up([0, 1], history_=history))
    return section, {} if section is None else {stage.name: stage for stage in section.values["stages"]}


def test_any_recorded_number_becomes_a_curve():
    history = [
        {"stage": "merge", "round": i, "unheard_of": 2.0 * i, "note": "text", "flag": True, "seconds": i}
        for i in range(5)
    ] + [{"stage": "probe", "round": 0, "map": 0.25, "seconds": 9.0}]
    section, found = stages(history)
    assert [curve["name"] for curve in found["merge"].curves] == ["unheard of"]
    assert section.data == [{"rounds": [0, 1, 2, 3, 4], "shown": ["0", "2", "4", "6", "8"]}]
    assert found["merge"].curves[0]["path"] == "M0.00 100.00L25.00 75.00L50.00 50.00L75.00 25.00L100.00 0.00"
    assert found["probe"].figures == [("map", "0.25")] and found["probe"].seconds == "9.0 s"


def test_curves_survive_gaps_and_what_is_no_number():
    history = [{"stage": "a", "round": i, "loss": one} for i, one in enumerate([3.0, float("nan"), None, 2.0, 1.0])]
    curve = stages(history)[1]["a"].curves[0]
    assert curve["path"] == "M0.00 0.00M75.00 50.00L100.00 100.00"
    assert curve["last"] == "1"
    assert stages([{"stage": "a", "round": 0, "loss": float("inf")}])[0] is None
    assert stages([])[0] is None


def test_steep_curves_are_logarithmic_even_down_to_zero():
    history = [{"stage": "a", "round": i, "changed": one} for i, one in enumerate([10000, 100, 10, 1, 0])]
    curve = stages(history)[1]["a"].curves[0]
    assert curve["logarithmic"] and curve["path"].endswith("L100.00 100.00")
    flat = stages([{"stage": "a", "round": i, "same": 5.0} for i in range(4)])[1]["a"].curves[0]
    assert not flat["logarithmic"] and flat["path"].startswith("M0.00 50.00")


def test_long_histories_are_thinned_and_keep_their_end():
    curve = stages([{"stage": "a", "round": i, "loss": i % 7} for i in range(5001)])[0].data[0]
    assert len(curve["rounds"]) <= 602 and curve["rounds"][-1] == 5000


def test_histograms_show_early_rounds_closer():
    history = [{"stage": "joint", "round": i, "score_histogram": [8, i, 0, 2]} for i in range(60)]
    histogram = stages(history)[1]["joint"].histograms[0]
    moments = [panel["round"] for panel in histogram["panels"]]
    assert moments[0] == 0 and moments[-1] == 59 and np.all(np.diff(moments, 2) >= -1) and len(moments) <= 8
    assert histogram["panels"][0]["bars"][0]["title"] == "0.00 to 0.25: 8"


# ------------------------------------------------------------------------------------------------ making it again


def test_code_makes_the_same_estimator():
    estimator = DBC(7, boost=3.0, autoencoder=FCAE(training=Training(lr=0.5)), augmentation="none", random_state=4)
    code = spelled(estimator, broken=True)
    assert code.startswith("DBC(\n    n_clusters=7,") and "n_init" not in code
    again = eval(code, vars(asterism))
    assert repr(again) == repr(estimator)


def test_code_opens_the_same_images_and_fits_as_the_run_was_fitted(tmp_path):
    """The page left out how the images were opened, and what was asked of outliers and copies."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (12, 20, 24, 3))):
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    images = asterism.open_images(folder, size=(16, 18), color="grey", crop=False)
    model = KMeans(2, random_state=3, run_dir=tmp_path / "run").fit(images, outliers=0.001, drop_duplicates=True)
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    told, found = html.unescape(re.search("<code>(from asterism.*?)</code>", page, re.S)[1]), {}
    assert "size=(16, 18), color='grey', crop=False)" in told and "outliers=0.001, drop_duplicates=True" in told
    exec(told, found)
    assert (found["labels"] == model.labels_).all()


def test_parameters_are_spelled_as_set_takes_them():
    found = dict(flat_parameters(DBC(7, training=Training(lr=0.5))))
    assert found["training.lr"] == "0.5" and found["autoencoder.training.optimizer"] == "sgd"
    assert "run_dir" not in found and "autoencoder.device" not in found and found["device"] == "auto"


def test_numbers_in_words():
    assert grouped(1234567) == "1\u202f234\u202f567" and short(0.123456) == "0.1235" and short(10000.0) == "10\u202f000"
    assert [duration(s) for s in (0.84, 59.6, 200, 7500)] == ["0.8 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]


def test_images_whose_class_is_not_known_are_left_out_of_the_scores(tmp_path):
    images, kinds = blobs()
    run = kmeans_run(tmp_path / "run", images)
    labels = np.where(np.arange(48) < 36, kinds, -1)
    names = ["a", "b", "c"]
    material = gather(open_run(run), asterism.open_images(images), labels, names)
    assert material.scores == scores(labels[:36], material.clusters[:36])
    assert material.counts.sum() == 36 and not material.wrong[36:].any()
    assert "36 of 48 images is known" in material.warnings[0]
    text = write_report(run, asterism.open_images(images), labels, names).read_text(encoding="utf-8")
    assert "scores are of those" in text
    assert gather(open_run(run), asterism.open_images(images), np.full(48, -1), names).classes is None


def test_long_names_and_the_users_folder_do_not_fill_the_page(tmp_path, monkeypatch):
    images, kinds = blobs()
    names = [f"{i}{'n' * 4000}{i}.png" for i in range(48)]
    source = ImageSource(torch.from_numpy(images)[..., None], names=names)
    run = kmeans_run(tmp_path / "run", source)
    home = tmp_path / "home" / "anna"
    monkeypatch.setenv("HOME", str(home))
    origin = {**RunFolder(run).read()["images"], "origin": {"source": f"{home}/my photos"}}
    RunFolder(run).update(images=origin, command=["asterism", "cluster", f"{home}/my photos", f"--out={home}/r"])
    page = write_report(run, source, kinds, [str(i) + "c" * 4000 for i in range(3)])
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 400_000 and "n" * 200 not in text and "c" * 200 not in text
    assert str(home) not in text and "asterism cluster ~/&#39;my photos&#39;" in text and "~/my photos" in text


def test_no_separator_of_lines_breaks_the_script(tmp_path):
    images, kinds = blobs()
    odd = [f"{i}\u2028\u2029</script><!--<script>.png" for i in range(48)]
    source = ImageSource(torch.from_numpy(images)[..., None], names=odd)
    text = write_report(kmeans_run(tmp_path / "run", source), source, kinds, ["</script>", "<!--", "\u2028"])
    page = text.read_text(encoding="utf-8")
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL):
        json.loads(block)
        assert "<" not in block
