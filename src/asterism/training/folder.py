"""The run folder: what a run was asked, how far it is, and what it found, in plain files.

run.json  labels.csv  model.safetensors  history.jsonl  checkpoint/  report.html
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import MissingDataError, RunError, StorageError
from asterism.files import csv_safe, write_csv, write_text

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder are then the user's care
    fcntl = None  # type: ignore[assignment]

MOST_NUMBERS = 2**31  # of an image, or a vector
FORMAT = 1  # raised when a folder of this version can no longer be read by the one before


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_images(value: Any) -> bool:
    """Where images came from and of what shape: a number of pixels that a model can be for."""
    if not isinstance(value, dict) or not isinstance(value.get("origin"), dict):
        return False
    shape = value.get("shape")
    sides = shape if isinstance(shape, list) and len(shape) == 3 else [0]
    return all(isinstance(side, int) and side > 0 for side in sides) and math.prod(sides) <= MOST_NUMBERS


# Of run.json, what every reader of a run relies on.
_ENTRIES: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: isinstance(value, str),
    "method": lambda value: isinstance(value, str),
    "params": lambda value: isinstance(value, dict),
    "seed": lambda value: isinstance(value, int),
    "images": _is_images,
    "labels": lambda value: value is None or isinstance(value, str),
    "skipped": lambda value: value is None or isinstance(value, list),
    "versions": lambda value: value is None or isinstance(value, dict),
}


class RunFolder:
    """A folder on disk that holds one run.

    Parameters
    ----------
    path : str or Path
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def model_path(self) -> Path:
        """The fitted tensors."""
        return self.path / "model.safetensors"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "run.json").is_file()

    @property
    def can_go_on(self) -> bool:
        """Whether the run left anything to resume from."""
        checkpoints = self.path / "checkpoint"
        return checkpoints.is_dir() and any(checkpoints.iterdir())

    def create(self) -> None:
        """Make the folder.

        Raises
        ------
        StorageError
            If it cannot be made or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise StorageError(
                f"cannot write to {self.path}: {error.strerror}; choose a folder that you may write to"
            ) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out while a fit writes here.

        Raises
        ------
        RunError
            If another process is at it.
        """
        with exclusive(self.path / ".lock") as free:
            if not free:
                raise RunError(
                    f"another process is fitting the run in {self.path}; wait for it, or choose another folder"
                )
            yield

    def clear(self) -> None:
        """Remove what a run wrote here, and nothing else.

        Raises
        ------
        RunError
            If a fit is writing here.
        """
        if not self.path.is_dir():
            return
        with self.held():
            for name in ("run.json", "labels.csv", "model.safetensors", "history.jsonl", "report.html"):
                (self.path / name).unlink(missing_ok=True)
            shutil.rmtree(self.path / "checkpoint", ignore_errors=True)

    def read(self) -> dict[str, Any]:
        """The content of ``run.json``.

        Raises
        ------
        MissingDataError, RunError
            If there is no run, or a damaged one, or one of a newer format.
        """
        try:
            content = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise MissingDataError(f"{self.path} is not a run folder: it holds no run.json") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.path / 'run.json'} cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise RunError(f"{self.path} has a run.json of another format; this version reads format {FORMAT}")
        wrong = next((name for name, fits in _ENTRIES.items() if not fits(content.get(name))), None)
        if wrong is not None or (content["status"] == "finished" and not _is_number(content.get("seconds"))):
            raise RunError(
                f"{self.path / 'run.json'} is damaged: {wrong or 'seconds'} is missing or is not what it was"
            )
        return content

    def write(self, content: dict[str, Any]) -> None:
        """Replace ``run.json``."""
        write_text(self.path / "run.json", json.dumps({"format": FORMAT, **content}, indent=2) + "\n")

    def update(self, **values: Any) -> None:
        """Change entries of ``run.json``."""
        self.write({**self.read(), **values})

    def read_history(self) -> list[dict[str, Any]]:
        """The rounds of ``history.jsonl``; a line cut off by a kill is left out."""
        path = self.path / "history.jsonl"
        entries = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                break
            if isinstance(entry, dict):
                entries.append(entry)
        return entries


@contextmanager
def exclusive(lock: Path) -> Iterator[bool]:
    """Hold a lock file; gives False where another process holds it.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = open(lock, "w", encoding="utf-8")  # noqa: SIM115  (closed below, after the lock was removed)
    except OSError as error:
        raise StorageError(f"cannot write {lock}: {error.strerror}; choose another folder") from error
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system if the process is killed
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            lock.unlink(missing_ok=True)


def write_labels(path: Path, names: Iterable[str], labels: np.ndarray, confidence: np.ndarray) -> None:
    """Write ``path,cluster,confidence``, one line an image: N names, ``labels`` (N,), ``confidence`` (N,) in [0, 1]."""
    rows = zip(names, labels.tolist(), confidence.tolist(), strict=True)
    header = ["path", "cluster", "confidence"]
    write_csv(path, header, ([csv_safe(name), label, f"{certain:.6g}"] for name, label, certain in rows))
