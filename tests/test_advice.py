"""The adviser of k, and the choice of a method by the images."""

import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFile
from typer.testing import CliRunner

from asterism.cli import app
from asterism.cli.advising import numbered
from asterism.cli.choosing import settled
from asterism.cli.request import Request
from asterism.clustering.advice import Advice, stable_levels, suggest_k
from asterism.errors import InputError
from asterism.methods import choosing
from asterism.methods.choosing import about, suitable_precision
from asterism.networks.recommended import recommended


def blobs(k, n=30, d=8, noise=0.25, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(k, 1, d)) * 2 + noise * rng.normal(size=(k, n, d))).reshape(-1, d)


@pytest.mark.parametrize("k", [7, pytest.param(12, marks=pytest.mark.slow)])
def test_clear_groups_are_counted(k):
    found = suggest_k(blobs(k, 60))
    assert found.k == found.low == found.high == k and len(found.answers) >= 2
    assert f"k = {k}: the graph falls into so many groups" in found.sentence
    assert found.modularity[found.ks.index(k)] == pytest.approx(0) and found.modularity.max() <= 1e-12
    assert found.stability[found.ks.index(k)] > 0.8


def test_many_small_groups_are_not_taken_for_few():
    """Two heaps of twenty groups each: stability and silhouette would say 2 (old advice did)."""
    rng = np.random.default_rng(0)
    heaps = np.repeat([-30.0, 30.0], 20)[:, None] * np.eye(8)[0]
    X = (heaps + rng.normal(size=(40, 8)) * 2)[:, None] + 0.2 * rng.normal(size=(40, 16, 8))
    found = suggest_k(X.reshape(-1, 8))
    assert found.ks[int(found.silhouette.argmax())] == 2
    assert 34 <= found.k <= 44


def test_a_graph_with_more_neighbours_than_its_groups_have_members_does_not_count():
    found = suggest_k(blobs(12))  # 30 images a group
    assert set(found.answers) == {5, 10} and found.k == 12
    few = suggest_k(blobs(6, 8))
    assert len(few.answers) == 1 and few.sentence.startswith("unsure: k = ")


def test_without_groups_it_says_that_it_does_not_know():
    found = suggest_k(np.random.default_rng(0).normal(size=(600, 8)))
    assert found.stability.max() < 0.7
    assert found.sentence.startswith("unsure: between") and found.high > 1.5 * found.low


def test_the_same_answer_for_the_same_seed():
    X = blobs(4)
    one, other = suggest_k(X), suggest_k(X)
    np.testing.assert_array_equal(one.modularity, other.modularity)
    assert one.answers == other.answers


def test_a_single_number_has_no_middle():
    curve = np.zeros(2)
    one = Advice([2, 3], curve, curve, curve, curve, {5: 2}, None, 2, 2, 2)
    assert (
        one.sentence == "unsure: k = 2, or no groups at all, for two halves agree on no number (2 with 5 neighbours)."
    )
    assert "between 2 and 3, or" in (wide := replace(one, high=3).sentence) and "; k = 2 is the middle (" in wide


def test_what_cannot_be_swept_is_one_line():
    with pytest.raises(InputError, match="5 images are too few .* choose the number yourself"):
        suggest_k(blobs(1, 5))
    with pytest.raises(InputError, match="1 image is too few"):
        suggest_k(blobs(1, 1))
    with pytest.raises(InputError, match="k_max=2"):
        suggest_k(blobs(3), k_max=2)
    with pytest.raises(InputError, match="all images are the same"):
        suggest_k(np.ones((30, 4)))
    for wrong, said in ((np.nan, "contains NaN"), (np.inf, "contains infinity"), ("x", "could not convert")):
        X = blobs(3).astype(object)
        X[5, 0] = wrong
        with pytest.raises(InputError, match=said):
            suggest_k(X)
    with pytest.raises(InputError, match="Expected 2D array"):
        suggest_k(blobs(3)[:, 0])
    with pytest.raises(InputError, match="k_max='9' cannot be used"):
        suggest_k(blobs(3), k_max="9")


def test_numbers_of_any_kind_are_counted_alike():
    X, usual = blobs(3), suggest_k(blobs(3), k_max=20).answers
    assert suggest_k(X.astype(object), np.uint8(20)).answers == usual == suggest_k(X.tolist(), 20).answers
    with pytest.raises(InputError, match=r"3 different images \(of 60\) are too few"):
        suggest_k(np.repeat(np.eye(3), 20, axis=0))


@pytest.mark.parametrize(("n", "copies"), [(12, 30), (20, 20), (60, 3), (150, 10)])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_copies_are_no_groups(n, copies, seed):
    X = np.random.default_rng(seed).random((n, 20))
    found = suggest_k(np.repeat(X, copies, axis=0))
    alone = suggest_k(X)
    assert found.high <= n // 4 and found.answers == alone.answers


def test_copies_of_some_images_change_no_count():
    X = blobs(6, 30)
    more = np.concatenate([X, np.repeat(X[:40], 15, axis=0)])
    assert suggest_k(more).k == suggest_k(X).k == 6


def test_copies_take_no_places_of_the_images_that_are_looked_at():
    X = blobs(4, 30)
    more = np.concatenate([X, np.repeat(X[:1], 20_000, axis=0)])
    assert suggest_k(more).answers == suggest_k(X).answers


@pytest.mark.parametrize("noise", [pytest.param(1e-6, marks=pytest.mark.slow), 2e-3])
def test_near_copies_are_no_groups_but_where_there_are_no_others(noise):
    rng = np.random.default_rng(1)

    def copied(X, n):
        return (copies := np.repeat(X, n, axis=0)) + noise * X.std() * rng.normal(size=copies.shape)

    assert suggest_k(copied(blobs(4, 30), 6)).k == 4
    assert suggest_k(copied(rng.random((20, 40)), 25)).k == 20


def test_the_number_of_groups_knows_no_unit():
    X = blobs(4, 30)
    one, small, large = (suggest_k((X * scale).astype(np.float32)).answers for scale in (1, 1e-20, 1e6))
    assert small == one and large == one


@pytest.mark.parametrize("power", [-30, 66])
def test_levels_know_no_unit(power):
    X = blobs(4, 30, noise=3)
    one, other = (stable_levels(np.ldexp(X, by).astype(np.float32), 4, np.random.RandomState(0)) for by in (0, power))
    assert one == other


def run(*args):
    result = CliRunner().invoke(app, [str(one) for one in args])
    assert result.exit_code == 0, (result.stdout, result.stderr, result.exception)
    return result


def test_suggest_k_shows_the_curve(tmp_path):
    np.save(tmp_path / "vectors.npy", blobs(5).astype(np.float32))
    shown = run("suggest-k", tmp_path / "vectors.npy", "--k-max", 12).stdout
    assert "MODULARITY" in shown and "k = 5:" in shown
    found = json.loads(run("suggest-k", tmp_path / "vectors.npy", "--k-max", 12, "--json").stdout)
    assert found["k"] == 5 and len(found["ks"]) == len(found["modularity"]) and found["answers"]["5"] == 5


@pytest.fixture
def folder(tmp_path):
    def made(mode, side):
        path = tmp_path / f"{mode}{side}"
        path.mkdir()
        rng = np.random.default_rng(0)
        for i in range(6):
            shape = (side, side, 3) if mode == "RGB" else (side, side)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path / f"{i}.png")
        return path

    return made


@pytest.mark.parametrize(
    ("mode", "side", "known", "method"),
    [
        ("RGB", 100, "resnet18", "discriminant-diffusion"),
        ("L", 100, "resnet18", "discriminant-diffusion"),
        ("RGB", 32, "resnet18", "discriminant-diffusion"),
        ("L", 28, "resnet18", "dbc"),
        ("RGB", 100, None, "diffusion"),
    ],
)
def test_auto_chooses_by_the_images(folder, monkeypatch, mode, side, known, method):
    monkeypatch.setattr("asterism.methods.choosing.known_network", lambda: known)
    chosen = choosing.choose(str(folder(mode, side)))
    assert chosen.method == method
    assert chosen.settings == ((f"backbone.name={known or 'hog-color'}",) if method != "dbc" else ())


def test_auto_sees_that_colours_are_grey(tmp_path, monkeypatch):
    monkeypatch.setattr("asterism.methods.choosing.known_network", lambda: "resnet18")
    pixels = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "colours.npy", pixels)
    np.save(tmp_path / "greys.npy", pixels[..., :1].repeat(3, axis=3))
    chosen = {one: choosing.choose(str(tmp_path / f"{one}.npy"), n_clusters=4).method for one in ("colours", "greys")}
    assert chosen == {"colours": "discriminant-diffusion", "greys": "jule"}


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_auto_sees_that_a_folder_of_colour_files_is_grey(tmp_path, monkeypatch, ending):
    monkeypatch.setattr("asterism.methods.choosing.known_network", lambda: "resnet18")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16), dtype=np.uint8)
    for name in ("grey", "one in colour"):
        (tmp_path / name).mkdir()
        for i, image in enumerate(pixels):
            Image.fromarray(image).convert("RGB").save(tmp_path / name / f"{i:02d}.{ending}")
    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / "one in colour" / f"20.{ending}")
    chosen = {one: choosing.choose(str(tmp_path / one), n_clusters=2).method for one in ("grey", "one in colour")}
    assert chosen == {"grey": "jule", "one in colour": "discriminant-diffusion"}


@pytest.mark.parametrize(("n", "k", "slowly"), [(400, 4, False), (396, 4, True), (5_001, 100, False)])
def test_auto_merges_small_groups_slowly(tmp_path, n, k, slowly):
    np.save(tmp_path / "faces.npy", np.zeros((n, 8, 8), np.uint8))
    settings = choosing.choose(str(tmp_path / "faces.npy"), n_clusters=k).settings
    assert settings == (("unroll_rate=0.2",) if slowly else ())


@pytest.mark.parametrize(("n", "k", "method"), [(80, 4, "jule"), (80, 5, "dbc"), (20_001, 2, "dbc")])
def test_auto_takes_jule_where_groups_are_larger_than_neighbourhoods(tmp_path, n, k, method):
    np.save(tmp_path / "digits.npy", np.zeros((n, 8, 8), np.uint8))
    assert choosing.choose(str(tmp_path / "digits.npy"), n_clusters=k).method == method


def test_auto_says_what_it_chose_and_is_recorded(tmp_path):
    X = np.random.default_rng(0).random((30, 5)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", X)
    done = run(
        "cluster", tmp_path / "vectors.npy", "-k", 3, "--method", "auto", "--out", tmp_path / "run", "--no-report"
    )
    assert "auto: discriminant-diffusion, because these are vectors; another with --method" in done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["method"] == "DiscriminantDiffusion"


def test_cluster_without_k_finds_the_number_and_says_so(tmp_path):
    np.save(tmp_path / "vectors.npy", blobs(5).astype(np.float32))
    done = run("cluster", tmp_path / "vectors.npy", "--out", tmp_path / "run", "--no-report")
    assert "no -k: k = 5" in done.stderr and "in 5 groups" in done.stdout
    again = run("cluster", tmp_path / "vectors.npy", "--method", "kmeans", "--out", tmp_path / "other", "--no-report")
    assert "in 5 groups" in again.stdout


def test_without_k_images_are_looked_at_once_and_auto_fits_the_number(tmp_path, monkeypatch):
    looked, look = [], choosing._look
    monkeypatch.setattr("asterism.methods.choosing._look", lambda *asked: looked.append(asked) or look(*asked))
    images = np.repeat(np.random.default_rng(0).random((4, 20, 20)), 25, 0) + np.arange(100)[:, None, None] / 1e5
    np.save(tmp_path / "x.npy", images.astype("f4"))
    request, first = numbered(Request(images=str(tmp_path / "x.npy"), layout="NHW"))
    chosen = settled(request, first)
    assert len(looked) == 1 and chosen.n_clusters and chosen.number["k"] == chosen.n_clusters
    expected = choosing.choose(request.images, layout="NHW", n_clusters=chosen.n_clusters)
    assert chosen.method == expected.method and expected.line in chosen.chosen


def deep_array(path):
    """Integers that only a scale makes images of: three classes of twenty."""
    noise = np.random.default_rng(0).normal(0, 50, (60, 12, 12))
    np.save(path, (noise + np.repeat(np.arange(3), 20)[:, None, None] * 1500).astype(np.int32))
    return str(path)


def test_without_k_images_are_opened_as_they_were_asked_for(tmp_path):
    asked = Request(images=deep_array(tmp_path / "x.npy"), scale="0,4000", layout="NHW", size="8")
    chosen = settled(*numbered(asked))  # was refused: integers beyond 255
    assert chosen.number["k"] == chosen.n_clusters
    done = run("suggest-k", asked.images, "--scale", "0,4000", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["features"] == "pixels"
    rng = np.random.default_rng(0)
    five = rng.integers(0, 255, (40, 12, 12, 5)).astype(np.uint8)
    five[..., 1] = np.repeat(rng.integers(0, 200, (2, 12, 12)), 20, 0) + rng.integers(0, 20, (40, 12, 12))
    np.save(tmp_path / "five.npy", five)
    assert numbered(Request(images=str(tmp_path / "five.npy"), layout="NHWC", bands="2"))[0].n_clusters == 2


def test_vectors_of_few_numbers_have_a_length_where_their_number_is_looked_for(tmp_path):
    rng = np.random.default_rng(0)  # five, one behind the other: seen from nought two directions, and none
    X = np.concatenate([rng.normal(6 * i, 1, (40, 8)) for i in range(5)]).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    assert numbered(Request(images=str(tmp_path / "x.npy")))[0].n_clusters == 5
    assert "On vectors: k = 5" in run("suggest-k", tmp_path / "x.npy").stdout


@pytest.mark.parametrize("k", [[], ["-k", "3"]])
@pytest.mark.parametrize("packed", [False, True])
def test_pictures_are_decoded_once(tmp_path, monkeypatch, packed, k):
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    photos.mkdir()
    for i in range(24):  # in a shard they were decoded to be looked at, and once more to find their number
        pixels = rng.integers(0, 60, (96, 80, 3)) + 60 * (i % 3)
        Image.fromarray(pixels.astype(np.uint8)).save(photos / f"{i}.png")
    if packed:
        with tarfile.open(tmp_path / "photos.tar", "w") as shard:
            shard.add(photos, "photos")
    decoded, load = [], ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda one: (decoded.extend(one.tile[:1]), load(one))[1])
    monkeypatch.setattr("asterism.methods.choosing.known_network", lambda: None)
    monkeypatch.setenv("ASTERISM_OFFLINE", "1")
    path = tmp_path / "photos.tar" if packed else photos
    done = run("cluster", path, *k, "--out", tmp_path / "run", "--no-report")
    assert done.exit_code == 0, done.stderr
    assert 24 <= len(decoded) <= 25  # one more: a look at whether it has colours


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_without_a_run_is_begun_as_if_it_were_new(tmp_path, resume):
    asked = Request(images=deep_array(tmp_path / "x.npy"), scale="0,4000", out=tmp_path / "new", resume=resume)
    chosen = settled(*numbered(asked))  # was dbc, and without a number, on --resume
    assert chosen.method == "jule" and chosen.n_clusters == chosen.number["k"]


# ---------------------------------------------------------------- how long it takes, and what is fetched


@pytest.mark.parametrize(("n", "k", "method", "seconds"), [(18_000, 10, "jule", 1800), (19_000, 10, "diffusion", None)])
def test_auto_trains_at_most_half_an_hour_unasked(monkeypatch, n, k, method, seconds):
    monkeypatch.setattr("asterism.methods.choosing._look", lambda *_: (1, 28, n))
    chosen = choosing.choose("digits.npy", n_clusters=k)
    assert chosen.method == method and chosen.seconds == seconds
    if method == "jule":
        assert "takes about 30 min without a GPU" in chosen.line
    else:
        assert chosen.settings == ("backbone.name=hog-color",)
        assert "jule, which learns from them, would train about 32 min (better groups: --method jule)" in chosen.line


def test_auto_says_how_long_the_features_take(monkeypatch):
    monkeypatch.setattr("asterism.methods.choosing._look", lambda *_: (3, 500, 10_000))
    monkeypatch.setattr("asterism.methods.choosing.known_network", lambda: "resnet50")
    monkeypatch.setattr("asterism.networks.recommended.threads", lambda: 2)
    chosen = choosing.choose("photos")
    assert chosen.seconds == pytest.approx(recommended("resnet50").seconds * 5)
    assert "the weights of resnet50 are here; this takes about 8 min without a GPU; another" in chosen.line
    for fast, expected in ((True, "bf16-mixed"), (False, None)):
        monkeypatch.setattr("asterism.methods.choosing.has_fast_bfloat16", lambda fast=fast: fast)
        assert suitable_precision(chosen) == expected
        assert suitable_precision(replace(chosen, seconds=30.0)) is None
        line = settled(Request(images="photos", n_clusters=4))
        assert line.precision == expected and ("exactly with --precision 32-true" in line.chosen) == fast
        assert ("about 4 min" in line.chosen) == fast
        assert settled(Request(images="photos", n_clusters=4, precision="32-true")).precision == "32-true"


def test_auto_fetches_a_small_network_or_does_without(monkeypatch, tmp_path):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path))
    monkeypatch.setattr("asterism.methods.choosing._look", lambda *_: (3, 500, 100))
    monkeypatch.setattr("asterism.methods.choosing.known_network", lambda: None)
    said = []
    monkeypatch.setenv("ASTERISM_OFFLINE", "1")
    chosen = choosing.choose("photos", say=said.append)
    assert chosen.settings == ("backbone.name=hog-color",) and not said
    assert "no weights of a network could be had: ASTERISM_OFFLINE is set" in chosen.line
    monkeypatch.delenv("ASTERISM_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")  # nobody listens there
    chosen = choosing.choose("photos", say=said.append)
    assert chosen.settings == ("backbone.name=hog-color",) and "\n" not in chosen.line
    assert "vit_small_patch14_dinov2.lvd142m cannot be fetched (" in chosen.line
    assert said == ["auto: fetching vit_small_patch14_dinov2.lvd142m (88 MB, Apache-2.0), once; --offline does without"]
    monkeypatch.setattr("asterism.networks.weights.download", lambda url, path, token=None: urls.append(url))
    urls = []
    chosen = choosing.choose("photos")
    assert chosen.settings == ("backbone.name=vit_small_patch14_dinov2.lvd142m",) and len(urls) == 1
    assert "were fetched" in chosen.line


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "about 1 s"), (89, "about 89 s"), (91, "about 2 min"), (3 * 3600, "about 3 h")]
)
def test_durations_are_rough(seconds, said):
    assert about(seconds) == said


def test_noise_has_no_number_of_groups_that_is_told_as_if_it_had():
    said = suggest_k(np.random.default_rng(0).normal(size=(300, 8))).sentence
    assert said.startswith("unsure") and "two halves agree on no number" in said


# ---------------------------------------------------------------- auto, and parameters that are set


def test_a_network_that_is_set_by_name_is_taken_by_auto(tmp_path, monkeypatch):
    """Was an error of DBC's: "no such parameter", where the list of networks said so."""
    monkeypatch.setattr(
        "asterism.methods.choosing.known_network", lambda: pytest.fail("another network was looked for")
    )
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (12, 80, 96, 3))):
        Image.fromarray(pixels.astype(np.uint8)).save(photos / f"{i}.png")
    out = ("--out", tmp_path / "run", "--no-report")
    done = run("cluster", photos, "-k", 3, "--set", "backbone.name=hog-color", *out)
    assert done.exit_code == 0 and "auto: diffusion, because backbone.name is set" in done.stderr
    chosen = settled(*numbered(Request(images=str(photos), settings=["backbone.name=pixels", "metric=cosine"])))
    assert chosen.method == "discriminant-diffusion" and chosen.n_clusters
    for wrong, words in (("a=b", "backbone.name='a=b' is a model of neither"), ("mobilnet_v2", "mean 'mobilenet_v2'")):
        with pytest.raises(InputError, match=words):
            numbered(Request(images=str(photos), settings=[f"backbone.name={wrong}"]))


def test_parameters_that_are_set_belong_to_the_method_that_auto_takes(monkeypatch):
    for looked, settings, method in (
        ((3, 500, 100), ["max_samples=50"], "discriminant-diffusion"),
        ((1, 28, 200), ["unroll_rate=0.5"], "jule"),
        ((1, 28, 200), ["autoencoder.training.n_epochs=1"], "dbc"),  # jule has none
        ((3, 500, 100), ["training.lr=0.1"], "dbc"),
    ):
        monkeypatch.setattr("asterism.methods.choosing._look", lambda *_, looked=looked: looked)
        monkeypatch.setattr("asterism.methods.choosing.known_network", lambda: "mobilenet_v2")
        assert settled(Request(images="photos", n_clusters=4, settings=settings)).method == method
    monkeypatch.setattr("asterism.methods.choosing._look", lambda *_: (3, 500, 100))
    with pytest.raises(InputError, match="discriminant-diffusion, which auto takes for these images, has no such"):
        settled(Request(images="photos", n_clusters=4, settings=["lr=0.1"]))
