"""What ``asterism cut`` and ``asterism pick`` do: levels of a run's groups, folders within folders, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asterism.cli.export import check_export, regrouped, within
from asterism.cli.outputs import check_writable
from asterism.cli.recorded import known_levels
from asterism.cli.summary import check_pictures, export_run
from asterism.cli.text import aligned, as_argument, counted, say
from asterism.clustering.advice import Level, named_level, stable_levels
from asterism.clustering.stability import stability_words
from asterism.errors import AsterismError
from asterism.files import csv_safe, write_csv
from asterism.report.fitted import FittedRun, open_run
from asterism.runs.folder import has_header

CUT = ("path", "group", "run_group", "confidence")  # columns of the tables
PICKS = ("path", "group", "confidence")
Table = tuple[tuple[str, ...], Iterable[Sequence[Any]]]  # columns and rows
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
    again = (
        f"Regroup with: asterism cut {as_argument(run.folder.path)} --level {levels[-1].name} --out cut.csv, or any -k"
    )
    params = run.clusterer.get_params(deep=False)
    learnt = run.clusterer._untaught_rows() is None and ("training" in params or params.get("fine_tune", 0) > 0)
    taught = "The features were learnt from all images, so these stabilities are too high.\n" if learnt else ""
    return f"{aligned(rows)}\n\nEach is the most stable number of groups in its range.\n{taught}{again}"


@dataclass(frozen=True)
class Answer:
    """Of what run a command tells, where its images are now, and where a table and folders of images go."""

    path: Path
    images: str | None
    out: Path | None
    export: Path | None
    copy: bool
    overwrite: bool

    def opened(self, columns: tuple[str, ...]) -> FittedRun:
        """The run, once it is seen that a table of such columns, and folders, can be written."""
        run = open_run(self.path, images=self.images)
        if self.out is not None:
            check_writable(self.out, lambda path: has_header(path, columns), self.overwrite)
        if self.export is not None:
            check_pictures(run.content["images"].get("is_table"), run.origin)
            check_export(self.export, run.origin.get("source"), self.overwrite)
        return run

    def give(self, run: FittedRun, table: Table, said: str, what: str, **chosen: Any) -> None:
        """Write the table, and what is ``chosen`` of the run (see `export_run`) into folders; say so, and where."""
        if self.out is not None:
            write_csv(self.out, *table)
        if self.export is not None:
            export_run(run, self.export, copy=self.copy, **chosen)
        say(said)
        for name, path in (("table ", self.out), (what, self.export)):
            if path is not None:
                say(f"{name}  {path}")


def regroup(answer: Answer, n_clusters: int | None, level: str | None) -> None:
    """Merge or divide a run's groups, and write the new ones; where no number is given, tell of its levels.

    In the table the confidence is that of the run's group.
    """
    run = answer.opened(CUT)
    if level is not None:
        n_clusters = named_level(levels_of(run), level).n_clusters
    if n_clusters is None:
        say(shown_levels(run, levels_of(run)))
        return
    model, groups = run.clusterer, cut_run(run, n_clusters)
    own, sizes = model.labels_, np.sort(np.unique(groups[groups >= 0], return_counts=True)[1])[::-1]
    listed = " ".join(map(str, sizes)) if len(sizes) <= LISTED else f"{sizes[-1]} to {sizes[0]}"
    n_groups = f"{counted(len(sizes), 'group')}, cut from {len(np.unique(own[own >= 0]))}"
    said = f"{counted(len(groups), 'image')} in {n_groups}\nsizes   {listed}"
    each = enumerate(zip(groups.tolist(), own.tolist(), model.confidence_.tolist(), strict=True))
    rows = ([csv_safe(run.names[i]), new, old, f"{sure:.6g}"] for i, (new, old, sure) in each)
    answer.give(run, (CUT, rows), said, "groups", groups=groups, folders=within(groups, own))


def pick_images(answer: Answer, n: int, typical: bool) -> None:
    """Pick a few of a run's images and write them; they are opened where features must be computed."""
    run = answer.opened(PICKS)
    model = run.clusterer
    found = model.pick(n, None if model.keeps_features else run.images(), how="typical" if typical else "diverse")
    said = f"{counted(len(found), 'image')} of {counted(len(np.unique(model.labels_[found])), 'group')}"
    rows = ([csv_safe(run.names[i]), model.labels_[i], f"{model.confidence_[i]:.6g}"] for i in found)
    answer.give(run, (PICKS, rows), said, "images", only=found)


def export_opened(
    path: Path, target: Path, n_clusters: int | None, levels: bool, copy: bool, images: str | None, overwrite: bool
) -> int:
    """Export a run's groups, merged or divided into so many, or all levels, by the network or the images; how many."""
    run = open_run(path, images=images, bar=True)
    check_export(target, run.origin.get("source"), overwrite)
    numbers = [level.n_clusters for level in levels_of(run)] if levels else None
    groups, folders = regrouped(run.clusterer.labels_, n_clusters, numbers, lambda number: cut_run(run, number))
    return export_run(run, target, copy=copy, groups=groups, folders=folders)
