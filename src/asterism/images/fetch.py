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
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import numpy as np

from asterism.errors import MissingDataError, StorageError, reason_of
from asterism.files import replacing
from asterism.images.catalogue import stored_files
from asterism.images.locations import OFFLINE
from asterism.machine import is_on

ANSWER = 10.0  # seconds until a server must have answered: names that nobody resolves and lines that swallow all
SILENCE = 20.0  # seconds without a further byte
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
        if is_on(name):
            by = ", as by --offline" if name == OFFLINE[0] else ""
            raise OSError(f"{name} is set{by}: nothing is fetched")


def download(url: str, path: Path, digest: str = "", token: str | None = None) -> None:
    """Fetch a file whole or not at all. A network that is absent, silent or slow ends it, it does not hang.

    On a terminal a bar shows how much has come.

    Parameters
    ----------
    url : str
    path : Path
        Where it is to lie.
    digest : str, default=""
        What its SHA-256 begins with.
    token : str, optional
        Shown to the server of ``url``, and to no other that it sends us to.

    Raises
    ------
    OSError
        If it cannot be had: no answer within `ANSWER` seconds, nothing for `SILENCE` seconds, not whole after
        `PATIENCE` seconds, another file than expected, or fetching is not permitted.
    """
    check_online()
    seen = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "asterism"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with answered(request) as answer, replacing(path) as part:
            expected = int(answer.headers.get("Content-Length") or 0)
            logger.info("fetching %s%s", url, f" ({expected / 1e6:.0f} MB)" if expected else "")
            with open(part, "wb") as file, _bar(expected) as show:
                for block in received(answer, PATIENCE):
                    file.write(block)
                    seen.update(block)
                    show(len(block))
            if not seen.hexdigest().startswith(digest):
                raise BrokenOffError("what came is not the whole file")
    except (BrokenOffError, http.client.HTTPException) as error:
        raise OSError(str(error) or repr(error)) from error


class BrokenOffError(Exception):
    """Trouble of the network, where an OSError would be taken for the disk's."""


def answered(request: urllib.request.Request) -> Any:
    """What a server answers, within `ANSWER` seconds: a name may have many addresses, and each would be waited for."""
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(urllib.request.urlopen(request, timeout=SILENCE))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    if not wait([answer], ANSWER).done:
        raise OSError(f"no answer within {ANSWER:.0f} seconds")
    return answer.result()


@contextlib.contextmanager
def _bar(expected: int) -> Iterator[Callable[[int], None]]:
    """What shows that so many more bytes have come, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:>12}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("fetching", total=expected or None)
        yield lambda n_bytes: bar.advance(task, n_bytes)


def received(answer: http.client.HTTPResponse, patience: float) -> Iterator[bytes]:
    """The bytes of an answer as they come, until they are as many as it has promised.

    Raises
    ------
    BrokenOffError
        If fewer come, or not all within so many seconds.
    """
    promised, size, end = answer.headers.get("Content-Length") or "", 0, time.monotonic() + patience
    while True:
        if time.monotonic() > end:
            raise BrokenOffError(f"not whole after {patience:.0f} seconds")
        try:
            block = answer.read1(2**20)
        except (OSError, http.client.HTTPException) as error:
            raise BrokenOffError(f"the connection broke off: {error or type(error).__name__}") from error
        if not block:
            break
        size += len(block)
        yield block
    if promised.isdigit() and int(promised) != size:
        raise BrokenOffError(f"what came is not the whole file ({size} of {promised} bytes)")


def fetch(path: Path) -> None:
    """Fetch a data set and write it.

    Parameters
    ----------
    path : Path
        Where the ``.npz`` is to lie; its name is one of a set that torchvision has.

    Raises
    ------
    MissingDataError
        If it cannot be had; the message is the middle of a sentence, "could not be fetched (…)".
    StorageError
        If the folder cannot be written to.
    """
    import torchvision.datasets

    dataset = getattr(torchvision.datasets, stored_files()[path.name].torchvision)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write to {path.parent}: {error.strerror}; set ASTERISM_CACHE to another folder"
        ) from error
    before = socket.getdefaulttimeout()
    with scratch as folder:
        try:
            socket.setdefaulttimeout(SILENCE)  # torchvision's connections would wait for ever
            # torchvision shows its progress with print: standard output belongs to our caller. It unpickles CIFAR-10,
            # after comparing the file's checksum; here everything is written without pickles.
            check_online()
            with contextlib.redirect_stdout(sys.stderr):
                parts = [dataset(folder, train=train, download=True) for train in (True, False)]
        except (OSError, RuntimeError) as error:
            raise MissingDataError(f"could not be fetched ({reason_of(error)})") from error
        finally:
            socket.setdefaulttimeout(before)
        images = [np.asarray(part.data) for part in parts]
        draft = Path(folder) / "draft.npz"
        try:
            np.savez_compressed(
                draft,
                images=np.concatenate(images),
                labels=np.concatenate([np.asarray(part.targets, dtype=np.int64) for part in parts]),
                split=np.repeat(np.array([0, 1], dtype=np.uint8), [len(one) for one in images]),
                class_names=np.array(parts[0].classes),
            )
            os.replace(draft, path)
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {reason_of(error)}; set ASTERISM_CACHE to another folder"
            ) from error
