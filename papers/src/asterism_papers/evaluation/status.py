"""``asterism bench --list``: of each table what is recorded, what is missing, what that would cost, and what data lack.

A cost is measured: the mean seconds of recorded runs of the same method on the same set, of the same variant where
there are some; without any, those on other sets, in proportion to the number of pixels. Where a method was never
recorded it is unknown, and said to be.
"""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from asterism.images import named_sets
from asterism_papers.evaluation.bench import DEFAULT_SEEDS, default_results_dir
from asterism_papers.evaluation.external_estimators import missing_external
from asterism_papers.evaluation.filters import entries_of
from asterism_papers.evaluation.protocol import Row
from asterism_papers.evaluation.records import recorded, variant_of
from asterism_papers.evaluation.table import Entry, Table, papers
from asterism_papers.evaluation.tables import TABLES, find_tables

_IMAGES = re.compile(r"(\d+) images, (\d+(?:x\d+)*)$")  # the end of `protocol.describe`'s line


@dataclass(frozen=True)
class SetStock:
    """A data set of a table.

    Attributes
    ----------
    name : str
    default : bool
        Whether it is run without ``--only dataset=…``.
    here : {"yes", "fetched on use", "no"}
    how_to_get : str
        Where it is had and what is to lie where; empty where it is here.
    recorded, missing : int
        Runs of the seeds that are asked for.
    seconds : float
        What those of the missing runs would take whose cost is known.
    unknown : tuple of str
        The methods of the other missing runs.
    """

    name: str
    default: bool
    here: str
    how_to_get: str
    recorded: int
    missing: int
    seconds: float
    unknown: tuple[str, ...]


def list_tables(
    names: Iterable[str] = (),
    *,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    results_dir: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """What can be benched and what has been.

    Parameters
    ----------
    names : iterable of str
        Tables; none: all.
    seeds : sequence of int
        The seeds that a run is wanted of.
    results_dir : path, optional
        Default `asterism_papers.evaluation.bench.default_results_dir`.

    Returns
    -------
    list of dict
        For each table its ``name``, ``paper``, ``title``, ``methods``, the default ``datasets`` and those that
        ``also`` can be chosen, ``runs_a_seed``, the table that it shares its ``runs_of`` (or ""), and ``sets``: a
        `SetStock` as a dict for each set, and of methods whose package is not installed, in ``not_installed``, how to
        get it. Runs are told apart by the name of the set: one that is recorded in
        another size counts. What a run needs of another (features of JULE) is not in its cost.

    Raises
    ------
    InputError
        For an unknown table.
    """
    folder = default_results_dir() if results_dir is None else Path(results_dir)
    tables = find_tables(names) or list(TABLES.values())
    files = {table.record: recorded(folder / f"{table.record}.jsonl") for table in TABLES.values()}
    rates = Rates(row for rows in files.values() for row in rows)
    return [
        {
            "name": table.name,
            "paper": f"{table.paper['source']}, {table.paper['where']}",
            "title": table.title,
            "datasets": list(table.datasets),
            "also": list(table.also),
            "methods": sorted({entry.method for entry in table.entries}),
            "runs_a_seed": sum(len(_fitting(table, name)) for name in table.datasets),
            "runs_of": table.runs_of,
            "not_installed": {
                entry.method: why for entry in table.entries if (why := missing_external(entry.class_name))
            },
            "sets": [asdict(one) for one in _stock(table, files[table.record], rates, seeds)],
        }
        for table in tables
    ]


def _fitting(table: Table, dataset: str) -> list[Entry]:
    return [entry for entry in entries_of(table, {}) if entry.runs_on(dataset)]


def _stock(table: Table, rows: list[Row], rates: Rates, seeds: Sequence[int]) -> Iterator[SetStock]:
    there = {(row["dataset"], row["method"], variant_of(row), row["seed"]) for row in rows if row["current"]}
    sets = {one.name: one for one in named_sets()}
    for name in (*table.datasets, *table.also):
        runs = [(entry, seed) for entry in _fitting(table, name) for seed in seeds]
        missing = [entry for entry, seed in runs if (name, entry.method, entry.variant, seed) not in there]
        costs = [(entry.method, rates.seconds(entry, name)) for entry in missing]
        one = sets[name]
        yield SetStock(
            name,
            name in table.datasets,
            one.here,
            one.how_to_get if one.here == "no" else "",
            len(runs) - len(missing),
            len(missing),
            round(sum(cost for _, cost in costs if cost is not None), 1),
            tuple(dict.fromkeys(method for method, cost in costs if cost is None)),
        )


class Rates:
    """Seconds of a run as they were measured.

    Parameters
    ----------
    rows : iterable of dict
        Recorded rows of any tables.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = [row for row in rows if "seconds" in row]
        self.pixels = _pixels(self.rows)

    def seconds(self, entry: Entry, dataset: str) -> float | None:
        """Mean seconds of the runs that are most like it; None where the method was never recorded.

        Parameters
        ----------
        entry : Entry
        dataset : str
        """
        same = [row for row in self.rows if row["method"] == entry.method]
        alike = [row for row in same if variant_of(row) == entry.variant]
        for rows in (alike, same):
            here = [row["seconds"] for row in rows if row["dataset"] == dataset]
            if here:
                return statistics.fmean(here)
        known = [row for row in alike or same if row["dataset"] in self.pixels]
        if not known or dataset not in self.pixels:
            return None
        rate = sum(row["seconds"] for row in known) / sum(self.pixels[row["dataset"]] for row in known)
        return rate * self.pixels[dataset]


def _pixels(rows: Iterable[Row]) -> Mapping[str, int]:
    """Numbers in all images of a set, N·H·W·C: as in a recorded row, else as the papers have it."""
    lines = [(name, f"{one['n']} images, {one['size']}") for paper in papers().values()
             for name, one in paper["datasets"].items()]  # fmt: skip
    lines += [(row["dataset"], row["protocol"]["images"]) for row in rows]
    found = {}
    for name, line in lines:
        if match := _IMAGES.search(line):
            found[name] = int(match[1]) * prod(map(int, match[2].split("x")))
    return found
