"""Runs that resume: what a killed run remembers, and that it draws what the unbroken one would have drawn."""

import json
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asterism.errors import InputError, RunError, StorageError
from asterism.files import write_text
from asterism.runs import RunFolder
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training import run as run_module
from asterism.training.checkpoint import load_state, save_state


@pytest.fixture(scope="module")
def runtime():
    return Runtime("cpu")


class Killed(Exception):
    pass


def train(run, n=6, die_at=None):
    """A stage whose result depends on modules, an optimizer, a tensor and random draws."""
    layer = torch.nn.Linear(3, 3)
    with torch.no_grad():
        layer.weight.fill_(0.5)
        layer.bias.zero_()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    memory = torch.zeros(3)
    for t in run.rounds("stage", n, layer=layer, optimizer=optimizer, memory=memory):
        if t == die_at:
            raise Killed
        x = torch.randn(4, 3, generator=run.generator("stage", t))
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        optimizer.step()
        memory += x.sum(0)
        run.record(total=float(memory.sum()))
    return layer.weight.detach().clone(), memory


@pytest.mark.parametrize("die_at", [0, 1, 3, 5])
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
def test_a_killed_run_goes_on_as_the_unbroken_one(tmp_path, runtime, monkeypatch, die_at, checkpoint_seconds):
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", checkpoint_seconds)
    whole = Run(runtime, 7)
    expected = train(whole)
    with pytest.raises(Killed):
        train(Run(runtime, 7, tmp_path), die_at=die_at)
    resumed = Run(runtime, 7, tmp_path)
    found = train(resumed)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    assert [entry["round"] for entry in resumed.history] == [0, 1, 2, 3, 4, 5]
    assert [entry["total"] for entry in resumed.history] == [entry["total"] for entry in whole.history]


def test_a_finished_stage_is_not_run_again(tmp_path, runtime):
    expected = train(Run(runtime, 7, tmp_path))
    again = Run(runtime, 7, tmp_path)
    assert torch.equal(train(again, die_at=0)[0], expected[0])
    assert len(again.history) == 6


def test_early_stop_is_remembered(tmp_path, runtime):
    def stopped(run):
        seen = []
        for t in run.rounds("stage", 10):
            seen.append(t)
            if t == 2:
                run.finish_stage()
        return seen

    assert stopped(Run(runtime, 0, tmp_path)) == [0, 1, 2]
    assert stopped(Run(runtime, 0, tmp_path)) == []


def test_once_computes_once(tmp_path, runtime):
    calls = []

    def compute():
        calls.append(1)
        return {"centers": torch.arange(4.0)}

    for _ in range(2):
        assert torch.equal(Run(runtime, 0, tmp_path).cached("k-means", compute)["centers"], torch.arange(4.0))
    assert len(calls) == 1


def test_streams_depend_on_seed_and_key_only(runtime):
    def draw(seed, *key):
        return torch.rand(3, generator=Run(runtime, seed).generator(*key)).tolist()

    assert draw(1, "a", 2) == draw(1, "a", 2)
    assert len({tuple(draw(*args)) for args in [(1, "a", 2), (2, "a", 2), (1, "b", 2), (1, "a", 3), (1, "a")]}) == 5
    before = torch.random.get_rng_state()
    draw(3, "x")
    assert torch.equal(before, torch.random.get_rng_state())


def test_state_round_trip(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    state = {
        "a": [1, 2.5, None, "text", True],
        "b": {0: shared, "x": {"y": shared.t()}},
        "c": torch.tensor(3, dtype=torch.int64),
        "empty": torch.zeros(0, 4),
    }
    save_state(tmp_path / "s.safetensors", state)
    found = load_state(tmp_path / "s.safetensors")
    assert found["a"] == state["a"]
    assert torch.equal(found["b"][0], shared) and torch.equal(found["b"]["x"]["y"], shared.t())
    assert found["c"] == 3 and found["c"].dtype == torch.int64 and found["empty"].shape == (0, 4)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_checkpoint_without_permission_is_not_called_damaged(tmp_path):
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": 1})
    path.chmod(0)
    with pytest.raises(RunError, match="cannot be read: Permission denied"):
        load_state(path)


@pytest.mark.parametrize("skeleton", ["[]", '"x"', "[" * 100_000, '{"dict": 5}'])
def test_a_state_that_is_none_is_damaged(tmp_path, skeleton):
    save_file({"0": torch.zeros(1)}, tmp_path / "s.safetensors", metadata={"state": skeleton})
    with pytest.raises(RunError, match="damaged"):
        load_state(tmp_path / "s.safetensors")


def test_a_damaged_checkpoint_is_one_line(tmp_path):
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RunError, match="damaged") as error:
        load_state(path)
    assert "\n" not in str(error.value)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": torch.ones(2)})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        save_state(path, {"a": torch.zeros(2)})
    with pytest.raises(StorageError, match="No space left"):
        write_text(tmp_path / "t.json", "{}")
    assert torch.equal(load_state(path)["a"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


def test_history_is_a_line_a_round(tmp_path, runtime):
    run = Run(runtime, 7, tmp_path)
    train(run)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert lines == run.history and lines[0].keys() >= {"stage", "round", "total", "seconds"}


def in_another_process(task, folder):
    """What the task writes in a process of its own; a fork, as a new one takes seconds to import torch."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=task, args=(folder, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def hold(folder, pipe):
    try:
        with folder.held():
            pipe.send("held")
    except RunError as error:
        pipe.send(str(error))


def hold_and_die(folder, pipe):
    with folder.held():
        pipe.send("held")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a lock of POSIX")
@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"a": np.float32(0.5)}, 0.5),
        ({"a": np.int64(3)}, 3),
        ({"a": np.True_}, True),
        ({"a": torch.tensor(0.5)}, 0.5),
        ({"a": np.arange(2)}, [0, 1]),
        (None, "nothing"),
    ],
)
def test_what_a_watcher_says_can_be_read_again(tmp_path, runtime, told, kept):
    run = Run(runtime, 0, tmp_path)
    run.observer = lambda labels: told
    for _ in run.rounds("stage", 1):
        run.callback(torch.arange(3))
    (entry,) = RunFolder(tmp_path).read_history()
    assert entry.get("a", "nothing") == kept
    assert entry == run.history[0]


@pytest.mark.parametrize(
    "told", [0.5, [1], {1: 2}, {"a": {"b": 1}}, {"a": [[1]]}, {"stage": 1}, {"round": "x"}, {"seconds": -1}]
)
def test_what_cannot_be_recorded_is_one_line(runtime, told):
    run = Run(runtime, 0)
    run.observer = lambda labels: told
    with pytest.raises(InputError, match="on_round returned"):
        run.callback(np.arange(3))


def test_a_folder_is_held_by_one_fit_at_a_time(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    with folder.held():
        assert "another process is fitting" in in_another_process(hold, folder)
        with pytest.raises(RunError, match="another process is fitting"):
            folder.clear()
    assert in_another_process(hold, folder) == "held"
    assert list(folder.path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a lock of POSIX")
def test_a_killed_process_lets_go_of_its_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create()
    assert in_another_process(hold_and_die, folder) == "held"
    assert [one.name for one in folder.path.iterdir()] == [".lock"]  # what a kill leaves behind
    with folder.held():
        pass
