"""``asterism bench``: run a paper's table, keep each run as a line of ``benchmarks/results``, print ours beside theirs.

A run that is recorded is not run again; one that was killed goes on where it was. What is printed comes from the
recorded lines only.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asterism.errors import InputError, MissingDataError
from asterism.evaluation import protocol
from asterism.evaluation.protocol import Row
from asterism.evaluation.table import METRIC_LABELS, Entry, Table
from asterism.evaluation.tables import TABLES, find_tables
from asterism.images import named_sets
from asterism.methods import METHODS

DEFAULT_SEEDS = (0, 1, 2)
FILTERS = ("dataset", "method", "variant")
CLOSE = 0.01  # a score that misses the paper's by no more is marked as near
EPOCHS_SHOWN = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
REACHED, NEAR, BELOW = "≥", "≈", "<"

Only = Mapping[str, str]


def _silent(line: str) -> None:
    pass


def list_tables() -> list[dict[str, Any]]:
    """What can be benched: for each table its name, paper, title, sets, methods and number of runs a seed."""
    return [
        {
            "name": table.name,
            "paper": f"{table.paper['source']}, {table.paper['where']}",
            "title": table.title,
            "datasets": list(table.datasets),
            "also": list(table.also),
            "methods": sorted({entry.method for entry in table.entries if entry.method in METHODS}),
            "runs_a_seed": len(table.datasets) * len(table.entries),
        }
        for table in TABLES.values()
    ]


def run_tables(
    names: Iterable[str],
    *,
    only: Only | None = None,
    seeds: Sequence[int] | None = None,
    show: bool = False,
    results_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    verbose: int = 0,
    echo: Callable[[str], None] = _silent,
) -> list[Row]:
    """Run what of some tables is not recorded yet, and give what is.

    Parameters
    ----------
    names : iterable of str
        Tables, see `list_tables`.
    only : mapping, optional
        ``{"dataset": "usps", "method": "dbc", "variant": "augmentation"}``: any of the three; a variant is chosen by a
        part of its name.
    seeds : sequence of int, optional
        Seeds to run and to show; by default 0, 1, 2 are run and all that are recorded are shown.
    show : bool, default=False
        Run nothing.
    results_dir : path, optional
        Default `default_results_dir`. Each table is a file there, and ``runs`` holds what is not finished.
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
        For an unknown table, or a choice that fits nothing.
    StorageError
        If the results cannot be written.
    """
    tables = find_tables(names)
    only = dict(only or {})
    _check_only(tables, only)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("bench runs in one process; start it without torchrun")
    folder = default_results_dir() if results_dir is None else Path(results_dir)
    setting = protocol.Setting(device, verbose, None if show else protocol.code_commit())
    rows: list[Row] = []
    for table in tables:
        path = folder / f"{table.name}.jsonl"
        if not show:
            for dataset in _datasets(table, only):
                _run(table, dataset, only, DEFAULT_SEEDS if seeds is None else seeds, path, setting, echo)
        rows += [row for row in protocol.recorded(path) if _row_wanted(row, only, seeds)]
    return rows


def default_results_dir() -> Path:
    """``benchmarks/results`` of the Asterism checkout around the working folder, else ``results`` in it."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".git").exists() and (folder / "src" / "asterism").is_dir():
            return folder / "benchmarks" / "results"
    return here / "results"


# ---------------------------------------------------------------- what to run


def _check_only(tables: list[Table], only: Only) -> None:
    for key, value in only.items():
        if key not in FILTERS:
            raise InputError(f"--only {key}={value} cannot be used: choose by {', '.join(FILTERS)}")
        one = {key: value}
        if not any(_datasets(table, one) and _entries(table, one) for table in tables):
            entries = [entry for table in tables for entry in table.entries]
            sets = [name for table in tables for name in (*table.datasets, *table.also)]
            there = {"dataset": sets, "method": [entry.method for entry in entries]}
            listed = ", ".join(dict.fromkeys(there.get(key, [entry.variant for entry in entries])))
            raise InputError(f"--only {key}={value} fits nothing in {', '.join(t.name for t in tables)}: {listed}")


def _datasets(table: Table, only: Only) -> list[str]:
    chosen = only.get("dataset")
    return list(table.datasets) if chosen is None else [one for one in (*table.datasets, *table.also) if one == chosen]


def _entries(table: Table, only: Only) -> list[Entry]:
    return [
        entry
        for entry in table.entries
        if only.get("method", entry.method) == entry.method
        and only.get("variant", "").lower() in entry.variant.lower()
        and entry.class_name in METHODS
    ]


def _run(
    table: Table,
    dataset: str,
    only: Only,
    seeds: Sequence[int],
    path: Path,
    setting: protocol.Setting,
    echo: Callable[[str], None],
) -> None:
    tasks = [protocol.Task(table, dataset, entry, seed) for seed in seeds for entry in _entries(table, only)]
    if not tasks:
        return
    try:
        images = protocol.open_dataset(dataset)
    except MissingDataError as error:
        echo(f"{table.name} {dataset}: not run: {error}")
        return
    described = protocol.describe(dataset, images)
    for task in tasks:
        folder = path.parent / "runs" / task.folder_name
        with protocol.claimed(folder) as free:
            if not free:
                echo(f"{task}: another process is at it")
            elif any(_is_of(row, task, described) for row in protocol.recorded(path)):
                echo(f"{task}: recorded already")
            else:
                echo(f"{task} …")
                row = (table.perform or protocol.perform)(task, images, folder, setting)
                protocol.append(path, row)
                shutil.rmtree(folder, ignore_errors=True)
                echo(f"{task}: {_short(row, table)}")


def _is_of(row: Row, task: protocol.Task, described: str) -> bool:
    same = row["dataset"] == task.dataset and row["seed"] == task.seed and row["protocol"]["images"] == described
    return (
        same
        and row["method"] == task.entry.method
        and row["current"]
        and protocol.variant_of(row) == task.entry.variant
    )


def _short(row: Row, table: Table) -> str:
    found = "  ".join(f"{METRIC_LABELS[name]} {row['scores'][name]:.3f}" for name in table.metrics)
    return f"{found}  in {row['seconds']:.0f} s"


def _row_wanted(row: Row, only: Only, seeds: Sequence[int] | None) -> bool:
    return (
        only.get("dataset", row["dataset"]) == row["dataset"]
        and only.get("method", row["method"]) == row["method"]
        and only.get("variant", "").lower() in protocol.variant_of(row).lower()
        and (seeds is None or row["seed"] in seeds)
    )


# ---------------------------------------------------------------- print


def format_table(name: str, rows: Iterable[Row], only: Only | None = None) -> str:
    """A table as text: Markdown, columns aligned, the paper's figures beside ours.

    Parameters
    ----------
    name : str
    rows : iterable of dict
        From `run_tables`; rows of other tables are passed over.
    only : mapping, optional
        As for `run_tables`; leaves out lines that were not asked for.
    """
    (table,), only = find_tables([name]), dict(only or {})
    mine = [row for row in rows if row["table"] == name]
    current = [row for row in mine if row.get("current", True)]
    show = {"scores": _scores_blocks, "curves": _curves_blocks, "histogram": _histogram_blocks}[table.shows]
    sets = list(dict.fromkeys([*_datasets(table, only), *(row["dataset"] for row in mine)]))
    head = f"{name} · {table.paper['where']}: {table.title}"
    here = [one for one in sets if any(row["dataset"] == one for row in mine) or not _absence(one)]
    blocks = [block for dataset in here or sets for block in show(table, dataset, current, only)]
    notes = list(_notes(table, sets, mine, current, "\n".join(blocks)))
    return "\n\n".join([head, *blocks, "\n".join(notes)])


def _grid(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Cells as an aligned Markdown table."""
    cells = [list(header), *map(list, lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    drawn = [
        "| " + " | ".join(one.ljust(width) for one, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return "\n".join([drawn[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *drawn[1:]])


def _scores_blocks(table: Table, dataset: str, rows: list[Row], only: Only) -> list[str]:
    printed = table.printed(dataset)
    entries = _entries(table, only)
    lines: list[list[str]] = []
    for paper_row in dict.fromkeys([*printed, *(entry.paper_row for entry in entries)]):
        theirs = printed.get(paper_row, {})
        if not any(one.paper_row == paper_row and one.method in METHODS for one in table.entries):
            if not {"method", "variant"} & set(only):
                empty = ["quoted from the paper, not run", *_score_cells(table, theirs, []), "", ""]
                lines.append([dataset, paper_row, *empty])
            continue
        for entry in entries:
            if entry.paper_row == paper_row:
                lines += _entry_lines(table, dataset, entry, theirs, rows)
    metrics = [title for name in table.metrics for title in (f"{METRIC_LABELS[name]} paper", METRIC_LABELS[name])]
    return [_grid(["set", "method", "variant", *metrics, "seeds", "seconds"], lines)] if lines else []


def _entry_lines(table: Table, dataset: str, entry: Entry, theirs: Row, rows: list[Row]) -> Iterator[list[str]]:
    """A line of ours; several where the set was recorded in several sizes."""
    mine = _rows_of(dataset, entry, rows)
    sizes = list(dict.fromkeys(row["protocol"]["images"] for row in mine)) or [""]
    label = entry.paper_row if entry.paper_row == entry.method else f"{entry.paper_row} ({entry.method})"
    for size in sizes:
        chosen = [row for row in mine if row["protocol"]["images"] == size]
        name = dataset if len(sizes) == 1 else size.removeprefix("data:")
        cells = _score_cells(table, theirs, chosen)
        yield [name, label, entry.variant, *cells, str(len(chosen) or ""), _seconds(chosen)]


def _rows_of(dataset: str, entry: Entry, rows: list[Row]) -> list[Row]:
    wanted = (dataset, entry.method, entry.variant)
    return [row for row in rows if (row["dataset"], row["method"], protocol.variant_of(row)) == wanted]


def _score_cells(table: Table, theirs: Row, rows: list[Row]) -> Iterator[str]:
    for name in table.metrics:
        paper = theirs.get(name)
        suspect = "*" if "misprint" in theirs else ""
        yield "-" if paper is None else f"{paper:.{theirs.get('digits', 3)}f}{suspect}"
        yield _cell([row["scores"][name] for row in rows], paper)


def _cell(values: list[float], paper: float | None) -> str:
    """Mean ± standard deviation over the seeds, and how that compares with the paper."""
    if not values:
        return ""
    mean = statistics.fmean(values)
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    rounded = round(mean, 3)  # the paper's figures have three digits
    mark = "" if paper is None else REACHED if rounded >= paper else NEAR if rounded >= paper - CLOSE else BELOW
    return f"{mean:.3f}{spread} {mark}".rstrip()


def _seconds(rows: list[Row]) -> str:
    """Mean seconds of a run; smallest and largest where machines differ, whose mean would mean nothing."""
    found = [row["seconds"] for row in rows]
    if not found:
        return ""
    if len({json.dumps(row["hardware"], sort_keys=True) for row in rows}) > 1:
        return f"{min(found):.0f} to {max(found):.0f}"
    mean = statistics.fmean(found)
    return f"{mean:.0f}" if mean >= 10 else f"{mean:.1f}"


def _curves_blocks(table: Table, dataset: str, rows: list[Row], only: Only) -> Iterator[str]:
    entries = {entry.variant: entry for entry in _entries(table, only)}
    for panel in table.panels:
        found = {label: _rows_of(dataset, entries[one], rows) for label, one in panel.curves if one in entries}
        for name in table.curves if any(found.values()) else ():
            longest = max(len(row["history"]["curves"][name]) for some in found.values() for row in some)
            epochs = [epoch for epoch in EPOCHS_SHOWN if epoch < longest - 1]
            lines = [
                [label, *(_at(some, name, epoch) for epoch in epochs), _at(some, name, -1), str(len(some) or "")]
                for label, some in found.items()
            ]
            title = f"{dataset} · {panel.title} · {METRIC_LABELS.get(name, name)} at epoch"
            yield f"{title}\n\n{_grid(['', *map(str, epochs), 'end', 'seeds'], lines)}"


def _at(rows: list[Row], name: str, epoch: int) -> str:
    """Mean over the seeds at an epoch; a run that stopped earlier stays where it was."""
    curves = [row["history"]["curves"][name] for row in rows]
    return f"{statistics.fmean(curve[min(epoch, len(curve) - 1)] for curve in curves):.3f}" if curves else ""


def _histogram_blocks(table: Table, dataset: str, rows: list[Row], only: Only) -> Iterator[str]:
    for entry in _entries(table, only):
        for row in sorted(_rows_of(dataset, entry, rows), key=lambda row: row["seed"])[:1]:
            rounds = row["history"]["curves"]["score_histogram"]
            epochs = sorted({epoch for epoch in (*EPOCHS_SHOWN, len(rounds) - 1) if 0 <= epoch < len(rounds)})
            n_bins = len(rounds[0]) // 2  # pairs of bins: ten columns
            bins = [f"{i / n_bins:g}–{(i + 1) / n_bins:g}" for i in range(n_bins)]
            lines = [[str(epoch), *_shares(rounds[epoch])] for epoch in epochs]
            title = f"{dataset} · {entry.variant} · seed {row['seed']} · % of the images by score of the first cluster"
            yield f"{title}\n\n{_grid(['epoch', *bins], lines)}"


def _shares(counts: list[int]) -> list[str]:
    """Percentages of pairs of bins."""
    return [f"{100 * (one + other) / sum(counts):.1f}" for one, other in zip(counts[::2], counts[1::2], strict=True)]


def _notes(table: Table, sets: Iterable[str], mine: list[Row], current: list[Row], drawn: str) -> Iterator[str]:
    """What has to be said below a table."""
    if any(mark in drawn for mark in (f" {REACHED}", f" {NEAR}", f" {BELOW}")):
        marks = f"{REACHED} reaches the paper's figure, {NEAR} misses it by at most {CLOSE}, {BELOW} is below"
        yield f"{marks}; mean ± sd over the seeds."
    yield from table.notes
    yield from (f"The paper: {line}." for line in table.paper.get("says", ()))
    for dataset in sets:
        yield from _notes_of_set(table, dataset, current)
    stale = sorted({f"{row['method']}, {protocol.variant_of(row)}" for row in mine if not row.get("current", True)})
    if stale:
        n = len(mine) - len(current)
        yield f"Recorded with other parameters than today's, kept and not averaged: {n} ({'; '.join(stale)})."
    machines: dict[str, int] = {}
    for row in current:
        machine = _machine(row["hardware"])
        machines[machine] = machines.get(machine, 0) + 1
    yield from (f"Runs on {machine}: {n}." for machine, n in machines.items())
    commits = dict.fromkeys((row.get("commit") or "unknown")[:10] for row in current)
    if len(commits) > 1:  # a change of code that no parameter shows
        yield f"Runs of {len(commits)} commits are averaged: {', '.join(commits)}."
    yield f"Source: {table.paper['source']}, {table.paper['where']}. Again: asterism bench {table.name}"


def _notes_of_set(table: Table, dataset: str, current: list[Row]) -> Iterator[str]:
    for paper_row, theirs in table.printed(dataset).items():
        if "misprint" in theirs:
            yield f"* {paper_row}: suspected misprint, {theirs['misprint']}."
    there = {row["protocol"]["images"] for row in current if row["dataset"] == dataset}
    known = table.paper["sets"].get(dataset)
    for images in sorted(there) if known else ():
        if not images.endswith(f"{known['n']} images, {known['size']}"):
            yield f"{images}: the paper has {known['n']} images, {known['size']}."
    if not there:
        yield f"{dataset}: no run is recorded{_absence(dataset)}."


def _absence(dataset: str) -> str:
    """What is missing of a set, and where to put it; empty where it is here, or is fetched when it is needed."""
    for one in named_sets():
        if one.name == dataset and not one.available and not one.fetchable:
            return f"; data:{dataset} is not on this machine: {one.how_to_get}"
    return ""


def _machine(hardware: Row) -> str:
    gpu = f"{hardware['gpu']}, " if "gpu" in hardware else ""
    return f"{gpu}{hardware['cpu']}, {hardware['cores']} cores, {hardware['threads']} threads"
