"""Which sets and entries of a table are meant: ``--only dataset=usps,method=dbc``."""

from __future__ import annotations

from collections.abc import Mapping

from asterism_papers.evaluation.table import Entry, Table

Only = Mapping[str, str]


def datasets_of(table: Table, only: Only) -> list[str]:
    """The sets of a table that are asked for; by default those that it is run on."""
    chosen = only.get("dataset")
    return list(table.datasets) if chosen is None else [one for one in (*table.datasets, *table.also) if one == chosen]


def entries_of(table: Table, only: Only) -> list[Entry]:
    """The entries of a table that are asked for: the variant of exactly that name, else all whose name holds it."""
    wanted = only.get("variant", "").lower()
    of_method = [entry for entry in table.entries if only.get("method", entry.method) == entry.method]
    exact = [entry for entry in of_method if wanted and entry.variant.lower() == wanted]
    return exact or [entry for entry in of_method if wanted in entry.variant.lower()]
