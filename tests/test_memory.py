"""Memory is bounded by blocks of images, not by their number; what a pass computed outlives its process."""

import errno
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import asterism
from asterism import DBC, FCAE, FCN, METHODS, AverageLinkage, Backbone, ImageSource, KMeans, Training, open_images
from asterism.errors import InputError, StorageError
from asterism.estimator import base
from asterism.features import cache, cached_extract, extract
from asterism.features import store as store_module
from asterism.images import pack as pack_module
from asterism.images import source as source_module
from asterism.methods import pretrained
from asterism.networks.body import Body
from asterism.networks.pixels import Pixels
from asterism.runtime import Runtime


def images(n=60, side=8):
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (3, side, side, 3), dtype=np.uint8)
    return patterns[np.arange(n) % 3] + rng.integers(0, 56, (n, side, side, 3), dtype=np.uint8)


def fitted(name, X):
    training = Training(n_epochs=1)
    made = {
        "kmeans": lambda: KMeans(3, n_init=2, random_state=0),
        "linkage": lambda: AverageLinkage(3, random_state=0),
        "dbc": lambda: DBC(
            3, autoencoder=FCAE(training=training, max_unexplained=1.0), training=training, random_state=0
        ),
        "fcn": lambda: FCN(3, backbone=Backbone("pixels"), random_state=0),
    }
    return made[name]().fit(X)


@pytest.mark.parametrize("name", ["kmeans", "linkage", "dbc", "fcn"])
def test_what_is_fitted_looks_at_blocks_of_images(name, monkeypatch):
    X = images()
    model = fitted(name, X)
    whole = model.transform(X), *model.predict_with_confidence(X), model.predict_proba(X)
    seen = []
    features = type(model)._features
    monkeypatch.setattr(type(model), "_features", lambda self, part: seen.append(len(part)) or features(self, part))
    monkeypatch.setattr(base, "BLOCK_NUMBERS", 17 * X[0].size)
    monkeypatch.setattr(store_module, "IN_MEMORY", 0)  # what takes room for each image lies on disk
    blocks = model.transform(X), *model.predict_with_confidence(X), model.predict_proba(X)
    assert seen == [17, 17, 17, 9] * 3
    assert np.array_equal(whole[0], blocks[0]) and np.array_equal(whole[1], blocks[1])
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
        assert one.dtype == other.dtype
    assert isinstance(blocks[0], np.memmap) and isinstance(blocks[3], np.memmap)


def test_blocks_of_a_few_bytes_do_not_ask_each_what_memory_is_free(monkeypatch):
    X = images()
    model = fitted("kmeans", X)
    expected, asked = model.predict(X), []
    monkeypatch.setattr(store_module, "memory_budget", lambda: asked.append(1) or 2**30)
    monkeypatch.setattr(base, "BLOCK_NUMBERS", 17 * X[0].size)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert len(asked) <= 1
    assert isinstance(store_module.feature_array((2**20, 16)), np.ndarray) and asked  # of more it is asked


def test_no_image_gives_no_row():
    model = fitted("kmeans", images())
    assert model._by_blocks(open_images(images()).part(0, 0), lambda rows: rows).shape[0] == 0


def test_k_means_on_rows_that_lie_on_disk_finds_the_same(monkeypatch):
    X = images(200)
    whole = KMeans(5, n_init=3, random_state=0).fit(X)
    monkeypatch.setattr(store_module, "IN_MEMORY", 0)  # what takes room for each image lies on disk
    monkeypatch.setattr(store_module, "SMALL_BLOCK_BYTES", 4 * X[0].size * 30)
    blocks = KMeans(5, n_init=3, random_state=0).fit(X)
    assert np.array_equal(whole.labels_, blocks.labels_)
    np.testing.assert_allclose(whole.confidence_, blocks.confidence_, rtol=1e-6)


def test_a_part_shares_its_pixels():
    source = open_images(images())
    part = source.part(10, 20)
    assert len(part) == 10 and part.names == source.names[10:20]
    assert part.pixels.data_ptr() == source.pixels[10:].data_ptr()


def test_a_choice_of_images_lies_in_a_file_where_it_would_fill_the_memory(monkeypatch):
    source, order = open_images(images()), np.random.default_rng(0).permutation(60)[:50]
    expected = source.pixels[torch.from_numpy(order)]
    monkeypatch.setattr(source_module, "FEW_BYTES", 0)
    monkeypatch.setattr(source_module, "ROWS", 7)
    for module in (source_module, pack_module):
        monkeypatch.setattr(module, "memory_budget", lambda: 0)
    chosen = source.subset(order)
    assert torch.equal(chosen.pixels, expected) and chosen.names == [str(i) for i in order]
    assert chosen.pixels.untyped_storage().data_ptr() in pack_module._MAPPED


@pytest.mark.parametrize("name", ["fcn", "diffusion"])
def test_the_cache_is_looked_through_once_however_many_blocks_there_are(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path))
    X = images()
    model = METHODS[name](3, backbone=Backbone("pixels"), random_state=0).fit(X)
    expected, looked = model.predict_with_confidence(X), []
    real = cache._known_rows
    monkeypatch.setattr(cache, "_known_rows", lambda *given: looked.append(1) or real(*given))
    monkeypatch.setattr(base, "BLOCK_NUMBERS", 17 * X[0].size)
    found = model.predict_with_confidence(X)
    assert len(looked) == 1 and np.array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


def test_a_full_disk_is_told_before_anything_is_mapped(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "IN_MEMORY", 0)  # what takes room for each image lies on disk
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(StorageError, match=r"no room for .* GiB of features in .*: No space left on device"):
        store_module.FeatureStore(1000, 1024, torch.device("cpu"), tmp_path)
    assert not list(tmp_path.iterdir())


PASS = """
import os, signal, sys
import numpy as np, torch
from asterism.features import cache, cached_extract
from asterism.images import open_images
from asterism.networks.pixels import Pixels
from asterism.runtime import Runtime

class Killed(Pixels):
    calls = 0
    def forward(self, images):
        Killed.calls += 1
        if Killed.calls == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)

Killed.__name__ = "Pixels"  # the same features as its own
cache.SHARD_SECONDS = 0.0
cached_extract(Killed(True), open_images(np.load(sys.argv[1])), Runtime("cpu"))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_pass_that_was_killed_goes_on_where_it_was(tmp_path, monkeypatch):
    X = images(2500)
    np.save(tmp_path / "X.npy", X)
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    source = str(Path(asterism.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PASS, str(tmp_path / "X.npy")], env=environment, timeout=300)
    assert done.returncode == -signal.SIGKILL
    computed = []
    monkeypatch.setattr(Pixels, "forward", counting(Pixels.forward, computed))
    bars = Bars()
    found = cached_extract(Pixels(True), open_images(X), Runtime("cpu"), bars)
    assert len(computed) == 1  # of three batches, two had been written
    assert bars.told == [("start", 2500, 0), ("advance", 2048), ("advance", 452), ("finish", 2500)]
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "other"))
    assert torch.equal(found, cached_extract(Pixels(True), open_images(X), Runtime("cpu")))
    assert len(computed) == 4


def counting(forward, calls):
    return lambda self, batch: calls.append(len(batch)) or forward(self, batch)


class Bars:
    def __init__(self):
        self.told = []

    def start(self, stage, total, done=0, unit="rounds"):
        self.told.append(("start", total, done))

    def advance(self, stage, note="", by=1):
        self.told.append(("advance", by))

    def finish(self, stage, rounds):
        self.told.append(("finish", rounds))


def test_features_are_written_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "SHARD_BYTES", 1)
    X = np.concatenate([images(1500), images(700)])  # some twice
    first = cached_extract(Pixels(True), open_images(X), Runtime("cpu"))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    monkeypatch.setattr(store_module, "IN_MEMORY", 0)  # what takes room for each image lies on disk
    again = cached_extract(Pixels(True), open_images(X[::-1].copy()), Runtime("cpu"))
    assert torch.equal(first.flip(0), again)


def test_vectors_are_features_already_and_are_not_kept_again(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path))
    X = np.random.default_rng(0).normal(size=(1500, 40)).astype("f4")
    assert np.array_equal(cached_extract(Pixels(False), open_images(X), Runtime("cpu")).numpy(), X)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("name", METHODS)
def test_what_cannot_fit_is_refused_before_the_fit(name, monkeypatch, tmp_path):
    monkeypatch.setattr(base, "available_memory", lambda: 10_000)
    monkeypatch.setattr(pretrained, "available_memory", lambda: 10_000)
    model = METHODS[name](n_clusters=3, run_dir=tmp_path / "run")
    if "backbone" in model.get_params(deep=False):
        model.set_params(backbone=Backbone("pixels"))
    said = r"needs about [\d.]+ MiB of memory for 60 images of \(3, 8, 8\), and 0\.0 MiB are there: take fewer"
    with pytest.raises(InputError, match=said):
        model.fit(images())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["fcn", "diffusion"])
def test_methods_on_a_network_are_refused_by_what_its_features_take(name, monkeypatch, tmp_path):
    monkeypatch.setattr("asterism.methods.pretrained.FEW", 0)
    monkeypatch.setattr(base, "available_memory", lambda: 2**20)
    model = METHODS[name](n_clusters=3, run_dir=tmp_path / "run", backbone=Backbone("resnet18"))
    pixels = torch.zeros(1, 8, 8, 3, dtype=torch.uint8).expand(10**6, 8, 8, 3)
    with pytest.raises(InputError, match=r"GiB of memory for 1000000 images of \(3, 8, 8\), and 1\.0 MiB are"):
        model.fit(ImageSource(pixels, []))
    assert not (tmp_path / "run").exists()
    need = model._memory_needed(10**5, model._n_numbers((3, 8, 8)))
    assert need > 4 * 512 * 10**5 * (name not in ("diffusion",)), "resnet18 has 512 features"
    small = METHODS[name](n_clusters=3, backbone=Backbone("pixels"))
    assert small._memory_needed(10**5, small._n_numbers((3, 8, 8))) < need


def test_a_million_images_are_refused_by_what_holds_them_all_and_taken_by_blocks(monkeypatch):
    monkeypatch.setattr(base, "available_memory", lambda: 4 * 2**30)
    pixels = torch.zeros(1, 32, 32, 3, dtype=torch.uint8).expand(10**6, 32, 32, 3)
    source = ImageSource(pixels, [])
    for name in ("kmeans", "dbc", "dec", "deepcluster", "deepcluster-v2"):
        METHODS[name]()._check_memory(source)
    for name in ("sc-ls", "ac-gdl", "nmf-lp", "jule"):
        with pytest.raises(InputError, match=r"GiB of memory for 1000000 images of .*, and 4\.0 GiB are"):
            METHODS[name]()._check_memory(source)


def test_much_memory_is_told_before_the_fit(monkeypatch, capsys):
    monkeypatch.setattr(base, "WORTH_TELLING", 1)
    AverageLinkage(3, random_state=0, verbose=1).fit(images())
    said = " ".join(capsys.readouterr().err.split())  # a narrow terminal breaks lines
    assert "AverageLinkage needs about 0.2 MiB of memory for 60 images of (3, 8, 8)" in said
    AverageLinkage(3, random_state=0).fit(images())
    assert capsys.readouterr().err == ""


def test_small_results_of_blocks_are_not_kept_one_by_one():
    made, alive = [], []

    def parts():
        for i in range(5):
            alive.append(sum(one() is not None for one in made))
            part = torch.full((3, 2), float(i))
            made.append(weakref.ref(part))
            yield part
            del part

    whole = store_module.gathered(parts(), 15)
    assert max(alive) <= 1 and torch.equal(whole, torch.arange(5.0).repeat_interleave(3)[:, None].expand(15, 2))
    assert store_module.gathered(iter(()), 0).shape == (0,)


def of_files():
    """Bytes of this process's memory that are mapped from files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell what memory is of files")
def test_predict_lets_go_of_the_pixels_that_it_has_read(tmp_path, monkeypatch):
    X = images(8000, 32)  # 24 MB
    np.save(tmp_path / "X.npy", X)
    model = KMeans(3, n_init=1, random_state=0, device="cpu").fit(X[:60])
    expected = model.predict(X)
    monkeypatch.setattr("asterism.images.array_files.MAPPED_BYTES", 0)
    source, seen = open_images(tmp_path / "X.npy"), []
    features = type(model)._features
    monkeypatch.setattr(type(model), "_features", lambda *each: seen.append(of_files()) or features(*each))
    np.testing.assert_array_equal(model.predict(source), expected)
    assert len(seen) == 8 and max(seen[1:]) - min(seen[1:]) < 4e6
    assert torch.equal(source.pixels, torch.from_numpy(X))


class Activated(Body):
    def __init__(self, activation, slope=None):
        super().__init__()
        self.activation, self.inner = activation, torch.nn.LeakyReLU(slope or 0.1)

    def forward(self, images):
        return self.activation(self.inner(images.flatten(1) - 0.5))


def test_networks_of_equal_weights_that_compute_otherwise_share_no_features(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path))
    given, runtime = open_images(images(20)), Runtime("cpu")
    networks = [Pixels(True), Pixels(False), Activated(torch.tanh), Activated(torch.sigmoid)]
    networks += [Activated(torch.nn.GELU()), Activated(torch.nn.GELU("tanh")), Activated(torch.tanh, 0.3)]
    found = [cached_extract(network, given, runtime) for network in networks]
    assert len({one.numpy().tobytes() for one in found}) == len(networks)
    again = cached_extract(Activated(torch.nn.GELU("tanh")), given, runtime)
    assert torch.equal(again, found[5]) and len(list((tmp_path / "features").iterdir())) == len(networks)


def test_a_process_without_an_image_knows_how_long_features_are(monkeypatch):
    runtime = Runtime("cpu")
    monkeypatch.setattr(Runtime, "shard", lambda self, indices: indices[1::2])
    monkeypatch.setattr(Runtime, "gather_rows", lambda self, part, n: part)
    assert extract(Pixels(True), open_images(images(1)), runtime).shape == (0, 192)
    assert extract(Pixels(True), open_images(images(2)), runtime).shape == (1, 192)
