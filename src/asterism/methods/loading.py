"""From a run folder back to an estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asterism.errors import InputError, RunError
from asterism.estimator import ImageEstimator
from asterism.methods.registry import KNOWN_CLASSES
from asterism.parameters import from_json
from asterism.runs import RunFolder
from asterism.runtime import device_here, usual_torch


def estimator_of(content: dict[str, Any]) -> ImageEstimator:
    """The unfitted estimator that a ``run.json`` describes.

    Raises
    ------
    InputError, RunError
        If it names what is unknown, what is no method, or a value that a parameter cannot have.
    """
    estimator = from_json({"class": content["method"], "params": content["params"]}, KNOWN_CLASSES)
    if not isinstance(estimator, ImageEstimator):
        raise RunError(f"run.json names {content['method']!r}, which is not a method")
    estimator.check()
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
    return load_with_content(RunFolder(run))[0]


@usual_torch()
def load_with_content(folder: RunFolder) -> tuple[ImageEstimator, dict[str, Any]]:
    """What `load` gives, and the content of ``run.json``, which is read once."""
    content = folder.read_finished()
    try:
        estimator = estimator_of(content)
    except InputError as error:
        raise RunError(f"{folder.path / 'run.json'}: {error}") from error
    estimator.device = device_here(estimator.device)  # the machine that predicts need not be the one that fitted
    return estimator._load_from(folder, content), content
