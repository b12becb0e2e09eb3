"""`RunRecord`: the one owner of a run's state from its beginning to its end, whoever calls."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from asterism.errors import InputError, RunError, StorageError
from asterism.runs.content import FORMAT, LONGEST, MOST_SKIPPED, PATHS, identity
from asterism.runs.folder import RunFolder
from asterism.runtime import Runtime, device_here, hardware, versions

if TYPE_CHECKING:
    from asterism.images import ImageSource


@dataclass
class RunRecord:
    """The record of a fit in its folder.

    As a context manager it begins or resumes the run, keeps other processes out, and writes how it ended:
    ``interrupted`` after Ctrl-C, a request to terminate, or a disk that is full; ``failed`` after any other error. What
    a kill leaves says ``running``. All but a finished run can go on.

    Parameters
    ----------
    folder : RunFolder
        New, empty, or with a run. Nothing else is touched.
    about : dict
        Method, parameters and images of the fit, as ``run.json`` is to hold them. An unfinished run in the folder is
        resumed if they are the same.
    runtime : Runtime
        The main process alone writes.
    new_seed : callable
        Gives a new run's seed.
    notes : dict, optional
        What else ``run.json`` is to hold.
    overwrite : bool, default=False
        Replace a run that lies in the folder.
    own_seed : int, optional
        The seed that was asked for; a run of another one is not resumed.

    Attributes
    ----------
    content : dict
        Of ``run.json``, in the main process.
    seed : int
        The run's, in every process.
    identity : str
        Whose the checkpoints are.

    Notes
    -----
    A run begins, or takes another one's place, at one moment: when its ``run.json`` is put in place. Before that the
    earlier run is whole; from then on the earlier one's files are none of this run's, and are removed. A checkpoint
    that a kill left of them is known by its identity.
    """

    folder: RunFolder
    about: dict[str, Any]
    runtime: Runtime
    new_seed: Callable[[], int]
    notes: dict[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    own_seed: int | None = None
    content: dict[str, Any] = field(init=False, default_factory=dict)
    _open: ExitStack = field(init=False, default_factory=ExitStack)
    _began: float = field(init=False, default_factory=time.monotonic)

    def __enter__(self) -> RunRecord:
        seed, old_format = 0, 0
        agreed(0, self.runtime)  # by then all have looked at the folder
        if self.runtime.is_main:
            self._began = time.monotonic()
            self.folder.look()  # not even a lock is made where something else lies
        self.folder = RunFolder(self.folder.path.absolute())  # a fit may change the working folder
        if self.runtime.is_main:
            self.folder.create()
            with ExitStack() as stack:
                stack.enter_context(self.folder.held())
                self.content = self._begun(self.folder.look())
                self._open = stack.pop_all()
            seed, old_format = int(self.content["seed"]), int(self.content.get("format") == 1)
        self.seed = agreed(seed, self.runtime)
        described = {**self.about, "seed": self.seed, "format": 1 if agreed(old_format, self.runtime) else FORMAT}
        self.identity = identity(described)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if not self.runtime.is_main or self.content["status"] == "finished":
                return
            if isinstance(error, (KeyboardInterrupt, SystemExit, StorageError)):
                self._end("interrupted", error)
            elif isinstance(error, Exception):
                self._end("failed", error)

    def finish(self, seconds: float) -> None:
        """Write that the run is finished; its results must lie in the folder.

        Parameters
        ----------
        seconds : float
            That this life of the run took.
        """
        machine = hardware(self.runtime.device)
        self.content |= {"format": FORMAT, "status": "finished", "seconds": self._took(seconds), "hardware": machine}
        self.content.pop("error", None)
        self.folder.write(self.content)

    def _begun(self, found: dict[str, Any] | None) -> dict[str, Any]:
        """Begin the run, or resume it; gives its ``run.json``."""
        if found is None or self.overwrite:
            about = {"seed": self.new_seed(), "versions": versions(), **self.notes}
            skipped = self.about.get("skipped", [])[:MOST_SKIPPED]
            content = {"format": FORMAT, "status": "running", **self.about, "skipped": skipped, **about}
            self.folder.write(content)
            self.folder.remove(keep=(PATHS,))
            return content
        if found["status"] == "finished":
            raise RunError(f"{self.folder.path} holds a finished run; choose another folder")
        names = {"method": "method", "params": "parameters", "images": "images", "screening": "outliers or copies"}
        for part, name in names.items():
            before, now = found.get(part) or {}, self.about.get(part) or {}
            if part == "images":
                before, now = before.get("fingerprint"), now.get("fingerprint")
            if part == "params" and "device" in before:  # the machine that goes on need not be the one that began
                before = {**before, "device": device_here(before["device"])}
            if before != now:
                if part == "params":
                    name += f" ({', '.join(sorted(one for one in before | now if before.get(one) != now.get(one)))})"
                raise RunError(
                    f"{self.folder.path} holds an unfinished run with other {name}; resume it with its own, or "
                    "start anew in another folder"
                )
        if self.own_seed not in (None, found["seed"]):
            raise RunError(
                f"{self.folder.path} holds an unfinished run with random_state={found['seed']}, not {self.own_seed}; "
                "resume it with its own, or start anew in another folder"
            )
        content = {**found, "status": "running"}
        self.folder.write(content)
        self.folder.remove(keep=("checkpoint", "history.jsonl", PATHS))
        return content

    def _took(self, seconds: float) -> float:
        """Seconds of all lives of the run, of which this one took so many."""
        return round((self.content.get("seconds") or 0.0) + seconds, 3)

    def _end(self, status: str, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0][:LONGEST]
        took = self._took(time.monotonic() - self._began)
        self.content |= {"status": status, "error": reason, "seconds": took}
        try:
            self.folder.write(self.content)
        except StorageError:  # the disk is full: the run stays as it is, and can go on all the same
            return


def agreed(value: int, runtime: Runtime) -> int:
    """The main process's number, in every process."""
    mine = value if runtime.is_main else 0
    return int(runtime.sum_over_ranks(torch.tensor(mine, device=runtime.device)))


def check_alike(runtime: Runtime, images: ImageSource, parameters: Callable[[], Any] | None = None) -> None:
    """See that all processes were given the same: each computes its share of what all have.

    Parameters
    ----------
    runtime : Runtime
    images : ImageSource
    parameters : callable, optional
        Gives what else decides the result, as plain JSON; if it has no plain form (a user's own network), it is not
        compared.

    Raises
    ------
    InputError
        In every process, if one was given anything else than the main one: a folder, say, of which it sees less.
    """
    if runtime.world_size == 1:
        return
    parts: dict[str, Any] = {"images": [len(images), images.shape, images.fingerprint], "parameters": None}
    if parameters is not None:
        with suppress(InputError):
            parts["parameters"] = parameters()
    texts = [json.dumps(one, sort_keys=True, default=str).encode() for one in parts.values()]
    own = torch.tensor([int(hashlib.blake2b(text).hexdigest()[:15], 16) for text in texts])
    main = runtime.sum_over_ranks(own if runtime.is_main else torch.zeros_like(own))
    n_others = runtime.sum_over_ranks((own != main).long())
    if other := [name for name, n in zip(parts, n_others.tolist(), strict=True) if n]:
        raise InputError(
            f"{int(n_others.max())} of {runtime.world_size} processes were given other {' and '.join(other)} than the "
            "main one: see that all get the same, and can read the same files"
        )
