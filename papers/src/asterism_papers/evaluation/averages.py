"""What a paper sums up over its sets in one number, beside that number of its own tables and of the recorded runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asterism_papers.evaluation.protocol import Row
from asterism_papers.evaluation.records import recorded, variant_of
from asterism_papers.evaluation.table import AS_PAPER, METRIC_LABELS, Average, Table
from asterism_papers.evaluation.tables import find_tables

HEADER = ("mean difference over the sets", "score", "paper", "its tables, these sets", "ours", "sets")

Scores = Mapping[str, list[float]]  # of a set: what the paper calls a row → its figures


def averages(table: Table, rows: Iterable[Row]) -> list[list[str]]:
    """Cells under `HEADER`: each of a table's averages, over those of its own sets that have the runs.

    Parameters
    ----------
    table : Table
    rows : iterable of dict
        Of this table, and of those that it is compared with (`compared`).

    Returns
    -------
    list of list of str
        The figure that the paper names; what its printed tables give for the sets that ours is of; ours.
    """
    rows, metric = [row for row in rows if row.get("current", True)], table.metrics[0]
    cells = []
    for average in table.averages:
        other = find_tables([average.over])[0] if average.over else table
        ours, theirs, sets = list[float](), list[float](), 0
        for dataset in table.datasets:
            mine = _differences(average, *(_recorded(one, dataset, rows, average) for one in (table, other)))
            if mine:
                ours += mine
                theirs += _differences(average, *(_printed(one, dataset) for one in (table, other)))
                sets += 1
        if sets:
            figures = (average.said, statistics.fmean(theirs), statistics.fmean(ours))
            cells.append([average.text, METRIC_LABELS[metric], *(f"{one:+.3f}" for one in figures), str(sets)])
    return cells


def compared(tables: Iterable[Table], folder: Path, seeds: Sequence[int] | None = None) -> list[Row]:
    """The recorded rows, of some seeds, of further tables that some tables' averages compare them with."""
    tables = list(tables)
    names = {average.over for table in tables for average in table.averages}
    records = {table.record for table in find_tables(names - {""})} - {table.record for table in tables}
    rows = [row for name in sorted(records) for row in recorded(folder / f"{name}.jsonl")]
    return [row for row in rows if seeds is None or row["seed"] in seeds]


def _differences(average: Average, here: Scores, there: Scores) -> list[float]:
    """Of one set: by how much the row is above the best other; or each row above the same row of the other table."""
    mean = {row: statistics.fmean(scores) for row, scores in here.items() if scores}
    if average.lead is None:
        return [mean[row] - statistics.fmean(there[row]) for row in mean if there.get(row)]
    rivals = [score for row, score in mean.items() if row not in average.ours]
    return [mean[average.lead.paper_row] - max(rivals)] if average.lead.paper_row in mean and rivals else []


def _recorded(table: Table, dataset: str, rows: list[Row], average: Average) -> Scores:
    """Means over the seeds, of rows that are as in the paper; of the paper's own method in the variant asked for."""
    found: dict[str, list[float]] = {}
    for entry in table.entries:
        is_lead = average.lead is not None and entry.paper_row == average.lead.paper_row
        if entry == average.lead if is_lead else entry.variant == AS_PAPER:
            wanted = (table.record, dataset, entry.method, entry.variant)
            found[entry.paper_row] = [
                row["scores"][table.metrics[0]]
                for row in rows
                if (row["table"], row["dataset"], row["method"], variant_of(row)) == wanted
                and table.metrics[0] in row["scores"]
            ]
    return found


def _printed(table: Table, dataset: str) -> Scores:
    metric = table.metrics[0]
    return {row: [one[metric]] for row, one in table.printed(dataset).items() if one.get(metric) is not None}
