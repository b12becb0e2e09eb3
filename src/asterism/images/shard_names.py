"""Which paths name WebDataset shards: told by names alone, before any is opened."""

from __future__ import annotations

import math
import os
import re

from asterism.errors import InputError
from asterism.images.listing import COMPRESSED

ENDING = ".tar"
MOST_SHARDS = 10**6  # that a pattern may name
# What may lie beside shards: a folder with any other file is a folder of images.
_BESIDE = frozenset((".json", ".jsonl", ".txt", ".md", ".csv", ".tsv", ".yaml", ".yml", ".idx", ".index", ".log"))
_BRACES = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}|\{([^{}]*,[^{}]*)\}")


def is_pattern(path: str) -> bool:
    """Whether it names shards by braces: ``train-{000..146}.tar``."""
    return is_shard(path) and _BRACES.search(path) is not None


def is_shard(path: str) -> bool:
    """Whether a path ends as shards do."""
    return path.lower().endswith(ENDING)


def is_shards(path: str) -> bool:
    """Whether a path names shards: a pattern, a ``.tar`` file, or a folder that plainly is one of shards.

    That is one with ``.tar`` files in it, or in its subfolders, and nothing else but tables, notes and compressed
    archives.
    """
    if not os.path.isdir(path):
        return is_shard(path)
    found = False
    for folder, folders, names in os.walk(path):
        folders[:] = [one for one in folders if not one.startswith(".")]
        if any(os.path.islink(os.path.join(folder, one)) for one in folders):
            return False
        for name in names:
            ending = os.path.splitext(name)[1].lower()
            found = found or (ending == ENDING and not name.startswith("."))
            if not name.startswith(".") and ending not in (ENDING, *COMPRESSED, *_BESIDE):
                return False
    return found


def expand(pattern: str) -> list[str]:
    """The names that a pattern stands for: ``a-{08..10}.tar`` is ``a-08.tar``, ``a-09.tar``, ``a-10.tar``.

    Raises
    ------
    InputError
        If they are more than `MOST_SHARDS`.
    """
    spans = [
        int(last) - int(first) + 1 if not words else words.count(",") + 1
        for first, last, words in _BRACES.findall(pattern)
    ]
    if math.prod(max(0, n) for n in spans) > MOST_SHARDS:
        raise InputError(f"{pattern!r} names more than {MOST_SHARDS:,} shards")
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    first, last, words = found.groups()
    numbers = range(int(first), int(last) + 1) if words is None else ()
    parts = [f"{i:0{len(first)}d}" for i in numbers] if words is None else words.split(",")
    return [name for part in parts for name in expand(pattern[: found.start()] + part + pattern[found.end() :])]
