"""The run folder: where each thing lies, and how it is read and written.

run.json  paths.json  labels.csv  model.safetensors  history.jsonl  checkpoint/  report.html
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import shlex
import shutil
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import RunError, StorageError
from asterism.files import check_place, csv_plain, csv_safe, exclusive, expanded, is_litter, write_csv, write_text
from asterism.runs.content import FORMAT, MANY_PATHS, PATHS, read_content

# What a run writes; `asterism transfer` adds the last ones.
RESULTS = ("labels.csv", "model.safetensors", "report.html", "pictures.safetensors")
FILES = (*RESULTS, PATHS, "history.jsonl", "probe.json", "retrieval.json", "verify.json")
FILES_OF_TASKS = tuple(f"voc-{task}.json" for task in ("classify", "detect", "segment"))
FOLDERS = ("checkpoint", "transfer", "filters")
PASSING = (".lock", ".partial-")  # beginnings of names that a kill may leave behind
LARGEST_HISTORY = 2**28  # bytes
LONGEST_ROW = 2**15  # bytes of labels.csv
TABLE = ("path", "cluster", "confidence")
MORE = ("duplicate_of", "outlier")  # columns of a table for which copies or outliers were looked for


class RunFolder:
    """A folder on disk that holds one run, or is to hold one.

    Parameters
    ----------
    path : str or Path
        ``~`` is the user's folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = expanded(path)

    @property
    def model_path(self) -> Path:
        """The fitted tensors."""
        return self.path / "model.safetensors"

    @property
    def labels_path(self) -> Path:
        """The table of images and their groups."""
        return self.path / "labels.csv"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "run.json").is_file()

    @property
    def can_go_on(self) -> bool:
        """Whether the run left anything to resume from."""
        checkpoints = self.path / "checkpoint"
        return checkpoints.is_dir() and any(checkpoints.iterdir())

    # ---------------------------------------------------------------- whether it may be written to

    def look(self) -> dict[str, Any] | None:
        """What lies here, before anything is written.

        Returns
        -------
        dict or None
            The content of ``run.json``; None where the folder is new or empty.

        Raises
        ------
        RunError
            If it holds anything but a run, or a link where a run writes: what is not Asterism's is left alone.
        StorageError
            If it is no folder.
        """
        check_place(self.path)
        if self.path.is_symlink():
            raise RunError(f"{self.path} is a link, and runs are not written through links; give what it points to")
        self.check_links()
        if self.exists:
            return self.read()
        if not os.path.lexists(self.path):
            return None
        if not self.path.is_dir():
            raise StorageError(f"{self.path} is not a folder; choose another")
        try:
            found = [one for one in self.path.iterdir() if not one.name.startswith(PASSING) and not is_litter(one)]
            names = sorted(one.name for one in found)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror}; choose another folder") from error
        if names:
            raise RunError(
                f"{self.path} holds {names[0]!r} and no run; a run needs a folder that is new or empty: choose another"
            )
        return None

    def check_links(self) -> None:
        """See that nothing here points elsewhere; raises `RunError`."""
        for name in ("run.json", *FILES, *FILES_OF_TASKS, *FOLDERS):
            if (self.path / name).is_symlink():
                raise RunError(f"{self.path / name} is a link, and runs are not written through links; remove it")

    def create(self) -> None:
        """Make the folder.

        Raises
        ------
        StorageError
            If it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
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

    # ---------------------------------------------------------------- run.json

    def read(self) -> dict[str, Any]:
        """The content of ``run.json``.

        Raises
        ------
        MissingDataError, RunError
            If there is no run, or a damaged one, or one of a newer format.
        """
        return read_content(self.path / "run.json")

    def read_finished(self) -> dict[str, Any]:
        """What `read` gives, of a run that is finished.

        Raises
        ------
        MissingDataError, RunError
            Also if it is unfinished; how it goes on is said.
        """
        content = self.read()
        if content["status"] != "finished":
            again = shlex.join(["asterism", "cluster", "--resume", "--out", str(self.path)])
            raise RunError(f"{self.path} holds an unfinished run ({content['status']}); go on with: {again}")
        return content

    def write(self, content: dict[str, Any]) -> None:
        """Replace ``run.json``; a long list of paths that the images came from stands beside it, in ``paths.json``."""
        images = content["images"]
        source = images["origin"].get("source")
        apart = isinstance(source, list) and len(source) > MANY_PATHS
        if apart:
            write_text(self.path / PATHS, json.dumps(source, indent=0))
            images = {**images, "origin": {**images["origin"], "source": {"paths": len(source)}}}
        write_text(self.path / "run.json", json.dumps({"format": FORMAT, **content, "images": images}, indent=2) + "\n")
        if not apart:
            _remove(self.path / PATHS)  # of a run that was here before

    def update(self, **values: Any) -> None:
        """Change entries of ``run.json``."""
        self.write({**self.read(), **values})

    # ---------------------------------------------------------------- what the run wrote

    def remove(self, keep: Iterable[str] = ()) -> None:
        """Remove what a run wrote here but for ``run.json``; what else lies here stays, and no link is followed.

        Raises
        ------
        StorageError
            If something cannot be removed.
        """
        passing = [path.name for path in self.path.iterdir() if path.name.startswith(".partial-")]
        try:
            for name in {*FILES, *FILES_OF_TASKS, *FOLDERS, *passing} - set(keep):
                _remove(self.path / name)
        except OSError as error:
            raise StorageError(f"{error.filename or self.path} cannot be removed: {error.strerror}") from error

    def clear(self) -> None:
        """Remove what a run wrote here, and nothing else.

        Raises
        ------
        RunError
            If a fit is writing here, or the folder holds no run.
        """
        if not self.path.is_dir():
            return
        self.look()  # not even a lock is made where something else lies
        with self.held():
            self.remove()
            (self.path / "run.json").unlink(missing_ok=True)  # at last: what a kill leaves is still known as a run

    def read_history(self) -> list[dict[str, Any]]:
        """The rounds of ``history.jsonl``. What follows a damaged line is left out, with a warning; a line that was
        cut off by a kill, without one.
        """
        path, entries = self.path / "history.jsonl", []
        try:
            if not path.is_file():
                return []
            if path.stat().st_size > LARGEST_HISTORY:
                raise ValueError("it is too large")
            lines = path.read_text(encoding="utf-8").split("\n")
            for number, line in enumerate(lines, 1):
                entry = _entry(line)
                if entry is None and number < len(lines):
                    raise ValueError(f"line {number} is no round of a run")
                if entry is not None:
                    entries.append(entry)
        except (OSError, ValueError) as error:
            warnings.warn(f"{path} is damaged ({error}); it is left out from there", UserWarning, stacklevel=2)
        return entries

    def read_names(self, labels: np.ndarray) -> list[str]:
        """Names of the N images, from ``labels.csv``.

        Parameters
        ----------
        labels : ndarray of shape (N,)
            The groups that the run found, which must stand there.

        Raises
        ------
        RunError
            If the table is not there, or not as the run wrote it.
        """
        path, expected = self.labels_path, labels.tolist()
        try:
            if not path.is_file() or path.stat().st_size > LONGEST_ROW * (len(expected) + 1):
                raise ValueError("it is missing or too large")
            with open(path, encoding="utf-8", newline="") as file:
                rows = itertools.islice(csv.reader(file), len(expected) + 2)
                if tuple(next(rows, ())) not in (TABLE, TABLE + MORE):
                    raise ValueError(f"its columns are not {', '.join(TABLE)}")
                pairs = [(csv_plain(name), int(group)) for name, group, _, *_more in rows]
            if [group for _, group in pairs] != expected:
                raise ValueError("its groups are not those of the run: it was changed")
        except (OSError, ValueError, csv.Error) as error:
            raise RunError(f"{path} does not give the names of the run's images: {error}") from error
        return [name for name, _ in pairs]


def claim(stem: Path) -> RunFolder:
    """Make ``STEM-1``, or the first number that is free; of several processes at once each gets one of its own.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    for number in itertools.count(1):
        path = stem.with_name(f"{stem.name}-{number}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return RunFolder(path)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(f"cannot make {path}: {error.strerror}; choose another folder") from error
    raise StorageError(f"no number is free for {stem}")


def write_labels(
    path: Path,
    names: Iterable[str],
    labels: np.ndarray,
    confidence: np.ndarray,
    duplicate_of: np.ndarray | None = None,
    more: bool = False,
) -> None:
    """Write ``path,cluster,confidence``, one line an image.

    Parameters
    ----------
    path : Path
    names : iterable of str
        N.
    labels, confidence : ndarrays of shape (N,)
        −1 is the label of what belongs nowhere; confidence in [0, 1].
    duplicate_of : int64 ndarray of shape (N,), optional
        The image that each is a copy of; its own number for one that is none.
    more : bool, default=False
        Write the columns ``duplicate_of``, a name or nothing, and ``outlier``, 1 or 0, too.
    """
    if not more:
        rows = zip(names, labels.tolist(), confidence.tolist(), strict=True)
        write_csv(path, TABLE, ([csv_safe(name), label, f"{certain:.6g}"] for name, label, certain in rows))
        return
    names = [csv_safe(name) for name in names]
    of = range(len(names)) if duplicate_of is None else duplicate_of.tolist()
    full = enumerate(zip(names, labels.tolist(), confidence.tolist(), of, strict=True))
    lines = ([one, y, f"{p:.6g}", "" if kept == i else names[kept], int(y < 0)] for i, (one, y, p, kept) in full)
    write_csv(path, TABLE + MORE, lines)


def is_labels(path: Path) -> bool:
    """Whether a file looks as `write_labels` writes it."""
    return has_header(path, TABLE) or has_header(path, TABLE + MORE)


def has_header(path: Path, columns: Iterable[str]) -> bool:
    """Whether a table begins with just these columns."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline(200).rstrip("\n") == ",".join(columns)
    except OSError:
        return False


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    from asterism.training.run import is_entry  # late: to read a table must not wait for torch

    return entry if is_entry(entry) else None


def _remove(path: Path) -> None:
    """Remove a file, a link itself, or a folder with what is in it."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()
