"""The small languages of ``bench``: ``--only dataset=usps,method=dbc`` and ``--seeds 0-2``."""

from __future__ import annotations

import re

from asterism.errors import InputError

MOST_SEEDS = 1000


def parse_only(texts: list[str]) -> dict[str, str]:
    """``["dataset=usps,method=dbc"]`` as a value for each key.

    Raises
    ------
    InputError
    """
    found: dict[str, str] = {}
    for part in ",".join(texts).split(","):
        key, equals, value = (one.strip() for one in part.partition("="))
        if not part.strip():
            continue
        if not equals or not key or not value:
            raise InputError(f"--only {part!r} is not of the form KEY=VALUE, as in dataset=usps,method=dbc")
        if found.setdefault(key, value) != value:
            raise InputError(f"--only holds {key} twice, {found[key]} and {value}: call bench once for each")
    return found


def parse_seeds(text: str) -> list[int]:
    """``0-2`` or ``0,1,5`` or both.

    Raises
    ------
    InputError
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*", part)
        if match is None or (match[2] is not None and int(match[2]) < int(match[1])):
            raise InputError(f"--seeds {text[:80]!r} is neither a range, as in 0-2, nor a list, as in 0,1,5")
        wanted = range(int(match[1]), int(match[2] or match[1]) + 1)
        if len(seeds) + len(wanted) > MOST_SEEDS:
            raise InputError(f"--seeds {text[:80]!r} are more than the {MOST_SEEDS} that a table takes")
        seeds.extend(wanted)
    return list(dict.fromkeys(seeds))
