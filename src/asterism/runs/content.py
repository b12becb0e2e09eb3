"""What ``run.json`` says, checked in type and range where it is read: nothing behind this door doubts it again.

A run folder may come from a stranger. Of what stands in it, nothing is executed, and text that will stand in a line of
the shell is quoted here.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asterism.errors import MissingDataError, RunError
from asterism.images.options import REOPENED

FORMAT = 2  # raised when a folder of this version can no longer be read by the one before
READABLE = (1, 2)
LARGEST = 2**28  # bytes of run.json
PATHS = "paths.json"  # where the paths of the images stand, if they were given as a list of more than …
MANY_PATHS = 1000
LONGEST_PATH = 2**15  # bytes
MOST_NUMBERS = 2**26  # of an image, or a vector
LONGEST = 10_000  # characters of a text
LONGEST_COMMAND = 100_000  # characters; to take a longer one apart takes seconds
DEEPEST, MOST_PARTS = 20, 100_000  # of the parameters
MOST_SKIPPED = 100_000  # files that are listed
LARGEST_SEED = 2**63


def read_content(path: Path) -> dict[str, Any]:
    """The content of a ``run.json``.

    Raises
    ------
    MissingDataError, RunError
        If there is none, or it is damaged, or of a newer format.
    """
    if path.parent.is_file():
        raise MissingDataError(f"{path.parent} is a file, and runs are folders: give {path.parent.parent}")
    if not path.is_file():  # nor a pipe, which would never end
        raise MissingDataError(f"{path.parent} is not a run folder: it holds no run.json")
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        _add_paths(content, path.with_name(PATHS))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") not in READABLE or content["format"] is True:
        known = " and ".join(map(str, READABLE))
        raise RunError(f"{path.parent} has a run.json of another format; this version reads formats {known}")
    wrong = next((name for name, fits in _ENTRIES.items() if not fits(content.get(name))), None)
    if wrong is None and content["status"] == "finished" and content.get("seconds") is None:
        wrong = "seconds"
    if wrong is not None:
        raise RunError(f"{path} is damaged: {wrong} is missing or is not what it was")
    content["command"] = _safe_command(content.get("command"))
    for name in ("screening", "versions", "hardware"):
        if content.get(name) is None:  # null is as good as nothing
            content.pop(name, None)
    return content


def _add_paths(content: Any, path: Path) -> None:
    """Put the paths that stand in a file of their own back in their place.

    Raises
    ------
    OSError, ValueError, RecursionError
        If they are not there as they were written.
    """
    images = content.get("images") if isinstance(content, dict) else None
    origin = images.get("origin") if isinstance(images, dict) else None
    source = origin.get("source") if isinstance(origin, dict) else None
    if not isinstance(origin, dict) or not isinstance(source, dict):
        return
    n = source.get("paths")
    most = LONGEST_PATH * (n + 1) if isinstance(n, int) and _is_count(n) else -1
    if path.is_symlink() or not path.is_file() or path.stat().st_size > most:
        raise ValueError(f"{path.name}, where the paths of its images stand, is missing or not what it was")
    try:
        paths = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    if not isinstance(paths, list) or len(paths) != n:
        raise ValueError(f"{path.name} does not hold the {n} paths of its images")
    origin["source"] = paths


def identity(content: dict[str, Any]) -> str:
    """Digest of what decides the results of a run: images, method, parameters, seed, and the format it is written in.

    A run of format 1 wrote no identity into its checkpoints; it is resumed with the one that they have: none.
    """
    if content.get("format") == 1:
        return ""
    images = {name: content["images"].get(name) for name in ("n", "shape", "fingerprint")}
    decisive = [FORMAT, content["method"], content["params"], content["seed"], images]
    if "screening" in content:
        decisive.append(content["screening"])
    return hashlib.blake2b(json.dumps(decisive, sort_keys=True).encode(), digest_size=16).hexdigest()


# ---------------------------------------------------------------- what each entry may be


def _is_text(value: Any, longest: int = LONGEST) -> bool:
    return isinstance(value, str) and len(value) <= longest


def _is_count(value: Any, below: int = 2**53) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _is_duration(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12


def _is_plain(value: Any, depth: int = DEEPEST) -> bool:
    """A parameter's value: JSON that is neither deep nor long."""
    if isinstance(value, dict):
        return depth > 0 and all(_is_text(name, 200) and _is_plain(one, depth - 1) for name, one in value.items())
    if isinstance(value, list):
        return depth > 0 and len(value) <= MOST_PARTS and all(_is_plain(one, depth - 1) for one in value)
    if isinstance(value, int):
        return abs(value) < LARGEST_SEED
    return value is None or isinstance(value, float) or _is_text(value)


def _is_facts(value: Any) -> bool:
    """Versions, or hardware: names with a text or a number each."""
    if value is None:
        return True
    return isinstance(value, dict) and len(value) <= 1000 and _is_plain(value, 1)


def _is_images(value: Any) -> bool:
    """Where images came from and of what shape: a number of pixels that a model can be for."""
    if not isinstance(value, dict) or not _is_origin(value.get("origin")):
        return False
    shape = value.get("shape")
    if not isinstance(shape, list) or len(shape) != 3 or not all(_is_count(side) and side > 0 for side in shape):
        return False
    fingerprint, n = value.get("fingerprint"), value.get("n")
    described = (fingerprint is None or _is_text(fingerprint, 200)) and (n is None or _is_count(n))
    described = described and _is_plain(value.get("units"), 1)
    if (columns := value.get("columns")) is not None:  # of a frame; pandas has them as long as one likes
        described = described and isinstance(columns, list) and len(columns) == shape[0]
        described = described and all(isinstance(one, str) for one in columns)
    return described and isinstance(value.get("is_table", False), bool) and math.prod(shape) <= MOST_NUMBERS


def _is_origin(value: Any) -> bool:
    """What `asterism.images.reopen` takes; `open_images` checks each option."""
    if not isinstance(value, dict) or not set(value) <= {"source", *REOPENED}:
        return False
    source = value.get("source")
    paths = source if isinstance(source, list) else [] if source is None else [source]
    named = all(_is_text(path) and "\0" not in path for path in paths)
    return named and all(_is_plain(value.get(name), 2) for name in REOPENED)


def _is_number_found(value: Any) -> bool:
    """How the number of groups was found, where none was given: what `asterism.clustering.advice` said, and levels."""
    if not isinstance(value, dict) or not _is_levels(value.get("levels")) or not _is_text(value.get("says")):
        return False
    counts: list[Any] = [value.get(name) for name in ("k", "low", "high")]
    return all(_is_count(one) and one > 0 for one in counts)


def _is_levels(value: Any) -> bool:
    """Coarse, medium and fine numbers of groups, each with its stability and range."""
    if not isinstance(value, list) or len(value) > 3:
        return False
    for level in value:
        if not isinstance(level, dict) or set(level) != {"name", "n_clusters", "stability", "low", "high"}:
            return False
        if level["name"] not in ("coarse", "medium", "fine") or not isinstance(level["stability"], float):
            return False
        if not all(_is_count(level[name]) and level[name] > 0 for name in ("n_clusters", "low", "high")):
            return False
    return True


def _is_screening(value: Any) -> bool:
    """What a fit was told of outliers and copies; its estimator checks the range."""
    kinds = {"outliers": float, "drop_duplicates": bool}
    return isinstance(value, dict) and all(type(one) is kinds.get(name) for name, one in value.items())


def _is_skipped(value: Any) -> bool:
    if value is None:
        return True
    pairs = isinstance(value, list) and len(value) <= MOST_SKIPPED
    return pairs and all(isinstance(one, list) and len(one) == 2 and all(map(_is_text, one)) for one in value)


def _is_command(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= LONGEST and all(map(_is_text, value))
    return value is None or _is_text(value, 100 * LONGEST)


_ENTRIES: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: value in ("running", "interrupted", "failed", "finished"),
    "method": lambda value: _is_text(value, 200),
    "params": lambda value: isinstance(value, dict) and _is_plain(value),
    "seed": lambda value: _is_count(value, LARGEST_SEED),
    "images": _is_images,
    "labels": lambda value: value is None or (_is_text(value) and "\0" not in value),
    "number": lambda value: value is None or _is_number_found(value),
    "levels": lambda value: value is None or _is_levels(value),
    "screening": lambda value: value is None or _is_screening(value),
    "skipped": _is_skipped,
    "versions": _is_facts,
    "hardware": _is_facts,
    "command": _is_command,
    "seconds": lambda value: value is None or _is_duration(value),
}


def _safe_command(command: Any) -> str | None:
    """The command that made the run, every word quoted anew; None for what is no command of Asterism's."""
    try:
        if isinstance(command, str) and len(command) > LONGEST_COMMAND:
            return None
        words = command if isinstance(command, list) else shlex.split(command or "")
    except ValueError:  # a quote that is not closed
        return None
    return shlex.join(words) if words[:1] == ["asterism"] else None
