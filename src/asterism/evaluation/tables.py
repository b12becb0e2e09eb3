"""The papers' tables and figures, one declaration each: what is run, on which set, and what the paper prints there.

A new table is one `Table` here and its values in ``papers.json``. The papers' rows that no entry runs (other people's
systems) are quoted.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from asterism.errors import InputError

AS_PAPER = "as in the paper"
AUGMENTED = "with augmentation"
METRIC_LABELS = {
    "acc": "ACC",
    "nmi_sqrt": "NMI-sqrt",
    "nmi_max": "NMI-max",
    "nmi_arith": "NMI-arith",
    "ari": "ARI",
    "purity": "purity",
    "n_clusters": "clusters",
}


@dataclass(frozen=True)
class Entry:
    """One method with one setting.

    Attributes
    ----------
    method : str
        A name of `asterism.methods.METHODS`.
    paper_row : str
        What the paper calls it.
    variant : str
        Tells settings of one method apart.
    params : mapping of str to value
        What differs from the class's defaults, spelled as in ``--set``.
    n_clusters : int or "classes"
        ``"classes"``: as many as the data set has classes.
    """

    method: str
    paper_row: str
    variant: str = AS_PAPER
    params: Mapping[str, Any] = field(default_factory=dict)
    n_clusters: int | str = "classes"


@dataclass(frozen=True)
class Panel:
    """One plot of a figure: its title and, for each curve, a label and the variant that draws it."""

    title: str
    curves: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """A table or figure of a paper.

    Attributes
    ----------
    name : str
        ``PAPER-NUMBER`` or ``PAPER-figNUMBER``.
    title : str
    datasets : tuple of str
        Named sets that are run by default.
    entries : tuple of Entry
    metrics : tuple of str
        Scores shown.
    also : tuple of str
        Further sets that ``--only dataset=…`` may choose.
    shows : {"scores", "curves", "histogram"}
        How it is printed.
    curves : tuple of str
        Figures: what is kept of each round, scores or entries of the history.
    panels : tuple of Panel
    preprocessing : str
        What is done to the images, for the record.
    notes : tuple of str
        Printed below.
    """

    name: str
    title: str
    datasets: tuple[str, ...]
    entries: tuple[Entry, ...]
    metrics: tuple[str, ...] = ("acc", "nmi_max")
    also: tuple[str, ...] = ()
    shows: str = "scores"
    curves: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = ()
    preprocessing: str = "uint8 pixels / 255, nothing else"
    notes: tuple[str, ...] = ()

    @property
    def paper(self) -> dict[str, Any]:
        """The paper's entry of ``papers.json`` with this table's values, ``source`` and ``sets`` beside them."""
        whole = papers()[self.name.partition("-")[0]]
        return {"source": whole["source"], "sets": whole["datasets"], **whole["tables"][self.name]}

    def printed(self, dataset: str) -> dict[str, dict[str, Any]]:
        """What the paper prints for a set: row → metric → value, in the paper's order; empty where it has none."""
        paper = self.paper
        return paper["values"].get(paper.get("same_as", {}).get(dataset, dataset), {})


@cache
def papers() -> dict[str, Any]:
    """The papers' printed values, with their sources and their misprints."""
    return json.loads(Path(__file__).with_name("papers.json").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- DBC

_NO_AUGMENTATION = {"autoencoder.augmentation": "none"}
_NEITHER_STAGE = {**_NO_AUGMENTATION, "augmentation": "none"}

_KMS = Entry("kmeans", "KMS")
_DAE_KMS = Entry("dae-kmeans", "DAE-KMS")
_DEC = Entry("dec", "DEC")
_OURS_OF_DBC = (
    Entry("fcae-kmeans", "FCAE-KMS", AS_PAPER, _NO_AUGMENTATION),
    Entry("fcae-kmeans", "FCAE-KMS", AUGMENTED),
    Entry("dbc", "DBC", AS_PAPER, _NEITHER_STAGE),
    Entry("dbc", "DBC", AUGMENTED),
)
_DBC_NOTE = (
    f"'{AS_PAPER}': no augmentation, the networks of Table 2; optimiser, rates and epochs are silent there and ours.",
)

_CHOICE = "the paper's choice"  # boost 2, boosted balance, trained start
_ABLATIONS: dict[str, dict[str, Any]] = {
    _CHOICE: {},
    "boost 1.5": {"boost": 1.5},
    "boost 4": {"boost": 4.0},
    "balance none": {"balance": "none"},
    "balance soft": {"balance": "soft"},
    "start random": {"start": "random"},
    "start half-trained": {"start": "half-trained"},
}
_FIG_9: dict[str, dict[str, str]] = {
    "(a) boost": {"1.5": "boost 1.5", "2": _CHOICE, "4": "boost 4"},
    "(b) balance": {"none": "balance none", "soft": "balance soft", "boosted": _CHOICE},
    "(c) start": {"random": "start random", "half-trained": "start half-trained", "trained": _CHOICE},
}
_RECIPES: dict[str, dict[str, Any]] = {AS_PAPER: _NEITHER_STAGE, AUGMENTED: {}}


def _fig_9() -> Table:
    """Three ablations whose common member, the paper's choice, is run once."""
    entries = tuple(
        Entry("dbc", "DBC", f"{recipe}: {change}", {**base, **params})
        for recipe, base in _RECIPES.items()
        for change, params in _ABLATIONS.items()
    )
    panels = tuple(
        Panel(f"{title}, {recipe}", tuple((label, f"{recipe}: {change}") for label, change in curves.items()))
        for recipe in _RECIPES
        for title, curves in _FIG_9.items()
    )
    return Table(
        "dbc-fig9",
        "Impact of boost, balance and start on DBC over the epochs",
        ("mnist-test",),
        entries,
        also=("mnist", "usps", "coil20", "coil100"),
        shows="curves",
        curves=("acc", "nmi_max"),
        panels=panels,
        notes=("The paper does not say on which set; Figs. 6 and 7 use MNIST-test, so that is the default here.",),
    )


_DBC_TABLES = (
    Table(
        "dbc-3",
        "Clustering performance on MNIST",
        ("mnist",),
        (_KMS, _DAE_KMS, _DEC, *_OURS_OF_DBC),
        also=("mnist-test",),
        notes=_DBC_NOTE,
    ),
    Table("dbc-4", "Clustering performance on USPS", ("usps",), (_KMS, *_OURS_OF_DBC), notes=_DBC_NOTE),
    Table("dbc-5", "Clustering performance on COIL-20", ("coil20",), (_KMS, *_OURS_OF_DBC), notes=_DBC_NOTE),
    Table(
        "dbc-6",
        "Clustering performance on COIL-100",
        ("coil100-128", "coil100"),
        (_KMS, *_OURS_OF_DBC),
        notes=_DBC_NOTE,
    ),
    Table(
        "dbc-fig6",
        "Soft scores of the first cluster over the epochs",
        ("mnist-test",),
        tuple(Entry("dbc", "DBC", recipe, params) for recipe, params in _RECIPES.items()),
        also=("mnist", "usps"),
        shows="histogram",
        curves=("score_histogram",),
    ),
    _fig_9(),
)

TABLES: dict[str, Table] = {table.name: table for table in _DBC_TABLES}


def find_tables(names: Iterable[str]) -> list[Table]:
    """The tables of these names.

    Raises
    ------
    InputError
        If there is none of a name; lists what there is.
    """
    found = []
    for name in names:
        if name not in TABLES:
            close = difflib.get_close_matches(name, TABLES, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise InputError(f"there is no table {name!r}; {hint}There are: {', '.join(TABLES)}")
        found.append(TABLES[name])
    return found
