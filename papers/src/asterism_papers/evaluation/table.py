"""What a table or figure of a paper is made of; the tables themselves stand in ``tables_PAPER.py``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
    **{f"conv{i}": f"conv{i}" for i in range(1, 6)},  # accuracy of a linear probe
    **{f"layer{i}": f"layer{i}" for i in range(1, 5)},
    "pooled": "pooled",  # that of the last layer's maps, averaged over their places
    "mlp": "MLP",
    "features": "features",  # that of what `transform` gives
    "knn": "k-NN",
    "svm": "SVM accuracy",
    **{f"svm_{n}": f"accuracy {n // 1000}k" for n in (5000, 10_000, 25_000, 50_000)},  # labelled images
    # of PASCAL VOC: mean AP, mean AP, mean IoU; what was trained
    **{f"{task}_fc6-8": f"{task} FC6-8" for task in ("classification", "detection", "segmentation")},
    **{f"{task}_all": f"{task} ALL" for task in ("classification", "detection", "segmentation")},
    **{one: f"{one} mAP" for one in ("oxford5k", "paris6k", "ukbench")},  # of R-MAC's search
    "zeros": "zero features",
    "sure": "score > 0.6",
    "sure_wrong": "wrong among these",
    "lfw": "LFW accuracy",
    "lfw_error": "standard error",  # over LFW's ten folds
    "nn_error": "1-NN error",
    "trust": "T(12)",
    **{f"purity_at_{k}": f"purity@{k}" for k in (1, 5, 10, 20, 50, 100)},  # of the nearest neighbours
}

LOWER_IS_BETTER = {"nn_error"}


@dataclass(frozen=True)
class Entry:
    """One method with one setting.

    Attributes
    ----------
    method : str
        What the rows are called; a name of `asterism.methods.METHODS`, or the path of a class of another library
        (`asterism.external`), unless ``estimator`` is one.
    paper_row : str
        What the paper calls it.
    variant : str
        Tells settings of one method apart.
    params : mapping of str to value
        What differs from the class's defaults, spelled as in ``--set``.
    n_clusters : int or "classes"
        ``"classes"``: as many as the data set has classes.
    by_dataset : mapping of str to mapping
        Further ``params`` of single data sets: what the paper itself chose set by set.
    datasets : tuple of str
        The only sets that it can be run on; empty: all.
    too_large : tuple of str
        Sets that it cannot be run on, for it holds a number for each pair of images; printed without a figure.
    estimator : str
        That name or path, where it is not ``method``: rows of one class with different settings.
    """

    method: str
    paper_row: str
    variant: str = AS_PAPER
    params: Mapping[str, Any] = field(default_factory=dict)
    n_clusters: int | str = "classes"
    by_dataset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    estimator: str = ""
    datasets: tuple[str, ...] = ()
    too_large: tuple[str, ...] = ()

    @property
    def class_name(self) -> str:
        """Name of the class in `asterism.methods.METHODS`, or its path."""
        return self.estimator or self.method

    def fits(self, dataset: str) -> bool:
        """Whether a data set's table has it."""
        return not self.datasets or dataset in self.datasets

    def runs_on(self, dataset: str) -> bool:
        """Whether it can be run on a data set."""
        return self.fits(dataset) and dataset not in self.too_large

    def params_on(self, dataset: str) -> dict[str, Any]:
        """The settings on a data set."""
        return {**self.params, **self.by_dataset.get(dataset, {})}


@dataclass(frozen=True)
class Panel:
    """One plot of a figure: its title and, for each curve, a label and the variant that draws it."""

    title: str
    curves: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Claim:
    """What a paper makes a point of: one row of a table is above another.

    Attributes
    ----------
    text : str
    above, below : Entry
        Where the paper prints figures of both, their difference says which is to be expected above on that set.
    metrics : tuple of str
        Scores that are compared; by default the table's first.
    """

    text: str
    above: Entry
    below: Entry
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rise:
    """What a paper makes a point of: a curve of a row goes on rising.

    Attributes
    ----------
    text : str
    entry : Entry
    curve : str
        Of the table's ``curves``.
    """

    text: str
    entry: Entry
    curve: str


@dataclass(frozen=True)
class Average:
    """What a paper sums up over all sets: a mean difference of the table's first score.

    Attributes
    ----------
    text : str
    said : float
        The paper's figure.
    lead : Entry, optional
        This row, less the best of the others, those of ``ours`` left out. Without it: each row that is as in the
        paper, less the same row of the table ``over``.
    ours : tuple of str
        What the paper calls its own rows.
    over : str
    """

    text: str
    said: float
    lead: Entry | None = None
    ours: tuple[str, ...] = ()
    over: str = ""


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
    photo_side : int, optional
        What photos of a folder are reduced to; by default 64 pixels, see `open_images`.
    perform : callable, optional
        ``perform(task, images, folder, setting)`` → row, where a run is more than a fit to the whole set
        (`asterism_papers.evaluation.runs.perform`): a split, features of another run, a probe.
    external : bool
        Whether classes of other libraries can be put into it: its rows are clusterings of a set of vectors.
    claims : tuple of Claim
        Printed below the scores: whether they hold in the recorded runs (`asterism_papers.evaluation.hypotheses`).
    rises : tuple of Rise
        The same of curves.
    averages : tuple of Average
        Printed below the claims (`asterism_papers.evaluation.averages`).
    runs_of : str
        Another table, whose runs these are: it shows other scores of them, and has the same entries.
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
    perform: Callable[..., dict[str, Any]] | None = None
    photo_side: int | None = None
    external: bool = False
    claims: tuple[Claim, ...] = ()
    rises: tuple[Rise, ...] = ()
    averages: tuple[Average, ...] = ()
    runs_of: str = ""

    @property
    def record(self) -> str:
        """Name of the file of ``papers/results`` that holds the rows, and of the table that they are of."""
        return self.runs_of or self.name

    @property
    def paper(self) -> dict[str, Any]:
        """The paper's entry of ``papers.json`` with this table's values, ``source`` and ``sets`` beside them.

        Raises
        ------
        InputError
            If it has none.
        """
        whole = papers().get(self.name.partition("-")[0], {"tables": {}})
        if self.name not in whole["tables"]:
            raise InputError(f"table {self.name} has no entry in papers.json, where its printed values and source go")
        table = whole["tables"][self.name]
        values = whole["tables"][table.get("values_of", self.name)]["values"]
        return {"source": whole["source"], "sets": whole["datasets"], **table, "values": values}

    def printed(self, dataset: str) -> dict[str, dict[str, Any]]:
        """What the paper prints for a set: row → metric → value, in the paper's order; empty where it has none."""
        paper = self.paper
        return paper["values"].get(paper.get("same_as", {}).get(dataset, dataset), {})


@cache
def papers() -> dict[str, Any]:
    """The papers' printed values, with their sources and their misprints."""
    return json.loads(Path(__file__).with_name("papers.json").read_text(encoding="utf-8"))
