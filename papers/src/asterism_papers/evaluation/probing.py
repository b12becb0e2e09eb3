"""What a row of DeepCluster's tables is: a fit without labels to a training part, then linear probes of its layers."""

from __future__ import annotations

import time
from pathlib import Path

from asterism.images import ImageSource
from asterism.inspection.probe import ALL, LinearProbe, knn_probe, linear_probe
from asterism.methods import load
from asterism.runtime import Runtime
from asterism.training import Run
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.protocol import Row, Setting, Task

LAYERS = (*(f"conv{i}" for i in range(1, 6)), ALL)
SCORES = (*LAYERS, "knn")


class ProbedRuns:
    """``perform`` of a table whose rows hold the accuracy of a probe on every layer.

    Parameters
    ----------
    n_fitted : int
        Images of the training part that the method learns from, the first in the seed's order; variants whose name
        begins with "long" learn from all.
    n_labelled : int
        Images, of these first ones, whose labels the linear classifiers learn from.
    settings : LinearProbe
    """

    def __init__(self, n_fitted: int, n_labelled: int, settings: LinearProbe) -> None:
        self.n_fitted = n_fitted
        self.n_labelled = n_labelled
        self.settings = settings

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Fit, probe, and give the row of ``papers/results``."""
        ordered = protocol.shuffled(images, task.seed)
        n_fitted = len(images) if task.entry.variant.startswith("long") else min(self.n_fitted, len(images))
        row = runs.perform(task, ordered.subset(range(n_fitted)), folder, setting)
        labelled = ordered.subset(range(min(self.n_labelled, len(images))))
        test = protocol.open_dataset(task.dataset.replace("-train", "-test"))
        model, runtime = load(folder), Runtime(setting.device)
        encoder, run, began = runtime.place(model.encoder_), Run(runtime, task.seed), time.monotonic()
        probed = linear_probe(encoder, labelled, test, run, LAYERS, self.settings)
        row["scores"] |= {one.layer: round(one.accuracy, 6) for one in probed}
        row["scores"]["knn"] = round(knn_probe(encoder, labelled, test, run), 6)
        row["protocol"] |= {
            "images": protocol.describe(task.dataset, images),
            "learnt from": f"{n_fitted} of them, without labels",
            "probe": {
                **self.settings.get_params(),
                "labelled images": len(labelled),
                "test images": len(test),
                "seconds": round(time.monotonic() - began, 1),
                "weight decays chosen": {one.layer: one.weight_decay for one in probed},
            },
        }
        return row
