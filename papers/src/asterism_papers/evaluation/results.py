"""The recorded rows as ``docs/results.md``, and ten lines of them in the README: made by ``asterism bench --write``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from asterism.errors import MissingDataError
from asterism.files import write_text
from asterism_papers.evaluation.averages import compared
from asterism_papers.evaluation.cells import cells_text, count_cells
from asterism_papers.evaluation.embedding import NARROWED
from asterism_papers.evaluation.printing import format_table, score_cell
from asterism_papers.evaluation.protocol import Row
from asterism_papers.evaluation.records import recorded, variant_of
from asterism_papers.evaluation.table import AS_PAPER, LOWER_IS_BETTER, METRIC_LABELS, Entry, Table
from asterism_papers.evaluation.tables import TABLES
from asterism_papers.evaluation.tables_jule import NO_TINY


class Line(NamedTuple):
    """Which line of a table."""

    table: str
    dataset: str
    method: str
    variant: str


# The methods whose figures stand beside the paper's in the overview. FCN is not among them: its networks are not the
# paper's VGG-16.
OWN = ("jule", NARROWED, "dbc")
# The README's lines: table, set, method, variant. Where a run as in the paper misses the paper, it is shown too.
FRONT = tuple(
    map(
        Line._make,
        (
            ("jule-3", "usps", "jule", NO_TINY),
            ("jule-3", "mnist-test", "jule", NO_TINY),
            ("jule-3", "coil100", "jule", NO_TINY),
            ("jule-3", "umist", "jule", AS_PAPER),
            ("jule-3", "umist", "jule", NO_TINY),
            ("dbc-3", "mnist", "dbc", "as in the paper"),
            ("dbc-3", "mnist", "dbc", "from linkage"),
            ("dbc-4", "usps", "dbc", "as in the paper"),
            ("dbc-4", "usps", "dbc", "from linkage"),
            ("fcn-2", "flowers102", "nmf-fcn", "mobilenet_v2 k-means 3 bases a cluster"),
            ("fcn-2", "scene15", "nmf-fcn", "mobilenet_v2 k-means 3 bases a cluster"),
        ),
    )
)
COLUMNS = "| tables | set | method | ours (the paper's) | seeds |\n|---|---|---|---|---|"
BEGIN, END = "<!-- results: made by `asterism bench --write` -->", "<!-- end of results -->"
HEAD = """# Results

Every table and figure of the papers of which runs are recorded in `papers/results`: the paper's figure, and beside
it the mean ± standard deviation of ours over the seeds. This page is made by `asterism bench --write`; nothing in it is
typed by hand. A line without a figure has not been run. The command below each table runs it again.
"""
CELLS = """## How many of the papers' figures are reached

A cell is a score of a row of ours on a set, where the paper prints one: its mean over the seeds reaches that, misses
it by at most .01, or is below. All rows count, those of the papers' own ways too; the last column counts the printed
figures that no variant of ours comes within .01 of. FCN's rows have smaller networks than the paper's, and COIL-100 and
UMist are smaller here: they count, but such figures do not compare. Sets without runs are mostly such as are not given
out. Counted by `asterism bench --cells`.
"""
OVERVIEW = """## JULE and DBC at a glance

≥ reaches the paper's figure (in brackets), ≈ misses it by at most .01, < is below. Of an error, lower is better.
"""


def results_page(results_dir: Path) -> str:
    """``docs/results.md``: an overview, then every table with recorded rows, as `format_table` prints it."""
    tables = list(_recorded_tables(results_dir))
    parts = [HEAD]
    overview = _as_table(line for _, line in _lines(tables, lambda line: line.method in OWN))
    if overview != COLUMNS:
        parts.append(f"{OVERVIEW}\n{overview}\n")
    if tables:
        parts.append(f"{CELLS}\n{cells_text(count_cells(results_dir=results_dir))}\n")
    for table, rows in tables:
        beside = compared([table], results_dir)
        title, _, rest = format_table(table.name, [*rows, *beside], recorded=True).partition("\n\n")
        parts.append(f"## {title}\n\n{rest.replace(chr(10) + 'Source:', chr(10) * 2 + 'Source:')}\n")
    return "\n".join(parts)


def readme_table(results_dir: Path) -> str:
    """The lines of `FRONT`, in its order."""
    found = dict(_lines(list(_recorded_tables(results_dir)), FRONT.__contains__))
    return _as_table(found[line] for line in FRONT if line in found)


def _as_table(lines: Iterable[list[str]]) -> str:
    return "\n".join([COLUMNS, *(f"| {' | '.join(cells)} |" for cells in lines)])


def _recorded_tables(results_dir: Path) -> Iterator[tuple[Table, list[Row]]]:
    for table in TABLES.values():
        rows = [row for row in recorded(results_dir / f"{table.record}.jsonl") if row["current"]]
        if rows:
            yield table, rows


def _lines(tables: list[tuple[Table, list[Row]]], wanted: Callable[[Line], bool]) -> Iterator[tuple[Line, list[str]]]:
    for first, rows in tables:
        if first.runs_of:
            continue  # on the line of the table whose runs it shows
        shown = [table for table, _ in tables if table.record == first.name]
        for dataset in dict.fromkeys(row["dataset"] for row in rows):
            for entry in first.entries:
                line = Line(first.name, dataset, entry.method, entry.variant)
                mine = [row for row in rows if wanted(line) and _is_of(row, dataset, entry.method, entry.variant)]
                cells = {table.name: list(_scores(table, dataset, entry, mine)) for table in shown if mine}
                if any(cells.values()):
                    names = ", ".join(name for name, scores in cells.items() if scores)
                    scores = " · ".join(score for scores in cells.values() for score in scores)
                    label = f"{entry.paper_row}, {entry.variant}"
                    yield line, [names, _named(first, dataset, mine[0]), label, scores, str(len(mine))]


def _scores(table: Table, dataset: str, entry: Entry, rows: list[Row]) -> Iterator[str]:
    """Scores that the paper prints a figure for; all, without a figure, where its networks are not ours."""
    theirs = table.printed(dataset).get(entry.paper_row, {}) if entry.method in OWN else {}
    for metric in (one for one in table.metrics if entry.method not in OWN or theirs.get(one) is not None):
        paper = theirs.get(metric)
        digits = theirs.get("digits", 3)
        values = [row["scores"][metric] for row in rows if metric in row["scores"]]
        cell = score_cell(values, paper, metric in LOWER_IS_BETTER, digits)
        yield f"{METRIC_LABELS[metric]} {cell}" + ("" if paper is None else f" ({paper:.{digits}f})")


def _named(table: Table, dataset: str, row: Row) -> str:
    """A set's name, with its size where the paper has another."""
    known = table.paper["sets"].get(dataset)
    size = str(row["protocol"]["images"]).rpartition(" ")[2]
    return dataset if known is None or size == known["size"] else f"{dataset} at {size} (paper {known['size']})"


def _is_of(row: Row, dataset: str, method: str, variant: str) -> bool:
    return (row["dataset"], row["method"], variant_of(row)) == (dataset, method, variant)


def write_results(results_dir: Path) -> list[Path]:
    """Write the page, and the README's lines between its two marks, of the checkout that holds ``papers/results``.

    Raises
    ------
    MissingDataError
        If the folder lies in no checkout.
    StorageError
    """
    root = results_dir.absolute().parent.parent
    page, readme = root / "docs" / "results.md", root / "README.md"
    if not (page.parent.is_dir() and readme.is_file()):
        raise MissingDataError(f"{results_dir} does not lie in a checkout of Asterism, whose docs are written")
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise MissingDataError(f"{readme} lacks the marks {BEGIN} and {END}")
    write_text(page, results_page(results_dir))
    write_text(readme, f"{before}{BEGIN}\n{readme_table(results_dir)}\n{END}{after}")
    return [page, readme]
