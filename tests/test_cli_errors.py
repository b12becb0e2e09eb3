"""What a user can do wrong: one line each that says what to do, exit code 1; wrong usage is 2."""

import ast
import errno
import importlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import asterism
from asterism.cli.errors import as_typed, described
from asterism.cli.settings import settings_of
from asterism.cli.text import safe
from asterism.errors import InputError, MissingDataError
from asterism.methods.registry import METHODS, find_method
from test_cli import TINY, run

KMEANS = ["--method", "kmeans", "--no-report"]


def refused(*args):
    """The one line that a refused command prints."""
    result = run(*args, code=1)
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("asterism: error: "), result.stderr
    assert "Traceback" not in result.stderr and result.stdout == "" and "internal error" not in result.stderr
    return lines[0].removeprefix("asterism: error: ")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Files of images that are, each in its own way, hard to group."""
    root = tmp_path_factory.mktemp("arrays")
    noise = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8)
    broken = noise / 255
    broken[3, 2, 2] = np.nan
    contents = {"good": noise, "equal": np.full_like(noise, 7), "one": noise[:1], "nan": broken, "none": noise[:0]}
    for name, images in contents.items():
        np.savez(root / f"{name}.npz", images=images)
    np.savez(root / "rgb.npz", images=np.stack([noise] * 3, axis=-1))
    np.savez(root / "wide.npz", images=np.concatenate([noise, noise], axis=2))
    np.save(root / "vectors.npy", noise.reshape(12, -1).astype(np.float32))
    (root / "text.npz").write_text("this is no archive")
    (root / "empty").mkdir()
    return root


@pytest.fixture(scope="module")
def fitted(arrays, tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted") / "run"
    run("cluster", arrays / "good.npz", "-k", 3, "--out", out, "-q", "--no-report", *TINY)
    return out


def test_more_groups_than_images(arrays, tmp_path):
    line = refused("cluster", arrays / "good.npz", "-k", 13, "--out", tmp_path / "r")
    assert line.startswith("-k 13 is more than the number of images") and "at most 12" in line


def test_no_groups(arrays, tmp_path):
    assert refused("cluster", arrays / "good.npz", "-k", 0, "--out", tmp_path / "r").startswith("-k 0 cannot be used")


@pytest.mark.parametrize("method", ["dbc", "kmeans"])
def test_one_group_works(arrays, tmp_path, method):
    few = TINY if method == "dbc" else []
    run("cluster", arrays / "good.npz", "-k", 1, "--out", tmp_path / "r", "--method", method, "--no-report", *few)
    assert {line.split(",")[1] for line in (tmp_path / "r" / "labels.csv").read_text().splitlines()[1:]} == {"0"}


@pytest.mark.parametrize("method", ["dbc", "kmeans"])
def test_equal_images_do_not_crash(arrays, tmp_path, method):
    few = TINY if method == "dbc" else []
    result = run(
        "cluster", arrays / "equal.npz", "-k", 2, "--out", tmp_path / "r", "--method", method, "--no-report", *few
    )
    assert "12 images in 2 groups" in result.stdout


def test_one_image(arrays, tmp_path):
    line = refused("cluster", arrays / "one.npz", "-k", 1, "--out", tmp_path / "r")
    assert "at least 2 images" in line and "add images" in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nan.npz", "NaN"),
        ("none.npz", "0 sample"),
        ("text.npz", "cannot be read"),
        ("empty", "holds no images"),
        ("absent", "does not exist"),
        ("data:nothing", "there is no data set data:nothing"),
    ],
)
def test_images_that_cannot_be_used(arrays, tmp_path, name, words):
    images = name if name.startswith("data:") else arrays / name
    assert words in refused("cluster", images, "-k", 2, "--out", tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("command", ["predict", "embed"])
def test_new_images_of_another_kind(arrays, fitted, tmp_path, command):
    out = ("--out", tmp_path / ("x.csv"))
    line = refused(command, fitted, arrays / "vectors.npy", *out)
    assert "holds vectors" in line and "images of 8x8 with 1 channel" in line
    assert "NaN" in refused(command, fitted, arrays / "nan.npz", *out)
    for name in ("wide.npz", "rgb.npz"):  # other size, other colour: made to fit, as new photos are
        run(command, fitted, arrays / name, *out)


def test_vectors_of_another_length(arrays, tmp_path):
    run("cluster", arrays / "vectors.npy", "-k", 2, "--out", tmp_path / "r", *KMEANS)
    np.save(tmp_path / "short.npy", np.ones((3, 5), np.float32))
    line = refused("predict", tmp_path / "r", tmp_path / "short.npy", "--out", tmp_path / "x.csv")
    assert "vectors of 5 numbers" in line and "vectors of 64 numbers" in line


@pytest.mark.parametrize("command", ["cluster", "predict", "embed", "export"])
def test_places_that_cannot_be_written(arrays, fitted, tmp_path, command):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "below.csv"
    args = {
        "cluster": ("cluster", arrays / "good.npz", "-k", 2, "--out", target),
        "predict": ("predict", fitted, arrays / "good.npz", "--out", target),
        "embed": ("embed", fitted, "--out", target),
        "export": ("export", fitted, target),
    }
    line = refused(*args[command])
    assert "cannot write to" in line and "choose another place" in line


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(arrays, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "no permission" in refused("cluster", arrays / "good.npz", "-k", 2, "--out", tmp_path / "locked" / "r")


def full_disk(monkeypatch, ending):
    """From now on no file whose name ends so can be put in its place: the disk is full."""
    replace = os.replace

    def refuse(source, target, **options):
        if str(target).endswith(ending):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target, **options)

    monkeypatch.setattr(os, "replace", refuse)


@pytest.mark.parametrize("ending", ["run.json", "first-groups.safetensors", "model.safetensors", "labels.csv"])
def test_a_full_disk_and_then_room(arrays, fitted, tmp_path, ending):
    wanted = ("cluster", arrays / "good.npz", "-k", 3, "--no-report", "-q", *TINY, "--out")
    with pytest.MonkeyPatch.context() as patch:
        full_disk(patch, ending)
        line = refused(*wanted, tmp_path / "r")
        assert "No space left on device" in line and str(tmp_path / "r") in line
    run(*wanted, tmp_path / "r", "--resume")
    assert (tmp_path / "r" / "labels.csv").read_bytes() == (fitted / "labels.csv").read_bytes()
    assert not list((tmp_path / "r").rglob("*partial*"))


@pytest.mark.parametrize("ending", [".csv", ".npz", ".npy"])
def test_a_full_disk_under_features(fitted, tmp_path, ending, monkeypatch):
    full_disk(monkeypatch, ending)
    assert "No space left on device" in refused("embed", fitted, "--out", tmp_path / f"f{ending}")
    assert not list(tmp_path.iterdir())


def test_a_page_that_fails_does_not_take_the_run_with_it(arrays, tmp_path, monkeypatch):
    import asterism.report

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html")

    monkeypatch.setattr(asterism.report, "write_report", fail)
    result = run("cluster", arrays / "good.npz", "-k", 2, "--out", tmp_path / "r", "--method", "kmeans", code=1)
    assert "12 images in 2 groups" in result.stdout
    assert "the run is finished" in result.stderr and f"asterism report {tmp_path / 'r'}" in result.stderr
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "finished"


def test_nor_does_a_page_whose_packages_are_broken(arrays, tmp_path, monkeypatch):
    import asterism.report

    monkeypatch.delattr(asterism.report, "write_report", raising=False)
    monkeypatch.setitem(sys.modules, "asterism.report.page", None)  # to import it fails
    result = run("cluster", arrays / "good.npz", "-k", 2, "--out", tmp_path / "r", "--method", "kmeans", code=1)
    assert "12 images in 2 groups" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "dcb"], ["there is no method 'dcb'", "fcae-kmeans"]),
        (["--set", "bost=2"], ["--set bost", "did you mean boost", "autoencoder.training.lr"]),
        (["--set", "training.rate=2"], ["--set training.rate", "training.lr"]),
        (["--set", "boost.lr=2"], ["boost is a plain value"]),
        (["--set", "boost"], ["not of the form name=value"]),
        (["--set", "boost=0.5"], ["boost=0.5 cannot be used", "> 1"]),
        (["--set", "training.lr=-1"], ["training.lr=-1 cannot be used", "> 0"]),
        (["--set", "training.optimizer=sdg"], ["training.optimizer='sdg'", "'adam'"]),
        (["--set", "n_clusters=4"], ["give -k instead"]),
        (["--set", "autoencoder.device=cpu"], ["--set autoencoder.device", "--device"]),
        (["--method", "sc-njw", "--set", "scale=-1"], ["scale=-1 cannot be used: scale must be a number > 0"]),
        (["--set", "size=64"], ["--set size: dbc has no such", "did you mean --size? "]),
        (["--device", "gpu9"], ["--device gpu9 cannot be used"]),
        (["--precision", "8"], ["--precision 8 cannot be used"]),
        (["--size", "big"], ["--size big", "HEIGHTxWIDTH"]),
        (["--size", "0"], ["--size 0 cannot be used"]),
        (["--scale", "3000,0"], ["--scale 3000,0 cannot be used", "below HIGH"]),
        (["--bands", "1,-2"], ["--bands 1,-2 "]),
        (["--color", "blue"], ["--color blue cannot be used"]),
        (["--layout", "WHN"], ["--layout WHN cannot be used"]),
        (["--labels", "nothing.csv"], ["nothing.csv", "does not exist"]),
        (["--labels", "folders"], ["no class folder"]),
        (["--like", "nowhere"], ["nowhere is not a run folder"]),
    ],
)
def test_options_that_cannot_be_used(arrays, tmp_path, options, words):
    line = refused("cluster", arrays / "good.npz", "-k", 2, "--out", tmp_path / "r", *options)
    assert all(word in line for word in words), line
    assert not (tmp_path / "r" / "run.json").exists()


@pytest.mark.parametrize("command", ["evaluate", "report", "embed"])
def test_folders_that_hold_no_run(tmp_path, command):
    more = ("--out", tmp_path / "f.npy") if command == "embed" else ()
    assert "is not a run folder" in refused(command, tmp_path / "nothing", *more)
    (tmp_path / "run.json").write_text("{")
    assert "cannot be read" in refused(command, tmp_path, *more)


def test_a_run_that_is_not_finished(arrays, tmp_path, fitted):
    content = json.loads((fitted / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**content, "status": "running"}))
    assert "--resume" in refused("evaluate", tmp_path)
    assert "go on with --resume" in refused("cluster", arrays / "good.npz", "-k", 3, "--out", tmp_path)


def test_classes_that_are_not_known(fitted):
    assert "--labels" in refused("evaluate", fitted)


def test_images_that_have_changed(tmp_path):
    (tmp_path / "p").mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8), 60 * i, np.uint8)).save(tmp_path / "p" / f"{i}.png")
    run("cluster", tmp_path / "p", "-k", 2, "--out", tmp_path / "r", *KMEANS)
    (tmp_path / "p" / "3.png").unlink()
    assert "have changed since" in refused("embed", tmp_path / "r", "--out", tmp_path / "f.npy")


@pytest.mark.parametrize(
    "args",
    [["cluster"], ["cluster", "x", "-k", "two"], ["cluster", "--resume"], ["nonsense"], ["predict"]],
)
def test_wrong_usage(args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Usage: " in run(*args, code=2).stderr
    assert not list(tmp_path.iterdir())


def test_the_program_itself_prints_one_line(tmp_path):
    command = [sys.executable, "-m", "asterism", "cluster", "absent", "-k", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1 and "absent" in done.stderr


def test_debug_lets_the_error_through_so_that_python_shows_where_it_came_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # that of the test's own process stays
    monkeypatch.setenv("ASTERISM_DEBUG", "")  # which the program sets
    monkeypatch.setattr(sys, "argv", ["asterism", "cluster", "absent", "-k", "2"])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_module("asterism", run_name="__main__")
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--debug"])
    with pytest.raises(MissingDataError, match="absent"):
        runpy.run_module("asterism", run_name="__main__")


def test_library_messages_are_put_in_the_words_of_the_command_line():
    assert as_typed("n_clusters=5 is more than 3") == "-k 5 is more than 3"
    assert as_typed("device='cuda' needs a GPU; use device='cpu' or 'auto'") == (
        "--device cuda needs a GPU; use --device cpu or 'auto'"
    )
    assert as_typed("pass size=(48, 64)") == "pass --size 48x64"
    assert as_typed("training.size=3, page_size=4") == "training.size=3, page_size=4"
    assert described(InputError("two\nlines")) == "two lines"
    assert described(OSError(errno.ENOSPC, "No space left on device", "/x/y")) == "/x/y: No space left on device"


@pytest.mark.parametrize(
    "message",
    [
        "'size=64 and color=red' does not exist",
        "runs/scale=3 holds no run",
        "photos with size=64/a.png is damaged",
        "'my bands must go/x.csv' is empty",
        repr("it's size=64 and color=red") + " does not exist",
    ],
)
def test_names_of_the_users_own_stay_as_they_are(message):
    assert as_typed(message) == message


def test_a_parameter_of_an_estimator_is_no_option_of_the_same_name():
    """Of all methods: what ``--set`` reaches is named as it is typed, whatever options there are."""
    told = {}
    for method in METHODS:
        for name in (setting.path for setting in settings_of(find_method(method)()) if "." not in setting.path):
            with pytest.raises(InputError) as failed:
                find_method(method)().set_params(**{name: 1j}).check()
            told[method, name] = described(failed.value)
    assert ("sc-njw", "scale") in told
    assert all(line.startswith(f"{name}=1j cannot be used: {name} ") for (_, name), line in told.items())


def test_nothing_that_moves_the_cursor_reaches_the_terminal():
    assert safe("a\x1b[2Jb\r\n‮gnp.exe\udce9é✓") == "a\\x1b[2Jb\\r\\n\\u202egnp.exe\\udce9é✓"
    assert "\x1b" not in run("cluster", "no\x1b[31mred", "-k", "2", code=1).stderr


# ---------------------------------------------------------------- one place turns Python's words into options

PYTHON = re.compile(
    r"\.astype\(|\[None\]|open_images\(|strict=True|layout='|\.reshape\(|\.to_dense\(|numpy\.nan|X \* |"
    r"pass (?:outliers|drop_duplicates)"
)


def templates():
    """What the library says in errors and warnings, outside the command line, with something for what is put in."""
    root = Path(asterism.__file__).parent
    papers = Path(__file__).parents[1] / "papers" / "src" / "asterism_papers"  # which say it at the same door
    for path in sorted([*root.rglob("*.py"), *papers.rglob("*.py")]):
        if "cli" in path.parts[-2:-1]:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", ""))
            if isinstance(node, ast.Raise) or called in ("warn", "_say", "_warn", "_tell"):
                yield from ((f"{path.parent.name}/{path.name}:{node.lineno}", text) for text in texts_in(node))


def texts_in(node):
    if isinstance(node, (ast.JoinedStr, ast.Constant)):
        yield filled(node)
    else:
        for one in ast.iter_child_nodes(node):
            yield from texts_in(one)


def filled(node):
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(filled(one) if isinstance(one, ast.Constant) else of_value(one.value) for one in node.values)


def of_value(node):
    name = ast.unparse(node)
    return "a/b.npy" if name == "name" else repr("rgb") if "color" in name else "7"


def test_the_library_advises_no_options():
    found = [(where, text) for where, text in templates() if re.search(r"(^|[\s(])--[a-z]", text)]
    assert not found, "say it in Python; cli/errors.py puts it in the words of the command line"


def test_the_command_line_advises_no_python():
    said = {text for _, text in templates() if PYTHON.search(text)}
    assert len(said) > 5
    left = [one for one in map(as_typed, said) if PYTHON.search(one)]
    assert not left


@pytest.mark.parametrize(
    ("message", "typed"),
    [
        (
            "p.npy of shape (8, 8, 3): pass p.npy[None]; if",
            "p.npy of shape (8, 8, 3): store it as an array of one image",
        ),
        ("pass p.npy.astype('uint8') if 255 is white", "store it as uint8 if 255 is white"),
        (
            "pass p.npy * 4 if 1 is white, (p.npy / 257).astype('uint8') if",
            "store it times 4 if 1 is white, it / 257 as uint8",
        ),
        ("open X with open_images(…, size=(8, 9), color='grey')", "open X with --size 8x9 --color grey"),
        (
            "r holds a finished run; choose another folder",
            "r holds a finished run; choose another --out (or --overwrite)",
        ),
        ("f is damaged: start anew in another folder", "f is damaged: start anew (--overwrite, or another --out)"),
    ],
)
def test_advice_in_the_words_of_the_command_line(message, typed):
    assert as_typed(message).startswith(typed)


@pytest.mark.parametrize(
    "error",
    [
        lambda: torch.empty(2 * 10**9, 784, 10),
        lambda: torch.nn.Linear(784, 2 * 10**12),
        lambda: torch.empty(2 * 10**9, 2 * 10**9, 10),
        lambda: torch.empty(10**20),
        lambda: np.empty((2 * 10**9, 784, 1000)),
    ],
)
def test_numbers_too_large_for_the_memory_are_one_line(error):
    with pytest.raises(Exception) as caught:
        error()
    assert described(caught.value).startswith("not enough memory")


def test_huge_settings_in_python():
    model = asterism.METHODS["fcae-kmeans"](2, autoencoder=asterism.FCAE(n_features=2 * 10**9))
    with pytest.raises(MemoryError, match="GiB were asked for.*take fewer"):
        model.fit(np.random.default_rng(0).random((12, 16, 16), dtype=np.float32))


@pytest.mark.parametrize("value", ["x", "1"])
def test_the_variable_that_the_failing_line_names_is_to_blame(tmp_path, monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # was blamed: its value is in "base 10" and in "x1"
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", value)
    (tmp_path / "reads_it.py").write_text("import os\nint('x' + os.environ['HF_HUB_ETAG_TIMEOUT'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="base 10") as failed:
        importlib.import_module("reads_it")
    assert f"HF_HUB_ETAG_TIMEOUT={value} cannot be used" in described(failed.value)
