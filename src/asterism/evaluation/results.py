"""The recorded rows as pages: ``docs/results.md`` and the table of the README, made by ``asterism bench --write``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asterism.errors import MissingDataError
from asterism.evaluation.embedding import NARROWED
from asterism.evaluation.printing import format_table, score_cell
from asterism.evaluation.protocol import Row
from asterism.evaluation.records import recorded, variant_of
from asterism.evaluation.table import LOWER_IS_BETTER, METRIC_LABELS, Entry, Table
from asterism.evaluation.tables import TABLES
from asterism.files import write_text

# The papers' own methods where they ran as in the paper, which the README shows; baselines, and FCN's rows with other
# networks than the paper's, stand on the page.
OWN = ("jule", NARROWED, "dbc")
BEGIN, END = "<!-- results: made by `asterism bench --write` -->", "<!-- end of results -->"
HEAD = """# Results

Every table and figure of the papers of which runs are recorded in `benchmarks/results`: the paper's figure, and beside
it the mean ± standard deviation of ours over the seeds. This page is made by `asterism bench --write`; nothing in it is
typed by hand. A line without a figure has not been run. The command below each table runs it again.
"""


def results_page(results_dir: Path) -> str:
    """``docs/results.md``: every table with recorded rows, as `format_table` prints it."""
    parts = [HEAD]
    for table, rows in _recorded_tables(results_dir):
        title, _, rest = format_table(table.name, rows, recorded=True).partition("\n\n")
        parts.append(f"## {title}\n\n{rest.replace(chr(10) + 'Source:', chr(10) * 2 + 'Source:')}\n")
    return "\n".join(parts)


def readme_table(results_dir: Path) -> str:
    """One line for each of the papers' own methods on a set: the scores that the paper prints a figure for."""
    lines = ["| tables | set | method | ours (the paper's) | seeds |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _lines(list(_recorded_tables(results_dir)))]
    return "\n".join(lines)


def _recorded_tables(results_dir: Path) -> Iterator[tuple[Table, list[Row]]]:
    for table in TABLES.values():
        rows = [row for row in recorded(results_dir / f"{table.record}.jsonl") if row["current"]]
        if rows:
            yield table, rows


def _lines(tables: list[tuple[Table, list[Row]]]) -> Iterator[list[str]]:
    for first, rows in tables:
        if first.runs_of:
            continue  # on the line of the table whose runs it shows
        shown = [table for table, _ in tables if table.record == first.name]
        for dataset in dict.fromkeys(row["dataset"] for row in rows):
            for entry in (one for one in first.entries if one.method in OWN):
                mine = [row for row in rows if _is_of(row, dataset, entry.method, entry.variant)]
                cells = {table.name: list(_scores(table, dataset, entry, mine)) for table in shown if mine}
                if any(cells.values()):
                    names = ", ".join(name for name, scores in cells.items() if scores)
                    scores = " · ".join(score for scores in cells.values() for score in scores)
                    label = f"{entry.paper_row}, {entry.variant}"
                    yield [names, _named(first, dataset, mine[0]), label, scores, str(len(mine))]


def _scores(table: Table, dataset: str, entry: Entry, rows: list[Row]) -> Iterator[str]:
    theirs = table.printed(dataset).get(entry.paper_row, {})
    for metric in (one for one in table.metrics if theirs.get(one) is not None):
        cell = score_cell([row["scores"][metric] for row in rows], theirs[metric], metric in LOWER_IS_BETTER)
        yield f"{METRIC_LABELS[metric]} {cell} ({theirs[metric]:.3f})"


def _named(table: Table, dataset: str, row: Row) -> str:
    """A set's name, with its size where the paper has another."""
    known = table.paper["sets"].get(dataset)
    size = str(row["protocol"]["images"]).rpartition(" ")[2]
    return dataset if known is None or size == known["size"] else f"{dataset} at {size} (paper {known['size']})"


def _is_of(row: Row, dataset: str, method: str, variant: str) -> bool:
    return (row["dataset"], row["method"], variant_of(row)) == (dataset, method, variant)


def write_results(results_dir: Path) -> list[Path]:
    """Write the page, and the README's table between its two marks, of the checkout that holds ``benchmarks/results``.

    Raises
    ------
    MissingDataError
        If the folder lies in no checkout.
    StorageError
    """
    root = results_dir.parent.parent
    page, readme = root / "docs" / "results.md", root / "README.md"
    if not (page.parent.is_dir() and readme.is_file()):
        raise MissingDataError(f"{results_dir} does not lie in a checkout of Asterism, whose docs are written")
    write_text(page, results_page(results_dir))
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise MissingDataError(f"{readme} lacks the marks {BEGIN} and {END}")
    write_text(readme, f"{before}{BEGIN}\n{readme_table(results_dir)}\n{END}{after}")
    return [page, readme]
