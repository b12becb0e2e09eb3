"""Where data sets are looked for, and where what can be made again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Folder for everything that can be made again: ``ASTERISM_CACHE``, else ``~/.cache/asterism``."""
    return Path(os.environ.get("ASTERISM_CACHE") or "~/.cache/asterism").expanduser().absolute()


def data_folders() -> list[Path]:
    """Where data sets are looked for: ``ASTERISM_DATA`` if it is set, then ``data`` in the cache folder."""
    chosen = os.environ.get("ASTERISM_DATA")
    folders = [Path(chosen).expanduser().absolute()] if chosen else []
    return [*folders, cache_root() / "data"]
