"""What a row of DeepCluster's tables is: a fit without labels to a training part, then linear probes of its layers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.base import clone
from torch import nn

from asterism.images import ImageSource
from asterism.methods import load
from asterism.networks.initialise import build, gaussian_weights
from asterism.runtime import Runtime
from asterism.training import Run, train_epoch
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.protocol import Row, Setting, Task
from asterism_papers.evaluation.verification import SUPERVISED
from asterism_papers.transfer.probe import ALL, POOLED, LinearProbe, knn_probe, linear_probe

LAYERS = (*(f"conv{i}" for i in range(1, 6)), ALL)
SCORES = (*LAYERS, "knn")
STAGES = ("layer1", "layer2", "layer3", POOLED)  # of the small residual network
STAGE_SCORES = (*STAGES, "mlp", "knn")


# Table 1's photographs: the part that a classifier is tested on, and what the network learns from where not the set.
PLACES, IMAGENET = "places205-train", "imagenet-train"
TESTS = {IMAGENET: "imagenet-val", PLACES: "places205-val"}


class ProbedRuns:
    """``perform`` of a table whose rows hold the accuracy of a probe on every layer.

    On ImageNet and Places everything is learnt from and labelled, and what is learnt from is ImageNet on both.
    A row whose method is ``"supervised"`` is the top line: the same network, trained on the classes with the same crops
    and as many epochs.

    Parameters
    ----------
    n_fitted : int
        Images of the training part that the method learns from, the first in the seed's order; variants whose name
        begins with "long" learn from all.
    n_labelled : int
        Images, of these first ones, whose labels the linear classifiers learn from.
    settings : LinearProbe
    layers : tuple of str
        Those that are probed (`asterism_papers.transfer.probe.layers_of`).
    space : str
        The layer in which nearest neighbours are looked for, and an MLP is trained.
    hidden : int
        Units of that MLP; 0 leaves it out.
    """

    def __init__(
        self,
        n_fitted: int,
        n_labelled: int,
        settings: LinearProbe,
        layers: tuple[str, ...] = LAYERS,
        space: str = ALL,
        hidden: int = 0,
    ) -> None:
        self.n_fitted = n_fitted
        self.n_labelled = n_labelled
        self.settings = settings
        self.layers = layers
        self.space = space
        self.hidden = hidden

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Fit, probe, and give the row of ``papers/results``."""
        ordered = protocol.shuffled(images, task.seed)
        source, side = ordered, task.table.photo_side
        if task.dataset == PLACES:
            source = protocol.shuffled(protocol.open_dataset(IMAGENET, side), task.seed)
        test = protocol.open_dataset(TESTS.get(task.dataset, task.dataset.replace("-train", "-test")), side)
        whole = task.entry.variant.startswith("long") or task.dataset in TESTS
        n_fitted = len(source) if whole else min(self.n_fitted, len(source))
        learnt_from = source.subset(range(n_fitted))
        if task.entry.method == SUPERVISED:
            row, encoder = _supervised(task, learnt_from, setting)
        else:
            row = runs.perform(task, learnt_from, folder, setting)
            encoder = load(folder).encoder_
        runtime = Runtime(setting.device)
        labelled = ordered if task.dataset in TESTS else ordered.subset(range(min(self.n_labelled, len(images))))
        encoder, run, began = runtime.place(encoder), Run(runtime, task.seed), time.monotonic()
        probed = linear_probe(encoder, labelled, test, run, self.layers, self.settings)
        row["scores"] |= {one.layer: round(one.accuracy, 6) for one in probed}
        row["scores"]["knn"] = round(knn_probe(encoder, labelled, test, run, layer=self.space), 6)
        if self.hidden:
            settings = clone(self.settings).set_params(hidden=self.hidden)
            (mlp,) = linear_probe(encoder, labelled, test, run, [self.space], settings)
            row["scores"]["mlp"] = round(mlp.accuracy, 6)
        of = "ImageNet" if task.dataset == PLACES else "them"
        row["protocol"] |= {
            "images": protocol.describe(task.dataset, images),
            "learnt from": f"{n_fitted} of {of}, {'with' if task.entry.method == SUPERVISED else 'without'} labels",
            "probe": {
                **self.settings.get_params(),
                "hidden": self.hidden,
                "labelled images": len(labelled),
                "test images": len(test),
                "seconds": round(time.monotonic() - began, 1),
                "weight decays chosen": {one.layer: one.weight_decay for one in probed},
            },
        }
        return row


def _supervised(task: Task, images: ImageSource, setting: Setting) -> tuple[Row, nn.Module]:
    """The entry's network, trained on the classes with the entry's crops, epochs and rates."""
    estimator: Any = task.estimator(task.entry.n_clusters if isinstance(task.entry.n_clusters, int) else 2)
    run, began = Run(Runtime(setting.device, estimator.precision), task.seed), time.monotonic()
    labels = torch.as_tensor(images.labels)
    body = estimator.resolved("network").drawn_for(images, run.generator("weights"))
    n_classes = int(labels.max()) + 1
    head = build(lambda: nn.Linear(body.n_features, n_classes), run.generator("head"), gaussian_weights)
    model = run.runtime.place(nn.Sequential(body, head))
    training = clone(estimator.resolved("training"))
    wrapped, optimizer = run.runtime.setup(model, training.make_optimizer(model.parameters()))
    crop = estimator.resolved("crops").resolved("large")

    def loss_of(batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(wrapped(batch), labels[indices].to(batch.device))

    model.train()
    for t in range(training.n_epochs):
        train_epoch(images, loss_of, optimizer, training, run, ("supervised", t), crop)
    row = protocol.row_of(task, images, setting, {}, time.monotonic() - began, estimator.n_clusters)
    row["protocol"]["labels"] = "of the images learnt from"
    return row, body
