"""What ``asterism transfer voc-…`` does: open a run and a VOC folder, train, score, remember."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asterism.cli.errors import Interrupted
from asterism.cli.outputs import check_writable
from asterism.cli.settings import apply_settings
from asterism.cli.text import note
from asterism.errors import RunError
from asterism.files import exclusive, write_text
from asterism.report.fitted import FittedRun, open_run
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training.progress import ProgressBars
from asterism_papers.transfer.backbone import check_photos
from asterism_papers.transfer.classify import ClassificationTuning, classify
from asterism_papers.transfer.detect import DetectionTuning, detect
from asterism_papers.transfer.fine_tune import FineTuning, settings_of
from asterism_papers.transfer.proposals import Proposals, read_proposals
from asterism_papers.transfer.segment import SegmentationTuning, segment
from asterism_papers.transfer.voc import VocImages, open_voc


@dataclass(frozen=True)
class VocTask:
    """A task on PASCAL VOC: how it is tuned, what performs it, the year, and the folder of its lists of images."""

    tuning: type[FineTuning]
    perform: Callable[..., Any]
    year: int
    lists: str


TASKS = {
    "voc-classify": VocTask(ClassificationTuning, classify, 2007, "Main"),
    "voc-detect": VocTask(DetectionTuning, detect, 2007, "Main"),
    "voc-segment": VocTask(SegmentationTuning, segment, 2012, "Segmentation"),
}


@dataclass(frozen=True)
class Asked:
    """What the commands of all tasks are told."""

    run: Path
    voc: Path
    learn: str
    lists: tuple[str, str]  # to learn from, and to be scored on
    settings: Sequence[str]
    seed: int
    device: str
    quiet: bool


def transfer(name: str, asked: Asked, proposals: Sequence[Path] = ()) -> dict[str, Any]:
    """Perform one of `TASKS` on a run's network; the result is also written to ``RUN/NAME.json``.

    The task has a folder of its own in the run's, where it goes on if it was killed; the folder goes at the end.

    Raises
    ------
    InputError, MissingDataError, RunError
    """
    task = TASKS[name]
    wanted = task.tuning(learn=asked.learn)
    train, test = (open_voc(asked.voc, one, task.year, task.lists) for one in asked.lists)
    boxes = [read_proposals(proposals)] if proposals else []
    if name == "voc-detect" and not boxes:
        note("no --proposals: a region proposal network is trained along (Faster R-CNN instead of Fast R-CNN)")
    apply_settings(wanted, asked.settings, f"transfer {name}")
    wanted.check("--set ")
    fitted = open_run(asked.run, asked.device)
    fitted.folder.check_links()
    check_writable(asked.run / f"{name}.json")
    about = {
        "task": name,
        "images": str(asked.voc),
        "train": f"{train.split}, {len(train)} images",
        "test": f"{test.split}, {len(test)} images",
        "seed": asked.seed,
        "settings": settings_of(wanted),
    }
    files = [str(one) for one in proposals]
    work = asked.run / "transfer" / f"{name}-{digest_of([about, fitted.content, files], (train, test), *boxes)}"
    with exclusive(work.with_suffix(".lock")) as mine, ProgressBars(0 if asked.quiet else 1) as bars:
        if not mine:
            raise RunError(f"another process is at this task in {work}; wait for it")
        encoder, run = fitted.estimator.encoder_, Run(Runtime(asked.device), asked.seed, work, bars)
        try:
            found = {**about, **asdict(task.perform(encoder, _shape(fitted), train, test, run, wanted, *boxes))}
        except KeyboardInterrupt as interrupt:
            raise Interrupted(f"{str(interrupt) or 'interrupted'}; the same command goes on where it was") from None
        found |= {"files": files} if name == "voc-detect" else {}
        write_text(asked.run / f"{name}.json", json.dumps(found, indent=2) + "\n")
        shutil.rmtree(work, ignore_errors=True)
    return found


def digest_of(told: Any, lists: Sequence[VocImages], boxes: Proposals | None = None) -> str:
    """What the folder of a task is called by: of another run, list, annotation or box it is another one."""
    found = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=6)
    for one in lists:
        found.update(repr((one.ids, one.things)).encode())
    for name, rows in sorted((boxes or {}).items()):
        found.update(name.encode() + rows.tobytes())
    return found.hexdigest()


def _shape(fitted: FittedRun) -> tuple[int, int, int]:
    channels, height, width = fitted.estimator.image_shape_
    check_photos((channels, height, width))
    return channels, height, width
