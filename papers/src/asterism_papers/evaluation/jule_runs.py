"""What a row of JULE's tables is: one run of JULE looked at from several sides, or another method on its features.

A run gives OURS-SF, OURS-RC and the features of Tables 4 and 11 and Fig. 8. It is kept in ``papers/results/runs``
and fitted only where it is absent; the methods of the tables run on features of the same seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from asterism.clustering.graph import knn
from asterism.images import ImageSource, open_images
from asterism.methods import JULE, load
from asterism.metrics import scores
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.protocol import Row, Setting, Task
from asterism_papers.evaluation.table import Entry

PURITY_AT = (1, 5, 10, 20, 50, 100)  # K of Fig. 8


def on_images(task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
    """``perform`` of Tables 3 and 10: a method on pixels, or JULE, whose two results come from one run."""
    if task.entry.class_name != "jule":
        return runs.perform(task, images, folder, setting)
    row, kept = kept_run(task, task.entry, images, folder, setting)
    if task.entry.params_on(task.dataset).get("result") == "sf":
        labels = np.asarray(protocol.shuffled(images, task.seed).labels)
        row["scores"] = scores(labels, cast(JULE, load(kept)).sf_labels_)
    return row


class OnFeatures:
    """``perform`` of Tables 4 and 11: a method on what JULE learned.

    Parameters
    ----------
    source : Entry
        The run of JULE.
    by_variant : mapping of str to Entry
        Other runs, for the entries of these variants.
    """

    def __init__(self, source: Entry, by_variant: Mapping[str, Entry] | None = None) -> None:
        self.source = source
        self.by_variant = dict(by_variant or {})

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Run the method, and give the row of ``papers/results``."""
        source = self.by_variant.get(task.entry.variant, self.source)
        learned, kept = kept_run(task, source, images, folder, setting)
        features = open_images(cast(JULE, load(kept)).embedding_)
        labelled = replace(features, labels=protocol.shuffled(images, task.seed).labels)
        row = runs.perform(task, labelled, folder, setting)
        row["protocol"] |= {
            "images": protocol.describe(task.dataset, images),
            "fingerprint": images.fingerprint,
            "features": {"of": "jule", "seed": task.seed, "params": learned["params"], "scores": learned["scores"]},
        }
        return row


class NeighborPurity:
    """``perform`` of Fig. 8: how pure the nearest neighbours of images are, in pixels and in learned features.

    Parameters
    ----------
    source : Entry
        The run of JULE.
    """

    def __init__(self, source: Entry) -> None:
        self.source = source

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Run JULE, or k-means on pixels, and give the row of ``papers/results``."""
        if task.entry.class_name == "jule":
            row, folder = kept_run(task, self.source, images, folder, setting)
        else:
            row = runs.perform(task, images, folder, setting)
        ordered = protocol.shuffled(images, task.seed)
        features = load(folder).transform(replace(ordered, labels=None))
        found = neighbor_purity(features, np.asarray(ordered.labels), PURITY_AT)
        row["scores"] |= {f"purity_at_{k}": value for k, value in found.items()}
        return row


def neighbor_purity(features: np.ndarray, labels: np.ndarray, at: Sequence[int]) -> dict[int, float]:
    """Mean share of the K nearest neighbours, oneself left out, that have one's own label.

    Parameters
    ----------
    features : (N, D) array
    labels : (N,) int array
        Known classes.
    at : sequence of int
        The K; those above N − 1 count as N − 1.

    Returns
    -------
    dict of int to float
        Of each K. O(N²·D) time.
    """
    nearest, _ = knn(features, max(at))
    same = labels[nearest] == labels[:, None]  # (N, K)
    return {k: round(float(same[:, :k].mean()), 6) for k in at}


def kept_run(task: Task, source: Entry, images: ImageSource, folder: Path, setting: Setting) -> tuple[Row, Path]:
    """The row of the run of JULE that a task needs, and its folder, which stays; fitted where it is absent.

    The row names the task; its parameters are the task's where that is a row of JULE itself, else those of the run.

    Raises
    ------
    BusyError
        If another process is fitting it.
    """
    params = {name: value for name, value in source.params_on(task.dataset).items() if name != "result"}
    plain = replace(source, params=params, by_dataset={}, method="jule", estimator="jule")
    fitting = replace(task, entry=plain)
    decides = {name: value for name, value in fitting.params.items() if name != "result"}
    digest = hashlib.blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=6).hexdigest()
    kept = folder.parent / f"kept-jule-{task.dataset}-{task.seed}-{digest}"
    with runs.claimed(kept) as free:
        if not free:
            raise runs.BusyError(f"another process is fitting {kept}; run it again when that is done")
        row = runs.perform(fitting, images, kept, setting)
    row |= {"table": task.table.record, "method": task.entry.method, "command": task.command}
    if task.entry.class_name == "jule":
        row["params"] = {**task.params, "n_clusters": row["params"]["n_clusters"]}
    row["protocol"]["variant"] = task.entry.variant
    return row, kept
