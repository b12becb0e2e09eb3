"""The recorded rows: a line of ``papers/results`` for each run, which still hold, and which serve two tables."""

from __future__ import annotations

import json
import math
import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from asterism.errors import StorageError
from asterism.methods import KNOWN_CLASSES, METHODS
from asterism_papers.evaluation.external_estimators import is_external, plain
from asterism_papers.evaluation.protocol import Row, Task, resolved_params
from asterism_papers.evaluation.table import Table
from asterism_papers.evaluation.tables import TABLES

NEEDED = {"table", "scores", "seconds", "hardware", "history"}  # of a row, besides what tells it apart


def check_writable(path: Path) -> None:
    """See, before a run of hours, that its row can be added; raises `StorageError`."""
    place = path if os.path.lexists(path) else path.parent
    if path.is_dir() or not os.access(place, os.W_OK):
        raise StorageError(f"cannot write {path}: {'it is a folder' if path.is_dir() else 'no permission'}")


def append(path: Path, row: Row) -> None:
    """Add one line to a file of results, in one write, so that several processes may share the file.

    Raises
    ------
    StorageError
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.is_file() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
        line = ("\n" if torn else "") + json.dumps(row, ensure_ascii=False) + "\n"
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(handle, line.encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; the run is kept and recorded next time") from error
    if written < len(line.encode()):
        raise StorageError(f"cannot write {path}: no space left; the run is kept and recorded next time")


def recorded(path: Path) -> list[Row]:
    """The rows of a file of results, of equal runs the last; each with ``current`` (see `bench.run_tables`).

    Runs are equal whose parameters are, those that came later at their defaults. Lines that are no rows, as what a
    crash cut off, are left out with a warning.

    Raises
    ------
    StorageError
        If there is such a file and it cannot be read.
    """
    table = TABLES.get(path.stem)
    entries = {(entry.method, entry.variant): entry for entry in table.entries} if table else {}

    @cache
    def today(dataset: str, method: str, variant: str) -> Task | None:
        entry = entries.get((method, variant))
        return None if entry is None or table is None else Task(table, dataset, entry, 0)

    latest: dict[str, Row] = {}
    damaged = []
    for number, line in _lines(path):
        try:
            row = json.loads(line)
            _check(row)
            task = today(row["dataset"], row["method"], variant_of(row))
            identity = [row[key] for key in ("dataset", "method", "seed")]
            identity += [variant_of(row), row["protocol"]["images"], completed_params(row, task)]
        except (ValueError, KeyError, TypeError, AttributeError):
            damaged.append(number)
            continue
        row["current"] = _is_current(row, task)
        latest[json.dumps(identity, sort_keys=True)] = row
    if damaged:
        said = f"lines {', '.join(map(str, damaged))} are no rows" if damaged[1:] else f"line {damaged[0]} is no row"
        warnings.warn(f"{path}: {said} and left out; a run that stood there is run again", UserWarning, stacklevel=2)
    return list(latest.values())


def _check(row: Row) -> None:
    """See that a row has what a table shows; raises what `recorded` takes for damage."""
    if not row.keys() >= NEEDED:
        raise ValueError(f"a row has {NEEDED}")
    if not all(map(math.isfinite, (row["seconds"], *row["scores"].values()))):
        raise ValueError("a score is a number")


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a file with their numbers; a letter that a crash cut in two harms its line alone."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def borrowed(task: Task, described: str, folder: Path) -> Row | None:
    """The row of the same run in another table, as a row of this task; None where there is none.

    A run is the same if images, seed, class and parameters are, and if the other table does the same with it and keeps
    what this one shows.

    Parameters
    ----------
    task : Task
    described : str
        `describe` of its images.
    folder : Path
        ``papers/results``.
    """
    for table in TABLES.values():
        if table.record == task.table.record or _treatment(table) != _treatment(task.table):
            continue
        classes = {(entry.method, entry.variant): entry.class_name for entry in table.entries}
        for row in recorded(folder / f"{table.record}.jsonl"):
            if (
                row.pop("current")
                and (row["dataset"], row["seed"], row["protocol"]["images"]) == (task.dataset, task.seed, described)
                and classes.get((row["method"], variant_of(row))) == task.entry.class_name
                and set(task.table.metrics) <= row["scores"].keys()
                and set(task.table.curves) <= row["history"].get("curves", {}).keys()
                and _is_current(row, task)
            ):
                about = row["protocol"] | {"variant": task.entry.variant}
                ours = {"table": task.table.record, "method": task.entry.method, "command": task.command}
                return row | ours | {"protocol": about}
    return None


def _treatment(table: Table) -> tuple[Any, ...]:
    return table.perform, table.preprocessing, table.photo_side


def _is_current(row: Row, task: Task | None) -> bool:
    """Whether a row's parameters are what would be run today; the number of classes is the data set's affair.

    A parameter that the row does not know came later: the row ran with its default, which keeps what was. Of a class
    of another library, which may not be installed, only the entry's own settings are compared.
    """
    if task is None:
        return is_external(row["method"])
    if is_external(task.entry.class_name):
        return {**row["params"], **plain(task.entry.params_on(row["dataset"]))} == row["params"]
    wanted = task.params
    by_classes = {"n_clusters": "classes"} if wanted["n_clusters"] == "classes" else {}
    return {**completed_params(row, task), **by_classes} == wanted


def completed_params(row: Row, task: Task | None) -> dict[str, Any]:
    """A row's parameters, and the defaults of those that came after it."""
    if task is None or is_external(task.entry.class_name):
        return row["params"]
    return _completed(row["params"], resolved_params(METHODS[task.entry.class_name]()))


def _completed(params: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Parameters with the defaults of those that they lack; nested objects with those of their own class.

    A nested object whose class has a subclass as default by now is one of that.
    """
    both = {**defaults, **params}
    for name, value in params.items():
        if isinstance(value, dict) and value.keys() == {"class", "params"}:
            usual, kind = defaults.get(name), value["class"]
            if not isinstance(usual, dict) or not _is_a(usual["class"], kind):
                made = resolved_params(KNOWN_CLASSES[kind](), top=False) if kind in KNOWN_CLASSES else {}
                usual = {"class": kind, "params": made}
            both[name] = {**usual, "params": _completed(value["params"], usual["params"])}
    return both


def _is_a(name: str, other: str) -> bool:
    """Whether the class of this name is the other one or a subclass of it."""
    if name == other:
        return True
    both = name in KNOWN_CLASSES and other in KNOWN_CLASSES
    return both and issubclass(KNOWN_CLASSES[name], KNOWN_CLASSES[other])


def variant_of(row: Row) -> str:
    """Which setting of its method a row is of."""
    return row["protocol"]["variant"]
