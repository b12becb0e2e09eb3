"""What ``asterism transfer verify`` does: open a run and LFW, fine-tune if asked to, score, remember."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from asterism.cli.outputs import check_writable
from asterism.cli.settings import apply_settings
from asterism.errors import InputError
from asterism.files import write_text
from asterism.report.fitted import FittedRun, open_run
from asterism.runtime import Runtime
from asterism.training import Run, Training
from asterism_papers.transfer.backbone import check_photos
from asterism_papers.transfer.cluster_tuning import TUNING, fine_tuned
from asterism_papers.transfer.verification import open_lfw, verify


def verify_run(
    folder: Path, lfw: Path, tune: bool, settings: Sequence[str], face: float, seed: int, device: str
) -> dict[str, Any]:
    """Verify faces with a run's network; the result is also written to ``RUN/verify.json``.

    Raises
    ------
    InputError, MissingDataError, RunError
    """
    training = Training(**TUNING.get_params())
    apply_settings(training, settings, "transfer verify")
    if settings and not tune:
        raise InputError("--set is of the fine-tuning; ask for it with --fine-tune")
    fitted = open_run(folder, device)
    check_writable(folder / "verify.json")
    shape = fitted.estimator.image_shape_
    if shape[1] == shape[2] == 1:
        raise InputError(f"{folder} was made from vectors, which faces are not")
    check_photos(shape)
    open_lfw(lfw)  # before an hour of training
    runtime = Runtime(device)
    encoder = runtime.place(fitted.estimator.encoder_)
    if tune:
        labels = torch.as_tensor(fitted.clusterer.labels_).long()
        if (labels < 0).any():
            raise InputError(
                f"{folder} has images in no group, which --fine-tune cannot learn; make it without outliers"
            )
        encoder = fine_tuned(encoder, _own_images(fitted), labels, Run(runtime, seed), training)
    found = asdict(verify(encoder, shape, lfw, runtime, face))
    about = {"lfw": str(lfw), "fine_tuned": training.get_params() if tune else None, "face": face, "seed": seed}
    write_text(folder / "verify.json", json.dumps({**about, **found}, indent=2) + "\n")
    return found


def _own_images(fitted: FittedRun) -> Any:
    images = fitted.images()
    if len(images) != len(fitted.clusterer.labels_):
        raise InputError(f"the images of {fitted.folder.path} are not those that it was made from; run it anew")
    return images
