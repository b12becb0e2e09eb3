"""`Run`: one fit. It knows the device, draws random numbers and keeps checkpoints, so that a killed run can go on.

Random draws come from streams that depend only on the run's seed and a key (stage, round), never on what was drawn
before. So a resumed run needs no generator states: round 17 draws the same numbers in every life of the run.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asterism.errors import InputError, RunError
from asterism.files import write_text
from asterism.parameters import shown
from asterism.runtime import Runtime, derived_seed
from asterism.training.checkpoint import load_state, save_state
from asterism.training.progress import ProgressBars

CHECKPOINT_SECONDS = 20.0  # at most this much work is lost by a kill
MOST_VALUES, LONGEST_TEXT = 1000, 10_000  # of one line of the history
OWN = ("stage", "round", "seconds")  # what each line says of itself


@dataclass(eq=False)
class Run:
    """One fit.

    Parameters
    ----------
    runtime : Runtime
    seed : int
    folder : Path, optional
        The run folder; without one nothing is written and nothing can be resumed.
    progress : ProgressBars, optional
    identity : str, optional
        Checkpoints of another identity are not used.

    Attributes
    ----------
    history : list of dict
        One entry a round: stage, round, seconds and what the method recorded.
    restored : bool
        Whether anything was taken from a checkpoint.
    observer : callable, optional
        See `callback`.
    """

    runtime: Runtime
    seed: int
    folder: Path | None = None
    progress: ProgressBars = field(default_factory=ProgressBars)
    identity: str = ""
    restored: bool = field(default=False, init=False)
    history: list[dict[str, Any]] = field(default_factory=list, init=False)
    observer: Callable[[np.ndarray], dict[str, float] | None] | None = field(default=None, init=False)
    _recorded: dict[str, Any] = field(default_factory=dict, init=False)
    _finish: bool = field(default=False, init=False)

    # ---------------------------------------------------------------- randomness

    def generator(self, *key: int | str) -> torch.Generator:
        """A CPU generator whose stream depends only on the seed and the key."""
        return torch.Generator().manual_seed(derived_seed(self.seed, key))

    def random_state(self, *key: int | str) -> np.random.RandomState:
        """The same as a numpy generator of the kind scikit-learn takes."""
        return np.random.RandomState(derived_seed(self.seed, key) % 2**32)

    # ---------------------------------------------------------------- rounds

    def rounds(self, stage: str, n: int, **state: Any) -> Iterator[int]:
        """Count a stage's rounds, resuming where a checkpoint left it.

        Parameters
        ----------
        stage : str
            Name of the stage; names its checkpoint and its lines of the history.
        n : int
            How many rounds; `finish_stage` ends earlier.
        **state
            What a round changes: objects with ``state_dict`` (modules, optimizers) or tensors (changed in place).
            It is restored before the first round that is yielded.

        Yields
        ------
        int
            The round, from 0; finished ones are skipped.
        """
        done, finished, seconds = self._restore(stage, state)
        self.progress.start(stage, n, done)
        last_saved, began = time.monotonic(), time.monotonic() - seconds
        while done < n and not finished:
            self._finish, self._recorded = False, {}
            yield done
            done, finished = done + 1, self._finish
            seconds = time.monotonic() - began
            entry = {"stage": stage, "round": done - 1, **self._recorded, "seconds": round(seconds, 3)}
            self.history.append(entry)
            self.progress.advance(stage, _note(self._recorded))
            if done == n or finished or time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                self._save(stage, state, done, finished, seconds)
                last_saved = time.monotonic()
        self.progress.finish(stage, done)

    def finish_stage(self) -> None:
        """End the stage after this round; called inside a `rounds` loop."""
        self._finish = True

    def record(self, **values: Any) -> None:
        """Numbers of this round for the history (plain JSON values)."""
        self._recorded.update(values)

    def callback(self, labels: np.ndarray | torch.Tensor) -> None:
        """Show a round's labels (N,) to whoever watches (`ImageClusterer.on_round`) and record what is said of them.

        Raises
        ------
        InputError
            If that is no numbers by name.
        """
        if self.observer is not None:
            self.record(**_plain(self.observer(np.array(np.asarray(labels)))))

    def cached(self, stage: str, compute: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Compute a dict of tensors, or take what an earlier life of this run computed."""
        path, saved = self._checkpoint(stage), self._read(stage)
        if saved is not None:
            result = saved.get("result")
            if not isinstance(result, dict) or not all(isinstance(one, torch.Tensor) for one in result.values()):
                raise RunError(f"{path} holds no result; the file is damaged: start anew in another folder")
            return result
        result = compute()
        if path is not None and self.runtime.is_main:
            save_state(path, {"of": self.identity, "result": result})
        return result

    # ---------------------------------------------------------------- the folder

    def _checkpoint(self, stage: str) -> Path | None:
        return None if self.folder is None else self.folder / "checkpoint" / f"{stage}.safetensors"

    def _save(self, stage: str, state: dict[str, Any], done: int, finished: bool, seconds: float) -> None:
        path = self._checkpoint(stage)
        if path is None or not self.runtime.is_main:
            return
        content = {name: one.state_dict() if hasattr(one, "state_dict") else one for name, one in state.items()}
        lines = [entry for entry in self.history if entry["stage"] == stage]
        head = {"of": self.identity, "done": done, "finished": finished, "seconds": seconds, "history": lines}
        save_state(path, {**head, "state": content})
        self.write_history()

    def _read(self, stage: str) -> dict[str, Any] | None:
        """What an earlier life of this run wrote of a stage; None where there is nothing, or what is another run's."""
        path = self._checkpoint(stage)
        if path is None:
            return None
        saved = load_state(path) if path.is_file() else {"of": None}
        own = torch.tensor(int(saved.get("of", "") == self.identity), device=self.runtime.device)
        if (n_own := int(self.runtime.sum_over_ranks(own))) == 0:
            return None
        if n_own < (n := self.runtime.world_size):  # they would wait for each other for ever
            raise RunError(f"{path} is there for {n_own} of {n} processes: give a folder that all their machines share")
        self.restored = True
        return saved

    def _restore(self, stage: str, state: dict[str, Any]) -> tuple[int, bool, float]:
        saved = self._read(stage)
        if saved is None:
            return 0, False, 0.0
        path = self._checkpoint(stage)
        if not _is_progress(saved):
            raise RunError(f"{path} does not say how far the run was; start anew in another folder")
        if set(saved["state"]) != set(state):
            raise RunError(f"{path} holds another stage's state; start anew in another folder")
        try:
            for name, one in state.items():
                _take(one, saved["state"][name])
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise RunError(f"{path} does not fit the run ({reason}); start anew in another folder") from error
        self.history.extend(saved["history"])
        return saved["done"], saved["finished"], saved["seconds"]

    def write_history(self) -> None:
        """Write ``history.jsonl``, whole: what a kill cut off is drawn again by the resumed rounds.

        Raises
        ------
        StorageError
        """
        if self.folder is not None and self.runtime.is_main:
            write_text(self.folder / "history.jsonl", "".join(json.dumps(entry) + "\n" for entry in self.history))


def is_entry(entry: Any) -> bool:
    """Whether a line of a history file can be one that `Run` wrote: plain values, and not too many."""
    if not isinstance(entry, dict) or not isinstance(entry.get("stage"), str) or len(entry) > MOST_VALUES:
        return False
    if not _is_count(entry.get("round")) or not _is_duration(entry.get("seconds")):
        return False
    return all(len(name) <= LONGEST_TEXT and _is_value(value) for name, value in entry.items())


def _plain(told: Any) -> dict[str, Any]:
    """What a watcher returned, with numbers of numpy and torch as Python's own; nothing is allowed, too."""
    if not isinstance(told, (Mapping, type(None))):
        raise InputError(
            f"on_round returned {shown(told)}: it must return numbers by name, {{'accuracy': .9}}, or None"
        )
    found = dict[str, Any]()
    for name, value in (told or {}).items():
        found[name] = value.tolist() if isinstance(value, (np.generic, np.ndarray, torch.Tensor)) else value
        if not isinstance(name, str) or name in OWN or not _is_value(found[name]):
            reserved = " (each line of the history says its own)" if name in OWN else ""
            raise InputError(f"on_round returned {name!r}: {shown(value)}, which cannot be recorded{reserved}")
    return found


def _is_value(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= MOST_VALUES and all(not isinstance(one, list) and _is_value(one) for one in value)
    if isinstance(value, int):
        return abs(value) < 2**63
    return value is None or isinstance(value, float) or (isinstance(value, str) and len(value) <= LONGEST_TEXT)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_duration(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_progress(saved: dict[str, Any]) -> bool:
    """Whether a checkpoint says how far its stage was, and what was recorded."""
    said = _is_count(saved.get("done")) and isinstance(saved.get("finished"), bool)
    history = saved.get("history")
    recorded = isinstance(history, list) and all(map(is_entry, history))
    return said and recorded and _is_duration(saved.get("seconds")) and isinstance(saved.get("state"), dict)


def _take(one: Any, saved: Any) -> None:
    """Give a module, an optimizer or a tensor the state that it had."""
    if hasattr(one, "load_state_dict"):
        one.load_state_dict(saved)
        if isinstance(one, torch.optim.Optimizer):
            _match_strides(one)
    elif saved.shape != one.shape or saved.dtype != one.dtype:
        raise ValueError(f"{tuple(saved.shape)} {saved.dtype} instead of {tuple(one.shape)} {one.dtype}")
    else:
        with torch.no_grad():
            one.copy_(saved)


def _match_strides(optimizer: torch.optim.Optimizer) -> None:
    """Lay each state tensor out as its parameter is: fused steps walk through both as they lie in memory.

    Saved tensors come back contiguous; beside channels-last weights a fused step would mix up their elements.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _note(recorded: dict[str, Any]) -> str:
    shown = {name: value for name, value in recorded.items() if isinstance(value, (int, float))}
    return "  ".join(f"{name} {value:.4g}" for name, value in list(shown.items())[:3])
