"""What a row of JULE's Tables 13 and 14 is: a training part embedded in a few dimensions, a test part placed there."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from asterism.features import extract
from asterism.images import ImageSource
from asterism.methods import JULE, load
from asterism.networks.jule_net import ConvNetwork
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training.progress import ProgressBars
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.external_estimators import external_estimator, is_external, pixel_vectors
from asterism_papers.evaluation.jule_runs import kept_run
from asterism_papers.evaluation.protocol import Row, Setting, Task
from asterism_papers.evaluation.table import Entry
from asterism_papers.transfer.cluster_tuning import TUNING, fine_tuned, narrowed
from asterism_papers.transfer.embedding import nearest_neighbor_error, trustworthiness

LABELLED = "with labels"  # in the name of a variant: the method is shown the labels of the training part
NARROWED = "jule-narrowed"  # the method whose last layer becomes narrow when the clusters are found


class Embedded:
    """``perform`` of a table of embeddings: learn on the training part, place the test part.

    The nearest neighbour is searched among the training images, the trustworthiness is that of the test images
    (docs/papers/jule.md: the protocol of parametric t-SNE, whose figures the slides quote).

    Parameters
    ----------
    n_labelled : int
        Training images that a method which learns from labels is shown, the first in the seed's order: NCA's gradient
        holds a number for each pair of them.
    source : Entry
        The run of JULE, as wide as it is, whose clusters the method `NARROWED` learns a narrow layer from.
    """

    def __init__(self, n_labelled: int, source: Entry) -> None:
        self.n_labelled = n_labelled
        self.source = source

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Learn, embed, measure, and give the row of ``papers/results``."""
        train = protocol.shuffled(images, task.seed)
        test = protocol.open_dataset(task.dataset.replace("-train", "-test"))
        if is_external(task.entry.class_name):
            row, places, found = self._by_external(task, train, test, setting)
        elif task.entry.method == NARROWED:
            row, places, found = self._narrowed(task, images, test, folder, setting)
        else:
            row = runs.perform(task, images, folder, setting)
            model = load(folder)
            places, found = model.transform(train), model.transform(test)
        labels, test_labels = np.asarray(train.labels), np.asarray(test.labels)
        row["scores"] |= {
            "nn_error": round(nearest_neighbor_error(places, labels, found, test_labels), 6),
            "trust": round(trustworthiness(pixel_vectors(test), found), 6),
        }
        row["protocol"] |= {"test images": len(test), "dimensions": places.shape[1]}
        return row

    def _by_external(
        self, task: Task, train: ImageSource, test: ImageSource, setting: Setting
    ) -> tuple[Row, np.ndarray, np.ndarray]:
        """The row, and the places of the training and of the test part."""
        pixels, test_pixels = pixel_vectors(train), pixel_vectors(test)
        method = external_estimator(task.entry, task.dataset, 0, task.seed)
        with torch.random.fork_rng():
            began = time.monotonic()
            if LABELLED in task.entry.variant:
                seen = min(self.n_labelled, len(train))
                method.fit(pixels[:seen], np.asarray(train.labels)[:seen])
            else:
                seen = len(train)
                method = method.fit(pixels)
            # openTSNE's fit gives the places back, an array that places new points
            places = np.asarray(method if isinstance(method, np.ndarray) else method.transform(pixels))
            found = np.asarray(method.transform(test_pixels))
            seconds = time.monotonic() - began
        row = runs.guest_row(task, train, setting, {}, seconds, 0)
        del row["params"]["n_clusters"]
        row["protocol"] |= {"n_clusters": "none", "learnt from": f"{seen} images", "labels": _use(task.entry.variant)}
        return row, places, found

    def _narrowed(
        self, task: Task, images: ImageSource, test: ImageSource, folder: Path, setting: Setting
    ) -> tuple[Row, np.ndarray, np.ndarray]:
        """The row, and the places of the training and of the test part."""
        row, kept = kept_run(task, self.source, images, folder, setting)
        model = cast(JULE, load(kept))
        began = time.monotonic()
        runtime = Runtime(setting.device)
        fitted_by = f"{images.fingerprint} {setting.commit}"
        run = Run(runtime, task.seed, folder / "narrowing", ProgressBars(setting.verbose), fitted_by)
        train = replace(protocol.shuffled(images, task.seed), labels=None, label_names=None)
        n_features = task.estimator().resolved("network").n_features
        narrow = narrowed(cast(ConvNetwork, model.encoder_), train.shape, n_features, run.generator("narrow layer"))
        clusters = torch.from_numpy(np.asarray(model.labels_))
        network = fine_tuned(runtime.place(narrow), train, clusters, run, TUNING)
        places, found = (extract(network, part, runtime).cpu().numpy() for part in (train, test))
        row["seconds"] = round(row["seconds"] + time.monotonic() - began, 3)
        row["protocol"] |= {
            "clusters of": f"a run with {model.embedding_.shape[1]} features, as in a row of jule-3",
            "tuning": TUNING.get_params(),
        }
        return row, places, found


def _use(variant: str) -> str:
    return "of the images learnt from, and scoring" if LABELLED in variant else "scoring only"
