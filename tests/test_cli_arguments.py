"""What a shell makes of what was typed (empty variables, patterns, ``~``), and what can be typed again."""

import csv
import importlib.metadata
import shlex
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from asterism.cli import advising, app, main
from asterism.cli.errors import described
from asterism.cli.feature_files import write_features
from asterism.cli.text import as_argument
from asterism.errors import InputError
from asterism.images import file_labels, open_images
from asterism.images.label_files import read_labels
from test_cli import run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Photographs with odd names, a run of them in a folder with one, and labels."""
    root = tmp_path_factory.mktemp("place")
    (root / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name in ("#c.png", "=x.png", "a.png", "b.png", "c d.png", "e.png"):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(root / "photos" / name)
    where = ["--out", root / "-my run", "--method", "kmeans", "--set", "n_init=1", "--no-report", "-q"]
    run("cluster", root / "photos", "-k", 2, *where)
    return root


def ended(monkeypatch, *arguments):
    """Exit code of the program."""
    monkeypatch.setattr(sys, "argv", ["asterism", *map(str, arguments)])
    monkeypatch.setattr(sys.modules["asterism.cli.app"], "terminate_softly", lambda: None)
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.mark.parametrize(
    ("typed", "what"), [(["--out", ""], "what follows --out"), (["--out="], "--out"), (["r", ""], "an argument")]
)
def test_an_empty_argument_is_not_the_working_folder(place, tmp_path, monkeypatch, capsys, typed, what):
    monkeypatch.chdir(tmp_path)
    assert ended(monkeypatch, "cluster", place / "photos", "-k", 2, "--method", "kmeans", "-q", *typed) == 1
    told = f"asterism: error: {what} is empty: perhaps a variable of the shell that is not set\n"
    assert capsys.readouterr().err == told
    assert ended(monkeypatch, "export", place / "-my run", "") == 1
    assert not list(tmp_path.iterdir())


def test_a_pattern_that_the_shell_wrote_out_is_not_repeated(place):
    names = sorted(map(str, (place / "photos").iterdir()))
    done = CliRunner().invoke(app, ["cluster", *names, "-k", "2"])
    assert done.exit_code == 2 and names[1] in done.output and names[2] not in done.output
    assert "and 4 more; a pattern stands in quotes" in done.output


def test_in_a_folder_that_is_gone(tmp_path, monkeypatch):
    """torch aborts there, and not by an error."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = CliRunner().invoke(app, ["methods"])
    monkeypatch.chdir(tmp_path)
    assert done.exit_code == 1
    assert done.output == "asterism: error: the working folder is not there any more; go to another one\n"


def test_the_version_of_what_is_not_installed(monkeypatch, capsys):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", unknown)
    assert ended(monkeypatch, "--version") == 0 and capsys.readouterr().out == "0.0.0\n"


def test_commands_that_are_printed_can_be_typed(place, monkeypatch):
    monkeypatch.chdir(place)
    listed = run("cut", "./-my run").stdout
    if "Regroup with: " in listed:
        assert listed.partition("Regroup with: ")[2].startswith("asterism cut './-my run' --level ")
    assert shlex.split(as_argument("-my run")) == ["./-my run"] and as_argument("run/1") == "run/1"


def test_labels_in_a_home(place, monkeypatch):
    """``--labels=~/y.csv``: a shell leaves the ``~`` as it is."""
    monkeypatch.setenv("HOME", str(place))
    names = [path.name for path in (place / "photos").iterdir()]
    (place / "y.csv").write_text("path,label\n" + "".join(f"{name},x\n" for name in names))
    assert "n_clusters" in run("evaluate", place / "-my run", "--labels=~/y.csv").stdout
    assert file_labels(open_images(place / "photos"), "~/y.csv")[1] == ["x"]


def test_features_whose_names_look_like_remarks_are_read_again(place, tmp_path):
    with open(place / "-my run" / "labels.csv", newline="") as lines:
        names = [row["path"].removeprefix("./") for row in csv.DictReader(lines)]
    rows = np.random.default_rng(0).random((len(names), 3)).astype(np.float32)
    write_features(tmp_path / "f.csv", names, rows)
    assert open_images(tmp_path / "f.csv").names == names and "#c.png" in names
    assert len(open_images(place / "photos", features=tmp_path / "f.csv")) == len(names)


@pytest.mark.parametrize("columns", ["path,cluster,confidence,duplicate_of,outlier", "path,group,run_group,confidence"])
def test_a_run_is_compared_with_the_table_of_another(tmp_path, columns):
    """No other column of it may be the labels, and what is in no group is in none here."""
    rest = ",0.5" * (columns.count(",") - 1)
    rows = "".join(f"{name},{group}{rest}\n" for name, group in (("a", 0), ("b", 1), ("c", -1)))
    (tmp_path / "labels.csv").write_text(f"{columns}\n{rows}")
    found = read_labels(tmp_path / "labels.csv", ["a", "b", "c"])
    assert found.labels == ["0", "1", None] and found.column is None


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_options_that_may_stand_anywhere_may_stand_twice(place, monkeypatch, capsys, value):
    monkeypatch.setenv("ASTERISM_DEBUG", value)
    monkeypatch.setenv("ASTERISM_OFFLINE", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    assert ended(monkeypatch, "--offline", "evaluate", "--offline", place / "nowhere", "--offline") == 1
    assert capsys.readouterr().err.endswith("nowhere is not a run folder: it holds no run.json\n")


def test_what_is_said_of_options_is_one_line_where_a_shell_completes(monkeypatch, capsys):
    """fish takes each line for one more."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("_ASTERISM_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "asterism cluster --l")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    ended(monkeypatch)
    assert all(line.startswith("--l") for line in capsys.readouterr().out.splitlines())


def test_a_warning_that_is_made_an_error_is_no_fault_of_ours():
    told = described(UserWarning("n_clusters=18, but only 17 images differ"))
    assert told == "-k 18, but only 17 images differ (a warning, of which -W or PYTHONWARNINGS makes an error)"


def test_quiet_is_quiet_while_a_number_of_groups_is_looked_for(place, tmp_path, monkeypatch):
    shown = []

    def bar(show=True):
        shown.append(show)
        raise InputError("enough")

    monkeypatch.setattr(advising, "decoding_bar", bar)
    for more in ([], ["--quiet"]):
        assert (
            CliRunner().invoke(app, ["cluster", str(place / "photos"), "--out", str(tmp_path / "r"), *more]).exit_code
        )
    assert shown == [True, False]
