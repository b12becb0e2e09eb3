"""What ``asterism transfer retrieval`` does: open a run and photographs, search, remember."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asterism.cli.arguments import parse_size
from asterism.cli.errors import list_skipped
from asterism.cli.outputs import check_writable
from asterism.errors import InputError
from asterism.files import write_text
from asterism.images import named_sets, open_images
from asterism.images.catalogue import PREFIX
from asterism.networks.body import Body
from asterism.report.fitted import known_labels, open_run
from asterism.runtime import Runtime
from asterism.training import Run
from asterism.training.progress import ProgressBars, decoding_bar
from asterism_papers.cli.probing import with_classes
from asterism_papers.transfer.backbone import check_photos, searchable
from asterism_papers.transfer.landmarks import LONGER_SIDE, is_landmarks, landmark_retrieval, open_landmarks, photos_in
from asterism_papers.transfer.retrieval import fit_whitening, retrieval, rmac

SIDE = 224  # pixels that photos of objects are searched at


def retrieve_run(
    folder: Path,
    images: str,
    whiten_on: str | None,
    labels: str | None,
    layer: str | None,
    size: str | None,
    device: str,
    verbose: int = 0,
) -> dict[str, Any]:
    """Search images with a run's network; the result is also written to ``RUN/retrieval.json``.

    A folder with Oxford's and Paris' ground truth is searched by its queries, anything else by every image among the
    others. The images keep a size of their own: convolutions take any.

    Raises
    ------
    InputError, MissingDataError, RunError
    """
    fitted = open_run(folder, device)
    check_writable(folder / "retrieval.json")
    run = Run(Runtime(device), 0, progress=ProgressBars(verbose))
    body = run.runtime.place(searchable(fitted.estimator.encoder_))
    check_photos(fitted.estimator.image_shape_)
    chosen = layer or body.layer_names[-1]
    if chosen not in body.layer_names:
        raise InputError(f"--layer {chosen}: there is no such layer; there are {', '.join(body.layer_names)}")
    search = _search_landmarks if is_landmarks(_folder_of(images)) else _search_each
    found = search(_Maps(body, chosen, fitted.estimator.image_shape_[0], run), images, whiten_on, labels, size)
    rows = {"images": images, "layer": chosen, "whitened on": whiten_on or images, **found}
    write_text(folder / "retrieval.json", json.dumps(rows, indent=2) + "\n")
    return rows


@dataclass(frozen=True)
class _Maps:
    """The layer that photographs are described by, and the channels that its network wants."""

    body: Body
    layer: str
    n_channels: int
    run: Run


def _folder_of(images: str) -> str:
    """Where ``data:NAME`` lies, if it lies anywhere; anything else as it is."""
    return next((str(one.path) for one in named_sets() if PREFIX + one.name == images and one.path), images)


def _search_each(
    seen: _Maps, images: str, whiten_on: str | None, labels: str | None, size: str | None
) -> dict[str, Any]:
    """Every image among the others; right are those of its class."""
    wanted = parse_size(size or str(SIDE))
    color = "grey" if seen.n_channels == 1 else "rgb"
    with decoding_bar() as progress:
        source = open_images(images, size=wanted, color=color, progress=progress)
    known = known_labels(labels, source)
    if known is None:
        raise InputError(f"the objects of {images} are not known; give --labels folders or --labels FILE.csv")
    list_skipped(source.skipped)
    source = with_classes(source, known)
    others = source if whiten_on is None else open_images(whiten_on, size=wanted, color=color)
    if others is not source:
        list_skipped(others.skipped)
    whitening = fit_whitening(seen.body, seen.layer, others, seen.run)
    found = retrieval(rmac(seen.body, seen.layer, source, whitening, seen.run), np.asarray(source.labels))
    return {"n": len(source), "size": size or str(SIDE), **asdict(found)}


def _search_landmarks(
    seen: _Maps, images: str, whiten_on: str | None, labels: str | None, size: str | None
) -> dict[str, Any]:
    """The queries of Oxford or Paris, by their own ground truth."""
    if labels is not None:
        raise InputError(f"--labels {labels}: {images} has ground truth of its own")
    if size is not None and not (size.isdecimal() and int(size) > 0):
        raise InputError(f"--size {size}: photographs keep their proportions; give the pixels of the longer side")
    side = int(size or LONGER_SIDE)
    others = None if whiten_on is None else photos_in(_folder_of(whiten_on))
    given = open_landmarks(_folder_of(images))
    found = landmark_retrieval(
        seen.body, seen.layer, given, seen.run, whiten_on=others, longer_side=side, n_channels=seen.n_channels
    )
    skipped = "; ".join(f"{one.name}: {one.reason}" for one in found.skipped)
    return {"size": str(side), **asdict(found), "skipped": skipped or "none"}
