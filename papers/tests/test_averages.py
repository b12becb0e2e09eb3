"""What a paper sums up over its sets, from its printed tables and from the recorded runs."""

from dataclasses import replace

import pytest

from asterism_papers.evaluation.averages import HEADER, averages, compared
from asterism_papers.evaluation.printing import format_table
from asterism_papers.evaluation.records import append
from asterism_papers.evaluation.tables import TABLES


def row(table, method, nmi, *, seed=0, dataset="usps", variant="as in the paper"):
    about = {"variant": variant, "images": f"data:{dataset}, 10 images, 16x16"}
    found = {"table": table, "dataset": dataset, "method": method, "seed": seed, "protocol": about}
    return {
        **found,
        "scores": {"nmi_sqrt": nmi, "acc": nmi},
        "seconds": 1.0,
        "hardware": {"cpu": "a", "cores": 1, "threads": 1},
    }


def cells(name, rows):
    return [dict(zip(HEADER, one, strict=True)) for one in averages(TABLES[name], rows)]


def test_the_lead_is_over_the_best_other_row_of_each_set():
    rows = [
        row("jule-3", "jule", 0.9),
        row("jule-3", "jule", 0.8, seed=1),
        row("jule-3", "jule-sf", 0.95),  # the paper's own too
        row("jule-3", "ac-gdl", 0.7),
        row("jule-3", "kmeans", 0.5),
        row("jule-3", "jule", 0.9, dataset="umist"),
        row("jule-3", "kmeans", 0.6, dataset="umist"),
        row("jule-3", "jule", 0.9, dataset="coil20"),  # no other row
    ]
    (found,) = cells("jule-3", rows)
    assert (found["ours"], found["sets"], found["paper"]) == ("+0.225", "2", "+0.064")  # (.85 - .7 + .9 - .6) / 2
    assert found["its tables, these sets"] == "+0.063"  # (.913 - .854 + .877 - .810) / 2


def test_the_papers_nine_sets_give_what_its_slides_say():
    """So the figure is read as it was meant: the mean over sets of the lead over the best other."""
    for name, said in (("jule-3", 0.0643), ("jule-10", 0.1276)):
        table = TABLES[name]
        whole = replace(table, datasets=tuple(table.paper["values"]))
        rows = [row("jule-3", one, 0.5, dataset=s) for one in ("jule", "kmeans") for s in whole.datasets]
        assert float(averages(whole, rows)[0][3]) == pytest.approx(said, abs=5e-4)


def test_the_gain_is_of_the_same_row_in_the_other_table(tmp_path):
    rows = [
        row("jule-4", "kmeans", 0.9),
        row("jule-4", "ac-gdl", 0.8),
        row("jule-4", "sc-st", 0.8),  # no run on pixels
        row("jule-4", "kmeans", 1.0, variant="undamped with all gradients"),
    ]
    pixels = [row("jule-3", "kmeans", 0.5), row("jule-3", "ac-gdl", 0.7)]
    assert cells("jule-4", rows) == []
    (found,) = cells("jule-4", [*rows, *pixels])
    assert (found["ours"], found["sets"], found["paper"]) == ("+0.250", "1", "+0.215")
    assert "| learned features above pixels, all methods | NMI-sqrt | +0.215 |" in format_table("jule-4", rows + pixels)
    for one in pixels:
        append(tmp_path / "jule-3.jsonl", {**one, "params": {}, "history": {}})
    assert [one["method"] for one in compared([TABLES["jule-4"]], tmp_path)] == ["kmeans", "ac-gdl"]
    assert compared([TABLES["jule-3"]], tmp_path) == []
