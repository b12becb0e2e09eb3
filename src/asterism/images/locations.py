"""Where data sets are looked for, and where what can be made again is kept."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from asterism.files import expanded
from asterism.machine import private_folder

KEY = "[0-9a-f]" * 32  # what things in the cache are called, as a pattern: others there are a user's, and stay
KEPT_DAYS = 30  # what nobody opened for so long is removed from the cache when more is put there
OFFLINE = ("ASTERISM_OFFLINE", "HF_HUB_OFFLINE")  # variables that forbid to fetch; the second is Hugging Face's


def cache_root() -> Path:
    """Folder for everything that can be made again: ``ASTERISM_CACHE``, else ``~/.cache/asterism``.

    A user without a home that he may write to, in a container, say, gets a folder of his own among temporary files.
    """
    if chosen := os.environ.get("ASTERISM_CACHE"):
        return expanded(chosen).absolute()
    home = expanded("~")
    folder = home / ".cache" / "asterism"
    nearest = next((one for one in (folder, folder.parent, home) if one.is_dir()), None)
    can_be_made = nearest is not None and os.access(nearest, os.W_OK)
    if nearest == folder or can_be_made:  # one that can only be read serves as well
        return folder.absolute()
    return private_folder() or folder.absolute()


def is_stale(path: Path) -> bool:
    """Whether a file or folder of the cache may be removed: nobody has opened it for long."""
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > KEPT_DAYS * 86400
    return False


def opened_now(path: Path) -> None:
    """Note that a file or folder of the cache was opened, see `KEPT_DAYS`; one that may only be read serves as well."""
    with suppress(OSError):
        os.utime(path)


def data_folders() -> list[Path]:
    """Where data sets are looked for: ``ASTERISM_DATA`` if it is set, then ``data`` in the cache folder."""
    chosen = os.environ.get("ASTERISM_DATA")
    folders = [expanded(chosen).absolute()] if chosen else []
    return [*folders, cache_root() / "data"]
