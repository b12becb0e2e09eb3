"""The tables that lie beside this module: kinds of files (`kinds`), data sets and where they are (`catalogue`)."""

from __future__ import annotations

import csv
from pathlib import Path


def table(name: str) -> list[dict[str, str]]:
    """Every row of ``NAME.csv``, by its columns."""
    with Path(__file__).with_name(f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
