"""What ``asterism cut`` and ``asterism pick`` do: levels of a run's groups, folders within folders, tables."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from asterism.cli.export import check_export, regrouped
from asterism.cli.recorded import known_levels
from asterism.cli.summary import export_run
from asterism.cli.text import aligned, counted
from asterism.clustering.advice import Level, stable_levels
from asterism.clustering.stability import stability_words
from asterism.errors import AsterismError
from asterism.files import csv_safe, write_csv
from asterism.report.fitted import FittedRun, open_run

CUT = ("path", "group", "run_group", "confidence")  # columns of the tables
PICKS = ("path", "group", "confidence")
LISTED = 20  # sizes; of more groups smallest and largest are told


def levels_of(run: FittedRun) -> list[Level]:
    """Levels coarser, as fine and finer than the groups of a run, where they are most stable; kept with the run."""
    known = known_levels(run.content)
    if known is not None:
        return [Level(**level) for level in known]
    model = run.clusterer
    n_groups = len(np.unique(model.labels_[model.labels_ >= 0]))
    rows = model._untaught_rows()
    found = stable_levels(_rows(run) if rows is None else rows, n_groups, np.random.RandomState(model.seed_ % 2**32))
    run.content["levels"] = [asdict(one) for one in found]
    with suppress(AsterismError):  # others' runs: found anew each time
        run.folder.update(levels=run.content["levels"])
    return found


def cut_run(run: FittedRun, n_clusters: int) -> np.ndarray:
    """Groups (N,) of a run's images, merged or divided; the images are opened where features must be computed."""
    return run.clusterer._cut(n_clusters, lambda: _rows(run))


def _rows(run: FittedRun) -> np.ndarray:
    """Features (N, D): those that the run keeps, else of its images, opened again."""
    model = run.clusterer
    return model._rows(None if model.keeps_features else run.images())


def shown_levels(run: FittedRun, levels: list[Level]) -> str:
    """The levels as a table, and what to do with it."""
    rows: list[list[object]] = [["LEVEL", "K", "BETWEEN", "STABILITY"]]
    for one in levels:
        rows.append([one.name, one.n_clusters, f"{one.low} and {one.high}", stability_words(one.stability)])
    if not levels:
        return "These images are too few to tell levels apart; give a number of groups with -k."
    again = f"Regroup with: asterism cut {run.folder.path} --level {levels[-1].name} --out cut.csv, or any -k"
    params = run.clusterer.get_params(deep=False)
    learnt = run.clusterer._untaught_rows() is None and ("training" in params or params.get("fine_tune", 0) > 0)
    taught = "The features were learnt from all images, so these stabilities are too high.\n" if learnt else ""
    return f"{aligned(rows)}\n\nEach is the most stable number of groups in its range.\n{taught}{again}"


def write_cut(path: Path, run: FittedRun, groups: np.ndarray) -> None:
    """Write ``path,group,run_group,confidence``, one line an image; the confidence is that of the run's group."""
    model = run.clusterer
    rows = zip(run.names, groups.tolist(), model.labels_.tolist(), model.confidence_.tolist(), strict=True)
    write_csv(path, CUT, ([csv_safe(name), new, old, f"{sure:.6g}"] for name, new, old, sure in rows))


def export_opened(
    path: Path, target: Path, n_clusters: int | None, levels: bool, copy: bool, images: str | None, overwrite: bool
) -> int:
    """Export a run's groups, merged or divided into so many, or all levels, by the network or the images; how many."""
    run = open_run(path, images=images, bar=True)
    check_export(target, run.origin.get("source"), overwrite)
    numbers = [level.n_clusters for level in levels_of(run)] if levels else None
    groups, folders = regrouped(run.clusterer.labels_, n_clusters, numbers, lambda number: cut_run(run, number))
    return export_run(run, target, copy=copy, groups=groups, folders=folders)


def summary(run: FittedRun, groups: np.ndarray) -> str:
    """How many groups there are now, and of what sizes."""
    own = run.clusterer.labels_
    sizes, before = np.sort(np.unique(groups[groups >= 0], return_counts=True)[1])[::-1], len(np.unique(own[own >= 0]))
    listed = " ".join(map(str, sizes)) if len(sizes) <= LISTED else f"{sizes[-1]} to {sizes[0]}"
    return f"{counted(len(groups), 'image')} in {counted(len(sizes), 'group')}, cut from {before}\nsizes   {listed}"


def picked(run: FittedRun, n: int, typical: bool) -> np.ndarray:
    """Indices (n,) of images of a run; these are opened where features must be computed."""
    model = run.clusterer
    images = None if model.keeps_features else run.images()
    return model.pick(n, images, how="typical" if typical else "diverse")


def write_picks(path: Path, run: FittedRun, found: np.ndarray) -> None:
    """Write ``path,group,confidence``, one line an image, in the order of ``found``."""
    model, names = run.clusterer, run.names
    write_csv(path, PICKS, ([csv_safe(names[i]), model.labels_[i], f"{model.confidence_[i]:.6g}"] for i in found))
