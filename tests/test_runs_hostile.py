"""Run folders from strangers: whatever lies in them, no command writes outside, hangs, or ends without a line."""

import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from asterism import METHODS, Backbone
from asterism.cli import app
from asterism.errors import AsterismError, RunError
from asterism.estimator.base import ImageEstimator
from asterism.methods import load
from asterism.runs import RunFolder
from asterism.training.checkpoint import load_state, save_state
from test_cli import run
from test_cli_resume import Killed, after_writing, kill
from test_runs import blobs, status

SECONDS = 5.0  # of the processor that a command may take
NAMES = ("run.json", "labels.csv", "model.safetensors", "history.jsonl", "report.html", "pictures.safetensors")
LINKED = (
    *NAMES,
    ".lock",
    "checkpoint",
    "checkpoint/k-means.safetensors",
    "report.html.partial",
    "probe.json",
    "filters",
)
EVIL = "$(touch owned); `touch owned`\n\x1b[2J'\"; touch owned #"
VALUES = (None, True, -1, 10**30, 1e308, float("nan"), float("inf"), "", EVIL, "x" * 10**6, [], [[]] * 5, {}, {"a": {}})


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A finished and an unfinished run of k-means, and their images."""
    root = tmp_path_factory.mktemp("originals")
    wanted = interrupted(root, "kmeans")
    run(*wanted, "--out", root / "finished")
    return root


def interrupted(root, method):
    """An unfinished run of a method, killed as it wrote its model, and its images; gives the command that began it."""
    np.savez(root / "x.npz", images=blobs())
    wanted = ("cluster", root / "x.npz", "-k", 4, "--method", method, "-q")
    with pytest.MonkeyPatch.context() as patch:
        after_writing("model.safetensors", 1, kill, patch.setattr)
        with pytest.raises(Killed):
            run(*wanted, "--out", root / "unfinished")
    return wanted


# ---------------------------------------------------------------- what strangers do


def put_link(folder, rng, outside):
    path = folder / LINKED[rng.integers(len(LINKED))]
    _remove(path)
    path.parent.mkdir(exist_ok=True)
    targets = (outside / "file", outside / "folder", outside / "nowhere", outside / "run.json")
    target = targets[rng.integers(len(targets))]
    if rng.random() < 0.3 and target.is_file():
        os.link(target, path)
    else:
        path.symlink_to(target)


def put_other_kind(folder, rng, outside):
    path = folder / LINKED[rng.integers(len(LINKED))]
    _remove(path)
    path.parent.mkdir(exist_ok=True)
    kind = rng.integers(3)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    else:
        path.write_bytes(rng.bytes(int(rng.integers(0, 300))))


def become_a_link(folder, rng, outside):
    shutil.move(folder, outside.parent / "moved")
    folder.symlink_to((outside / "folder", outside.parent / "moved")[rng.integers(2)])


def change_entry(folder, rng, outside):
    content = json.loads((folder / "run.json").read_text())
    holder, key = _somewhere(content, rng)
    holder[key] = VALUES[rng.integers(len(VALUES))]
    (folder / "run.json").write_text(json.dumps(content))


def write_odd_json(folder, rng, outside):
    text = (folder / "run.json").read_text()
    odd = ("[" * 10**5, "9" * 5000, '{"class": ["x"], "params": 3}', "1e999", "-0", '"\\ud800"', '{"class": 1}')
    numbers = [part for part in ("4", "0", "1", "6", "null", "false") if f": {part}" in text]
    part = numbers[rng.integers(len(numbers))]
    (folder / "run.json").write_text(text.replace(f": {part}", f": {odd[rng.integers(len(odd))]}", 1))


def change_shape(folder, rng, outside):
    content = json.loads((folder / "run.json").read_text())
    shapes = ([1, 6, 7], [2**20, 2**4, 2**4], [10**5, 10**5, 10**5], [3, 6, 6], [36, 1, 1], [1, 6], [0, 6, 6])
    content["images"]["shape"] = shapes[rng.integers(len(shapes))]
    (folder / "run.json").write_text(json.dumps(content))


def change_command(folder, rng, outside):
    content = json.loads((folder / "run.json").read_text())
    commands = (EVIL, f"asterism {EVIL}", ["asterism", EVIL], "rm -rf ~", ["rm", "-rf", "~"], "asterism 'open", [1])
    content["command"] = commands[rng.integers(len(commands))]
    content["labels"] = (None, EVIL, "/dev/zero", str(outside / "folder"), "folders")[rng.integers(5)]
    sources = (EVIL, "/dev/zero", "/proc/self/mem", str(outside), "data:digits", "a\0b", ["/dev/zero"], None)
    if rng.random() < 0.5:
        content["images"]["origin"]["source"] = sources[rng.integers(len(sources))]
    (folder / "run.json").write_text(json.dumps(content))


def mutate_bytes(folder, rng, outside):
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    path = files[rng.integers(len(files))]
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(min(len(content), 2000) if rng.random() < 0.7 else len(content)))
        what = rng.integers(3)
        if what == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif what == 1:
            del content[at : at + int(rng.integers(1, 20))]
        else:
            content[at:at] = rng.bytes(int(rng.integers(1, 20)))
        content = content or bytearray(b"x")
    path.write_bytes(content)


def change_tensors(folder, rng, outside):
    """A sound file without a digest that holds other tensors than it should."""
    files = [path for path in folder.rglob("*.safetensors") if path.name != "pictures.safetensors"]
    path = files[rng.integers(len(files))]
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = {name: value for name, value in file.metadata().items() if name != "digest"}
    tensors = load_file(path)
    name = sorted(tensors)[rng.integers(len(tensors))]
    value = tensors[name]
    changed = (
        value.double(),
        value.to(torch.bfloat16),
        value.bool(),
        value.reshape(-1)[:1],
        value[None],
        torch.zeros(0),
        ~value if value.dtype == torch.bool else value - 5,
        torch.full_like(value, 2**40 if value.dtype == torch.int64 else float("nan")),
        value.repeat(2, *[1] * (value.ndim - 1)) if value.ndim else value,
    )
    tensors[name] = changed[rng.integers(len(changed))].contiguous()
    save_file(tensors, path, metadata=header)


def change_history(folder, rng, outside):
    lines = (
        '{"stage": "k-means", "round": 0, "seconds": 0.1, "loss": "abc"}',
        '{"stage": "k-means", "round": -1, "seconds": 0.1, "loss": 1}',
        '{"stage": "k-means", "round": 0, "seconds": 0.1, "loss": NaN, "bins": [1, 2, NaN]}',
        '{"stage": "k-means", "round": 0, "seconds": 0.1, "loss": ' + "9" * 4000 + "}",
        '{"stage": "' + "x" * 10**6 + '", "round": 0, "seconds": 0}',
        '{"stage": ["x"], "round": {}, "seconds": 0}',
        "[" * 10**5,
        json.dumps({"stage": "a", "round": 0, "seconds": 0, **{f"v{i}": i for i in range(10**4)}}),
        json.dumps({"stage": EVIL, "round": 0, "seconds": 0, EVIL: [1, -1, 0], "warning": EVIL}),
    )
    count = int(rng.integers(1, 30))
    text = "\n".join(lines[rng.integers(len(lines))] for _ in range(count))
    (folder / "history.jsonl").write_text(text + "\n")


def change_table(folder, rng, outside):
    rows = ("path,cluster,confidence", "../../outside/file,0,1", "/etc/passwd,1,1", 'a"b,0', f'"{EVIL}",99999999999,1')
    count = int(rng.integers(1, 60))
    text = "\n".join(rows[0 if i == 0 else rng.integers(len(rows))] for i in range(count))
    (folder / "labels.csv").write_text(text + "\n" + "x" * int(rng.integers(0, 2) * 2 * 10**5))


STRANGERS = (
    put_link,
    put_other_kind,
    become_a_link,
    change_entry,
    write_odd_json,
    change_shape,
    change_command,
    mutate_bytes,
    change_tensors,
    change_history,
    change_table,
)


def _remove(path):
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def _somewhere(content, rng):
    """A place in nested JSON."""
    while True:
        key = sorted(content)[rng.integers(len(content))] if isinstance(content, dict) else rng.integers(len(content))
        inner = content[key]
        if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.4:
            return content, key
        content = inner


# ---------------------------------------------------------------- what must hold


def commands(root, folder):
    new = root / "new"
    return {
        "evaluate": ("evaluate", folder, "--labels", root / "y.csv"),
        "predict": ("predict", folder, root / "x.npz", "--out", new / "p.csv", "--overwrite"),
        "embed": ("embed", folder, "--out", new / "e.npz", "--overwrite"),
        "export": ("export", folder, new / "groups", "--copy", "--overwrite"),
        "export inside": ("export", folder, folder / "filters" / "groups", "--copy", "--overwrite"),
        "report": ("report", folder),
        "resume": ("cluster", "--resume", "--out", folder, "-q", "--no-report"),
        "like": (
            "cluster",
            root / "x.npz",
            "--like",
            folder,
            "--out",
            new / "like",
            "-q",
            "--no-report",
            "--overwrite",
        ),
        "overwrite": (
            *("cluster", root / "x.npz", "-k", 4, "--method", "kmeans", "--out", folder),
            *("-q", "--no-report", "--overwrite"),
        ),
    }


def listing(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        found[str(path)] = (about.st_mode, os.readlink(path) if path.is_symlink() else "")
        if path.is_file() and not path.is_symlink():
            found[str(path)] += (path.read_bytes(),)
    return found


def try_one(seed, originals, root, names):
    """One stranger's folder and the commands on it; gives what went wrong."""
    rng = np.random.default_rng(seed)
    outside, folder = root / "outside", root / "run"
    (outside / "folder").mkdir(parents=True)
    for name in ("file", "folder/file", "folder/k-means.safetensors", "run.json"):
        (outside / name).write_text("mine")
    (root / "new").mkdir()
    shutil.copy(originals / "x.npz", root / "x.npz")
    (root / "y.csv").write_text("path,label\n" + "".join(f"{i},{i % 4}\n" for i in range(40)))
    shutil.copytree(originals / ("finished", "unfinished")[int(rng.random() < 0.3)], folder)
    stranger = STRANGERS[seed % len(STRANGERS)]
    stranger(folder, rng, outside)
    before, wrong = listing(outside), []
    for name in names:
        began = time.process_time()
        signal.alarm(60)
        result = CliRunner().invoke(app, [str(one) for one in commands(root, folder)[name]])
        signal.alarm(0)
        took = time.process_time() - began
        said = f"seed {seed}, {stranger.__name__}, {name}: "
        if result.exit_code not in (0, 1, 2) or "internal error" in result.stderr or "Traceback" in result.stderr:
            wrong.append(said + (result.stderr or repr(result.exception))[-300:])
        elif result.exit_code == 1 and "asterism: error: " not in result.stderr:
            wrong.append(said + f"no line: {result.stderr!r} {result.exception!r}")
        if took > SECONDS:
            wrong.append(said + f"{took:.1f} s")
        if listing(outside) != before:
            wrong.append(said + "wrote outside")
            break
        if any((place / "owned").exists() for place in (root, outside, folder) if place.is_dir()):
            wrong.append(said + "was owned")
    return wrong


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setenv("ASTERISM_DEBUG", "")
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")


@pytest.mark.parametrize("seed", range(len(STRANGERS)))
def test_a_stranger_of_each_kind(seed, originals, tmp_path, quiet):
    assert not try_one(seed, originals, tmp_path, ("evaluate", "export", "overwrite"))


ROUNDS = (("evaluate", "predict", "embed"), ("export", "export inside", "report"), ("resume", "like", "overwrite"))


@pytest.mark.slow
def test_many_strangers(originals, tmp_path, quiet):
    """330 folders, thirty of each kind, of which each command meets ten."""
    wrong = []
    for seed in range(330):
        root = tmp_path / str(seed)
        root.mkdir()
        wrong += try_one(seed, originals, root, ROUNDS[seed % len(ROUNDS)])
        shutil.rmtree(root)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["jule", "diffusion", "ac-gdl"])
def test_many_strangers_checkpoints(method, tmp_path, quiet):
    """Checkpoints of several parts, 110 of each method."""
    interrupted(tmp_path, method)
    shutil.copytree(tmp_path / "unfinished", tmp_path / "finished")
    wrong = []
    for seed in range(110):
        root = tmp_path / str(seed)
        root.mkdir()
        wrong += try_one(seed, tmp_path, root, ("resume",))
        shutil.rmtree(root)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("method", "stage", "name"), [("ac-gdl", "clusters", "linkage_matrix"), ("temi", "grouping", "centers")]
)
def test_no_run_ends_as_finished_that_no_load_takes(method, stage, name, tmp_path, monkeypatch):
    """By a checkpoint that is not what the run wrote."""

    def made():
        settings = {"backbone": Backbone("pixels"), "n_heads": 2} if method == "temi" else {}
        return METHODS[method](4, **settings, random_state=0, device="cpu", run_dir=tmp_path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ImageEstimator, "_write_results", lambda *_: kill())
        made().fit(blobs())
    path = tmp_path / "checkpoint" / f"{stage}.safetensors"
    state = load_state(path)
    state["result"][name] = state["result"][name][:1]
    save_state(path, state)
    with pytest.raises(RunError, match=r"cannot go on from its checkpoints \(.*start anew in another folder$"):
        made().fit(blobs())
    assert status(tmp_path) == "failed"


def test_an_entry_that_is_null_is_as_one_that_is_not_there(originals, tmp_path):
    """`screening` broke the page, and --resume; `versions` and `hardware` broke the page."""
    for name in ("finished", "unfinished"):
        folder = shutil.copytree(originals / name, tmp_path / name)
        content = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(content | dict.fromkeys(("screening", "versions", "hardware"))))
    run("report", tmp_path / "finished", "--out", tmp_path / "page.html")
    run("cluster", "--resume", "--out", tmp_path / "unfinished", "-q", "--no-report")
    assert status(tmp_path / "unfinished") == "finished"


@pytest.mark.slow
def test_mutated_models_load_or_are_one_line(originals, tmp_path):
    """A model, a history and a checkpoint each, with flipped, lost and added bytes."""
    wrong = []
    for seed in range(1500):
        rng, folder = np.random.default_rng(seed), tmp_path / "run"
        shutil.copytree(originals / "finished", folder)
        for path in folder.iterdir():
            if path.name not in ("run.json", "model.safetensors", "history.jsonl"):
                _remove(path)
        (mutate_bytes, change_tensors, change_entry)[seed % 3](folder, rng, tmp_path)
        began = time.process_time()
        try:
            load(folder).predict(blobs())
        except AsterismError:
            pass
        except Exception as error:
            wrong.append(f"seed {seed}: {type(error).__name__}: {error}"[:300])
        if time.process_time() - began > SECONDS:
            wrong.append(f"seed {seed}: slow")
        shutil.rmtree(folder)
    assert not wrong, "\n".join(wrong)


def test_a_command_that_is_none_is_not_shown(originals, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(originals / "finished", folder)
    commands = (
        ("rm -rf ~", None),
        (["asterism", "cluster", "$(x)"], "asterism cluster '$(x)'"),
        ("asterism " + "x" * 900_000, None),
    )
    for command, shown in commands:
        content = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**content, "command": command}))
        began = time.process_time()
        assert RunFolder(folder).read()["command"] == shown
        assert time.process_time() - began < 1
