"""Weights of pre-trained networks: which network is the default, and what happens where they cannot be had."""

import socket
import threading
from contextlib import contextmanager, suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from asterism import FCN, TEMI, Diffusion, load
from asterism.cli import app
from asterism.errors import InputError, MissingDataError, StorageError
from asterism.images import fetch
from asterism.methods import choosing
from asterism.networks import Backbone
from asterism.networks.recommended import PREFERRED, RECOMMENDED, TO_FETCH, default_network, seconds_for
from asterism.networks.weights import PAPERS, address, construct, find_weights, load_network

SMALL = ("squeezenet1_0", "squeezenet1_1")  # of the preferred ones


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine without weights and without a network; returns the folder for weights."""
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ASTERISM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("ASTERISM_OFFLINE", "1")
    (tmp_path / "data" / "weights").mkdir(parents=True)
    return tmp_path / "data" / "weights"


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8) // (1 + 7 * (i % 2))
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def give(folder, *names):
    for name in names:
        save_file(construct(name)[0].state_dict(), folder / f"{name}.safetensors")


# ---------------------------------------------------------------- the default


def test_the_default_is_the_first_of_the_preferred_whose_weights_are_here(machine, tmp_path):
    assert default_network() == TO_FETCH == "vit_small_patch14_dinov2.lvd142m" and PAPERS == "vgg16"
    for name in reversed(PREFERRED):
        (machine / f"{name}.safetensors").touch()
        assert default_network() == name
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    for name in PREFERRED:
        (machine / f"{name}.safetensors").unlink(missing_ok=True)
    (hub / "resnet50-0000.pth").touch()  # of another training: not the weights that are meant
    assert default_network() == TO_FETCH
    (hub / "resnet50-11ad3fa6.pth").touch()
    assert default_network() == "resnet50"
    assert Backbone("alexnet").network == "alexnet" and Backbone(weights="vgg.pth").network == PAPERS
    assert find_weights("**") is None


def test_the_table_says_what_libraries_say():
    for one in RECOMMENDED:
        assert address(one.name).endswith(one.file or f"timm/{one.name}/resolve/main/model.safetensors"), one.name
        assert one.seconds > 0 and seconds_for(one.name, 2000) <= 2 * one.seconds
    assert seconds_for("another", 10) is None


def test_methods_and_auto_agree_on_it(machine, photos, tmp_path):
    give(machine, *SMALL)
    assert choosing.choose(str(photos)).settings == ("backbone.name=squeezenet1_0",)
    for method in (FCN, Diffusion, TEMI):
        assert method().resolved("backbone").network == "squeezenet1_0"


def test_a_run_knows_its_network_on_a_machine_that_has_others(machine, photos, tmp_path):
    give(machine, "squeezenet1_1")
    small = Backbone(size=64)
    model = FCN(2, backbone=small, random_state=0, device="cpu", run_dir=tmp_path / "run").fit(str(photos))
    give(machine, "squeezenet1_0")  # now preferred
    assert default_network() == "squeezenet1_0"
    again = load(tmp_path / "run")
    assert again.backbone.name == "squeezenet1_1"
    np.testing.assert_array_equal(again.predict(str(photos)), model.labels_)


# ---------------------------------------------------------------- where they cannot be had


@pytest.mark.parametrize("method", [FCN, TEMI])
def test_missing_weights_are_told_before_photographs_are_decoded(photos, monkeypatch, method):
    def decoded(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr(method, "_open", decoded)
    with pytest.raises(MissingDataError, match="dinov2") as raised:
        method(2).fit(str(photos))
    said = str(raised.value)
    assert f"https://huggingface.co/timm/{TO_FETCH}/" in said
    assert f"weights/{TO_FETCH}.safetensors" in said.replace("\\", "/")
    assert "backbone.weights=FILE" in said and "dbc" in said and "\n" not in said


def test_the_command_line_tells_it_first_too(photos, monkeypatch, tmp_path, machine):
    def decoded(*_, **__):
        raise AssertionError("decoded")

    give(machine, "squeezenet1_1")
    monkeypatch.delenv("ASTERISM_OFFLINE")
    monkeypatch.setattr("asterism.cli.cluster.open_images", decoded)
    command = ["cluster", str(photos), "-k", "2", "--method", "fcn", "--set", "backbone.name=resnet18"]
    done = CliRunner().invoke(app, ["--offline", *command, "--out", str(tmp_path / "run")])
    monkeypatch.delenv("ASTERISM_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert done.exit_code == 1
    assert "ASTERISM_OFFLINE is set" in done.stderr
    assert "backbone.name='squeezenet1_1', whose weights are here" in done.stderr
    assert not (tmp_path / "run").exists()


def test_vectors_need_no_weights():
    X = np.random.default_rng(0).random((20, 6)).astype(np.float32)
    assert set(FCN(2, random_state=0, device="cpu").fit(X).labels_) == {0, 1}


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_that_are_cut_off_are_one_line(machine, ending):
    path = machine / f"squeezenet1_1{ending}"
    state = construct("squeezenet1_1")[0].state_dict()
    save_file(state, path) if ending == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"squeezenet1_1.*fetch it again, or give backbone.weights=FILE") as raised:
        Backbone("squeezenet1_1").build((3, 64, 64))
    assert "\n" not in str(raised.value)


# ---------------------------------------------------------------- fetching

CONTENT = bytes(range(256)) * 40


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path == "/slow":
            for byte in range(60):
                self.wfile.write(CONTENT[byte : byte + 1])
                self.wfile.flush()
                if self.server.ended.wait(0.05):
                    break
        elif self.path == "/silent":
            self.server.ended.wait(5)
        else:
            self.wfile.write(CONTENT[:1000] if self.path == "/short" else CONTENT)

    def handle(self):
        with suppress(OSError):  # the reader has gone
            super().handle()

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    server.ended = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def online(monkeypatch):
    monkeypatch.delenv("ASTERISM_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "SILENCE", 0.3)
    monkeypatch.setattr(fetch, "PATIENCE", 0.5)


def test_a_file_is_fetched_whole_or_not_at_all(online, tmp_path):
    with serving() as address:
        fetch.download(f"{address}/whole", tmp_path / "new" / "file", sha256(CONTENT).hexdigest()[:8])
        assert (tmp_path / "new" / "file").read_bytes() == CONTENT
        for path, words in (
            ("short", "not the whole"),
            ("silent", "broke off: timed out"),
            ("slow", "not whole after"),
        ):
            with pytest.raises(OSError, match=words) as raised:
                fetch.download(f"{address}/{path}", tmp_path / path)
            assert not isinstance(raised.value, StorageError)
        with pytest.raises(OSError, match="not the whole file"):
            fetch.download(f"{address}/whole", tmp_path / "other", "00000000")
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == []


def test_nobody_there_is_an_error_at_once(online, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError):
            fetch.download(f"http://127.0.0.1:{taken.getsockname()[1]}/x", tmp_path / "x")


@pytest.mark.parametrize("name", ["ASTERISM_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_asked(online, monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(OSError, match=f"{name} is set"):
        fetch.download("http://127.0.0.1:1/x", tmp_path / "x")
    with pytest.raises(MissingDataError, match=f"{name} is set"):
        fetch.fetch(tmp_path / "mnist.npz")
    monkeypatch.setenv(name, "0")
    fetch.check_online()


# ---------------------------------------------------------------- what a file holds


def saved(folder, value):
    path = folder / "given.pth"
    path.write_bytes(value) if isinstance(value, bytes) else torch.save(value, path)
    return str(path)


@pytest.mark.parametrize("name", ["squeezenet1_1", "test_convnext"])
def test_weights_in_a_checkpoint_or_under_a_prefix_are_found(tmp_path, name):
    state = construct(name)[0].state_dict()
    images, wanted = torch.rand(1, 3, 64, 64), None
    parallel = {f"module.{key}": one for key, one in state.items()}
    headed = {f"backbone.{key}": one.half() for key, one in state.items()} | {"projector.weight": torch.zeros(2, 2)}
    compiled = {f"_orig_mod.module.{key}": one for key, one in state.items()}
    lightning = {f"model.{key}": one for key, one in state.items()} | {"criterion.weight": torch.zeros(3)}
    checkpoint = {"state_dict": parallel, "epoch": 3, "optimizer": {"state": {0: {"step": 1}}}}
    for value in (state, checkpoint, headed, compiled, lightning):
        network = Backbone(name, weights=saved(tmp_path, value)).build((3, 64, 64))
        with torch.no_grad():
            found = network(images)
        wanted = found if wanted is None else wanted
        torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-2)


def test_a_classifier_of_other_classes_or_none_is_no_matter(tmp_path):
    state, images = construct("squeezenet1_1")[0].state_dict(), torch.rand(1, 3, 64, 64)
    body = {key: one for key, one in state.items() if not key.startswith("classifier.")}
    of_seven = {"classifier.1.weight": torch.zeros(7, 512, 1, 1), "classifier.1.bias": torch.zeros(7)}
    replaced = {"classifier.1.1.weight": torch.zeros(7, 512, 1, 1)}
    built = (
        Backbone("squeezenet1_1", weights=saved(tmp_path, one)).build((3, 64, 64))
        for one in (state, body, body | of_seven, body | replaced)
    )
    with torch.no_grad():
        first, *others = (network(images) for network in built)
    assert all(found.equal(first) for found in others)


def test_a_program_in_a_file_of_weights_is_not_run(tmp_path):
    program = str(tmp_path / "program.pt")
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), program)
    with pytest.raises(InputError, match="is a TorchScript program and is not run"):
        load_network("squeezenet1_1", program)


@pytest.mark.parametrize("name", ["squeezenet1_1", "test_convnext"])
def test_a_file_without_the_weights_of_the_network_is_one_line(tmp_path, name):
    state, other = construct(name)[0].state_dict(), construct("test_vit")[0].state_dict()
    for value, says in (
        ([1, 2], "holds no weights"),
        (torch.zeros(3), "holds no weights"),
        ({}, "holds no weights"),
        ({0: torch.zeros(2)}, "holds no weights"),
        ({"student": state, "teacher": state}, "several networks .student, teacher.: save the weights of one"),
        ({"head.fc.weight": torch.zeros(2, 2)}, f"not those of {name}"),  # timm would fetch its own
        (other, f"not those of {name}"),
        (b"<!DOCTYPE html><html>", "cannot be read as weights and may be cut off"),
        (b"version https://git-lfs.github.com/spec/v1", "cannot be read as weights and may be cut off"),
    ):
        with pytest.raises(InputError, match=says) as raised:
            load_network(name, saved(tmp_path, value))
        assert "\n" not in str(raised.value)


def test_torchvisions_weights_see_what_they_were_trained_on():
    for name in ("googlenet", "inception_v3"):  # torchvision's own way from ImageNet's units to theirs
        needs = construct(name)[1]
        pixels = torch.rand(4, 3)
        units = (pixels - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
        theirs = torch.stack(
            [
                units[:, i] * (std / 0.5) + (mean - 0.5) / 0.5
                for i, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)])
            ],
            1,
        )
        torch.testing.assert_close((pixels - torch.tensor(needs["mean"])) / torch.tensor(needs["std"]), theirs)
    assert construct("efficientnet_b0")[1]["interpolation"] == "bicubic"
    assert construct("squeezenet1_1")[1]["interpolation"] == "bilinear"
