"""How many of the papers' figures the recorded rows reach."""

import json

import pytest

from asterism_papers.evaluation import cells
from asterism_papers.evaluation.table import Entry, Table
from test_cli import run

A, B, C = (Entry("kmeans", one, one) for one in ("A", "B", "C"))
A_TOO = Entry("kmeans", "A", "another way")


@pytest.fixture
def made(monkeypatch, tmp_path):
    """A table of three rows on two sets, and a function that records a score."""
    table = Table("dbc-4", "made", ("usps",), (A, A_TOO, B, C), also=("mnist",), metrics=("acc",))
    printed = {"A": {"acc": 0.5}, "B": {"acc": 0.5, "ari": 0.5}, "C": {"acc": None}}
    monkeypatch.setattr(Table, "printed", lambda self, dataset: printed)
    monkeypatch.setattr(cells, "find_tables", lambda names: [table])
    found = []
    monkeypatch.setattr(cells, "recorded", lambda path: found)

    def record(entry, acc, images="data:usps", current=True):
        protocol = {"variant": entry.variant, "images": images}
        row = {"dataset": "usps", "method": "kmeans", "protocol": protocol, "scores": {"acc": acc, "ari": 0.1}}
        found.append({**row, "current": current})

    return record


def counted():
    ((name, *numbers),) = [one.values() for one in cells.count_cells(["dbc-4"])]
    assert name == "dbc-4"
    return numbers


def test_cells_are_what_the_table_marks(made):
    assert counted() == [0, 0, 0, 0, 0, 4, 0]  # of A and B on both sets; C's figure and B's ARI are not shown
    made(A, 0.4)
    made(A, 0.7)  # a mean of .55
    assert counted() == [1, 0, 0, 1, 1, 2, 0]
    made(B, 0.493)
    assert counted() == [1, 1, 0, 0, 1, 2, 0]
    made(B, 0.48, images="another size")
    made(B, 0.99, images="a third", current=False)
    assert counted() == [1, 1, 1, 0, 1, 2, 0]


def test_a_figure_that_one_variant_reaches_is_not_lost(made):
    made(A, 0.4)
    assert counted() == [0, 0, 1, 1, 1, 2, 1]
    made(A_TOO, 0.45)
    assert counted() == [0, 0, 2, 1, 0, 2, 1]  # two cells, one figure
    made(A_TOO, 0.6)
    assert counted() == [1, 0, 1, 1, 0, 2, 0]


def test_the_command_prints_and_sums():
    lines = run("bench", "jule-5", "jule-6", "--cells").stdout.splitlines()
    numbers = [[int(cell) for cell in line.strip("| ").split("|")[1:]] for line in lines[2:]]
    assert [sum(column) for column in zip(*numbers[:-1], strict=True)] == numbers[-1] and len(numbers) == 3
    listed = json.loads(run("bench", "jule-5", "jule-6", "--cells", "--json").stdout)
    assert [list(one.values())[1:] for one in listed] == numbers[:-1]
