"""``asterism bench`` as it is typed."""

import json

import pytest

from asterism.errors import InputError
from asterism_papers.cli.selection import parse_only, parse_seeds
from test_cli import run


def test_bench_passes_on_what_it_is_asked(monkeypatch, tmp_path):
    from asterism_papers.evaluation import bench

    asked = {}

    def run_tables(names, **options):
        asked.update(options, names=names)
        options["echo"]("a line of progress")
        return [{"table": "dbc-4", "seed": 0}]

    monkeypatch.setattr(bench, "run_tables", run_tables)
    result = run("bench", "dbc-4", "--only", "dataset=usps,method=dbc", "--seeds", "0-2,5", "--json", "--out", tmp_path)
    assert json.loads(result.stdout) == [{"table": "dbc-4", "seed": 0}] and "progress" in result.stderr
    assert asked["names"] == ["dbc-4"] and asked["only"] == {"dataset": "usps", "method": "dbc"}
    assert asked["seeds"] == [0, 1, 2, 5] and asked["results_dir"] == tmp_path and asked["show"] is False


def test_bench_shows_and_lists_without_running(tmp_path):
    assert json.loads(run("bench", "dbc-4", "--show", "--json", "--out", tmp_path).stdout) == []
    assert "dbc-4" in run("bench", "dbc-4", "--show", "--out", tmp_path).stdout
    assert "dbc-fig9" in run("bench", "--list").stdout
    assert run("bench", code=2).stderr


def test_the_small_languages():
    assert parse_seeds("0-2") == [0, 1, 2] and parse_seeds("0, 5,4-4") == [0, 5, 4]
    assert parse_only(["dataset=usps,method=dbc", "variant=a b"]) == {
        "dataset": "usps",
        "method": "dbc",
        "variant": "a b",
    }
    for wrong in ("2-0", "a", "0-999999999", "9" * 5000):
        with pytest.raises(InputError):
            parse_seeds(wrong)
    for wrong in (["usps"], ["dataset="], ["dataset=a,dataset=b"]):
        with pytest.raises(InputError):
            parse_only(wrong)
