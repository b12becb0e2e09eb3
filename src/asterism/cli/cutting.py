"""What ``asterism cut`` does: levels of a run's groups, their table, and folders within folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from asterism.cli.text import aligned, counted
from asterism.clustering.levels import Level, stable_levels
from asterism.clustering.stability import stability_words
from asterism.files import csv_safe, write_csv
from asterism.report.fitted import FittedRun
from asterism.runs.folder import has_header

HEADER = ("path", "group", "run_group", "confidence")
LISTED = 20  # sizes; of more groups smallest and largest are told


def levels_of(run: FittedRun) -> list[Level]:
    """Levels coarser, as fine and finer than the groups of a run, where they are most stable."""
    model = run.clusterer
    return stable_levels(_rows(run), len(np.unique(model.labels_)), np.random.RandomState(model.seed_ % 2**32))


def cut_run(run: FittedRun, n_clusters: int) -> np.ndarray:
    """Groups (N,) of a run's images, merged or divided; the images are opened where features must be computed."""
    return run.clusterer._cut(n_clusters, lambda: _rows(run))


def _rows(run: FittedRun) -> np.ndarray:
    """Features (N, D): those that the run keeps, else of its images, opened again."""
    model = run.clusterer
    return model._rows(run.images() if model._kept_rows() is None else None)


def shown_levels(run: FittedRun, levels: list[Level]) -> str:
    """The levels as a table, and what to do with it."""
    rows: list[list[object]] = [["LEVEL", "K", "BETWEEN", "STABILITY"]]
    for one in levels:
        rows.append([one.name, one.n_clusters, f"{one.low} and {one.high}", stability_words(one.stability)])
    if not levels:
        return "These images are too few to tell levels apart; give a number of groups with -k."
    again = f"Regroup with: asterism cut {run.folder.path} --level {levels[-1].name} --out cut.csv, or any -k"
    return f"{aligned(rows)}\n\nEach is the most stable number of groups in its range.\n{again}"


def write_cut(path: Path, run: FittedRun, groups: np.ndarray) -> None:
    """Write ``path,group,run_group,confidence``, one line an image; the confidence is that of the run's group."""
    model = run.clusterer
    rows = zip(run.names, groups.tolist(), model.labels_.tolist(), model.confidence_.tolist(), strict=True)
    write_csv(path, HEADER, ([csv_safe(name), new, old, f"{sure:.6g}"] for name, new, old, sure in rows))


def is_cut(path: Path) -> bool:
    """Whether a file looks as `write_cut` writes it."""
    return has_header(path, HEADER)


def nested_folders(groups: np.ndarray, run_groups: np.ndarray) -> list[str]:
    """Folder of each image: ``group-003/group-003-1``, the coarser group and its part; ``group-003`` where it has one.

    Parameters
    ----------
    groups, run_groups : ndarray of shape (N,)
        Of two levels that nest.
    """
    outer, inner = sorted((groups, run_groups), key=lambda one: len(np.unique(one)))
    width = max(3, len(str(outer.max())))
    name: dict[int, str] = {}
    for group in np.unique(outer):
        parts = np.unique(inner[outer == group])
        folder = f"group-{group:0{width}d}"
        for number, part in enumerate(parts, 1):
            name[int(part)] = folder if len(parts) == 1 else f"{folder}/{folder}-{number}"
    return [name[part] for part in inner.tolist()]


def summary(run: FittedRun, groups: np.ndarray) -> str:
    """How many groups there are now, and of what sizes."""
    sizes = np.sort(np.unique(groups, return_counts=True)[1])[::-1]
    before = len(np.unique(run.clusterer.labels_))
    listed = " ".join(map(str, sizes)) if len(sizes) <= LISTED else f"{sizes[-1]} to {sizes[0]}"
    return f"{counted(len(groups), 'image')} in {counted(len(sizes), 'group')}, cut from {before}\nsizes   {listed}"
