"""A table as text, from the recorded rows: the paper's figures, ours beside them, and what has to be said below."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from asterism.images import named_sets
from asterism_papers.evaluation.averages import HEADER as AVERAGES
from asterism_papers.evaluation.averages import averages
from asterism_papers.evaluation.bench import DEFAULT_SEEDS
from asterism_papers.evaluation.external_estimators import is_external, recorded_external
from asterism_papers.evaluation.filters import Only, datasets_of, entries_of
from asterism_papers.evaluation.hypotheses import HEADER, tested_claims
from asterism_papers.evaluation.protocol import Row
from asterism_papers.evaluation.records import variant_of
from asterism_papers.evaluation.table import LOWER_IS_BETTER, METRIC_LABELS, Entry, Table
from asterism_papers.evaluation.tables import find_tables

CLOSE = 0.01  # a score that misses the paper's by no more is marked as near
EPOCHS_SHOWN = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
REACHED, NEAR, BELOW = "≥", "≈", "<"


def format_table(
    name: str,
    rows: Iterable[Row],
    only: Only | None = None,
    *,
    seeds: Sequence[int] | None = None,
    recorded: bool = False,
) -> str:
    """A table as text: Markdown, columns aligned, the paper's figures beside ours.

    Parameters
    ----------
    name : str
    rows : iterable of dict
        From `run_tables`; of other tables' rows only those count that its averages are over.
    only : mapping, optional
        As for `run_tables`; leaves out lines that were not asked for, and averages, which are over all methods.
    seeds : sequence of int, optional
        Those that were asked for.
    recorded : bool, default=False
        Leave out the sets that have no run, so that the text depends on the rows alone.
    """
    (table,), only, rows = find_tables([name]), dict(only or {}), list(rows)
    mine = [row for row in rows if row["table"] == table.record]
    table = replace(table, entries=(*table.entries, *recorded_external(table.entries, mine)))
    current = [row for row in mine if row.get("current", True)]
    show = {"scores": _scores_blocks, "curves": _curves_blocks, "histogram": _histogram_blocks}[table.shows]
    sets = list(dict.fromkeys([*datasets_of(table, only), *(row["dataset"] for row in mine)]))
    head = f"{name} · {table.paper['where']}: {table.title}"
    if recorded:
        sets = [one for one in sets if any(row["dataset"] == one for row in current)]
    here = [one for one in sets if any(row["dataset"] == one for row in mine) or not _absence(one)]
    blocks = [block for dataset in here or sets for block in show(table, dataset, current, only)]
    if found := tested_claims(table, here or sets, current):
        blocks.append("Claims of the paper, seed by seed\n\n" + grid(HEADER, found))
    if not {"method", "variant"} & set(only) and (found := averages(table, rows)):
        blocks.append("What the paper sums up\n\n" + grid(AVERAGES, found))
    of_sets = [line for dataset in sets for line in _notes_of_set(table, dataset, current, only, seeds)]
    notes = list(_notes(table, of_sets, mine, current, "\n".join(blocks)))
    return "\n\n".join([head, *blocks, "\n".join(notes)])


def grid(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Cells as an aligned Markdown table."""
    cells = [list(header), *map(list, lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    drawn = [
        "| " + " | ".join(one.ljust(width) for one, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return "\n".join([drawn[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *drawn[1:]])


def _scores_blocks(table: Table, dataset: str, rows: list[Row], only: Only) -> list[str]:
    printed = table.printed(dataset)
    entries = entries_of(table, only)
    lines: list[list[str]] = []
    for paper_row in dict.fromkeys([*printed, *(entry.paper_row for entry in entries)]):
        theirs = printed.get(paper_row, {})
        if not any(one.paper_row == paper_row for one in table.entries):
            if not {"method", "variant"} & set(only):
                empty = ["quoted from the paper, not run", *_score_cells(table, theirs, []), "", ""]
                lines.append([dataset, paper_row, *empty])
            continue
        for entry in entries:
            if entry.paper_row == paper_row and entry.fits(dataset):
                lines += _entry_lines(table, dataset, entry, theirs, rows)
    metrics = [title for name in table.metrics for title in (f"{METRIC_LABELS[name]} paper", METRIC_LABELS[name])]
    return [grid(["set", "method", "variant", *metrics, "seeds", "seconds"], lines)] if lines else []


def _entry_lines(table: Table, dataset: str, entry: Entry, theirs: Row, rows: list[Row]) -> Iterator[list[str]]:
    """A line of ours; several where the set was recorded in several sizes."""
    mine = rows_of(dataset, entry, rows)
    sizes = list(dict.fromkeys(row["protocol"]["images"] for row in mine)) or [""]
    label = entry.paper_row if entry.paper_row == entry.method else f"{entry.paper_row} ({entry.method})"
    for size in sizes:
        chosen = [row for row in mine if row["protocol"]["images"] == size]
        name = dataset if len(sizes) == 1 else size.removeprefix("data:")
        cells = _score_cells(table, theirs, chosen)
        yield [name, label, entry.variant, *cells, str(len(chosen) or ""), _seconds(chosen)]


def rows_of(dataset: str, entry: Entry, rows: list[Row]) -> list[Row]:
    """The rows of an entry on a set."""
    wanted = (dataset, entry.method, entry.variant)
    return [row for row in rows if (row["dataset"], row["method"], variant_of(row)) == wanted]


def _score_cells(table: Table, theirs: Row, rows: list[Row]) -> Iterator[str]:
    for name in table.metrics:
        paper = theirs.get(name)
        suspect, digits = "*" if "misprint" in theirs else "", theirs.get("digits", 3)
        yield "-" if paper is None else f"{paper:.{digits}f}{suspect}"
        found = [row["scores"][name] for row in rows if name in row["scores"]]
        yield score_cell(found, paper, name in LOWER_IS_BETTER, digits)


def score_cell(values: list[float], paper: float | None, lower_is_better: bool = False, digits: int = 3) -> str:
    """Mean ± standard deviation over the seeds, and how that compares with the paper; see `mark_of`."""
    if not values:
        return ""
    mean = statistics.fmean(values)
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    mark = "" if paper is None else mark_of(values, paper, lower_is_better, digits)
    return f"{mean:.{max(3, digits)}f}{spread} {mark}".rstrip()


def mark_of(values: list[float], paper: float, lower_is_better: bool = False, digits: int = 3) -> str:
    """How the mean of scores, as it is printed, stands to the paper's figure: of as many digits, at least three."""
    found = round(statistics.fmean(values), max(3, digits))
    missed = round(found - paper if lower_is_better else paper - found, 6)  # .02 - .01 is a little more than .01
    return REACHED if missed <= 0 else NEAR if missed <= CLOSE else BELOW


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
    entries = {entry.variant: entry for entry in entries_of(table, only)}
    for panel in table.panels:
        found = {label: rows_of(dataset, entries[one], rows) for label, one in panel.curves if one in entries}
        found = _of_shared_seeds(found)
        for name in table.curves if any(found.values()) else ():
            longest = max(len(row["history"]["curves"][name]) for some in found.values() for row in some)
            epochs = [epoch for epoch in EPOCHS_SHOWN if epoch < longest - 1]
            lines = [
                [label, *(_at(some, name, epoch) for epoch in epochs), _at(some, name, -1), str(len(some) or "")]
                for label, some in found.items()
            ]
            title = f"{dataset} · {panel.title} · {METRIC_LABELS.get(name, name.replace('_', ' '))} at epoch"
            yield f"{title}\n\n{grid(['', *map(str, epochs), 'end', 'seeds'], lines)}"


def _of_shared_seeds(found: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows of the seeds that all recorded curves of a panel have, so that its means are of the same seeds; where
    these are fewer than two, all rows, and the column of seeds says of how many each mean is.
    """
    seeds = [{row["seed"] for row in rows} for rows in found.values() if rows]
    shared = set.intersection(*seeds) if seeds else set()
    return {label: [row for row in rows if row["seed"] in shared or len(shared) < 2] for label, rows in found.items()}


def _at(rows: list[Row], name: str, epoch: int) -> str:
    """Mean over the seeds at an epoch; a run that stopped earlier stays where it was."""
    curves = [row["history"]["curves"][name] for row in rows]
    return f"{statistics.fmean(curve[min(epoch, len(curve) - 1)] for curve in curves):.3f}" if curves else ""


def _histogram_blocks(table: Table, dataset: str, rows: list[Row], only: Only) -> Iterator[str]:
    for entry in entries_of(table, only):
        for row in sorted(rows_of(dataset, entry, rows), key=lambda row: row["seed"])[:1]:
            rounds = row["history"]["curves"]["score_histogram"]
            epochs = sorted({epoch for epoch in (*EPOCHS_SHOWN, len(rounds) - 1) if 0 <= epoch < len(rounds)})
            n_bins = len(rounds[0]) // 2  # pairs of bins: ten columns
            bins = [f"{i / n_bins:g}–{(i + 1) / n_bins:g}" for i in range(n_bins)]
            lines = [[str(epoch), *_shares(rounds[epoch])] for epoch in epochs]
            title = f"{dataset} · {entry.variant} · seed {row['seed']} · % of the images by score of the first cluster"
            yield f"{title}\n\n{grid(['epoch', *bins], lines)}"


def _shares(counts: list[int]) -> list[str]:
    """Percentages of pairs of bins."""
    return [f"{100 * (one + other) / sum(counts):.1f}" for one, other in zip(counts[::2], counts[1::2], strict=True)]


def _notes(table: Table, of_sets: Iterable[str], mine: list[Row], current: list[Row], drawn: str) -> Iterator[str]:
    """What has to be said below a table."""
    if any(mark in drawn for mark in (f" {REACHED}", f" {NEAR}", f" {BELOW}")):
        marks = f"{REACHED} reaches the paper's figure, {NEAR} misses it by at most {CLOSE}, {BELOW} is below"
        yield f"{marks}; mean ± sd over the seeds."
    yield from table.notes
    yield from (f"The paper: {line}." for line in table.paper.get("says", ()))
    yield from of_sets
    stale = sorted({f"{row['method']}, {variant_of(row)}" for row in mine if not row.get("current", True)})
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


def _notes_of_set(
    table: Table, dataset: str, current: list[Row], only: Only, asked: Sequence[int] | None
) -> Iterator[str]:
    for paper_row, theirs in table.printed(dataset).items():
        if "misprint" in theirs:
            yield f"* {paper_row}: suspected misprint, {theirs['misprint']}."
    there = {row["protocol"]["images"] for row in current if row["dataset"] == dataset}
    known = table.paper["sets"].get(dataset)
    for images in sorted(there) if known else ():
        if not images.endswith(f"{known['n']} images, {known['size']}"):
            yield f"{images}: the paper has {known['n']} images, {known['size']}."
    too_large = dict.fromkeys(entry.paper_row for entry in table.entries if dataset in entry.too_large)
    if too_large:
        yield f"{dataset}: not run, for they hold a number for each pair of images: {', '.join(too_large)}."
    if not there:
        yield f"{dataset}: no run is recorded{_absence(dataset)}."
        return
    n_seeds = len(DEFAULT_SEEDS if asked is None else asked)
    entries = [one for one in entries_of(table, only) if one.runs_on(dataset) and not is_external(one.method)]
    seeds = [len({row["seed"] for row in rows_of(dataset, entry, current)}) for entry in entries]
    lacking = {"not run yet": seeds.count(0), f"of fewer than {n_seeds} seeds": sum(0 < n < n_seeds for n in seeds)}
    if any(lacking.values()):
        counts = ", ".join(f"{what}: {n}" for what, n in lacking.items() if n)
        chosen = shlex.quote(",".join(f"{key}={value}" for key, value in {**only, "dataset": dataset}.items()))
        of = "" if asked is None else f" --seeds {','.join(map(str, asked))}"
        again = f"asterism bench {table.record} --only {chosen}{of}"
        yield f"{dataset}: rows {counts} ({again}; what they take: asterism bench --list {table.record})."


def _absence(dataset: str) -> str:
    """What is missing of a set, and where to put it; empty where it is here, or is fetched when it is needed."""
    for one in named_sets():
        if one.name == dataset and not one.available and not one.fetchable:
            return f"; data:{dataset} is not on this machine: {one.how_to_get}"
    return ""


def _machine(hardware: Row) -> str:
    gpu = f"{hardware['gpu']}, " if "gpu" in hardware else ""
    return f"{gpu}{hardware['cpu']}, {hardware['cores']} cores, {hardware['threads']} threads"
