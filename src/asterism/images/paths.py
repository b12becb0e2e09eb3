"""Images named one by one: a Python list of paths, a pattern such as ``photos/*.png``, a file that lists them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import numpy as np

from asterism.errors import InputError, MissingDataError
from asterism.images import remote, urls
from asterism.images.label_files import PATH_WORDS, marked_encoding
from asterism.images.listing import Listed, Skipped, list_file, list_files, natural_key, shown_name, uniquely_named

LIST_ENDINGS = (".txt", ".csv", ".tsv")
ABSENT = "does not exist"
_MAGIC = re.compile(r"[*?\[]")


@dataclass
class Listing:
    """Files that are to be read, in their order.

    Attributes
    ----------
    called : str
        What messages call the whole: ``"folder '/photos'"``.
    source : str or list of str
        What ``origin`` calls it; absolute.
    files : list of Listed
        Their names are unique.
    skipped : list of Skipped
        What was found and cannot be read, or was named and not found.
    """

    called: str
    source: str | list[str]
    files: list[Listed]
    skipped: list[Skipped] = field(default_factory=list)


def as_paths(X: Any) -> str | list[str] | None:
    """Whatever names files: one path as text, several as a list of them; None for what does not.

    Parameters
    ----------
    X : str, path, or list, tuple, set, iterator, array or Series of them
        Sets are put in natural order.
    """
    if isinstance(X, (str, os.PathLike)):
        return os.fsdecode(X)
    if isinstance(X, (set, frozenset)):
        items = sorted(X, key=lambda one: natural_key(str(one)))
    elif isinstance(X, (list, tuple, Iterator)):
        items = list(X)
    elif getattr(X, "ndim", 0) == 1 and getattr(getattr(X, "dtype", None), "kind", "") in ("O", "U"):
        items = np.asarray(X).tolist()
    else:
        return None
    if not items or not all(isinstance(one, (str, os.PathLike)) for one in items):
        return None
    return [os.fsdecode(one) for one in items]


def is_glob(path: str) -> bool:
    """Whether a path is a pattern with ``*``, ``?`` or ``[…]``, and no file that is called so."""
    return _MAGIC.search(path) is not None and not os.path.lexists(path)


def is_list_file(path: str) -> bool:
    """Whether a path ends as files that list images do."""
    return path.lower().endswith(LIST_ENDINGS)


def list_images(source: str | list[str], progress: remote.Progress | None = None) -> Listing | None:
    """The files that a folder, pattern, list file or list of paths stands for; None for any other source.

    Those at addresses are fetched first, unless they are here.

    Raises
    ------
    InputError, MissingDataError, StorageError
        If the folder or list cannot be read, or nothing of it is there.
    """
    if not isinstance(source, str):
        return list_paths(source, progress)
    if urls.is_url(source):
        return None if is_archive(source) else list_remote(source, progress)
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isdir(path):
        return Listing(f"folder {shown_name(path)!r}", path, *list_files(path))
    if is_glob(path):
        return list_glob(path)
    return list_listed(path, progress) if is_list_file(path) and os.path.isfile(path) else None


def is_archive(url: str) -> bool:
    """Whether an address is that of one file that holds all images."""
    return urls.split(url).path.lower().endswith((".npz", ".npy", ".tar"))


def list_remote(url: str, progress: remote.Progress | None = None) -> Listing:
    """What a list at an address names, or what an object store holds below one.

    Raises
    ------
    InputError, MissingDataError, MissingDependencyError, StorageError
    """
    source, parts = urls.shown(url), urls.split(url)
    if parts.path.lower().endswith(LIST_ENDINGS):
        list_path = remote.fetch_whole(url, anew=True)
        entries = _read_list(str(list_path), parts.path, f"list {source!r}")
        skipped, addresses = list[Skipped](), list[str]()
        for entry in entries:
            try:
                addresses.append(remote.in_list(entry, url))
            except InputError as error:
                skipped.append(Skipped(shown_name(urls.shown(entry)), str(error)))
        files, passed = _fetched(addresses, source, remote.named_hosts([url]), progress)
        return _remote_listing(f"list {source!r}", source, files, [*skipped, *passed])
    if parts.scheme.lower() in urls.WEB:
        raise InputError(
            f"{source!r} cannot be listed: give a list of addresses (.txt, .csv), or a .tar, .npz or .npy file"
        )
    found = remote.list_store(url)
    places = remote.fetched([(one, version) for one, _, version in found], source, frozenset(), progress)
    named = [(shown_name(name), place) for (_, name, _), place in zip(found, places, strict=True)]
    return _remote_listing(repr(source), source, *_split(named))


def _remote_listing(called: str, source: str | list[str], files: list[Listed], skipped: list[Skipped]) -> Listing:
    if not files:
        first = f"; {skipped[0].name!r}: {skipped[0].reason}" if skipped else ""
        raise MissingDataError(f"{called} names no image that can be had{first}")
    return Listing(called, source, uniquely_named(files), skipped)


def _fetched(
    addresses: list[str], source: str, named: frozenset[str], progress: remote.Progress | None
) -> tuple[list[Listed], list[Skipped]]:
    """Files of addresses; names are relative to what they share."""
    places = remote.fetched([(one, "") for one in addresses], source, named, progress)
    names = [shown_name(urls.name_of(one)) for one in addresses]
    above = os.path.commonpath([os.path.dirname(name) for name in names]) if names else ""
    return _split([(name[len(above) :].lstrip("/"), place) for name, place in zip(names, places, strict=True)])


def _split(named: list[tuple[str, Any]]) -> tuple[list[Listed], list[Skipped]]:
    files, skipped = list[Listed](), list[Skipped]()
    for name, place in named:
        found = Skipped(name, place) if isinstance(place, str) else list_file(str(place), name)
        if isinstance(found, Listed):
            files.append(found)
        elif isinstance(found, Skipped):
            skipped.append(found)
    return files, skipped


def list_paths(paths: list[str], progress: remote.Progress | None = None) -> Listing:
    """Paths of a Python list, in its order; one that stands there twice is two images, so that labels fit the list."""
    absolute = [path if urls.is_url(path) else os.path.abspath(os.path.expanduser(path)) for path in paths]
    source = [urls.shown(path) if urls.is_url(path) else path for path in absolute]
    return _listing(f"the list of {len(paths)} paths", source, absolute, progress)


def list_glob(pattern: str) -> Listing:
    """The files below a folder that match a pattern, in natural order.

    ``*`` and ``?`` match within one name, ``[…]`` one of some letters, ``**`` any folders or none. As in folders,
    hidden files are passed over and no folder is read twice.

    Raises
    ------
    MissingDataError
        If none does.
    """
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if _MAGIC.search(part))
    root = "/".join(parts[:first]) or "/"
    if not os.path.isdir(root):
        raise MissingDataError(f"no file matches {shown_name(pattern)!r}: there is no folder {shown_name(root)!r}")
    depth = None if "**" in parts else len(parts) - first
    files, skipped = list_files(root, depth)
    chosen = [one for one in files if _matches(parts[first:], one.name.split("/"))]
    passed = [one for one in skipped if _matches(parts[first:], one.name.split("/"))]
    if not chosen:
        hint = "; for the files in folders write '/**' behind them" if depth else ""
        raise MissingDataError(f"no file matches {shown_name(pattern)!r}{hint}")
    return Listing(f"pattern {shown_name(pattern)!r}", pattern, chosen, passed)


def list_listed(path: str, progress: remote.Progress | None = None) -> Listing:
    """The files that a list file names: a line each, or a column of a table.

    Parameters
    ----------
    path : str
        ``.txt``: one path a line. ``.csv``, ``.tsv``: the column whose heading is the first of `PATH_WORDS`, else
        the first column. Paths are relative to the folder of the list, or, where they are not there, to the working
        folder. Lines without a path are passed over; a path that stands there again is taken once.

    Raises
    ------
    InputError
        If it cannot be read, or is empty.
    MissingDataError
        If no path in it exists.
    """
    called = f"list {shown_name(path)!r}"
    entries = [_resolved(entry, os.path.dirname(path)) for entry in _read_list(path, path, called)]
    return _listing(called, path, list(dict.fromkeys(entries)), progress)


def _read_list(path: str, name: str, called: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            encoding = marked_encoding(file.read(4)) or "utf-8"
        with open(path, newline="", encoding=encoding, errors="surrogateescape") as lines:
            entries = list(dict.fromkeys(_entries(lines, name)))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{called} cannot be read: {error}") from error
    if not entries:
        raise InputError(f"{called} is empty; expected one path of an image a line")
    return entries


def _resolved(entry: str, root: str) -> str:
    """Where a path of a list lies: relative to the list's folder, else to the working folder; an address as it is."""
    if urls.is_url(entry.strip()):
        return entry.strip()
    beside = os.path.abspath(os.path.join(root, os.path.expanduser(entry)))
    here = os.path.abspath(os.path.expanduser(entry))
    return here if os.path.lexists(here) and not os.path.lexists(beside) else beside


def _listing(
    called: str, source: str | list[str], paths: list[str], progress: remote.Progress | None = None
) -> Listing:
    """Files and folders at absolute paths; names are relative to the folder that holds all that are there."""
    addresses = [path for path in paths if urls.is_url(path)]
    if addresses:
        return _mixed(called, source, paths, addresses, progress)
    there = [path for path in paths if os.path.lexists(path)]
    above = os.path.commonpath([os.path.dirname(path) for path in there or paths])
    files: list[Listed] = []
    skipped: list[Skipped] = []
    for path in paths:
        if not os.path.lexists(path):
            skipped.append(Skipped(shown_name(path), ABSENT))
            continue
        name = shown_name(os.path.relpath(path, above).replace(os.sep, "/"))
        found = list_file(path, name)
        if found is None:
            inside, passed = list_files(path)
            files += [replace(one, name=f"{name}/{one.name}") for one in inside]
            skipped += [Skipped(f"{name}/{one.name}", one.reason) for one in passed]
        elif isinstance(found, Listed):
            files.append(found)
        else:
            skipped.append(found)
    if not there:
        raise MissingDataError(
            f"none of the {len(paths)} files of {called} exists; the first would be {shown_name(paths[0])!r}"
        )
    return Listing(called, source, uniquely_named(files), skipped)


def _mixed(
    called: str, source: str | list[str], paths: list[str], addresses: list[str], progress: remote.Progress | None
) -> Listing:
    """Addresses, and paths among them, in their order: of either kind names as if it were alone."""
    sound, refused = list[str](), list[Skipped]()
    for one in addresses:
        try:
            urls.split(one)
            sound.append(one)
        except InputError as error:
            refused.append(Skipped(shown_name(urls.shown(one)), str(error)))
    key = source if isinstance(source, str) else "\n".join(source)
    files, skipped = _fetched(sound, key, remote.named_hosts(sound), progress)
    local = [path for path in paths if not urls.is_url(path)]
    if local and any(os.path.lexists(path) for path in local):
        others = _listing(called, source, local)
        files, skipped = files + others.files, skipped + others.skipped
    elif local:
        skipped += [Skipped(shown_name(path), ABSENT) for path in local]
    return _remote_listing(called, source, files, [*refused, *skipped])


def _matches(parts: list[str], names: list[str]) -> bool:
    """Whether the components of a name match those of a pattern."""
    if not parts or not names:
        return not parts and not names
    if parts[0] != "**":
        return fnmatchcase(names[0], parts[0]) and _matches(parts[1:], names[1:])
    if len(parts) == 1:
        return True
    return any(_matches(parts[1:], names[first:]) for first in range(len(names)))


def _entries(lines: Iterable[str], path: str) -> Iterator[str]:
    if path.lower().endswith(".txt"):
        yield from (line.rstrip("\r\n") for line in lines if line.strip())
        return
    lines = iter(lines)
    head = next(lines, "")
    delimiter = max(",;\t", key=head.count)  # the comma where none is there
    rows = csv.reader(chain([head], lines), delimiter=delimiter)
    column = 0
    for number, row in enumerate(rows):
        words = [word.strip().lower() for word in row]
        found = next((words.index(word) for word in PATH_WORDS if word in words), None) if number == 0 else None
        if found is not None:
            column = found
        elif column < len(row) and row[column].strip():
            yield row[column]
