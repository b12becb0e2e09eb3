"""What a row of DeepCluster's Tables 2 and 4 is: a fit without labels, then PASCAL VOC's three tasks on its network."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asterism.errors import MissingDataError
from asterism.images import ImageSource, named_sets
from asterism.images.locations import data_folders
from asterism.methods import load
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training.progress import ProgressBars
from asterism_papers.evaluation import runs
from asterism_papers.evaluation.protocol import Row, Setting, Task
from asterism_papers.transfer.classify import ClassificationTuning, classify
from asterism_papers.transfer.detect import DetectionTuning, detect
from asterism_papers.transfer.fine_tune import FineTuning, settings_of
from asterism_papers.transfer.proposals import Proposals, read_proposals
from asterism_papers.transfer.segment import SegmentationTuning, segment
from asterism_papers.transfer.voc import open_voc

PROPOSALS = "voc2007-proposals"  # folder beside VOCdevkit
TUNINGS: Mapping[str, type[FineTuning]] = {
    "classification": ClassificationTuning,
    "detection": DetectionTuning,
    "segmentation": SegmentationTuning,
}
SCORES = {"classification": "mean_area", "detection": "mean_ap", "segmentation": "mean_iou"}  # the released programs'
COLUMNS = tuple(f"{task}_{learn}" for task in TUNINGS for learn in ("fc6-8", "all"))


class TransferredRuns:
    """``perform`` of a table whose rows hold scores on PASCAL VOC.

    Parameters
    ----------
    columns : tuple of str
        Of `COLUMNS`: which tasks, and what is trained in them.
    short : mapping of str to value
        Settings of the tasks in variants whose name begins with "laptop".
    """

    def __init__(self, columns: tuple[str, ...], short: Mapping[str, Any]) -> None:
        self.columns = columns
        self.short = dict(short)

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Fit, transfer, and give the row of ``papers/results``; a killed task goes on where it was."""
        places = {name: _place(name) for name in ("voc2007", "voc2012") if self._needs(name)}
        proposals = given_proposals() if self._needs("voc2007") else None
        row = runs.perform(task, images, folder, setting)
        model, runtime, began = load(folder), Runtime(setting.device), time.monotonic()
        changed = self.short if task.entry.variant.startswith("laptop") else {}
        done: dict[str, Any] = {}
        whose = f"{images.fingerprint} {setting.commit}"  # what was killed is no start for another network
        for column in self.columns:
            name, _, learn = column.partition("_")
            settings = TUNINGS[name](learn=learn, **changed)
            run = Run(runtime, task.seed, folder / "transfer" / column, ProgressBars(setting.verbose), whose)
            found = _score(name, model, run, places, settings, proposals)
            row["scores"][column] = round(getattr(found, SCORES[name]), 6)
            done[column] = {"trained": found.learnt, **settings_of(settings)}
        boxes = {"proposals": "none: Faster R-CNN" if proposals is None else f"given for {len(proposals)} images"}
        seconds = {"seconds": round(time.monotonic() - began, 1)}
        row["protocol"] |= {"transfer": {**done, **seconds, **(boxes if self._needs("voc2007") else {})}}
        return row

    def _needs(self, name: str) -> bool:
        return any(column.startswith("segmentation") == (name == "voc2012") for column in self.columns)


def _score(
    name: str, model: Any, run: Run, places: Mapping[str, Path], settings: Any, proposals: Proposals | None
) -> Any:
    encoder, shape = model.encoder_, model.image_shape_
    if name == "segmentation":
        train, test = (open_voc(places["voc2012"], split, 2012, "Segmentation") for split in ("train", "val"))
        return segment(encoder, shape, train, test, run, settings)
    train, test = (open_voc(places["voc2007"], split) for split in ("trainval", "test"))
    if name == "detection":
        return detect(encoder, shape, train, test, run, settings, proposals)
    return classify(encoder, shape, train, test, run, settings)


def _place(name: str) -> Path:
    one = next(one for one in named_sets() if one.name == name)
    if one.path is None:
        raise MissingDataError(f"{name} is not on this machine: {one.how_to_get}")
    return one.path


def given_proposals() -> Proposals | None:
    """Boxes of all files in ``voc2007-proposals`` in the data folder; None where there is no such folder."""
    folder = next((one / PROPOSALS for one in data_folders() if (one / PROPOSALS).is_dir()), None)
    return None if folder is None else read_proposals(sorted(folder.iterdir()))
