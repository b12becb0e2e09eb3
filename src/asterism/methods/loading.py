"""From a run folder back to an estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asterism.errors import RunError
from asterism.estimator import ImageEstimator
from asterism.methods.registry import KNOWN_CLASSES
from asterism.parameters import from_json
from asterism.training.folder import RunFolder


def estimator_of(content: dict[str, Any]) -> ImageEstimator:
    """The unfitted estimator that a ``run.json`` describes.

    Raises
    ------
    InputError, RunError
        If it names what is unknown, or what is no method.
    """
    estimator = from_json({"class": content["method"], "params": content["params"]}, KNOWN_CLASSES)
    if not isinstance(estimator, ImageEstimator):
        raise RunError(f"run.json names {content['method']!r}, which is not a method")
    return estimator


def load(run: str | Path) -> ImageEstimator:
    """The fitted estimator of a run folder. Nothing in the folder is executed.

    Parameters
    ----------
    run : path
        A folder written by ``asterism cluster``, by ``fit`` with ``run_dir``, or by ``save``.

    Returns
    -------
    ImageEstimator

    Raises
    ------
    MissingDataError
        If there is no run.
    RunError
        If it is unfinished, damaged or of another format.
    """
    folder = RunFolder(run)
    content = folder.read()
    if content["status"] != "finished":
        raise RunError(f"{run} holds an unfinished run ({content['status']}); go on with: asterism cluster --resume")
    return estimator_of(content)._load_from(folder, content)
