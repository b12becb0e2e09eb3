"""How the recorded rows stand to the papers, counted: the cells of the tables that a paper prints a figure for.

A cell is one score of one row of ours on one set. It reaches the paper's figure, misses it by at most .01, or is below,
as its mean over the recorded seeds is marked in the table; or it never ran.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from asterism_papers.evaluation.bench import default_results_dir
from asterism_papers.evaluation.printing import BELOW, NEAR, REACHED, grid, mark_of, rows_of
from asterism_papers.evaluation.protocol import Row
from asterism_papers.evaluation.records import recorded, variant_of
from asterism_papers.evaluation.table import LOWER_IS_BETTER, Table
from asterism_papers.evaluation.tables import TABLES, find_tables

NEVER, OTHER, NO_RUNS = "never ran", "another variant ran", "set without runs"
NO_VARIANT = "figures below in all variants"
COUNTED = {REACHED: "reaches", NEAR: "within .01", BELOW: "below"} | {one: one for one in (NEVER, OTHER, NO_RUNS)}


def count_cells(
    names: Iterable[str] = (), *, results_dir: str | os.PathLike[str] | None = None
) -> list[dict[str, Any]]:
    """Count the cells of tables.

    Parameters
    ----------
    names : iterable of str
        Tables; none: all in which a paper prints figures for rows of ours.
    results_dir : path, optional
        Default `asterism_papers.evaluation.bench.default_results_dir`.

    Returns
    -------
    list of dict
        For each table its ``name``, and the numbers of cells that ``reaches`` the paper, are ``within .01`` of it or
        ``below``; of rows without a run beside whose figure ``another variant ran``; and of figures that ``never ran``
        in any variant, or which are of a ``set without runs``, most of which are not given out; last, how many printed
        figures are below in all variants that ran. What holds a number for each pair of images is not counted on sets
        that are too large for it.

    Raises
    ------
    InputError
        For an unknown table.
    """
    folder = default_results_dir() if results_dir is None else Path(results_dir)
    counts = []
    for table in find_tables(names) or TABLES.values():
        rows = [row for row in recorded(folder / f"{table.record}.jsonl") if row["current"]]
        found = list(_marks(table, rows))
        if found:
            marks = [mark for _, mark in found]
            count: dict[str, Any] = {title: marks.count(mark) for mark, title in COUNTED.items()}
            better = {figure for figure, mark in found if mark in (REACHED, NEAR)}
            lost = {figure for figure, mark in found if mark == BELOW} - better
            counts.append({"name": table.name, **count, NO_VARIANT: len(lost)})
    return counts


def cells_text(counts: list[dict[str, Any]]) -> str:
    """What `count_cells` gives as an aligned table, with the sums below."""
    titles = [*COUNTED.values(), NO_VARIANT]
    total = {"name": "all", **{title: sum(one[title] for one in counts) for title in titles}}
    lines = [[str(value) for value in one.values()] for one in [*counts, total]]
    return grid(["table", *titles], lines)


def _marks(table: Table, rows: list[Row]) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Each cell that the paper has a figure for: which figure (set, row, score), and its mark.

    Some sets are another's images in another size, with the same figures: these count once.
    """
    if table.shows != "scores":
        return
    run = {row["dataset"] for row in rows}
    printed_as = {one: one for one in (*table.datasets, *table.also, *run)} | table.paper.get("same_as", {})
    printed_run, absent = {printed_as[one] for one in run}, set()
    paper_rows = {(entry.method, entry.variant): entry.paper_row for entry in table.entries}
    ran = {
        (row["dataset"], paper_rows.get((row["method"], variant_of(row))), metric)
        for row in rows
        for metric in row["scores"]
    }
    for dataset in dict.fromkeys((*table.datasets, *table.also, *sorted(run))):
        if dataset not in run and printed_as[dataset] in printed_run:
            continue
        printed = table.printed(dataset)
        for entry in table.entries:
            for metric, paper in printed.get(entry.paper_row, {}).items() if entry.runs_on(dataset) else ():
                if metric not in table.metrics or paper is None:
                    continue
                figure = (printed_as[dataset], entry.paper_row, metric)
                digits = printed[entry.paper_row].get("digits", 3)
                if found := _of_row(rows_of(dataset, entry, rows), metric, paper, digits):
                    yield from ((figure, mark) for mark in found)
                elif (dataset, entry.paper_row, metric) in ran:
                    yield figure, OTHER
                elif figure not in absent:  # one that no variant ran beside
                    absent.add(figure)
                    yield figure, NEVER if dataset in run else NO_RUNS


def _of_row(rows: list[Row], metric: str, paper: float, digits: int) -> list[str]:
    """A mark for each size of the images that a row ran with."""
    sizes: dict[str, list[float]] = {}
    for row in rows:
        if metric in row["scores"]:
            sizes.setdefault(row["protocol"]["images"], []).append(row["scores"][metric])
    return [mark_of(values, paper, metric in LOWER_IS_BETTER, digits) for values in sizes.values()]
