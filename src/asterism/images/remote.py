"""Images that lie elsewhere: fetched once, by several at a time, into the cache, where they are files as others.

What was fetched stays: a run that was killed goes on with the rest. Lists and files of the web are fetched by Python's
own library, object stores and Hugging Face by fsspec. Passwords and signatures are used, and never written.
"""

from __future__ import annotations

import base64
import errno
import json
import logging
import os
import posixpath
import secrets
import shutil
import urllib.error
import urllib.request
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from asterism.errors import AsterismError, InputError, MissingDataError, MissingDependencyError, StorageError
from asterism.files import replacing, write_text
from asterism.images import urls
from asterism.images.fetch import check_online, received
from asterism.images.io_errors import is_machine_error, patiently
from asterism.images.listing import Progress, Skipped, is_hidden, natural_key, shown_name, silent
from asterism.images.locations import KEY, cache_root, is_stale, opened_now

SILENCE = 20.0  # seconds without a byte
PATIENCE = 600.0  # seconds that a file may take
AT_ONCE, WAITING = 8, 4096  # files that are fetched together; that wait for their turn, 1.6 kB of memory each
IN_A_ROW = 24  # files that fail because of the network, after which it is taken for broken
BROKEN = "could not be fetched"
Place = tuple[str, str]  # what a file or folder is called, and its path
# What a full or failing disk, or too many open files, say of this machine, where an error names no file.
_OURS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE))

logger = logging.getLogger(__name__)


class _Gone(Exception):
    """A file that is not there or not for us: asking again is no help."""


def fetched(
    entries: Sequence[tuple[str, str, str]], source: str, named: frozenset[str], progress: Progress = silent
) -> list[Place | Skipped]:
    """Files of addresses, in their order: where each lies now, or why it does not.

    Parameters
    ----------
    entries : sequence of (str, str, str)
        Address, what it is called, and what tells its version (``""`` where nothing does).
    source : str
        What names them together.
    named : frozenset of str
        Hosts that the user named: all others must be public.
    progress : callable, optional

    Raises
    ------
    StorageError
        If the network is broken, or the cache folder has no room; what was fetched stays.
    """
    folder = folder_of(source)
    paths = [folder / key for key in _keys(entries)]
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    found: list[Place | Skipped] = [(name, str(path)) for (_, name, _), path in zip(entries, paths, strict=True)]
    if not missing:
        return found
    try:
        check_online()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{len(missing)} files of {source} are not here: {error}") from error
    logger.info("fetching %d files of %s", len(missing), source)
    n_done, failing, last = len(entries) - len(missing), 0, ""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for first in range(0, len(missing), WAITING):
            tasks = {pool.submit(_tried, entries[i][0], paths[i], named): i for i in missing[first : first + WAITING]}
            for task in as_completed(tasks):
                reason, is_network = task.result()
                n_done += 1
                failing = failing + 1 if is_network else 0
                if reason is not None:
                    last = reason
                    found[tasks[task]] = Skipped(entries[tasks[task]][1], f"{BROKEN}: {reason}")
                if failing >= min(IN_A_ROW, len(missing)):
                    again = "what was fetched stays: run the same again"
                    raise StorageError(f"{source} cannot be reached: {last}; {again}")
                progress("fetching", n_done, len(entries))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _keys(entries: Sequence[tuple[str, str, str]]) -> list[str]:
    """What each entry is kept under; addresses that a signature alone seems to tell apart may be different files."""
    keys, meant = [urls.key_of(url, version) for url, _, version in entries], dict[str, set[str]]()
    for key, (url, _, _) in zip(keys, entries, strict=True):
        meant.setdefault(key, set()).add(url)
    return [
        key if len(meant[key]) == 1 else urls.key_of(url, f"{version}\0{url}")
        for key, (url, _, version) in zip(keys, entries, strict=True)
    ]


def folder_of(source: str) -> Path:
    """Where what was fetched of a source is kept."""
    root = cache_root() / "remote"
    for old in filter(is_stale, root.glob(KEY)):
        shutil.rmtree(old, ignore_errors=True)
    folder = root / urls.key_of(source)
    opened_now(folder)
    return folder


def is_fetched(path: str) -> bool:
    """Whether a file is one that was fetched, and will be removed when nobody opens it."""
    return Path(path).is_relative_to(cache_root() / "remote")


def _tried(url: str, path: Path, named: frozenset[str]) -> tuple[str | None, bool]:
    """Fetch a file, again after pauses; gives why it does not come, in words, and whether that is the network's.

    The error itself would hold all that was open where it was raised. Raises where this machine is in trouble.
    """

    def may_pass(error: Exception) -> bool:
        return not isinstance(error, (_Gone, AsterismError)) and not _is_ours(error)

    try:
        patiently(lambda: fetch_file(url, path, named), may_pass)
        return None, False
    except AsterismError:
        raise
    except Exception as error:
        if _is_ours(error):
            raise StorageError(f"{path.parent} cannot be written to: {_plain(error)}") from error
        return _plain(error), not isinstance(error, (_Gone, urllib.error.HTTPError))


def _is_ours(error: Exception) -> bool:
    """Whether the trouble is this machine's, not the network's: its disk, memory or open files."""
    cause = getattr(error, "reason", None)
    cause = cause if isinstance(cause, OSError) else error
    named = getattr(cause, "filename", None) is not None or getattr(cause, "errno", None) in _OURS
    return isinstance(cause, MemoryError) or (is_machine_error(cause) and named)


def _plain(error: BaseException) -> str:
    text = urls.without_secrets(" ".join(str(getattr(error, "reason", "") or error).split()))[:200]
    return text or type(error).__name__


def fetch_file(url: str, path: Path, named: frozenset[str]) -> None:
    """Fetch one file, whole or not at all."""
    if urls.split(url).scheme.lower() in urls.WEB:
        _from_web(url, path, named)
        return
    store, inside = store_of(url)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        store.get_file(inside, str(part))
        os.replace(part, path)
    except (FileNotFoundError, PermissionError) as error:
        if error.filename == str(part):
            raise
        raise _Gone(f"{type(error).__name__}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _from_web(url: str, path: Path, named: frozenset[str]) -> None:
    request = _request(url)
    opener = urllib.request.OpenerDirector()
    for handler in (
        *(urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()),
        *(urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(), _Redirects(named)),
    ):
        opener.add_handler(handler)
    try:
        urls.check_host(urlsplit(url).hostname, named)
        answer = opener.open(request, timeout=SILENCE)
    except PermissionError as error:
        raise _Gone(str(error)) from error
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (408, 425, 429) or error.code >= 500:
            raise
        raise _Gone(f"the server says {error.code} {error.reason}") from None
    with answer, replacing(path) as part, open(part, "wb") as file:
        file.writelines(received(answer, PATIENCE))


def _request(url: str) -> urllib.request.Request:
    parts = urlsplit(url)
    request = urllib.request.Request(urls.ascii_url(url), headers={"User-Agent": "asterism"})
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(pair).decode())
    return request


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects within the web, never to files or to private addresses that were not named."""

    def __init__(self, named: frozenset[str]) -> None:
        self.named = named

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Called for each redirect."""
        parts = urlsplit(newurl)
        if parts.scheme.lower() not in urls.WEB:
            raise PermissionError(f"it was sent on to {urls.shown(newurl)[:80]}, which is not followed")
        urls.check_host(parts.hostname, self.named)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def store_of(url: str) -> tuple[Any, str]:
    """The file system of an object store, and the path in it; raises `MissingDependencyError`."""
    scheme = urlsplit(url).scheme.lower()
    bounded: dict[str, Any] = {"requests_timeout": 30} if scheme == "gs" else {}
    if scheme == "s3":
        bounded["config_kwargs"] = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 2}}
    try:
        import fsspec

        store = fsspec.filesystem(scheme, **bounded)
    except (ImportError, ValueError) as error:
        raise MissingDependencyError(
            f"{scheme}:// needs a package that is not here ({_plain(error)}): pip install 'asterism-clustering[remote]'"
        ) from error
    return store, url.partition("://")[2]


def list_store(url: str) -> list[tuple[str, str, str]]:
    """Address, name below ``url`` and version of every object; of a single one, itself; as `fetched` takes them.

    Raises
    ------
    InputError, MissingDataError, MissingDependencyError
        If there is none, or it cannot be listed and was never.
    """
    source = urls.shown(url)
    kept = folder_of(source) / "listing.json"
    try:
        check_online()
        store, inside = store_of(source)
        inside = inside.rstrip("/")
        store.invalidate_cache()  # what it listed before, in this process
        paths = store.glob(inside, detail=True) if any(sign in inside for sign in "*?[") else {}
        paths = paths or store.find(inside, detail=True)
    except MissingDependencyError:
        raise
    except FileNotFoundError:
        paths = {}
    except Exception as error:
        with suppress(OSError, ValueError):
            known = [tuple(map(str, one)) for one in json.loads(kept.read_text(encoding="utf-8"))]
            warnings.warn(
                f"{source} cannot be listed ({_plain(error)}): what was fetched before is taken", stacklevel=2
            )
            return known  # type: ignore[return-value]
        raise MissingDataError(f"{source} cannot be listed: {_plain(error)}") from error
    scheme = source.partition("://")[0]
    root = inside[: min((inside.find(sign) for sign in "*?[" if sign in inside), default=len(inside))]
    root = root if root == inside else root.rpartition("/")[0]
    found = []
    for path, about in sorted(paths.items(), key=lambda one: natural_key(one[0])):
        name = path.removeprefix(store._strip_protocol(root)).lstrip("/") or posixpath.basename(path)
        hidden = any(map(is_hidden, name.split("/")))
        if about.get("type") == "file" and not hidden and ".." not in name.split("/"):
            version = str(about.get("ETag") or about.get("etag") or about.get("blob_id") or about.get("size"))
            found.append((f"{scheme}://{path}", shown_name(name), version))
    if not found:
        raise MissingDataError(f"there is no file at {source}")
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, json.dumps(found))
    return found


def fetch_whole(url: str, progress: Progress = silent, anew: bool = False) -> Path:
    """One file at an address, a list or an archive; raises `MissingDataError` or `StorageError`."""
    source = urls.shown(url)
    path = folder_of(source) / urls.key_of(url)
    if not anew or not path.is_file():
        found = fetched([(url, source, "")], source, named_hosts([url]), progress)[0]
        if isinstance(found, Skipped):
            raise MissingDataError(f"{source} {found.reason}")
        return path
    try:
        check_online()
        fetch_file(url, path, named_hosts([url]))
    except Exception as error:
        warnings.warn(f"{source} {BROKEN} ({_plain(error)}): what was fetched before is taken", stacklevel=2)
    return path


def in_list(entry: str, url: str) -> str:
    """The address of an entry of a list at an address; nothing but the web and the list's own store is followed.

    Raises
    ------
    InputError
    """
    entry = entry.strip() if urls.is_url(entry.strip()) else entry
    if not urls.is_url(entry):
        if urls.split(url).scheme.lower() in urls.WEB:
            found = urljoin(url.partition("?")[0], entry.replace("?", "%3F").replace("#", "%23"))
        else:
            found = posixpath.join(posixpath.dirname(url), entry)
        urls.split(found)  # a path of a machine (``C:/photos/1.png``, ``/photos/1.png``) may be none
        return found
    scheme = urls.split(entry).scheme.lower()
    if scheme not in urls.WEB and scheme != urls.split(url).scheme.lower():
        raise InputError(f"{urls.shown(entry)!r} is not followed from a list at {urls.shown(url)}")
    return entry


def named_hosts(addresses: Sequence[str]) -> frozenset[str]:
    """Hosts of addresses that the user gave."""
    return frozenset(host for one in addresses if (host := urls.split(one).hostname) is not None)
