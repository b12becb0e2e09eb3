"""Every table and figure of the papers that can be run.

A new one is a `Table` in ``tables_PAPER.py`` and its printed values in ``papers.json``. The papers' rows that no entry
runs (other people's systems) are quoted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from asterism.errors import InputError
from asterism_papers.evaluation.pictures import PICTURES
from asterism_papers.evaluation.table import Table
from asterism_papers.evaluation.tables_dbc import DBC_TABLES
from asterism_papers.evaluation.tables_deepcluster import DEEPCLUSTER_TABLES
from asterism_papers.evaluation.tables_fcn import FCN_TABLES
from asterism_papers.evaluation.tables_jule import JULE_TABLES
from asterism_papers.evaluation.tables_jule_transfer import JULE_TRANSFER_TABLES

_ALL = (*DBC_TABLES, *JULE_TABLES, *JULE_TRANSFER_TABLES, *DEEPCLUSTER_TABLES, *FCN_TABLES)
TABLES: dict[str, Table] = {table.name: table for table in _ALL}


def find_tables(names: Iterable[str]) -> list[Table]:
    """The tables of these names.

    Raises
    ------
    InputError
        If there is none of a name (lists what there is), or it is a figure without numbers (says how to draw it).
    """
    found = []
    for name in names:
        if name in PICTURES:
            drawn = PICTURES[name]
            raise InputError(f"{name} is a picture: {'; '.join(drawn.commands)}; then see {drawn.shown}")
        if name not in TABLES:
            close = difflib.get_close_matches(name, TABLES, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise InputError(f"there is no table {name!r}; {hint}There are: {', '.join(TABLES)}")
        found.append(TABLES[name])
    return found
