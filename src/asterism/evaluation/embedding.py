"""What a row of JULE's Tables 13 and 14 is: a training part embedded in a few dimensions, a test part placed there."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from asterism.evaluation import protocol, runs
from asterism.evaluation.guests import guest, is_guest, vectors
from asterism.evaluation.protocol import Row, Setting, Task
from asterism.images import ImageSource
from asterism.methods import load
from asterism.transfer.embedding import nearest_neighbor_error, trustworthiness

LABELLED = "with labels"  # in the name of a variant: the method is shown the labels of the training part


class Embedded:
    """``perform`` of a table of embeddings: learn on the training part, place the test part.

    The nearest neighbour is searched among the training images, the trustworthiness is that of the test images (FACTS
    §1.11: the protocol of parametric t-SNE, whose figures the slides quote).

    Parameters
    ----------
    n_labelled : int
        Training images that a method which learns from labels is shown, the first in the seed's order: NCA's gradient
        holds a number for each pair of them.
    """

    def __init__(self, n_labelled: int) -> None:
        self.n_labelled = n_labelled

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Learn, embed, measure, and give the row of ``benchmarks/results``."""
        train = protocol.shuffled(images, task.seed)
        test = protocol.open_dataset(task.dataset.replace("-train", "-test"))
        if is_guest(task.entry.class_name):
            row, places, found = self._by_guest(task, train, test, setting)
        else:
            row = runs.perform(task, images, folder, setting)
            model = load(folder)
            places, found = model.transform(train), model.transform(test)
        labels, test_labels = np.asarray(train.labels), np.asarray(test.labels)
        row["scores"] |= {
            "nn_error": round(nearest_neighbor_error(places, labels, found, test_labels), 6),
            "trust": round(trustworthiness(vectors(test), found), 6),
        }
        row["protocol"] |= {"test images": len(test), "dimensions": places.shape[1]}
        return row

    def _by_guest(
        self, task: Task, train: ImageSource, test: ImageSource, setting: Setting
    ) -> tuple[Row, np.ndarray, np.ndarray]:
        """The row, and the places of the training and of the test part."""
        pixels, test_pixels = vectors(train), vectors(test)
        method = guest(task.entry, task.dataset, 0, task.seed)
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


def _use(variant: str) -> str:
    return "of the images learnt from, and scoring" if LABELLED in variant else "scoring only"
