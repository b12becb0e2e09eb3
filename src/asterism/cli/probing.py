"""What ``asterism transfer`` does: open a run and labelled images, measure, remember."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from asterism.cli.fitting import parse_size
from asterism.cli.runs import FittedRun, known_labels, open_new_images, open_run
from asterism.cli.settings import apply_settings
from asterism.errors import InputError
from asterism.images import ImageSource, named_sets, open_images
from asterism.images.named import PREFIX
from asterism.networks.convolutional import Body
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training.checkpoint import write_text
from asterism.transfer.probe import LinearProbe, knn_probe, linear_probe
from asterism.transfer.retrieval import fit_whitening, retrieval, rmac

TEST_SHARE = 5  # one image in five


def probe_run(
    folder: Path,
    images: str,
    labels: str | None,
    layers: str | None,
    settings: Sequence[str],
    seed: int,
    device: str,
) -> list[dict[str, Any]]:
    """Probe each layer of a run; the result is also written to ``RUN/probe.json``.

    Raises
    ------
    InputError, MissingDataError, RunError
    """
    wanted = LinearProbe()
    apply_settings(wanted, settings, "transfer probe")
    fitted = open_run(folder, device)
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
    if images.startswith(PREFIX) and {one.removeprefix(PREFIX) for one in parts} <= {one.name for one in named_sets()}:
        return open_new_images(fitted, parts[0]), open_new_images(fitted, parts[1])
    source = open_new_images(fitted, images)
    known = known_labels(labels, source)
    if known is None:
        raise InputError(f"the classes of {images} are not known; give --labels folders or --labels FILE.csv")
    order = np.random.default_rng(seed).permutation(len(source))
    n_test = max(1, len(source) // TEST_SHARE)
    whole = replace(source, labels=np.asarray(known[0]), label_names=known[1])
    return whole.subset(order[n_test:]), whole.subset(order[:n_test])


def retrieve_run(
    folder: Path,
    images: str,
    whiten_on: str | None,
    labels: str | None,
    layer: str | None,
    size: str,
    device: str,
) -> dict[str, Any]:
    """Search every image among the others with a run's network; the result is also written to ``RUN/retrieval.json``.

    The images keep a size of their own: convolutions take any.

    Raises
    ------
    InputError, MissingDataError, RunError
    """
    fitted = open_run(folder, device)
    runtime = Runtime(device)
    body = getattr(runtime.place(fitted.estimator.encoder_), "body", None)
    if not isinstance(body, Body) or not body.layer_names:
        raise InputError(f"{folder} holds a network without convolutions, whose maps R-MAC needs")
    chosen = layer or body.layer_names[-1]
    if chosen not in body.layer_names:
        raise InputError(f"--layer {chosen}: there is no such layer; there are {', '.join(body.layer_names)}")
    color = "grey" if fitted.estimator.image_shape_[0] == 1 else "rgb"
    source = open_images(images, size=parse_size(size), color=color)
    known = known_labels(labels, source)
    if known is None:
        raise InputError(f"the objects of {images} are not known; give --labels folders or --labels FILE.csv")
    others = source if whiten_on is None else open_images(whiten_on, size=parse_size(size), color=color)
    run = Run(runtime, 0)
    found = retrieval(rmac(body, chosen, source, fit_whitening(body, chosen, others, run), run), np.asarray(known[0]))
    about = {"images": images, "n": len(source), "size": size, "layer": chosen, "whitened on": whiten_on or images}
    rows = {**about, **asdict(found)}
    write_text(folder / "retrieval.json", json.dumps(rows, indent=2) + "\n")
    return rows
