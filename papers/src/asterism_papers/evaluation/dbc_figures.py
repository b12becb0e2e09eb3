"""What Figures 4, 7 and 8 of DBC show, as numbers of one run: sparse features, classes coming apart, sure mistakes.

The pictures themselves are on the run's page: its layers' outputs, its map, its confident mistakes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from asterism.estimator import ImageClusterer
from asterism.images import ImageSource
from asterism.methods import load
from asterism.metrics import match_clusters
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.jule_runs import neighbor_purity
from asterism_papers.evaluation.protocol import Row, Setting, Task

SURE = 0.6  # Fig. 8: "whose maximum soft assignment scores are over 0.6"
PURITY_AT = (10,)


def figures_of_dbc(task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
    """``perform`` of the three figures: fit, look at features and scores, and give the row.

    ``zeros`` is the share of features that are 0, ``purity_at_10`` that of an image's 10 nearest neighbours in the
    features that are of its class, ``sure`` the share of images with a score above 0.6, ``sure_wrong`` the share of
    those that lie in another class's cluster (Hungarian).
    """
    row = runs.perform(task, images, folder, setting)
    ordered = protocol.shuffled(images, task.seed)
    labels, model = np.asarray(ordered.labels), cast(ImageClusterer, load(folder))
    features = model.transform(replace(ordered, labels=None, label_names=None))
    sure, wrong = sure_and_wrong(labels, model.labels_, model.confidence_)
    row["scores"] |= {
        "zeros": round(float((features == 0).mean()), 6),
        **{f"purity_at_{k}": value for k, value in neighbor_purity(features, labels, PURITY_AT).items()},
        "sure": round(sure, 6),
        "sure_wrong": round(wrong, 6),
    }
    return row


def sure_and_wrong(labels: np.ndarray, clusters: np.ndarray, confidence: np.ndarray) -> tuple[float, float]:
    """Share of images with a score above 0.6, and of wrong ones among them; 0 and 0 without any.

    Parameters
    ----------
    labels, clusters : (N,) int arrays
    confidence : (N,) array
        Highest soft score of each image.
    """
    matched = match_clusters(labels, clusters)
    right = np.array([matched.get(int(cluster)) == label for cluster, label in zip(clusters, labels, strict=True)])
    sure = confidence > SURE
    return float(sure.mean()), float((~right[sure]).mean()) if sure.any() else 0.0
