"""What ``asterism suggest-k`` does: open, take features as ``--method auto`` would, sweep k, show the curve."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from torch.nn.functional import normalize

from asterism.cli.choosing import first_choice
from asterism.cli.errors import list_skipped
from asterism.cli.request import Request
from asterism.cli.text import aligned
from asterism.clustering.advice import MOST_SAMPLES, Advice, chosen_rows, levels_of_curve, suggest_k
from asterism.features import cached_extract
from asterism.images import open_images
from asterism.methods import Diffusion
from asterism.methods.choosing import Choice
from asterism.methods.pretrained import FEW_NUMBERS
from asterism.networks import Backbone
from asterism.runs import RunFolder, check_alike
from asterism.runtime import Runtime
from asterism.training.progress import decoding_bar

FOR_THE_EYE = {"photo_side": 128, "crop": False}  # how pictures are opened of which the vectors are grouped
BAR = 24  # letters of the longest bar


def advise(request: Request, k_max: int | None = None, chosen: Choice | None = None) -> tuple[Advice, str]:
    """The advice for a request's images, opened as its fit would, and what it was computed on; it keeps them opened.

    ``chosen`` is what `first_choice` said of them, if it was asked; then the fit, which opens them too, lists what is
    skipped.
    """
    images, seed, device = str(request.images), (request.seed or 0) % 2**32, request.device or "auto"
    suitable = chosen or first_choice(request)
    opening = _as_fitted(images, suitable) if request.features is None else FOR_THE_EYE
    how = {**opening, **request.opening}
    with decoding_bar(chosen is None or not request.quiet) as progress:
        source = open_images(images, **how, progress=progress)
    request.opened = how, source
    if chosen is None:
        list_skipped(source.skipped)
    name = suitable.network or "pixels"
    if len(source) > MOST_SAMPLES:  # no feature is computed that is not looked at
        source = source.subset(chosen_rows(len(source), seed))
    runtime = Runtime(device)
    check_alike(runtime, source)
    features = cached_extract(runtime.place(Backbone(name).build(source.shape)), source, runtime)
    if not source.is_table or features.shape[1] >= FEW_NUMBERS:  # vectors of few have their length, as in `Diffusion`
        features = normalize(features)
    found = suggest_k(features.numpy(), k_max, seed)
    return found, f"features of {name}" if name != "pixels" else "vectors" if source.is_table else name


def _as_fitted(images: str, chosen: Choice) -> dict[str, Any]:
    """How `Diffusion` opens images, where that is chosen; so nothing is decoded or computed twice."""
    if not chosen.method.endswith("diffusion"):
        return {}
    estimator = Diffusion(backbone=Backbone(chosen.network))
    if chosen.network is not None:
        estimator._check_needs(images)
    return estimator._opening


def numbered(request: Request) -> tuple[Request, Choice | None]:
    """The request with a number of groups where none was given, and what `choose` said of its images.

    In ``chosen`` stands the line that says so, in ``number`` what a run remembers of it.
    """
    resumed = request.resume and (request.out is None or RunFolder(request.out).exists)
    known = request.n_clusters is not None or request.like is not None or resumed
    if known or request.images is None:
        return request, None
    first = first_choice(request)
    found, _ = advise(request, chosen=first)
    levels = levels_of_curve(np.array(found.ks), found.stability, found.k)
    number = {"k": found.k, "low": found.low, "high": found.high, "says": found.sentence}
    number["levels"] = [asdict(level) for level in levels]
    line = f"no -k: {found.sentence} Another number with -k"
    return replace(request, n_clusters=found.k, chosen=line, number=number), first


def shown_advice(found: Advice, on: str) -> str:
    """The curves as a table with bars, and the one sentence."""
    low, high = float(found.modularity.min()), float(found.modularity.max())
    span = (high - low) or 1.0
    rows: list[list[object]] = [["K", "STABILITY", "SILHOUETTE", "EIGENGAP", "MODULARITY"]]
    for i, k in enumerate(found.ks):
        bar = "#" * round(BAR * (float(found.modularity[i]) - low) / span)
        mark = "  <" if k == found.k else "  -" if found.low <= k <= found.high else ""
        values = (found.stability[i], found.silhouette[i], found.eigengap[i])
        rows.append([k, *(f"{float(one):.3f}" for one in values), f"{bar}{mark}"])
    return f"{aligned(rows)}\n\nOn {on}: {found.sentence}"
