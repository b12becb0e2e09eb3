"""``asterism bench --list``: what is recorded, what is missing, what that would take, and how it is shown."""

import json
import sys
from dataclasses import replace

import pytest

from asterism.cli.app import app
from asterism.errors import InputError
from asterism_papers.cli.status_text import WIDTH, duration, status_text
from asterism_papers.evaluation import status
from asterism_papers.evaluation.pictures import PICTURES
from asterism_papers.evaluation.protocol import Task
from asterism_papers.evaluation.status import Rates, list_tables
from asterism_papers.evaluation.table import Entry
from asterism_papers.evaluation.tables import TABLES, find_tables

USPS_PIXELS = 11_000 * 16 * 16


def row(method="kmeans", dataset="usps", images="11000 images, 16x16", seed=0, seconds=10.0, variant="as in the paper"):
    """A row of dbc-4 as `asterism_papers.evaluation.runs.perform` records it, with today's parameters."""
    entry = next(one for one in TABLES["dbc-4"].entries if (one.method, one.variant) == (method, variant))
    params = {**Task(TABLES["dbc-4"], dataset, entry, seed).params, "n_clusters": 10}
    protocol = {"variant": variant, "images": f"data:{dataset}, {images}"}
    made = {"table": "dbc-4", "method": method, "dataset": dataset, "seed": seed, "seconds": seconds, "params": params}
    made |= {"scores": {}, "hardware": {}, "history": {}}
    return {**made, "protocol": protocol}


def record(folder, *rows):
    lines = "".join(json.dumps(one) + "\n" for one in rows)
    (folder / "dbc-4.jsonl").write_text(lines)


def listed(folder, name="dbc-4", **options):
    (table,) = list_tables([name], results_dir=folder, **options)
    return {one["name"]: one for one in table["sets"]}


# ---------------------------------------------------------------- runs


def test_runs_are_counted_for_the_seeds(tmp_path):
    record(tmp_path, row(seed=0), row(seed=1), row(seed=7))
    assert (listed(tmp_path)["usps"]["recorded"], listed(tmp_path)["usps"]["missing"]) == (
        2,
        3 * len(TABLES["dbc-4"].entries) - 2,
    )
    assert listed(tmp_path, seeds=[7])["usps"]["recorded"] == 1


def test_a_run_with_other_parameters_than_todays_is_missing(tmp_path):
    old = row()
    old["params"]["n_init"] += 1
    record(tmp_path, old)
    assert listed(tmp_path)["usps"]["recorded"] == 0


def test_a_table_that_shows_anothers_runs_counts_them(tmp_path):
    one, other = (listed(tmp_path, name)["usps"] for name in ("jule-3", "jule-10"))
    assert one == other
    assert list_tables(["jule-10"], results_dir=tmp_path)[0]["runs_of"] == "jule-3"


def test_entries_that_do_not_fit_a_set_are_not_missed_there(tmp_path):
    sets = listed(tmp_path, "jule-6", seeds=[0])
    damped, undamped = (4, 3), (3, 2)  # USPS's network has no layer top-2, and pixels are not trained
    expected = tuple(one + other for one, other in zip(damped, undamped, strict=True))
    assert (sets["usps"]["missing"], sets["mnist-test"]["missing"]) == expected


def test_an_absent_set_says_where_it_is_had_and_what_lies_where(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path / "none"))
    one = listed(tmp_path)["usps"]
    assert one["here"] == "no"
    assert "cs.nyu.edu" in one["how_to_get"] and str(tmp_path / "none" / "usps.npz") in one["how_to_get"]
    assert listed(tmp_path, "dbc-3")["mnist"]["here"] == "fetched on use"


def test_unknown_table():
    with pytest.raises(InputError, match="no table 'dbc-44'"):
        list_tables(["dbc-44"])


# ---------------------------------------------------------------- costs


def test_what_is_missing_costs_the_mean_of_what_was_recorded(tmp_path):
    record(tmp_path, row(seed=0, seconds=10.0), row(seed=1, seconds=20.0))
    found = listed(tmp_path)["usps"]
    assert found["seconds"] == 15.0  # one run of k-means
    assert found["unknown"] == ("aec", "iec", "fcae-kmeans", "dbc")


def test_same_variant_first_then_same_method_then_in_proportion_to_the_pixels():
    paper, other = Entry("dbc", "DBC"), Entry("dbc", "DBC", "with augmentation")
    mine = row("dbc", seconds=100.0)
    assert Rates([mine]).seconds(paper, "usps") == 100.0
    assert Rates([mine, row("dbc", seconds=300.0, variant="with augmentation")]).seconds(paper, "usps") == 100.0
    assert Rates([mine]).seconds(other, "usps") == 100.0
    assert Rates([mine]).seconds(paper, "mnist") == pytest.approx(100.0 * 70_000 * 28 * 28 / USPS_PIXELS)
    assert Rates([mine]).seconds(replace(paper, method="dec"), "usps") is None
    assert Rates([mine]).seconds(paper, "ukbench") is None  # of unknown size


def test_a_recorded_size_counts_before_the_papers():
    small = row("dbc", "coil100", "7200 images, 32x32x3", seconds=32 * 32.0)
    assert Rates([small]).seconds(Entry("dbc", "DBC"), "coil100-128") == pytest.approx(128 * 128.0)
    assert status._pixels([])["coil100"] == 7200 * 128 * 128 * 3


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("folder", ["/d", "/d/" + "long/" * 30])
def test_the_whole_list_is_readable_in_120_columns(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("ASTERISM_DATA", folder)  # its path is shown, whole: it can be copied
    record(tmp_path, row())
    text = status_text(list_tables(results_dir=tmp_path))
    assert not [line for line in text.split("\n") if len(line) > WIDTH and len(line.split()) > 1]
    assert f"{folder.rstrip('/')}/usps.npz" in text
    words = text.split()
    assert all(name in words for name in TABLES)
    line = next(line for line in text.split("\n") if line.startswith("dbc-4"))
    assert line.split()[:3] == ["dbc-4", "usps", "1"] or line.split()[:3] == ["dbc-4", "usps*", "1"]
    assert ("unknown" in line) == ("usps*" not in line)


def test_figures_without_numbers_say_how_they_are_drawn(tmp_path):
    text = status_text(list_tables(results_dir=tmp_path))
    assert all(name in text for name in PICTURES) and "asterism filters RUN" in text
    assert "PICTURE" not in status_text(list_tables(["dbc-4"], results_dir=tmp_path), by_set=True)
    with pytest.raises(InputError, match="dbc-fig5 is a picture: asterism cluster .*report.html"):
        find_tables(["dbc-fig5"])
    commands = {word for one in PICTURES.values() for command in one.commands for word in command.split()[1:2]}
    assert commands <= {one.name or one.callback.__name__ for one in app.registered_commands}


def test_sets_that_are_not_here_stand_below_with_their_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTERISM_DATA", str(tmp_path / "none"))
    text = " ".join(status_text(list_tables(["dbc-4", "dbc-5"], results_dir=tmp_path)).split())
    assert "* data:usps is not here: from https://cs.nyu.edu" in text
    assert "Wanted by dbc-4." in text
    dbc_4 = text[text.index("dbc-4 usps*") :].split()
    assert dbc_4[2:4] == ["0", str(3 * len(TABLES["dbc-4"].entries))]  # all under NO DATA


def test_methods_whose_package_is_absent_stand_below(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "clustpy", None)  # as if it were not installed
    tables = list_tables(["dbc-5"], results_dir=tmp_path)
    assert list(tables[0]["not_installed"]) == ["den"]
    assert "* method den: clustpy.deep.DEN is not installed: pip install 'asterism-" in status_text(tables)
    assert "not installed" not in status_text(list_tables(["jule-6"], results_dir=tmp_path))


def test_by_set_names_the_methods_without_a_measured_cost(tmp_path):
    record(tmp_path, row(seconds=30.0))
    text = status_text(list_tables(["dbc-4"], results_dir=tmp_path), by_set=True)
    (line,) = [one for one in text.split("\n") if one.startswith("dbc-4")]
    assert "1 min + unknown" in line and line.endswith("aec iec fcae-kmeans dbc")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59, "59 s"), (90, "2 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
