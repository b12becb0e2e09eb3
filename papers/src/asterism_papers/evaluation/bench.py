"""``asterism bench``: run a paper's table, keep each run as a line of ``papers/results``, print ours beside theirs.

A run that is recorded is not run again; one that was killed goes on where it was. What is printed comes from the
recorded lines only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from asterism.errors import InputError, MissingDataError
from asterism.machine import launch
from asterism_papers.evaluation import protocol, records, runs
from asterism_papers.evaluation.external_estimators import is_external, missing_external
from asterism_papers.evaluation.filters import Only, datasets_of, entries_of, variants_of
from asterism_papers.evaluation.protocol import Row
from asterism_papers.evaluation.table import METRIC_LABELS, Entry, Table
from asterism_papers.evaluation.tables import TABLES, find_tables

DEFAULT_SEEDS = (0, 1, 2)
FILTERS = ("dataset", "method", "variant")


def _silent(line: str) -> None:
    pass


def run_tables(
    names: Iterable[str],
    *,
    only: Only | None = None,
    seeds: Sequence[int] | None = None,
    show: bool = False,
    results_dir: str | os.PathLike[str] | None = None,
    external: Sequence[Entry] = (),
    device: str = "auto",
    verbose: int = 0,
    echo: Callable[[str], None] = _silent,
) -> list[Row]:
    """Run what of some tables is not recorded yet, and give what is.

    Parameters
    ----------
    names : iterable of str
        Tables, see `asterism_papers.evaluation.status.list_tables`.
    only : mapping, optional
        ``{"dataset": "usps", "method": "dbc", "variant": "augmentation"}``: any of the three; a variant is chosen by a
        part of its name.
    seeds : sequence of int, optional
        Seeds to run and to show; by default 0, 1, 2 are run and all that are recorded are shown.
    show : bool, default=False
        Run nothing.
    results_dir : path, optional
        Default `default_results_dir`. Each table is a file there, and ``runs`` holds what is not finished.
    external : sequence of Entry
        Classes of other libraries, of `asterism_papers.evaluation.external_estimators.external_entry`: run these and
        nothing else.
    device : str
    verbose : int
        See `Runtime` and `DBC`.
    echo : callable
        Takes a line of progress.

    Returns
    -------
    list of dict
        The recorded rows, each with ``current``: whether its parameters are those that would be run today.

    Raises
    ------
    InputError
        For an unknown table, a choice that fits nothing, or a table that takes no external.
    StorageError
        If the results cannot be written.
    """
    tables = find_tables(names)
    only = dict(only or {})
    if external:
        tables = [_with_external(table, external) for table in tables]
    _check_only(tables, only)
    if launch().world_size > 1:
        raise InputError("bench runs in one process; start it without torchrun")
    folder = default_results_dir() if results_dir is None else Path(results_dir)
    setting = protocol.Setting(device, verbose, None if show else protocol.code_commit())
    for table in () if show else tables:
        for dataset in datasets_of(table, only):
            path = folder / f"{table.record}.jsonl"
            _run(table, dataset, only, DEFAULT_SEEDS if seeds is None else seeds, path, setting, echo)
    files = {folder / f"{table.record}.jsonl": table for table in tables}  # tables that share runs share one
    return [row for path, table in files.items() for row in _wanted(records.recorded(path), table, only, seeds)]


def default_results_dir() -> Path:
    """``papers/results`` of the Asterism checkout around the working folder, else ``results`` in it."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".git").exists() and (folder / "src" / "asterism").is_dir():
            return folder / "papers" / "results"
    return here / "results"


# ---------------------------------------------------------------- what to run


def _with_external(table: Table, external: Sequence[Entry]) -> Table:
    if not table.external:
        able = ", ".join(one.name for one in TABLES.values() if one.external)
        raise InputError(f"{table.name} takes no other methods, its rows are more than a clustering; {able} do")
    return replace(table, entries=tuple(external))


def _check_only(tables: list[Table], only: Only) -> None:
    for key, value in only.items():
        if key not in FILTERS:
            raise InputError(f"only: {key}={value} cannot be used: choose by {', '.join(FILTERS)}")
        if key == "method" and is_external(value):
            continue  # was put into a table by hand: its rows say which
        one = {key: value}
        if not any(datasets_of(table, one) and entries_of(table, one) for table in tables):
            entries = [entry for table in tables for entry in table.entries]
            sets = [name for table in tables for name in (*table.datasets, *table.also)]
            there = {"dataset": sets, "method": [entry.method for entry in entries]}
            listed = ", ".join(dict.fromkeys(there.get(key, [entry.variant for entry in entries])))
            raise InputError(f"only: {key}={value} fits nothing in {', '.join(t.name for t in tables)}: {listed}")
    if is_external(only.get("method", "")):
        return
    if not any(one.fits(name) for t in tables for name in datasets_of(t, only) for one in entries_of(t, only)):
        chosen = ",".join(f"{key}={value}" for key, value in only.items())
        sets = [name for t in tables for name in t.also for one in entries_of(t, only) if one.fits(name)]
        found = "" if "dataset" in only else " or ".join(dict.fromkeys(sets))
        way = f"add dataset={found}" if found else "leave a part of it out"
        raise InputError(f"only: {chosen} fits no row of {', '.join(t.name for t in tables)}: {way}")


def _run(
    table: Table,
    dataset: str,
    only: Only,
    seeds: Sequence[int],
    path: Path,
    setting: protocol.Setting,
    echo: Callable[[str], None],
) -> None:
    entries = [entry for entry in entries_of(table, only) if entry.runs_on(dataset)]
    tasks = [protocol.Task(table, dataset, entry, seed) for seed in seeds for entry in entries]
    if not tasks:
        return
    try:
        images = protocol.open_dataset(dataset, table.photo_side)
    except MissingDataError as error:
        echo(f"{table.name} {dataset}: not run: {error}")
        return
    described = protocol.describe(dataset, images)
    for task in tasks:
        if lacking := missing_external(task.entry.class_name):
            echo(f"{task}: not run: {lacking}")
            continue
        folder = path.parent / "runs" / task.folder_name
        with runs.claimed(folder) as free:
            if not free:
                echo(f"{task}: another process is at it")
            elif any(_is_of(row, task, described) for row in records.recorded(path)):
                echo(f"{task}: recorded already")
            elif row := records.borrowed(task, described, path.parent):
                records.append(path, row)
                echo(f"{task}: recorded in another table")
            else:
                records.check_writable(path)
                echo(f"{task} …")
                try:
                    row = (table.perform or runs.perform)(task, images, folder, setting)
                except (MissingDataError, runs.BusyError) as error:  # the others may run all the same
                    echo(f"{task}: not run: {error}")
                    continue
                records.append(path, row)
                shutil.rmtree(folder, ignore_errors=True)
                echo(f"{task}: {_short(row, table)}")


def _is_of(row: Row, task: protocol.Task, described: str) -> bool:
    same = row["dataset"] == task.dataset and row["seed"] == task.seed and row["protocol"]["images"] == described
    return (
        same and row["method"] == task.entry.method and row["current"] and records.variant_of(row) == task.entry.variant
    )


def _short(row: Row, table: Table) -> str:
    scores = row["scores"]
    found = "  ".join(f"{METRIC_LABELS[name]} {scores[name]:.3f}" for name in table.metrics if name in scores)
    return f"{found}  in {row['seconds']:.0f} s"


def _wanted(rows: Iterable[Row], table: Table, only: Only, seeds: Sequence[int] | None) -> list[Row]:
    """The rows of a table's file that are asked for."""
    found = [
        row
        for row in rows
        if only.get("dataset", row["dataset"]) == row["dataset"]
        and only.get("method", row["method"]) == row["method"]
        and (seeds is None or row["seed"] in seeds)
    ]
    of_method = [entry.variant for entry in table.entries if only.get("method", entry.method) == entry.method]
    meant = variants_of([*of_method, *map(records.variant_of, found)], only)
    return [row for row in found if records.variant_of(row) in meant]
