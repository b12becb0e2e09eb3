"""``asterism bench --list`` as text of at most 120 columns."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asterism_papers.evaluation.pictures import PICTURES

WIDTH = 120
UNKNOWN = "unknown"


def status_text(listed: Sequence[dict[str, Any]], by_set: bool = False) -> str:
    """What is recorded of some tables, what is missing, and what data lack.

    Parameters
    ----------
    listed : sequence of dict
        From `asterism_papers.evaluation.status.list_tables`.
    by_set : bool, default=False
        A line for each set instead of one for each table.
    """
    lines = _by_set(listed) if by_set else _by_table(listed)
    absent = [(table["name"], one) for table in listed for one in table["sets"] if one["here"] == "no"]
    packages = {method: why for table in listed for method, why in table["not_installed"].items()}
    wanted = [f"* method {method}: {why}" for method, why in packages.items()]
    drawn = [] if by_set else [_pictures()]
    return "\n\n".join([lines, *drawn, _explained(by_set), *_lacking(absent), *(["\n".join(wanted)] if wanted else [])])


def _pictures() -> str:
    """The figures that no table holds."""
    rows = [(one.name, one.title, " && ".join(one.commands), one.shown) for one in PICTURES.values()]
    return _drawn(("PICTURE", "WHAT", "DRAWN BY", "THEN SEE"), rows, wide=(1, 2, 3), right=())


def _by_table(listed: Iterable[dict[str, Any]]) -> str:
    head = ("TABLE", "DATA SETS", "RECORDED", "MISSING", "NO DATA", "WOULD TAKE", "WHAT")
    rows = []
    for table in listed:
        wanted = [one for one in table["sets"] if one["default"]]
        here = [one for one in wanted if one["here"] != "no"]
        without = sum(one["missing"] for one in wanted if one["here"] == "no")
        recorded, missing = sum(one["recorded"] for one in wanted), sum(one["missing"] for one in here)
        cost = f"= {table['runs_of']}" if table["runs_of"] else _cost(here)
        counts = (str(recorded), str(missing or ""), str(without or ""), cost)
        rows.append((table["name"], " ".join(_marked(one) for one in table["sets"]), *counts, table["title"]))
    return _drawn(head, rows, wide=(1, 6), right=(2, 3, 4))


def _by_set(listed: Iterable[dict[str, Any]]) -> str:
    head = ("TABLE", "DATA SET", "HERE", "RECORDED", "MISSING", "WOULD TAKE", "COST UNKNOWN OF")
    rows = []
    for table in listed:
        for one in table["sets"]:
            counts = (str(one["recorded"]), str(one["missing"] or ""), _cost([one]))
            rows.append((table["name"], _marked(one).rstrip("*"), one["here"], *counts, " ".join(one["unknown"])))
    return _drawn(head, rows, wide=(6,), right=(3, 4))


def _marked(one: dict[str, Any]) -> str:
    name = one["name"] + ("*" if one["here"] == "no" else "")
    return name if one["default"] else f"({name})"


def _cost(sets: Sequence[dict[str, Any]]) -> str:
    """``2 h 5 min + unknown``; empty where nothing is missing."""
    parts = [duration(seconds)] if (seconds := sum(one["seconds"] for one in sets)) else []
    return " + ".join(parts + [UNKNOWN] * any(one["unknown"] for one in sets))


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _explained(by_set: bool) -> str:
    text = (
        "Runs of the seeds wanted (0, 1, 2 unless --seeds says otherwise); sets in brackets are run with --only "
        "dataset=… alone and not counted. What the missing runs would take is measured: mean seconds of recorded runs "
        "of the same method and set, else of the same method in proportion to the pixels, on the machines that they "
        "ran on."
    )
    return textwrap.fill(text if by_set else text + " By set: asterism bench --list TABLE", WIDTH)


def _lacking(absent: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """Sets that are not here, how to get each, and which tables want it."""
    tables: dict[str, list[str]] = {}
    how: dict[str, str] = {}
    for table, one in absent:
        tables.setdefault(one["name"], []).append(table)
        how[one["name"]] = one["how_to_get"]
    lines = [
        textwrap.fill(
            f"* data:{name} is not here: {how[name]}. Wanted by {', '.join(wanted)}.",
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, wanted in tables.items()
    ]
    return ["\n".join(lines)] if lines else []


def _drawn(head: Sequence[str], rows: Iterable[Sequence[str]], wide: Sequence[int], right: Sequence[int]) -> str:
    """Columns side by side; the wide ones are wrapped to what the width leaves."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, title in enumerate(head):
        table.add_column(title, justify="right" if i in right else "left", no_wrap=i not in wide)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))
