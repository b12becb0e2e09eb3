"""What ``asterism cluster`` does: settle what is asked for, fit, and write page and groups."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from asterism.cli.advising import FOR_THE_EYE, numbered
from asterism.cli.arguments import check_copy
from asterism.cli.choosing import settled
from asterism.cli.errors import Interrupted, list_skipped
from asterism.cli.export import check_export
from asterism.cli.outputs import check_writable
from asterism.cli.request import DEFAULT_METHOD, Request
from asterism.cli.settings import apply_settings
from asterism.cli.summary import check_pictures, finish
from asterism.cli.text import note
from asterism.clustering.outliers import ALPHA
from asterism.errors import InputError, RunError
from asterism.estimator import ImageClusterer
from asterism.images import ImageSource, open_images
from asterism.images.urls import is_url, shown
from asterism.machine import launch, leave_launch
from asterism.methods import estimator_of
from asterism.methods.registry import find_method, method_name
from asterism.report.fitted import FittedRun, Labels, known_labels, open_run
from asterism.runs import RunFolder, agreed, claim
from asterism.runtime import Runtime, device_here
from asterism.training.progress import decoding_bar

NO_IMAGES = "which images? Give a folder, .tar shards, an .npz or .npy file or data:NAME; only --resume can do without"
DEFAULT_SEED = 0  # a fixed one: the same command gives the same groups


@dataclass
class Plan:
    """What will be done: a checked estimator, how its images are opened, and what else run.json is to hold."""

    estimator: ImageClusterer
    origin: dict[str, Any]
    notes: dict[str, Any]  # command, labels, and how the number of groups was found, where none was given
    screening: dict[str, Any]  # what `ImageClusterer.fit` is told of outliers and copies


def cluster_images(request: Request) -> None:
    """Fit, resume, or complete a finished run, as the request says.

    Raises
    ------
    AsterismError, typer.BadParameter
        For what cannot be done.
    Interrupted
        On Ctrl-C; the run can go on.
    """
    if request.resume and request.overwrite:
        raise typer.BadParameter(
            "go on with the run or replace it: give one of them", param_hint="--resume, --overwrite"
        )
    check_copy(request.copy, request.export)
    request = settled(*numbered(request))
    folder = RunFolder(request.out or _default_folder(request))
    check_writable(folder.path)
    content = folder.look()
    if content is not None and not request.resume and content["status"] == "failed" and not folder.can_go_on:
        request = replace(request, overwrite=True)  # there was nothing to keep: a corrected command takes its place
    is_done = content is not None and content["status"] == "finished" and request.resume
    if request.resume:
        _check_seen(is_done, request, folder)
    if content is not None and not request.overwrite:
        if is_done:
            if (other := _other(request, content, _resumed(request, folder, content))) is not None:
                raise RunError(f"{folder.path} holds a finished run with other {other} out")
            if is_main_process():
                _go_on_alone()
                if not request.quiet:
                    note(f"{folder.path} holds a finished run; nothing is left to fit")
                finish(open_run(folder.path), request, keep_report=True)
            return
        if not request.resume:
            raise RunError(_occupied(folder, content))
        plan = _resumed(request, folder, content)
    elif request.resume and request.images is None:
        raise RunError(f"{folder.path} holds no run to resume; give IMAGES and -k to begin one")
    else:
        plan = _fresh(request)
    plan.estimator.set_params(run_dir=str(folder.path), verbose=0 if request.quiet else 1)
    plan.estimator.check()
    if request.export is not None:
        check_export(request.export, plan.origin["source"], request.overwrite)
        if folder.path.resolve().is_relative_to(request.export.resolve()):
            raise InputError(f"{request.export} holds the run, {folder.path}; choose another --export")
    with _resumable(plan.estimator):
        images, labels = _opened(plan, request)
        if request.chosen and is_main_process() and not request.quiet:
            note(request.chosen)
        if request.out is None and content is None and launch().world_size == 1:  # several must agree
            folder = claim(_stem(request))
            plan.estimator.set_params(run_dir=str(folder.path))
        plan.estimator._overwrite = request.overwrite
        plan.estimator.fit(images, **plan.screening)
    is_main = is_main_process()
    _go_on_alone()  # the others too: a process that ends within its group may be aborted by the group's threads
    if is_main:
        try:
            finish(FittedRun(folder, plan.estimator._content, plan.estimator), request, images, labels)
        except KeyboardInterrupt as interrupt:
            how = f"the fit is done; what is missing is written by: {_resume_command(folder)}"
            raise Interrupted(f"{str(interrupt) or 'interrupted'}; {how}") from None


def _screening(request: Request, known: dict[str, Any]) -> dict[str, Any]:
    """What the fit is told of outliers and copies: as typed, else as a run that is resumed or copied was told."""
    typed = {"outliers": ALPHA if request.outliers else None, "drop_duplicates": request.drop_duplicates or None}
    return known.get("screening", {}) | {name: value for name, value in typed.items() if value is not None}


def _check_seen(is_done: bool, request: Request, folder: RunFolder) -> None:
    """See that all processes find the same: on a disk of its own one would begin the run, and wait for the others."""
    if launch().world_size > 1 and agreed(int(is_done), Runtime(request.device or "auto")) != is_done:
        seen = (
            "a finished run, and the main process none" if is_done else "no finished run, and for the main process one"
        )
        raise RunError(f"{folder.path} holds {seen}: all processes need one --out that they share")


def is_main_process() -> bool:
    """Whether this process, of those that torchrun started, talks and writes."""
    return launch().rank == 0


def _go_on_alone() -> None:
    """Leave torchrun's group: page and scores are made by one process, which must not wait for the others."""
    if launch().world_size == 1:
        return
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    leave_launch()


def _opened(plan: Plan, request: Request) -> tuple[ImageSource, Labels | None]:
    """Images and known labels, and the last checks before a run begins."""
    vectors = plan.origin.get("features") is not None
    if not vectors:
        plan.estimator._check_needs(plan.origin["source"])
    opening = FOR_THE_EYE if vectors else plan.estimator._opening
    asked = {key: value for key, value in plan.origin.items() if key != "source"}
    how, seen = {**opening, **asked}, request.opened
    if seen is not None and seen[0] == how:
        images = seen[1]
    else:
        with decoding_bar(not request.quiet) as progress:
            images = open_images(plan.origin["source"], **how, progress=progress)
    if not request.quiet:
        list_skipped(images.skipped)
    if request.export is not None:
        check_pictures(images.is_table, plan.origin)
    labels = known_labels(plan.notes["labels"], images)
    plan.estimator._check_number(len(images))
    plan.estimator._check_memory(images)
    if launch().world_size == 1:  # the process group of torchrun is made once, by fit
        Runtime(plan.estimator.device, plan.estimator.precision)
    plan.estimator._notes = {name: value for name, value in plan.notes.items() if name != "number" or value is not None}
    return images, labels


def _fresh(request: Request) -> Plan:
    """The plan of a new run."""
    if request.images is None:
        raise typer.BadParameter(NO_IMAGES, param_hint="IMAGES")
    if request.like is not None:
        content = RunFolder(request.like).read()
        estimator, method = _clusterer_of(content, request.like), method_name(content)
        if request.method not in (None, method):
            raise InputError(
                f"--method {request.method} and --like {request.like}, a run of {method}: give one of them"
            )
        seed = content["seed"] if request.seed is None else request.seed
    else:
        method = request.method or DEFAULT_METHOD
        estimator, seed = find_method(method)(), request.seed or DEFAULT_SEED
    chosen = {"n_clusters": request.n_clusters, "device": request.device, "precision": request.precision}
    estimator.set_params(random_state=seed, **{name: value for name, value in chosen.items() if value is not None})
    apply_settings(estimator, request.settings, method)
    notes = {"command": request.command, "labels": request.label_source, "number": request.number}
    return Plan(estimator, _origin(request, {}), notes, _screening(request, {} if request.like is None else content))


def _resumed(request: Request, folder: RunFolder, content: dict[str, Any]) -> Plan:
    """The plan of an unfinished run; what was typed again must be what it was."""
    estimator, method, seed = _clusterer_of(content, folder.path), method_name(content), content["seed"]
    source = content["images"]["origin"]["source"]
    if content["status"] != "finished":
        estimator.device = device_here(estimator.device)  # the machine that goes on need not be the one that began
    given = (
        ("--method", request.method, method),
        ("-k", request.n_clusters, estimator.n_clusters),
        ("--seed", request.seed, seed),
        ("--device", request.device, estimator.device),
        ("--precision", request.precision, estimator.precision),
    )
    for option, value, found in given:
        if value is not None and value != found:
            raise RunError(
                f"{folder.path} holds a run with {option} {found}, not {value}; leave {option} out, choose another "
                "--out, or start anew with --overwrite"
            )
    finished = content["status"] == "finished"
    if finished and None not in (source, request.images) and _absolute(str(request.images)) != _absolute(str(source)):
        raise RunError(f"{folder.path} holds a finished run on {source}; asterism predict takes other images")
    if source is None and request.images is None:
        raise RunError(f"the images of {folder.path} came from memory; give IMAGES, or resume it in Python")
    apply_settings(estimator, request.settings, method)  # others than its own: fit refuses them
    estimator.set_params(random_state=seed)
    notes = {
        "command": content.get("command", request.command),
        "labels": request.labels or content.get("labels"),
        "number": content.get("number"),
    }
    return Plan(estimator, _origin(request, content["images"]["origin"]), notes, _screening(request, content))


def _other(request: Request, content: dict[str, Any], plan: Plan) -> str | None:
    """What was typed again of a finished run and is not what it was, and which option to leave; None for nothing."""
    if plan.estimator._plain_params() != content["params"]:
        return "parameters; leave --set"
    for name, value in plan.screening.items():
        if content.get("screening", {}).get(name) != value:
            return f"outliers or copies; leave --{name.replace('_', '-')}"
    typed, known = request.opening, content["images"]["origin"]
    if isinstance(size := typed.get("size"), int):
        size = (size, size)
    if size is not None and known.get("size") is not None and list(size) != list(known["size"]):
        return "images; leave --size"
    others = {"pages": "first", "bands": None, "features": None} | known
    for name in ("pages", "bands", "features"):
        if name in typed and (list(typed[name]) if name == "bands" else typed[name]) != others[name]:
            return f"images; leave --{name}"
    if {typed.get("color"), known.get("color")} == {"grey", "rgb"}:
        return "images; leave --color"
    return "images; leave --no-crop" if "crop" in typed and known.get("crop") else None


def _origin(request: Request, known: dict[str, Any]) -> dict[str, Any]:
    """How the images are opened: as typed, else as the run remembers, else by default."""
    return {**known, **({} if request.images is None else {"source": request.images}), **request.opening}


def _clusterer_of(content: dict[str, Any], path: Path) -> ImageClusterer:
    estimator = estimator_of(content)
    if not isinstance(estimator, ImageClusterer):
        raise RunError(f"{path} holds a run of {content['method']}, which makes no groups")
    return estimator


def _absolute(images: str) -> str:
    if is_url(images):
        return shown(images)
    return images if images.startswith("data:") else os.path.abspath(os.path.expanduser(images))


def _default_folder(request: Request) -> Path:
    """``runs/NAME-METHOD-1``, or the first number that is free; the last one that is taken where one is resumed."""
    stem, number = _stem(request), 1
    while (stem.with_name(f"{stem.name}-{number}")).exists():
        number += 1
    return stem.with_name(f"{stem.name}-{number - 1 if request.resume and number > 1 else number}")


def _stem(request: Request) -> Path:
    """``runs/NAME-METHOD``."""
    if request.images is None:
        if request.resume:
            raise typer.BadParameter("which run is to be resumed?", param_hint="--out")
        raise typer.BadParameter(NO_IMAGES, param_hint="IMAGES")
    name = os.path.splitext(os.path.basename(_absolute(request.images).removeprefix("data:").rstrip("/")))[0]
    name = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "images"
    method = DEFAULT_METHOD if request.like is None else method_name(RunFolder(request.like).read())
    return Path("runs") / f"{name}-{request.method or method}"


def _occupied(folder: RunFolder, content: dict[str, Any]) -> str:
    if content["status"] == "finished":
        return f"{folder.path} holds a finished run; choose another --out, or replace it with --overwrite"
    return (
        f"{folder.path} holds an unfinished run ({content['status']}); go on with --resume, choose another --out, or "
        "replace it with --overwrite"
    )


@contextmanager
def _resumable(estimator: ImageClusterer) -> Iterator[None]:
    """Say how a run that is interrupted goes on; `asterism.runs.RunRecord` has left it as one that can."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        what, folder = str(interrupt) or "interrupted", RunFolder(str(estimator.run_dir))
        if not folder.exists or folder.read()["status"] == "finished":
            raise Interrupted(f"{what} before the run began") from None
        raise Interrupted(f"{what}; go on with: {_resume_command(folder)}") from None


def _resume_command(folder: RunFolder) -> str:
    return shlex.join(["asterism", "cluster", "--resume", "--out", str(folder.path)])
