"""What several processes must agree on, and a run that is resumed must find again; the others are stand-ins here."""

import importlib
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from asterism import TEMI, KMeans, Training, open_images
from asterism import runtime as runtime_module
from asterism.cli.app import app
from asterism.cli.errors import guarded, list_skipped
from asterism.cli.text import say
from asterism.clustering.nmf import OnlineBases, Penalty
from asterism.errors import InputError
from asterism.features import extract
from asterism.images import ImageSource
from asterism.images.source import Skipped
from asterism.machine import ALONE, launch
from asterism.networks.pixels import Pixels
from asterism.runs import RunFolder, RunRecord
from asterism.runtime import Runtime
from asterism.training import Run, train_epoch
from asterism.training.checkpoint import load_state
from asterism.training.collapse import CollapseWarning, watch
from asterism.training.progress import ProgressBars, decoding_bar


def one_of(n, number):
    """A process of n, whose sums and gatherings give back its own part."""

    class Process(Runtime):
        world_size, rank = n, number

        def sum_over_ranks(self, value):
            return value

        def same_buffers(self, module):
            pass

        def gather_rows(self, part, n_rows):
            assert part.shape[0] == len(self.shard(torch.arange(n_rows)))
            whole = part.new_zeros(n_rows, *part.shape[1:])
            whole[number::n] = part
            return whole

    return Process("cpu")


def as_torchrun(monkeypatch, rank, n):
    """What torchrun says to a process of n on this machine."""
    told = {"TORCHELASTIC_RUN_ID": "7", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "RANK": rank, "WORLD_SIZE": n}
    for name, value in {**told, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": n}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_process_without_an_image_gathers_rows_as_long_as_the_others(rank):
    images = open_images(np.random.default_rng(0).random((2, 3, 4), dtype=np.float32))
    assert extract(Pixels(False), images, one_of(3, rank)).shape == (2, 12)


def test_every_process_steps_at_the_same_rate():
    """66 images make two batches of 33, of which one process has 17 and the other 16."""
    images, rates = ImageSource(torch.zeros(66, 2, 2, 1, dtype=torch.uint8), [""] * 66), []
    training = Training(n_epochs=2, lr=1.0, schedule="cosine-steps")
    for rank in (0, 1):
        run, weight = Run(one_of(2, rank), 0), torch.zeros((), requires_grad=True)
        optimizer = training.make_optimizer([weight])
        seen = []

        def loss_of(batch, indices, weight=weight, optimizer=optimizer, seen=seen):
            seen.append(optimizer.param_groups[0]["lr"])
            return (weight - 1) ** 2

        train_epoch(images, loss_of, optimizer, training, run, ("stage", 1), batch_size=33)
        rates.append(seen)
    assert len(rates[0]) == 2 and rates[0] == rates[1]


def test_the_head_is_chosen_by_the_losses_of_all_processes_and_a_resumed_run_has_them(tmp_path, monkeypatch):
    """The others' losses come with each epoch, into the checkpoint: what a killed run chooses by is the same."""
    others = torch.tensor([0.0, -100.0])
    alone = Runtime.sum_over_ranks
    summed = lambda self, value: value + others if value.shape == (2,) else alone(self, value)  # noqa: E731
    monkeypatch.setattr(Runtime, "sum_over_ranks", summed)
    X = np.random.default_rng(0).random((24, 5), dtype=np.float32)
    training = Training(n_epochs=2, optimizer="adamw", lr=1e-3)
    TEMI(3, n_heads=2, hidden=4, training=training, random_state=0, run_dir=tmp_path / "run").fit(X)
    losses = load_state(tmp_path / "run" / "checkpoint" / "heads.safetensors")["state"]["losses"]
    assert losses[1] < -50


def test_a_resumed_run_does_not_tell_of_a_collapse_again():
    run = Run(Runtime("cpu"), 0)
    round_ = run, "x", torch.zeros(100, dtype=torch.int64), torch.full((100,), -1), 50, 1.0
    with pytest.warns(CollapseWarning, match="collapse in round 1"):
        for _ in run.rounds("x", 1):
            watch(*round_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch(*round_)  # of the next life, which has the history of the one before


def test_others_may_wait_for_a_day(monkeypatch):
    """While one merges, or decodes what the others have."""
    as_torchrun(monkeypatch, 0, 2)
    asked = {}
    monkeypatch.setattr(runtime_module, "_fabric_class", lambda: lambda **how: asked.update(how) or FakeFabric())
    Runtime("cpu")
    assert asked["strategy"]._timeout >= timedelta(days=1)


class FakeFabric:
    """Of the second of two processes on GPUs: what is passed between them comes back there."""

    global_rank, world_size, device = 1, 2, torch.device("cpu")

    def launch(self):
        pass

    def all_reduce(self, value, reduce_op):
        return OnGpu(value * 2)

    def all_gather(self, part):
        return OnGpu(torch.stack([part, part]))


class OnGpu:
    def __init__(self, value):
        self.value = value

    def transpose(self, *axes):
        return OnGpu(self.value.transpose(*axes))

    def reshape(self, *shape):
        return OnGpu(self.value.reshape(*shape))

    def __getitem__(self, rows):
        return OnGpu(self.value[rows])

    def to(self, device):
        assert torch.device(device).type == "cpu"
        return self.value


def test_what_is_passed_between_processes_lies_where_it_came_from(monkeypatch):
    as_torchrun(monkeypatch, 1, 2)
    monkeypatch.setattr(runtime_module, "_fabric_class", lambda: lambda **how: FakeFabric())
    runtime = Runtime("cpu")
    assert torch.equal(runtime.sum_over_ranks(torch.ones(2)), torch.full((2,), 2.0))
    assert torch.equal(runtime.gather_rows(torch.tensor([[7.0]]), 2), torch.tensor([[7.0], [7.0]]))


def test_more_processes_than_devices_are_one_line(monkeypatch):
    class Misconfiguration(Exception):  # Lightning's is of no other kind
        pass

    def fabric(**_):
        raise Misconfiguration("You requested gpu: [0, 1, 2]\n But your machine only has: [0, 1]")

    as_torchrun(monkeypatch, 0, 3)
    monkeypatch.setattr(runtime_module, "_fabric_class", lambda: fabric)
    with pytest.raises(InputError, match="cannot be used here: You requested gpu"):
        Runtime("cpu")


def test_features_of_all_are_gathered_block_by_block(monkeypatch):
    sizes = []
    monkeypatch.setattr(importlib.import_module("asterism.features.extract"), "BLOCK", 4, raising=False)
    process = one_of(2, 1)
    gather = process.gather_rows
    process.gather_rows = lambda part, n: sizes.append(n) or gather(part, n)
    X = np.random.default_rng(0).random((19, 3, 4), dtype=np.float32)
    found = extract(Pixels(False), open_images(X), process)
    assert sizes == [8, 8, 3]
    np.testing.assert_array_equal(found[1::2], X[1::2].reshape(9, 12))


def test_bases_are_those_of_one_process_and_the_same_on_both():
    """17 and 16 rows of a batch are one share of the data."""
    X = torch.from_numpy(np.random.default_rng(0).random((66, 6))).double()
    meeting, slots = threading.Barrier(2, timeout=30), [None, None]

    def learn(W, rank=None):
        def reduce(part):
            slots[rank] = part.clone()
            meeting.wait()
            total = slots[0] + slots[1]
            meeting.wait()
            return total

        bases = OnlineBases(W, Penalty(0.01, 0.01, 0.1), **({} if rank is None else {"reduce": reduce}))
        share = slice(None) if rank is None else slice(rank, None, 2)
        bases.see(X[share], len(X))
        for batch in X.split(33):
            bases.see(batch[share], len(X))
        return bases.W

    start = torch.from_numpy(np.random.default_rng(1).random((3, 6)))
    alone = learn(start)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(learn, [start, start], [0, 1])
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone, rtol=1e-9, atol=1e-9)


def test_a_run_begins_when_all_have_looked_at_its_folder(tmp_path):
    """Else a slow process finds the run that the main one has begun, and refuses to write there."""
    there = []

    class Waits(Runtime):
        def sum_over_ranks(self, value):
            there.append((tmp_path / "run").exists())
            return value

    about = {"method": "KMeans", "params": {}, "images": {"origin": {"source": None}, "fingerprint": None}}
    with pytest.raises(KeyboardInterrupt), RunRecord(RunFolder(tmp_path / "run"), about, Waits("cpu"), lambda: 0):
        raise KeyboardInterrupt
    assert there[0] is False and there[-1] is True


def test_memory_is_that_of_each_process_of_a_machine(monkeypatch):
    images = open_images(np.zeros((60, 8, 8), np.float32))
    need = KMeans(3)._memory_needed(60, 64)
    monkeypatch.setattr("asterism.estimator.base.available_memory", lambda: int(1.5 * need))
    KMeans(3)._check_memory(images)
    as_torchrun(monkeypatch, 1, 2)
    with pytest.raises(InputError, match="are there for each of 2 processes: take fewer"):
        KMeans(3)._check_memory(images)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_main_process_alone_speaks(monkeypatch, capsys, rank):
    as_torchrun(monkeypatch, rank, 2)
    monkeypatch.setattr("asterism.training.progress.SELDOM", -1.0)
    monkeypatch.setattr("asterism.training.progress.SOON", -1.0)
    ProgressBars(1).start("images", 3)
    with decoding_bar() as progress:
        progress("decoding", 1, 9)

    @guarded
    def command(quiet=False):
        warnings.warn("a file is damaged", UserWarning, stacklevel=1)

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        command()
    said = capsys.readouterr().err
    words = ("images: 3 rounds", "decoding: 1 of 9", "warning: a file is damaged")
    assert [word in said for word in words] == [rank == 0] * 3


@pytest.mark.parametrize("rank", [0, 1])
def test_the_main_process_alone_answers(monkeypatch, capsys, rank):
    as_torchrun(monkeypatch, rank, 2)
    say("an answer")
    list_skipped([Skipped("a.png", "damaged")])
    said = capsys.readouterr()
    assert ("an answer" in said.out, "a.png" in said.err) == (rank == 0, rank == 0)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("command", ["export no x", "report no", "evaluate no", "cut no", "pick no -n 3"])
def test_what_processes_do_not_share_is_done_by_the_main_one(monkeypatch, command, rank):
    """Two wrote the same folder, and one of them failed."""
    as_torchrun(monkeypatch, rank, 2)
    ended = CliRunner().invoke(app, command.split())
    assert (ended.exit_code, launch() == ALONE) == ((0, False) if rank else (1, True))


def test_a_process_that_ended_is_no_fault_of_the_checkpoints(monkeypatch, tmp_path):
    X = np.random.default_rng(0).random((9, 4, 4), dtype=np.float32)

    def die(*_):
        raise RuntimeError("[/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3")

    monkeypatch.setattr("asterism.methods.baselines.assign", die)
    for life in (1, 2):
        model = KMeans(2, random_state=0, device="cpu", run_dir=tmp_path / "run")
        with monkeypatch.context() as torchrun, pytest.raises(RuntimeError, match=r"^\[/gloo"):
            runtime = Runtime("cpu")
            torchrun.setattr("asterism.estimator.base.Runtime", lambda *_, runtime=runtime: runtime)
            torchrun.setattr(KMeans, "_check_memory", lambda *_: None)
            as_torchrun(torchrun, 0, 2)
            model.fit(X)
        assert life == 1 or (tmp_path / "run" / "checkpoint" / "k-means.safetensors").is_file()


def test_images_stay_off_a_gpu_that_they_would_fill(monkeypatch):
    images = open_images(np.zeros((4, 8, 8), np.float32))
    for room, place in ((True, "meta"), (False, "cpu")):
        process = one_of(1, 0)
        process.has_room = lambda n_bytes, room=room: room and n_bytes == images.pixels.nbytes
        monkeypatch.setattr(type(process), "device", torch.device("meta"))
        assert images.resident(process).pixels.device.type == place
