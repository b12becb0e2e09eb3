"""What could not be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Skipped:
    """An image that could not be used, and why, in one line."""

    name: str
    reason: str
