"""What a person sees while a run goes on: one bar a stage, with the time left, on standard error."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from asterism.machine import launch

logger = logging.getLogger(__name__)

SOON, SELDOM = 1.0, 30.0  # seconds before a bar for decoding appears; between two lines where there is no terminal


@contextmanager
def decoding_bar(show: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """What `asterism.images.open_images` takes as ``progress``: a bar, or now and then a line, on standard error.

    A total of 0 is one that nobody knows yet.

    Nothing appears where the work is done within a second, nor from another process than the main one.
    """
    show = show and launch().rank == 0
    console = _console()
    began = last = time.monotonic()
    bar: Progress | None = None
    tasks: dict[str, Any] = {}

    def progress(what: str, done: int, total: int) -> None:
        nonlocal bar, last
        now = time.monotonic()
        if not show or now - began < SOON:
            return
        if not console.is_terminal:
            if now - last > SELDOM:
                last = now
                console.print(f"{what}: {done} of {total} images" if total else f"{what}: {done} images")
            return
        if bar is None:
            bar = _bar(console)
            bar.start()
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total or None, note="")
        bar.update(tasks[what], completed=done, total=total or None)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.stop()


class _Console(Console):
    """One that is never in the way of the work: where standard error takes nothing, nothing is shown."""

    def on_broken_pipe(self) -> None:
        self.quiet = True  # rich would end the program

    def print(self, *objects: Any, **how: Any) -> None:
        with suppress(OSError):  # of a disk that is full, say
            super().print(*objects, **how)


def _console() -> Console:
    """Standard error; a text is printed as it is, and no line of it is folded: a terminal does that itself."""
    return _Console(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


class ProgressBars:
    """Bars for the stages of a run; silent unless asked.

    Parameters
    ----------
    verbose : int
        0 shows nothing; 1 shows bars, or on a terminal that cannot, a line a stage. Of several processes the main one
        alone speaks.
    """

    def __init__(self, verbose: int = 0) -> None:
        self._speaks, self._console = launch().rank == 0, _console()
        shown, can = bool(verbose) and self._speaks, self._console.is_terminal
        self._bars = _bar(self._console) if shown and can else None
        self._lines = shown and not can
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> ProgressBars:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def tell(self, text: str) -> None:
        """A line for the log, under the name ``asterism``; among the bars where nobody reads that."""
        if self._speaks and logger.isEnabledFor(logging.INFO):
            logger.info(text)
        else:
            self.say(text)

    def say(self, text: str) -> None:
        """A line among the bars."""
        if self._bars is not None or self._lines:
            self._console.print(text)

    def start(self, stage: str, total: int, done: int = 0, unit: str = "rounds") -> None:
        """Open a stage's bar; of what counts images, say, a terminal that cannot show bars is told nothing."""
        if self._bars is not None:
            self._tasks[stage] = self._bars.add_task(stage, total=total, completed=done, note="")
        elif self._lines and unit == "rounds":
            self._tasks[stage] = None
            self._console.print(f"{stage}: {total} rounds" + (f", resuming after {done}" if done else ""))

    def advance(self, stage: str, note: str = "", by: int = 1) -> None:
        """One round (image …) more, or several; ``note`` stands behind the bar."""
        if self._bars is not None:
            self._bars.update(self._tasks[stage], advance=by, note=note)

    def finish(self, stage: str, rounds: int) -> None:
        """The stage ended after that many rounds, maybe fewer than planned."""
        if self._bars is not None:
            self._bars.update(self._tasks[stage], total=rounds, completed=rounds)
        elif stage in self._tasks:
            self._console.print(f"{stage}: done after {rounds}")
