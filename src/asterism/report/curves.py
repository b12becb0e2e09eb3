"""What was recorded round by round, drawn without knowing which method recorded it.

A number recorded under any name becomes a curve, a list of numbers a histogram that changes over the rounds: a new
method appears on the page by calling ``run.record``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from numbers import Real
from typing import Any

import numpy as np

from asterism.report.material import Material
from asterism.report.section import Section, duration, short

NOT_DRAWN = frozenset(("stage", "round", "seconds"))
MOST_POINTS = 600  # of a curve: more are thinned evenly, the last is kept
PANELS = 8  # moments at which a histogram is shown
LOG_FROM = 30  # a curve whose largest value is this many times its median is drawn on a logarithmic scale
BOX = 100.0  # curves live in a box of 100 × 100, which the page stretches


@dataclass
class Stage:
    """One stage of the history: its entries and what is drawn of them."""

    name: str
    n_rounds: int
    seconds: str | None
    curves: list[dict[str, Any]] = field(default_factory=list)
    figures: list[tuple[str, str]] = field(default_factory=list)
    histograms: list[dict[str, Any]] = field(default_factory=list)


def training(material: Material) -> Section | None:
    """Curves and histograms of every stage; None if nothing was recorded."""
    by_stage = groupby(material.estimator.history_, key=lambda entry: str(entry.get("stage", "")))
    stages = [_stage(name, list(entries)) for name, entries in by_stage]
    stages = [one for one in stages if one.curves or one.figures or one.histograms]
    if not stages:
        return None
    curves = [curve for stage in stages for curve in stage.curves]
    data = [{"rounds": curve.pop("rounds"), "shown": curve.pop("shown")} for curve in curves]
    return Section("training", "Training", {"stages": stages}, data)


def _stage(name: str, entries: list[dict[str, Any]]) -> Stage:
    seconds: Any = entries[-1].get("seconds")
    stage = Stage(name, len(entries), duration(seconds) if _is_number(seconds) else None)
    keys = dict.fromkeys(key for entry in entries for key in entry if key not in NOT_DRAWN)
    for key in keys:
        rounds = [int(entry.get("round", i)) for i, entry in enumerate(entries) if key in entry]
        values = [entry[key] for entry in entries if key in entry]
        if all(isinstance(one, list) and one and all(map(_is_number, one)) for one in values):
            stage.histograms.append(_histogram(key, rounds, values))
        elif sum(_is_number(one) for one in values) > 1:
            stage.curves.append(_curve(key, rounds, [one if _is_number(one) else None for one in values]))
        elif _is_number(values[0]):
            stage.figures.append((_spoken(key), short(values[0])))
    return stage


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _spoken(key: str) -> str:
    return key.replace("_", " ").replace("cluster", "group")  # the reader's word


def _curve(key: str, rounds: list[int], values: list[float | None]) -> dict[str, Any]:
    """A curve as the template wants it: an SVG path and what stands at its axes."""
    step = -(-len(values) // MOST_POINTS)
    kept = sorted({*range(0, len(values), step), len(values) - 1})
    rounds, values = [rounds[i] for i in kept], [values[i] for i in kept]
    known = [float(one) for one in values if one is not None]
    low, high, median = min(known), max(known), float(np.median(known))
    logarithmic = low >= 0 and high > LOG_FROM * median and len(known) > 2
    floor = low if low > 0 else min((one for one in known if one > 0), default=1.0) / 2  # where a log scale puts 0

    def height(value: float) -> float:
        return math.log(max(value, floor)) if logarithmic else value

    bottom, top = height(low), height(high)
    span = (top - bottom) or 1.0
    length = (rounds[-1] - rounds[0]) or 1
    path, pen_up = [], True
    for at, value in zip(rounds, values, strict=True):
        if value is not None:
            x = BOX * (at - rounds[0]) / length
            y = BOX - BOX * (height(float(value)) - bottom) / span if top > bottom else BOX / 2
            path.append(f"{'M' if pen_up else 'L'}{x:.2f} {y:.2f}")
        pen_up = value is None
    return {
        "name": _spoken(key),
        "path": "".join(path),
        "logarithmic": logarithmic,
        "low": short(low),
        "high": short(high),
        "first": short(known[0]),
        "last": short(known[-1]),
        "begin": rounds[0],
        "end": rounds[-1],
        "rounds": rounds,
        "shown": [None if one is None else short(float(one)) for one in values],
    }


def _histogram(key: str, rounds: list[int], counts: list[Sequence[float]]) -> dict[str, Any]:
    """A histogram at a few moments, early ones closer together, for most happens early (the DBC paper's Fig. 6)."""
    last = len(counts) - 1
    moments = sorted({round(one) - 1 for one in np.geomspace(1, last + 1, min(PANELS, last + 1))} | {0, last})
    highest = max(max(counts[i]) / (sum(counts[i]) or 1) for i in moments)
    panels = []
    for i in moments:
        total = sum(counts[i]) or 1
        width = BOX / len(counts[i])
        heights = [BOX * count / total / (highest or 1) for count in counts[i]]
        bars = [
            {
                "x": f"{width * j + 0.08 * width:.2f}",
                "width": f"{0.84 * width:.2f}",
                "y": f"{BOX - heights[j]:.2f}",
                "height": f"{heights[j]:.2f}",
                "title": f"{j / len(counts[i]):.2f} to {(j + 1) / len(counts[i]):.2f}: {short(count)}",
            }
            for j, count in enumerate(counts[i])
        ]
        panels.append({"round": rounds[i], "bars": bars})
    return {"name": _spoken(key), "panels": panels, "highest": f"{100 * highest:.0f} %"}
