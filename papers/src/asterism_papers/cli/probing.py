"""What ``asterism transfer probe`` does: open a run and labelled images, measure, remember."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from asterism.cli.new_images import open_new_images
from asterism.cli.outputs import check_writable
from asterism.cli.settings import apply_settings
from asterism.errors import InputError
from asterism.files import write_text
from asterism.images import ImageSource
from asterism.images.catalogue import named_set
from asterism.report.fitted import FittedRun, Labels, known_labels, open_run
from asterism.runtime import Runtime
from asterism.training import Run
from asterism_papers.transfer.probe import LinearProbe, knn_probe, linear_probe

TEST_SHARE = 5  # one image in five


def probe_run(
    folder: Path, images: str, labels: str | None, layers: str | None, settings: Sequence[str], seed: int, device: str
) -> list[dict[str, Any]]:
    """Probe each layer of a run; the result is also written to ``RUN/probe.json``.

    Raises
    ------
    InputError, MissingDataError, RunError
    """
    wanted = LinearProbe()
    apply_settings(wanted, settings, "transfer probe")
    fitted = open_run(folder, device)
    check_writable(folder / "probe.json")
    train, test = _split(fitted, images, labels, seed)
    runtime = Runtime(device)
    encoder, run = runtime.place(fitted.estimator.encoder_), Run(runtime, seed)
    names = None if layers is None else [one.strip() for one in layers.split(",")]
    rows = [asdict(one) for one in linear_probe(encoder, train, test, run, names, wanted)]
    if names is None:
        near = {"layer": "k-NN of features", "accuracy": knn_probe(encoder, train, test, run), "weight_decay": ""}
        rows.append({**near, "n_features": rows[-1]["n_features"]})
    about = {"images": images, "n_train": len(train), "n_test": len(test), "seed": seed, "probe": wanted.get_params()}
    write_text(folder / "probe.json", json.dumps({**about, "layers": rows}, indent=2) + "\n")
    return rows


def _split(fitted: FittedRun, images: str, labels: str | None, seed: int) -> tuple[ImageSource, ImageSource]:
    """Training and test images with their classes."""
    parts = [f"{images}-{part}" for part in ("train", "test")]
    if labels is None and all(named_set(one) for one in parts):
        return open_new_images(fitted, parts[0]), open_new_images(fitted, parts[1])
    source = open_new_images(fitted, images)
    known = known_labels(labels, source)
    if known is None:
        raise InputError(f"the classes of {images} are not known; give --labels folders or --labels FILE.csv")
    whole = with_classes(source, known)
    order = np.random.default_rng(seed).permutation(len(whole))
    n_test = max(1, len(whole) // TEST_SHARE)
    return whole.subset(order[n_test:]), whole.subset(order[:n_test])


def with_classes(source: ImageSource, known: Labels) -> ImageSource:
    """The images that have a class, with it."""
    whole = replace(source, labels=np.asarray(known[0]), label_names=known[1])
    return whole if known[0].min() >= 0 else whole.subset(np.flatnonzero(known[0] >= 0))
