"""Which sets and entries of a table are meant: ``--only dataset=usps,method=dbc``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asterism_papers.evaluation.table import Entry, Table

Only = Mapping[str, str]


def datasets_of(table: Table, only: Only) -> list[str]:
    """The sets of a table that are asked for; by default those that it is run on."""
    chosen = only.get("dataset")
    return list(table.datasets) if chosen is None else [one for one in (*table.datasets, *table.also) if one == chosen]


def entries_of(table: Table, only: Only) -> list[Entry]:
    """The entries of a table that are asked for, see `variants_of`."""
    of_method = [entry for entry in table.entries if only.get("method", entry.method) == entry.method]
    meant = variants_of((entry.variant for entry in of_method), only)
    return [entry for entry in of_method if entry.variant in meant]


def variants_of(names: Iterable[str], only: Only) -> set[str]:
    """The variants that are asked for: the one of exactly that name, else all whose name holds it."""
    wanted, there = only.get("variant", "").lower(), set(names)
    return {one for one in there if one.lower() == wanted} or {one for one in there if wanted in one.lower()}
