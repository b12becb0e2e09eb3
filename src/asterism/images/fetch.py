"""The few data sets that torchvision can fetch, written as the ``.npz`` files that `named` reads."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import os
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asterism.errors import MissingDataError, StorageError
from asterism.files import replacing
from asterism.images.catalogue import FETCHABLE
from asterism.images.locations import OFFLINE

SILENCE = 20.0  # seconds without an answer, or a further byte
PATIENCE = 1800.0  # seconds that a file may take

logger = logging.getLogger(__name__)


def check_online() -> None:
    """See that fetching is permitted.

    Raises
    ------
    OSError
        If one of `OFFLINE` is set, as ``asterism --offline`` does.
    """
    for name in OFFLINE:
        if os.environ.get(name, "").lower() not in ("", "0", "false", "no", "off"):
            raise OSError(f"{name} is set: nothing is fetched")


def download(url: str, path: Path, digest: str = "") -> None:
    """Fetch a file whole or not at all. A network that is absent, silent or slow ends it, it does not hang.

    Parameters
    ----------
    url : str
    path : Path
        Where it is to lie.
    digest : str, default=""
        What its SHA-256 begins with.

    Raises
    ------
    OSError
        If it cannot be had: no connection, nothing for `SILENCE` seconds, not whole after `PATIENCE` seconds, another
        file than expected, or fetching is not permitted.
    """
    check_online()
    seen, size, end = hashlib.sha256(), 0, time.monotonic() + PATIENCE
    request = urllib.request.Request(url, headers={"User-Agent": "asterism"})
    try:
        with urllib.request.urlopen(request, timeout=SILENCE) as answer, replacing(path) as part:
            expected = int(answer.headers.get("Content-Length") or 0)
            logger.info("fetching %s%s", url, f" ({expected / 1e6:.0f} MB)" if expected else "")
            with open(part, "wb") as file:
                while block := _read(answer, end):
                    file.write(block)
                    seen.update(block)
                    size += len(block)
            if (expected and size != expected) or not seen.hexdigest().startswith(digest):
                raise _BrokenOffError("what came is not the whole file")
    except (_BrokenOffError, http.client.HTTPException) as error:
        raise OSError(str(error) or repr(error)) from error


class _BrokenOffError(Exception):
    """Trouble of the network, where an OSError would be taken for the disk's."""


def _read(answer: http.client.HTTPResponse, end: float) -> bytes:
    """What has come, at most 1 MiB; empty at the end of the file."""
    if time.monotonic() > end:
        raise _BrokenOffError(f"not whole after {PATIENCE:.0f} seconds")
    try:
        return answer.read1(2**20)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"the connection broke off: {error}") from error


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Connections that others open within the block do not wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def fetch(path: Path) -> None:
    """Fetch a data set and write it.

    Parameters
    ----------
    path : Path
        Where the ``.npz`` is to lie; its name is one of `FETCHABLE`.

    Raises
    ------
    MissingDataError
        If it cannot be had; the message is the middle of a sentence, "could not be fetched (…)".
    StorageError
        If the folder cannot be written to.
    """
    import torchvision.datasets

    dataset = getattr(torchvision.datasets, FETCHABLE[path.name])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write to {path.parent}: {error.strerror}; set ASTERISM_CACHE to another folder"
        ) from error
    with scratch as folder:
        try:
            # torchvision shows its progress with print: standard output belongs to our caller. It unpickles CIFAR-10,
            # after comparing the file's checksum; here everything is written without pickles.
            check_online()
            with contextlib.redirect_stdout(sys.stderr), impatient():
                parts = [dataset(folder, train=train, download=True) for train in (True, False)]
        except (OSError, RuntimeError) as error:
            raise MissingDataError(f"could not be fetched ({' '.join(str(error).split())})") from error
        images = [np.asarray(part.data) for part in parts]
        draft = Path(folder) / "draft.npz"
        np.savez_compressed(
            draft,
            images=np.concatenate(images),
            labels=np.concatenate([np.asarray(part.targets, dtype=np.int64) for part in parts]),
            split=np.repeat(np.array([0, 1], dtype=np.uint8), [len(one) for one in images]),
            class_names=np.array(parts[0].classes),
        )
        os.replace(draft, path)
