"""What ``asterism transfer voc-…`` does: open a run and a VOC folder, train, score, remember."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asterism.cli.errors import Interrupted
from asterism.cli.outputs import check_writable
from asterism.cli.settings import apply_settings
from asterism.cli.text import note
from asterism.errors import InputError, RunError
from asterism.files import exclusive, write_text
from asterism.report.fitted import FittedRun, open_run
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training.progress import ProgressBars
from asterism_papers.transfer.classify import ClassificationTuning, classify
from asterism_papers.transfer.detect import DetectionTuning, detect
from asterism_papers.transfer.fine_tune import FineTuning, settings_of
from asterism_papers.transfer.proposals import read_proposals
from asterism_papers.transfer.segment import SegmentationTuning, segment
from asterism_papers.transfer.voc import VocImages, open_voc


def classify_run(
    folder: Path,
    voc: Path,
    train: str,
    test: str,
    settings: Sequence[str],
    learn: str,
    seed: int,
    device: str,
    quiet: bool,
) -> dict[str, Any]:
    """Train a classifier of VOC 2007 on a run's network; the result is also written to ``RUN/voc-classify.json``.

    Raises
    ------
    InputError, MissingDataError, RunError
    """
    wanted = ClassificationTuning(learn=learn)
    parts = _opened(voc, (train, test), 2007, "Main")

    def perform(fitted: FittedRun, run: Run) -> dict[str, Any]:
        encoder, shape = fitted.estimator.encoder_, _shape(fitted)
        return asdict(classify(encoder, shape, *parts, run, wanted))

    return _performed("voc-classify", folder, voc, parts, wanted, settings, seed, device, quiet, perform)


def detect_run(
    folder: Path,
    voc: Path,
    proposals: Sequence[Path],
    train: str,
    test: str,
    settings: Sequence[str],
    learn: str,
    seed: int,
    device: str,
    quiet: bool,
) -> dict[str, Any]:
    """Train a detector of VOC 2007 on a run's network; the result is also written to ``RUN/voc-detect.json``.

    Raises
    ------
    InputError, MissingDataError, RunError
    """
    wanted = DetectionTuning(learn=learn)
    parts = _opened(voc, (train, test), 2007, "Main")
    boxes = read_proposals(proposals) if proposals else None
    if boxes is None:
        note("no --proposals: a region proposal network is trained along (Faster R-CNN instead of Fast R-CNN)")

    def perform(fitted: FittedRun, run: Run) -> dict[str, Any]:
        found = detect(fitted.estimator.encoder_, _shape(fitted), *parts, run, wanted, boxes)
        return {**asdict(found), "files": [str(one) for one in proposals]}

    name = "voc-detect"
    return _performed(name, folder, voc, parts, wanted, settings, seed, device, quiet, perform, proposals)


def segment_run(
    folder: Path,
    voc: Path,
    train: str,
    test: str,
    settings: Sequence[str],
    learn: str,
    seed: int,
    device: str,
    quiet: bool,
) -> dict[str, Any]:
    """Train a segmentation of VOC 2012 on a run's network; the result is also written to ``RUN/voc-segment.json``.

    Raises
    ------
    InputError, MissingDataError, RunError
    """
    wanted = SegmentationTuning(learn=learn)
    parts = _opened(voc, (train, test), 2012, "Segmentation")

    def perform(fitted: FittedRun, run: Run) -> dict[str, Any]:
        return asdict(segment(fitted.estimator.encoder_, _shape(fitted), *parts, run, wanted))

    return _performed("voc-segment", folder, voc, parts, wanted, settings, seed, device, quiet, perform)


def _opened(voc: Path, splits: tuple[str, str], year: int, task: str) -> tuple[VocImages, VocImages]:
    return open_voc(voc, splits[0], year, task), open_voc(voc, splits[1], year, task)


def _shape(fitted: FittedRun) -> tuple[int, int, int]:
    channels, height, width = fitted.estimator.image_shape_
    if channels not in (1, 3):
        raise InputError(f"the run's images have {channels} channels; photos have 1 or 3")
    return channels, height, width


def _performed(
    name: str,
    folder: Path,
    voc: Path,
    parts: tuple[VocImages, VocImages],
    wanted: FineTuning,
    settings: Sequence[str],
    seed: int,
    device: str,
    quiet: bool,
    perform: Callable[[FittedRun, Run], dict[str, Any]],
    files: Sequence[Path] = (),
) -> dict[str, Any]:
    """Do a task in a folder of its own in the run's, where it goes on if it was killed; the folder goes at the end."""
    apply_settings(wanted, settings, f"transfer {name}")
    wanted.check("--set ")
    fitted = open_run(folder, device)
    fitted.folder.check_links()
    check_writable(folder / f"{name}.json")
    about = {
        "task": name,
        "images": str(voc),
        "train": f"{parts[0].split}, {len(parts[0])} images",
        "test": f"{parts[1].split}, {len(parts[1])} images",
        "seed": seed,
        "settings": settings_of(wanted),
    }
    key = json.dumps(
        [about, fitted.content, list(map(str, files))], sort_keys=True
    )  # another run in the same folder starts anew
    digest = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
    work = folder / "transfer" / f"{name}-{digest}"
    with exclusive(work.with_suffix(".lock")) as mine, ProgressBars(0 if quiet else 1) as bars:
        if not mine:
            raise RunError(f"another process is at this task in {work}; wait for it")
        try:
            found = {**about, **perform(fitted, Run(Runtime(device), seed, work, bars))}
        except KeyboardInterrupt as interrupt:
            raise Interrupted(f"{str(interrupt) or 'interrupted'}; the same command goes on where it was") from None
        write_text(folder / f"{name}.json", json.dumps(found, indent=2) + "\n")
        shutil.rmtree(work, ignore_errors=True)
    return found
