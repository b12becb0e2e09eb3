"""The papers' claims, tested on the recorded runs: by how much one row is above another, seed by seed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator

from asterism_papers.evaluation.protocol import Row
from asterism_papers.evaluation.records import variant_of
from asterism_papers.evaluation.table import LOWER_IS_BETTER, METRIC_LABELS, Claim, Entry, Rise, Table

EQUAL = 0.0005  # rows whose printed figures are the same
HEADER = ("claim", "set", "score", "paper", "ours", "seeds", "")


def tested_claims(table: Table, datasets: Iterable[str], rows: Iterable[Row]) -> list[list[str]]:
    """Cells under `HEADER`: each claim on each set that both of its rows have runs of.

    Parameters
    ----------
    table : Table
    datasets : iterable of str
    rows : iterable of dict
        Of this table, run with today's parameters.

    Returns
    -------
    list of list of str
        The paper's difference ("+" where it prints none and says that there is one); the mean of ours over the seeds
        that both rows have, and its standard deviation; whether it has the sign that the paper's has.
    """
    rows, sets = list(rows), list(datasets)
    return [
        cells
        for claim in table.claims
        for dataset in sets
        for metric in claim.metrics or table.metrics[:1]
        for cells in _tested(table, claim, dataset, metric, rows)
    ] + [cells for rise in table.rises for dataset in sets for cells in _risen(rise, dataset, rows)]


def _risen(rise: Rise, dataset: str, rows: list[Row]) -> Iterator[list[str]]:
    """Whether a curve rises from its first value to its last, and after the first round too, seed by seed."""
    curves = [
        row["history"]["curves"][rise.curve]
        for row in rows
        if (row["dataset"], row["method"], variant_of(row)) == (dataset, rise.entry.method, rise.entry.variant)
        and len(row["history"].get("curves", {}).get(rise.curve, ())) > 2
    ]
    for words, risen in (
        ("first to last", [curve[-1] - curve[0] for curve in curves]),
        ("after round 1", [curve[-1] - curve[1] for curve in curves]),
    ):
        if risen:
            mean, spread = statistics.fmean(risen), statistics.stdev(risen) if len(risen) > 1 else 0.0
            ours = _signed(mean) + (f" ± {spread:.3f}" if len(risen) > 1 else "")
            verdict = "holds" if mean > EQUAL else "does not hold"
            verdict += ", inside the spread" if abs(mean) < spread else ""
            name = METRIC_LABELS.get(rise.curve, rise.curve)
            yield [f"{rise.text}, {words}", dataset, name, "+", ours, str(len(risen)), verdict]


def _tested(table: Table, claim: Claim, dataset: str, metric: str, rows: list[Row]) -> Iterator[list[str]]:
    above, below = (_by_seed(entry, dataset, metric, rows) for entry in (claim.above, claim.below))
    ours = [above[run] - below[run] for run in above if run in below]
    if not ours:
        return
    first, second = (table.printed(dataset).get(one.paper_row, {}).get(metric) for one in (claim.above, claim.below))
    theirs = None if first is None or second is None else first - second
    better = -1 if metric in LOWER_IS_BETTER else 1
    expected = better if theirs is None else theirs
    mean, spread = statistics.fmean(ours), statistics.stdev(ours) if len(ours) > 1 else 0.0
    agreeing = sum(abs(one) < EQUAL if abs(expected) < EQUAL else one * expected > 0 for one in ours)
    verdict = {0: "does not hold", len(ours): "holds"}.get(agreeing, f"holds for {agreeing} of {len(ours)} seeds")
    yield [
        claim.text,
        dataset,
        METRIC_LABELS[metric],
        ("+" if better > 0 else "−") if theirs is None else _signed(theirs),
        _signed(mean) + (f" ± {spread:.3f}" if len(ours) > 1 else ""),
        str(len(ours)),
        verdict + (", inside the spread" if abs(mean) < spread else ""),
    ]


def _by_seed(entry: Entry, dataset: str, metric: str, rows: list[Row]) -> dict[tuple[int, str], float]:
    """Scores by seed and size of the images."""
    wanted = (dataset, entry.method, entry.variant)
    return {
        (row["seed"], row["protocol"]["images"]): row["scores"][metric]
        for row in rows
        if (row["dataset"], row["method"], variant_of(row)) == wanted and metric in row["scores"]
    }


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
