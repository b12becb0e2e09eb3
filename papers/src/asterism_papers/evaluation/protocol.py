"""How a method is scored, in one place: which images in which order, how many clusters, and what is written down."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import asterism
from asterism.errors import MissingDataError
from asterism.estimator import COMPUTING, ImageClusterer
from asterism.images import ImageSource, open_images
from asterism.methods import METHODS
from asterism.parameters import Parameters, set_dotted, to_json
from asterism.runtime import Runtime, derived_seed, hardware, versions
from asterism_papers.evaluation.external_estimators import external_estimator, external_params, is_external
from asterism_papers.evaluation.table import Entry, Table

Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One run: an entry of a table on a data set with a seed."""

    table: Table
    dataset: str
    entry: Entry
    seed: int

    def estimator(self, n_classes: int = 2) -> ImageClusterer:
        """The unfitted method, with the entry's settings."""
        n_clusters = n_classes if isinstance(self.entry.n_clusters, str) else self.entry.n_clusters
        estimator = METHODS[self.entry.class_name](n_clusters=n_clusters, random_state=self.seed)
        set_dotted(estimator, self.entry.params_on(self.dataset))
        return estimator

    @property
    def params(self) -> dict[str, Any]:
        """Every parameter that decides the result, the class's defaults filled in; ``n_clusters`` may be "classes"."""
        if is_external(self.entry.class_name):
            return external_params(external_estimator(self.entry, self.dataset, 2, self.seed), self.entry.n_clusters)
        return {**resolved_params(self.estimator()), "n_clusters": self.entry.n_clusters}

    @property
    def command(self) -> str:
        """The command that makes this run again."""
        if is_external(self.entry.method):
            settings = "".join(f" --set {shlex.quote(f'{name}={value}')}" for name, value in self.entry.params.items())
            chosen = f"--method {self.entry.method}{settings} --only dataset={self.dataset}"
        else:
            only = f"dataset={self.dataset},method={self.entry.method},variant={self.entry.variant}"
            chosen = f"--only {shlex.quote(only)}"
        return f"asterism bench {self.table.record} {chosen} --seeds {self.seed}"

    @property
    def folder_name(self) -> str:
        """A name for the run's folder that tells it from every other run."""
        digest = hashlib.blake2b(json.dumps(self.params, sort_keys=True).encode(), digest_size=6).hexdigest()
        return f"{self.table.record}-{self.dataset}-{self.entry.method}-{self.seed}-{digest}"

    def __str__(self) -> str:
        return f"{self.table.name} {self.dataset} {self.entry.method} ({self.entry.variant}) seed {self.seed}"


@dataclass(frozen=True)
class Setting:
    """Where runs happen: device, how much is shown, and the commit of the code that runs."""

    device: str = "auto"
    verbose: int = 0
    commit: str | None = None


# ---------------------------------------------------------------- images


def open_dataset(name: str, photo_side: int | None = None) -> ImageSource:
    """Open a named data set with its labels, photos as `Table.photo_side` says.

    Raises
    ------
    MissingDataError
        If it is not here, or has no labels to score with.
    """
    images = open_images(f"data:{name}", photo_side=photo_side)
    if images.labels is None:
        raise MissingDataError(f"data:{name} has no labels, and without them nothing can be scored")
    return images


def describe(name: str, images: ImageSource) -> str:
    """``data:usps, 11000 images, 16x16``."""
    channels, height, width = images.shape
    return f"data:{name}, {len(images)} images, {height}x{width}" + (f"x{channels}" if channels > 1 else "")


def shuffled(images: ImageSource, seed: int) -> ImageSource:
    """The images in an order that the run's seed decides.

    Sets come sorted by class (USPS) or by object (COIL). No method may profit from that, and the spread over the seeds
    then holds the influence of the order too.
    """
    order = np.random.default_rng(derived_seed(seed, ("order of the images",))).permutation(len(images))
    return images.subset(order)


# ---------------------------------------------------------------- parameters and code


def resolved_params(estimator: Parameters, top: bool = True) -> dict[str, Any]:
    """Parameters as plain JSON with every default filled in, without those that decide nothing (device, folder …)."""
    found: dict[str, Any] = {}
    for name in estimator.get_params(deep=False):
        if name in COMPUTING and not (top and name == "precision"):
            continue
        value = estimator.resolved(name)
        if isinstance(value, Parameters):
            found[name] = {"class": type(value).__name__, "params": resolved_params(value, top=False)}
        else:
            found[name] = to_json(value)
    return found


def code_commit() -> str | None:
    """Commit of the checkout that the library lies in, ``-dirty`` with changes in it or here; None outside of one."""
    library, papers = Path(asterism.__file__).parent, Path(__file__).parents[1]

    def git(*words: str, folder: Path = library) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "errors.py")  # an installed copy in somebody's checkout is not tracked
        changed = any(git("status", "--porcelain", "--", ".", folder=one) for one in (library, papers))
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


# ---------------------------------------------------------------- rows


def row_of(
    task: Task, images: ImageSource, setting: Setting, found: Mapping[str, Any], seconds: float, n_clusters: int
) -> Row:
    """The row of a run; `runs.perform` has hardware, versions and history from the run folder instead.

    Parameters
    ----------
    task : Task
    images : ImageSource
        Of `open_dataset`.
    setting : Setting
    found : mapping of str to number
        The scores.
    seconds : float
    n_clusters : int
    """
    by_classes = task.entry.n_clusters == "classes"
    return {
        "table": task.table.record,
        "dataset": task.dataset,
        "method": task.entry.method,
        "seed": task.seed,
        "scores": dict(found),
        "seconds": round(seconds, 3),
        "hardware": hardware(Runtime(setting.device).device),
        "versions": versions(),
        "params": {**task.params, "n_clusters": n_clusters},
        "commit": setting.commit,
        "protocol": {
            "variant": task.entry.variant,
            "images": describe(task.dataset, images),
            "fingerprint": images.fingerprint,
            "preprocessing": task.table.preprocessing,
            "order": "shuffled by the seed",
            "n_clusters": f"number of classes ({n_clusters})" if by_classes else f"given ({n_clusters})",
            "labels": "scoring only",
        },
        "command": task.command,
        "resumed": None,
        "history": {"rounds": {}},
    }
