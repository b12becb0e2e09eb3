"""A run that is killed or interrupted in any phase, then resumed, ends with the labels of the unbroken run."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import asterism.estimator
import asterism.training.run
from test_cli import run

TINY = [
    *("--set", "training.n_epochs=4", "--set", "training.lr=0.01", "--set", "cluster_initialisation.n_init=2"),
    *("--set", "autoencoder.training.n_epochs=3", "--set", "autoencoder.training.lr=0.001"),
    *("--set", "autoencoder.max_unexplained=1"),
]

# File whose writing is the last thing that a run does, and which of its writings.
PHASES = {
    "before the first round": ("run.json", 1),
    "auto-encoder": ("autoencoder.safetensors", 2),
    "auto-encoder's end": ("autoencoder.safetensors", 3),
    "groups that are learnt first": ("first-groups-1.safetensors", 1),
    "learning them": ("groups-1.safetensors", 2),
    "first groups": ("first-groups.safetensors", 1),
    "joint": ("joint.safetensors", 2),
    "labels": ("labels.csv", 1),
    "model": ("model.safetensors", 1),
    "finished, before the page": ("run.json", 2),
}


class Killed(BaseException):
    """Ends a run as a kill does: no handler of the program sees it."""


def after_writing(target, number, action, patch):
    """Let every round write its checkpoint, and act when a file has been put in its place for the n-th time."""
    replace, seen = os.replace, []

    def replace_then_act(source, place, **options):
        replace(source, place, **options)
        seen.append(os.path.basename(place))
        if seen[-1] == target and seen.count(target) == number:
            action()

    patch(asterism.training.run, "CHECKPOINT_SECONDS", 0.0)
    patch(os, "replace", replace_then_act)


def kill():
    raise Killed


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "x.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8))
    return path


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """The labels of the unbroken run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run("cluster", images, "-k", 4, "--out", out, "--seed", 5, "--no-report", "-q", *TINY)
    return out


def history(out):
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return [(line["stage"], line["round"], line.get("loss")) for line in lines]


@pytest.mark.parametrize("phase", PHASES)
def test_killed_in_each_phase(images, whole, tmp_path, phase):
    out = tmp_path / "r"
    with pytest.MonkeyPatch.context() as patch:
        after_writing(*PHASES[phase], kill, patch.setattr)
        with pytest.raises(Killed):
            run("cluster", images, "-k", 4, "--out", out, "--seed", 5, "-q", *TINY)
    assert json.loads((out / "run.json").read_text())["status"] in ("running", "finished")
    page = "page" in phase
    run("cluster", "--resume", "--out", out, "-q", *([] if page else ["--no-report"]))
    assert (out / "labels.csv").read_bytes() == (whole / "labels.csv").read_bytes()
    assert history(out) == history(whole)
    content = json.loads((out / "run.json").read_text())
    assert content["status"] == "finished" and (out / "report.html").is_file() == page
    assert content["params"] == json.loads((whole / "run.json").read_text())["params"]


def test_killed_twice(images, whole, tmp_path):
    out = tmp_path / "r"
    for number in (1, 1):
        with pytest.MonkeyPatch.context() as patch:
            after_writing("joint.safetensors", number, kill, patch.setattr)
            with pytest.raises(Killed):
                run("cluster", images, "-k", 4, "--out", out, "--seed", 5, "-q", "--resume", *TINY)
    run("cluster", "--resume", "--out", out, "-q", "--no-report")
    assert (out / "labels.csv").read_bytes() == (whole / "labels.csv").read_bytes()


def test_what_is_typed_again_must_be_what_it_was(images, tmp_path):
    out = tmp_path / "r"
    with pytest.MonkeyPatch.context() as patch:
        after_writing("joint.safetensors", 1, kill, patch.setattr)
        with pytest.raises(Killed):
            run("cluster", images, "-k", 4, "--out", out, "--seed", 5, "-q", *TINY)
    other = tmp_path / "y.npz"
    np.savez(other, images=np.zeros((40, 8, 8), np.uint8))
    for wrong in (["-k", 3], ["--seed", 6], ["--method", "dec"], ["--set", "boost=3"], ["--device", "cuda:5"]):
        assert " run with " in run("cluster", "--resume", "--out", out, *wrong, code=1).stderr
    assert "other images" in run("cluster", other, "--resume", "--out", out, code=1).stderr
    run(
        "cluster", images, "-k", 4, "--seed", 5, "--method", "dbc", *TINY, "--resume", "--out", out, "-q", "--no-report"
    )


def test_a_run_that_began_on_a_gpu_goes_on_where_there_is_none(images, whole, tmp_path):
    out = tmp_path / "r"
    with pytest.MonkeyPatch.context() as patch:
        after_writing("joint.safetensors", 1, kill, patch.setattr)
        with pytest.raises(Killed):
            run("cluster", images, "-k", 4, "--out", out, "--seed", 5, "-q", *TINY)
    content = json.loads((out / "run.json").read_text())
    content["params"]["device"] = "cuda:9"
    (out / "run.json").write_text(json.dumps(content))
    run("cluster", images, "-k", 4, "--resume", "--out", out, "-q", "--no-report")
    assert (out / "labels.csv").read_bytes() == (whole / "labels.csv").read_bytes()


def test_resume_begins_a_run_where_there_is_none(images, tmp_path):
    assert "no run to resume" in run("cluster", "--resume", "--out", tmp_path / "r", code=1).stderr
    run("cluster", images, "-k", 4, "--method", "kmeans", "--resume", "--out", tmp_path / "r", "-q", "--no-report")
    assert (tmp_path / "r" / "labels.csv").is_file()


@pytest.fixture
def interruptible():
    """SIGINT as in a terminal: shells start what runs in the background with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_a_run_that_can_go_on(images, whole, tmp_path, interruptible):
    out = tmp_path / "a run"
    with pytest.MonkeyPatch.context() as patch:
        after_writing("joint.safetensors", 2, lambda: os.kill(os.getpid(), signal.SIGINT), patch.setattr)
        result = run("cluster", images, "-k", 4, "--out", out, "--seed", 5, "-q", *TINY, code=130)
    assert len(result.stderr.splitlines()) == 1
    assert f"asterism cluster --resume --out '{out}'" in result.stderr
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    run("cluster", "--resume", "--out", out, "-q", "--no-report")
    assert (out / "labels.csv").read_bytes() == (whole / "labels.csv").read_bytes()


def test_ctrl_c_before_the_run_began(images, tmp_path, monkeypatch):
    import asterism.cli.cluster

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(asterism.cli.cluster, "open_images", interrupt)
    result = run("cluster", images, "-k", 4, "--out", tmp_path / "r", code=130)
    assert "before the run began" in result.stderr and not (tmp_path / "r").exists()


def test_ctrl_c_while_the_page_is_written(images, tmp_path, monkeypatch):
    import asterism.report

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    wanted = ("cluster", images, "-k", 4, "--method", "kmeans", "-q", "--out", tmp_path / "r")
    with monkeypatch.context() as patch:
        patch.setattr(asterism.report, "write_report", interrupt)
        assert "the fit is done" in run(*wanted, code=130).stderr
    run("cluster", "--resume", "--out", tmp_path / "r", "-q")
    assert (tmp_path / "r" / "report.html").is_file()


# What a process of its own runs: the program, and a signal to itself after a file was written for the n-th time.
CHILD = """
import os, signal, sys
from test_cli_resume import after_writing
name, target, number, *arguments = sys.argv[1:]
after_writing(target, int(number), lambda: os.kill(os.getpid(), getattr(signal, name)), setattr)
sys.argv = ["asterism", *arguments]
from asterism.cli import main
main()
"""


def spawn(signal_name, target, number, *args):
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, signal_name, target, str(number), *map(str, args)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finished(processes):
    """Exit code and standard error of each process; all run at once."""
    return {name: (process.communicate()[1], process.returncode) for name, process in processes.items()}


@pytest.mark.slow
def test_real_signals_to_real_processes(images, tmp_path, interruptible):
    wanted = ("cluster", images, "-k", 4, "--seed", 5, *TINY)
    begun = {
        phase: spawn("SIGKILL", *PHASES[phase], *wanted, "--out", tmp_path / phase)
        for phase in ("auto-encoder", "first groups", "joint", "model", "finished, before the page")
    }
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        begun[name] = spawn(name, "joint.safetensors", 2, *wanted, "--out", tmp_path / name)
    begun["whole"] = spawn("SIGKILL", "never", 1, *wanted, "--out", tmp_path / "whole")
    for name, (stderr, code) in finished(begun).items():
        assert code == {"whole": 0, "SIGINT": 130, "SIGTERM": 130, "SIGHUP": 130}.get(name, -signal.SIGKILL), (
            name,
            stderr,
        )
    resumed = {
        name: spawn("SIGKILL", "never", 1, "cluster", "--resume", "--out", tmp_path / name)
        for name in begun
        if name != "whole"
    }
    for name, (stderr, code) in finished(resumed).items():
        assert code == 0, (name, stderr)
        assert (tmp_path / name / "labels.csv").read_bytes() == (tmp_path / "whole" / "labels.csv").read_bytes()
        assert (tmp_path / name / "report.html").is_file()
    content = json.loads((tmp_path / "joint" / "run.json").read_text())
    assert content["command"].startswith("asterism cluster ") and "--seed 5" in content["command"]
