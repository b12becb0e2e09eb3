"""What a row of DeepCluster's Table 5 is: a fit without labels, then the search of every retrieval set that is here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import numpy as np

from asterism.errors import MissingDataError
from asterism.images import ImageSource, named_sets, open_images
from asterism.methods import DeepCluster, load
from asterism.networks.body import Body
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training.progress import ProgressBars
from asterism_papers.evaluation import runs
from asterism_papers.evaluation.protocol import Row, Setting, Task
from asterism_papers.transfer.landmarks import LONGER_SIDE, landmark_retrieval, open_landmarks, photos_in
from asterism_papers.transfer.retrieval import fit_whitening, retrieval, rmac

LANDMARKS = {"oxford5k": "paris6k", "paris6k": "oxford5k"}  # set -> the one that the whitening is learnt on
OBJECTS, SIDE = "ukbench", (168, 224)  # its photographs are 4:3
SEARCHED = (*LANDMARKS, OBJECTS)


class RetrievedRuns:
    """``perform`` of a table whose rows hold mean average precisions of R-MAC's search by the last convolution.

    A set that is not on this machine has no score; Oxford and Paris are whitened on each other where both are here,
    else on themselves, which the row says.
    """

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Fit, search, and give the row of ``papers/results``."""
        here = {one.name: one.path for one in named_sets() if one.name in SEARCHED and one.path is not None}
        if not here:
            ways = "; ".join(f"{one.name}: {one.how_to_get}" for one in named_sets() if one.name in SEARCHED)
            raise MissingDataError(f"there is nothing to search: {ways}")
        row = runs.perform(task, images, folder, setting)
        model, began = load(folder), time.monotonic()
        run = Run(Runtime(setting.device), task.seed, progress=ProgressBars(setting.verbose))
        body = cast(Body, run.runtime.place(cast(DeepCluster, model).encoder_).body)
        layer = body.layer_names[-1]
        about: dict[str, Any] = {}
        for name, path in here.items():
            if name == OBJECTS:
                score, about[name] = self._objects(body, layer, model.image_shape_[0], run), {"size": list(SIDE)}
            else:
                others = here.get(LANDMARKS[name])
                found = landmark_retrieval(
                    body,
                    layer,
                    open_landmarks(path),
                    run,
                    whiten_on=None if others is None else photos_in(others),
                    longer_side=LONGER_SIDE,
                    n_channels=model.image_shape_[0],
                )
                score = found.mean_average_precision
                about[name] = {
                    "longer side": LONGER_SIDE,
                    "whitened on": name if others is None else LANDMARKS[name],
                    "queries": found.n_queries,
                    "photographs": found.n_photos,
                    **({"left out": len(found.skipped)} if found.skipped else {}),
                }
            row["scores"][name] = round(score, 6)
        row["protocol"] |= {"retrieval": {"layer": layer, **about, "seconds": round(time.monotonic() - began, 1)}}
        return row

    def _objects(self, body: Body, layer: str, n_channels: int, run: Run) -> float:
        """Every photograph among the others; whitened on themselves."""
        images = open_images(f"data:{OBJECTS}", size=SIDE, color="grey" if n_channels == 1 else "rgb")
        descriptors = rmac(body, layer, images, fit_whitening(body, layer, images, run), run)
        return retrieval(descriptors, np.asarray(images.labels)).mean_average_precision
