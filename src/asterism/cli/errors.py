"""How a command ends: exit codes, and every error as one line in the words that the user typed.

0 done; 1 the user's error, one line on standard error; 2 usage; 130 interrupted, and what was begun can go on.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import typer

from asterism.cli.text import counted, note, one_line, safe
from asterism.machine import is_on, launch, leave_launch, lost_another, memory_wanted

USER_ERROR = 1
INTERRUPTED = 130
SHOWN = 5  # of a list that may be long

# What the library calls a parameter and how it is spelled here.
OPTION_OF = {"n_clusters": "-k", "random_state": "--seed", "run_dir": "--out", "verbose": "--quiet"}
OPTION_OF |= {name: f"--{name}" for name in ("device", "precision")}
OF_ESTIMATORS = frozenset(OPTION_OF)  # the others are said of images: a network's size is its own
OPTION_OF |= {name: f"--{name}" for name in ("size", "color", "layout", "scale", "pages", "bands")}
OPTION_OF["k_max"] = "--k-max"
_NAMES = "|".join(OPTION_OF)
# A name's value, or a name that must be something. training.size stays as it was typed, and so does what stands in
# quotes or is part of a path: the user's own names (photos/size=64).
_QUOTED = r"(?<![\w=])(?:'[^']*'|\"[^\"]*\")"
_ASSIGNED = rf"(?<![\w./\\-])({_NAMES})(?:=('[^']*'|\"[^\"]*\"|\([^)]*\)|(?![^\s,;)]*[/\\])[^\s,;)]+)|(?= must ))"
_PARAMETERS = re.compile(f"{_QUOTED}|{_ASSIGNED}")

# What the library advises a programmer to do, and what the user of a command can do instead.
_ADVICE: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"start anew in another folder", "start anew (--overwrite, or another --out)"),
    (r"holds a finished run; choose another folder", "holds a finished run; choose another --out (or --overwrite)"),
    (r"^only: ", "--only "),
    (r"^settings: ", "--set "),
    (r"^([\w.]+) cannot be set: ", r"--set \1: "),
    (r"pass outliers to fit, and fit anew", "make the run anew with --outliers"),
    (r"pass drop_duplicates=True to fit", "give --drop-duplicates"),
    (r"pass those of the run as images", "give those of the run with --images"),
    (r"^strict=True and ", "--strict was given, and "),
    (r"open_images\([^,()]*, size=\((\d+), (\d+)\), color='(\w+)'\)", r"--size \1x\2 --color \3"),
    (r"pass layout='(\w+)' or layout='(\w+)' to open_images, or here", r"give --layout \1 or --layout \2"),
    (r" to open_images, or here", ""),
    (r"scale=\(low, high\)", "--scale LOW,HIGH"),
    (r"pages='(\w+)', '(\w+)' or '(\w+)'", r"--pages \1, \2 or \3"),
    (r"\bbands=\(([\d, ]+)\)", lambda found: f"--bands {found[1].replace(' ', '')}"),
    (r"pass [^\s,;:]+\[None\]", "store it as an array of one image, with a first axis of 1"),
    (r"\bpass [^\s,;:]+ \* ([\d.e+]+)", r"store it times \1"),
    (r"\(\S+ / ([\d.]+)\)\.astype\('?(\w+)'?\)", r"it / \1 as \2"),
    (r"[^\s(]+\.astype\('?(\w+)'?\)", r"it as \1"),
    (r"[^\s(]+\.to_dense\(\)|[^\s(]+\.reshape\([^)]*\)", "it in that form"),
    (r"\bpass (?=it\b)", "store "),
    (r" \(numpy\.\w+\)", ""),
    (r"\(Diffusion, KMeans\)", "(--method diffusion or kmeans)"),
    (r"\(KMeans, DBC, DeepCluster\)", "(--method kmeans, dbc or deepcluster)"),
    (r"^X (?=holds .* fitted on )", "what was given "),
    (
        r"pass X in the units of the fit",
        "give them in the units of the run, or what is black and white with --scale LOW,HIGH",
    ),
]
# Advice at the end of a clause, and its option; a command without that option leaves it out.
_OPTIONAL = re.compile(
    r"[;:] --(pages|bands)\b[^;:]*? (?:takes all|picks (?:others )?by number)"
    r"|, or what is black and white with --(scale) LOW,HIGH"
)
_typed: dict[str, Any] = {}  # the options of the command that runs

# Variables of the environment that libraries read when they are imported, by the beginnings of their names …
_OF_LIBRARIES = re.compile("HF_|JOBLIB_|LOKY_|MKL_|NPY_|NUMBA_|OMP_|OPENBLAS_|PYTORCH_|SCIPY_|SKLEARN_|TIMM_|TORCH")
# … and those by which torch aborts the process, or libgomp never ends to read them.
_CORES = re.compile(r"\s*(\d+(-\d+(:\d+)?)?([\s,]+|$))*")
_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")

F = TypeVar("F", bound=Callable[..., Any])


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or a request to terminate, with a line that says what was saved."""


def guarded(command: F, shared: bool = True) -> F:
    """A command whose errors become one line and an exit code.

    What torchrun's processes do not share is done by the main one, alone.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not shared and launch().world_size > 1:
            if launch().rank:
                return None
            leave_launch()
        _typed.update(kwargs)
        quiet = bool(kwargs.get("quiet")) or launch().rank > 0  # the main process says it for all
        warnings.showwarning = functools.partial(_show, quiet=quiet)
        logging.getLogger("asterism").handlers[:] = [_Notes(logging.WARNING if quiet else logging.INFO)]
        logging.getLogger("asterism").setLevel(logging.INFO)
        try:
            _check_environment()
            typed = {name: _expanded(value) for name, value in kwargs.items()}
            if isinstance(path := typed.get("run"), Path):
                from asterism.runs.folder import RunFolder

                RunFolder(path).read_finished()  # before the command loads what takes seconds
            return command(*args, **typed)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise  # typer's own: usage, and a pipe whose reader has gone
        except KeyboardInterrupt as interrupt:
            note(f"asterism: {str(interrupt) or 'interrupted'}")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if debugging():
                raise
            note(f"asterism: error: {described(error)}")
            raise typer.Exit(USER_ERROR) from None
        finally:
            _typed.clear()

    return run  # type: ignore[return-value]  # wraps keeps the signature that typer reads


def _expanded(value: Any) -> Any:
    """An argument with ``~`` in its paths written out: shells leave it in ``--out=~/run``."""
    if isinstance(value, Path):
        from asterism.files import expanded

        return expanded(value)
    return [_expanded(one) for one in value] if isinstance(value, list) else value


def _check_environment() -> None:
    """See that torch can be imported here, and neither aborts the process nor keeps it for ever.

    Raises
    ------
    FileNotFoundError
        If the working folder was removed.
    InputError
        If a variable does not tell what it is for: names and values, or numbers of cores.
    """
    os.getcwd()
    told = {name: re.sub(r"\[[^]]*\]", "", os.environ.get(name, "")) for name in _ALLOCATOR}
    wrong = [name for name, text in told.items() if not all(":" in one for one in text.split(",") if one)]
    if not _CORES.fullmatch(os.environ.get("GOMP_CPU_AFFINITY", "")):
        wrong.append("GOMP_CPU_AFFINITY")
    if wrong:
        from asterism.errors import InputError

        raise InputError(_unusable(wrong[0]))


def _unusable(name: str) -> str:
    return f"the environment variable {name}={os.environ[name]} cannot be used: unset it, or give it another value"


def _variable_to_blame(error: Exception) -> str | None:
    """The variable of the environment whose value a library complained of while it was imported.

    It is named in the line that failed, or in those that called it; else its value is in the message.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if "<module>" not in (frame.name for frame in frames):
        return None
    theirs = {name: value for name, value in os.environ.items() if value and _OF_LIBRARIES.match(name)}
    named = [(len(name), name) for name in theirs if any(name in (frame.line or "") for frame in frames)]
    quoted = [
        (len(value), name)
        for name, value in theirs.items()
        if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", str(error))
    ]
    return max(named or quoted, default=(0, None))[1]


class _Notes(logging.Handler):
    """The library's log as lines beside the answer."""

    def emit(self, record: logging.LogRecord) -> None:
        note(f"asterism: {one_line(record.getMessage())}")


def _show(message: Any, category: type[Warning], *_where: Any, quiet: bool = False) -> None:
    """The library's warnings as a line beside the answer; others' are for programmers."""
    if category is UserWarning and not quiet:
        note(f"asterism: warning: {as_typed(one_line(str(message)))}")


def debugging() -> bool:
    """Whether tracebacks are wanted: ``--debug`` or ``ASTERISM_DEBUG=1``."""
    return is_on("ASTERISM_DEBUG")


def terminate_softly() -> None:
    """Let SIGTERM and SIGHUP (a terminal that closes, but under ``nohup``) end the process as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt("terminated")

    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)


def flushed(code: int) -> int:
    """The exit code, once what was said has left: an answer that found no room (``> /dev/full``) is an error too.

    What is said beside it is not.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            code = code if stream is sys.stderr else code or USER_ERROR
            with suppress(OSError, ValueError):  # else Python would try again at its end, and fail with 120
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def described(error: Exception) -> str:
    """What went wrong, in one line."""
    from asterism.errors import AsterismError, ParameterError

    if isinstance(error, AsterismError):
        return as_typed(one_line(str(error)), of_estimator=isinstance(error, ParameterError))
    if isinstance(error, FileNotFoundError) and str(error) == f"[Errno {errno.ENOENT}] {os.strerror(errno.ENOENT)}":
        return "the working folder is not there any more; go to another one"  # no other call names no file
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return one_line(where + (error.strerror or str(error)))
    if isinstance(error, Warning):
        return f"{as_typed(one_line(str(error)))} (a warning, of which -W or PYTHONWARNINGS makes an error)"
    if (wanted := memory_wanted(error)) is not None:
        return f"not enough memory{wanted}; give smaller settings (--set), a smaller --size or fewer images"
    if type(error).__name__ == "OutOfMemoryError":  # torch's; importing torch to ask is slow
        return "not enough memory on the device; give a smaller --set training.batch_size=… or --size"
    if lost_another(error):
        return "another process has ended; what was begun goes on with --resume"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "no more threads can be started: raise the limit (ulimit -u, that of a container), or end other programs"
    if isinstance(error, ImportError) and re.search("failed to map segment|annot allocate memory", str(error)):
        return "not enough memory to load the libraries: raise the limit (ulimit -v), or take a larger machine"
    if (name := _variable_to_blame(error)) is not None:
        return one_line(_unusable(name))
    text = one_line(f"{type(error).__name__}: {error}")
    return f"internal error, please report it: {text} (--debug shows where)"


def as_typed(message: str, of_estimator: bool = False) -> str:
    """A message of the library in the spelling of the command line: ``n_clusters=3`` becomes ``-k 3``.

    The library speaks Python; here alone its advice is put in the words of the command line. A message of an
    estimator's parameters says ``size`` of one that ``--set`` reaches, not of ``--size``.
    """
    for pattern, words in _ADVICE:
        message = re.sub(pattern, words, message)

    def option(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name is None or (of_estimator and name not in OF_ESTIMATORS):
            return match[0]
        if value is None:
            return OPTION_OF[name]
        if value.startswith("("):
            value = ("x" if name == "size" else ",").join(part.strip() for part in value[1:-1].split(","))
        return f"{OPTION_OF[name]} {value.strip(chr(39) + chr(34))}"

    message = _PARAMETERS.sub(option, message)
    return _OPTIONAL.sub(lambda found: found[0] if not _typed or (found[1] or found[2]) in _typed else "", message)


def list_skipped(skipped: Sequence[Any]) -> None:
    """Say on standard error which files could not be used; the whole list stands in run.json."""
    if not skipped or launch().rank:
        return
    note(f"skipped {counted(len(skipped), 'file')} that cannot be used as an image:")
    for one in skipped[:SHOWN]:
        note(f"  {safe(one.name)}: {as_typed(one_line(one.reason))}")
    if len(skipped) > SHOWN:
        note(f"  … and {len(skipped) - SHOWN} more")
