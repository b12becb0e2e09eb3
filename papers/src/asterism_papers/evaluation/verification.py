"""What a row of JULE's Table 7 is: a network learned on faces from videos, and LFW's pairs told apart by it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from asterism.errors import MissingDataError
from asterism.images import ImageSource, named_sets
from asterism.methods import JULE, load
from asterism.networks.jule_net import build_conv
from asterism.runtime import Runtime
from asterism.training import Run, Training
from asterism.training.progress import ProgressBars
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.protocol import Row, Setting, Task
from asterism_papers.transfer.cluster_tuning import TUNING, fine_tuned
from asterism_papers.transfer.verification import FACE, verify

SUPERVISED = "supervised"  # the method of the paper's other row
# Passes of the supervised network, which begins from nothing: the paper is silent, as on the fine-tuning's.
FROM_NOTHING = Training(**{**TUNING.get_params(), "n_epochs": 60})


class Verified:
    """``perform`` of Table 7: learn, fine-tune on the clusters with a softmax layer, verify on LFW.

    A row's variant is its number of samples, "10k". The supervised row has the same network and samples, and their
    classes.
    """

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Learn, fine-tune, verify, and give the row of ``papers/results``."""
        lfw = _lfw()
        n_samples = 1000 * int(task.entry.variant.removesuffix("k"))
        samples = protocol.shuffled(images, task.seed).subset(range(min(n_samples, len(images))))
        runtime = Runtime(setting.device)
        samples_of = f"{samples.fingerprint} {setting.commit}"  # rows of other samples have the same folder
        run = Run(runtime, task.seed, folder / "tuning", ProgressBars(setting.verbose), samples_of)
        began = time.monotonic()
        unlabelled = replace(samples, labels=None, label_names=None)
        if task.entry.method == SUPERVISED:
            row = protocol.row_of(task, images, setting, {}, 0.0, len(np.unique(np.asarray(samples.labels))))
            new = runtime.place(build_conv(samples.shape, run.generator("weights")))
            encoder = fine_tuned(new, unlabelled, _numbered(samples), run, FROM_NOTHING)
        else:
            row = runs.perform(task, samples, folder, setting)
            model, began = cast(JULE, load(folder)), time.monotonic()
            clusters = torch.from_numpy(np.asarray(model.labels_))
            again = protocol.shuffled(unlabelled, task.seed)  # as the fit saw them
            encoder = fine_tuned(runtime.place(model.encoder_), again, clusters, run, TUNING)
        found = verify(encoder, samples.shape, lfw, runtime)
        row["scores"] |= {"lfw": round(found.accuracy, 6), "lfw_error": round(found.standard_error, 6)}
        row["seconds"] = round(row["seconds"] + time.monotonic() - began, 3)
        row["protocol"] |= {
            "images": protocol.describe(task.dataset, images),
            "fingerprint": images.fingerprint,
            "learnt from": f"{len(samples)} of them",
            "labels": "of the images learnt from" if task.entry.method == SUPERVISED else "scoring only",
            "pairs": found.n_pairs,
            "middle of the photographs": FACE,
            "tuning": (FROM_NOTHING if task.entry.method == SUPERVISED else TUNING).get_params(),
        }
        return row


def _lfw() -> Path:
    one = next(one for one in named_sets() if one.name == "lfw")
    if one.path is None:
        raise MissingDataError(f"data:lfw is not on this machine: {one.how_to_get}")
    return one.path


def _numbered(samples: ImageSource) -> torch.Tensor:
    """Classes from 0 on without gaps."""
    return torch.from_numpy(np.unique(np.asarray(samples.labels), return_inverse=True)[1])
