"""Images named one by one: a Python list of paths, a pattern such as ``photos/*.png``, a file that lists them."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import numpy as np

from asterism.errors import InputError, MissingDataError
from asterism.images import listing, remote, urls
from asterism.images.label_files import PATH_WORDS
from asterism.images.listing import Listed, Progress, Skipped, list_file, list_files, shown_name
from asterism.images.remote import Place
from asterism.images.text_tables import NO_ROW, columns_of, holds_vectors, opened_text

LIST_ENDINGS = (".txt", ".csv", ".tsv")
TABLE_ENDINGS = (*LIST_ENDINGS, ".parquet")  # which may hold vectors instead
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
    X : str, path, or list, tuple, set, array or Series of them
        Sets are put in natural order.

    Raises
    ------
    InputError
        For an empty path, which would mean the working folder, and for what is no path among paths.
    """
    if isinstance(X, (str, os.PathLike)):
        if not os.fspath(X):
            raise InputError("X is an empty path; for the images of the working folder pass '.'")
        return os.fsdecode(X)
    X = as_column(X)
    if isinstance(X, (set, frozenset)):
        items = sorted(X, key=lambda one: listing.natural_key(str(one)))
    elif isinstance(X, (list, tuple)):
        items = list(X)
    elif getattr(X, "ndim", 0) == 1 and getattr(getattr(X, "dtype", None), "kind", "") in ("O", "U", "T"):
        items = np.asarray(X).tolist()
    else:
        return None
    named = [isinstance(one, (str, os.PathLike)) and bool(os.fspath(one)) for one in items]
    if True not in named:
        return None
    if False in named:
        i = named.index(False)
        raise InputError(
            f"X[{i}] is {repr(items[i])[:80]}; expected a path, as {os.fsdecode(items[named.index(True)])!r} is"
        )
    return [os.fsdecode(one) for one in items]


def as_column(X: Any) -> Any:
    """The array of a column of texts or objects, or of a table with one (pandas, polars, pyarrow); else X as it is."""
    several = getattr(X, "shape", (0,))[1:] not in ((), (1,))
    if several or isinstance(X, np.ndarray) or not any(hasattr(X, one) for one in ("iloc", "to_arrow", "to_pylist")):
        return X
    try:
        array = np.asarray(X)
    except Exception:  # what another library cannot make an array, it says where that is needed
        return X
    array = array[:, 0] if array.ndim == 2 else array
    return array if array.ndim == 1 and array.dtype.kind in "OUT" else X


def _pattern_of(path: str) -> tuple[str, list[str]] | None:
    """The folder below which a pattern with ``*``, ``?`` or ``[…]`` is looked for, and its parts; None for no pattern.

    A file or folder that is called so, ``[1] summer``, is none.
    """
    parts = path.replace(os.sep, "/").split("/")  # Windows has another
    for i, part in enumerate(parts):
        if _MAGIC.search(part) and not os.path.lexists("/".join(parts[: i + 1])):
            return "/".join(parts[:i]) or "/", parts[i:]
    return None


def is_searched(source: str, folder: str | os.PathLike[str]) -> bool:
    """Whether images in the folders of groups below ``folder`` would be found by a folder's name or a pattern."""
    path = os.path.abspath(os.path.expanduser(source))
    root, parts = (path, ["**"]) if os.path.isdir(path) else _pattern_of(path) or ("", [])
    inside = os.path.relpath(os.path.realpath(folder), os.path.realpath(root)).split(os.sep)
    folders = [*(one for one in inside if one != "."), "cluster-000"]
    return parts != [] and inside[0] != ".." and _matches(parts, folders, leads=True)


def is_list_file(path: str) -> bool:
    """Whether a path ends as files that list images do."""
    return path.lower().endswith(LIST_ENDINGS)


def list_images(source: str | list[str], progress: Progress = listing.silent) -> Listing | None:
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
        return None if is_archive(source) else _list_remote(source, progress)
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isdir(path):
        return Listing(f"folder {shown_name(path)!r}", path, *list_files(path, progress=progress))
    if (pattern := _pattern_of(path)) is not None:
        return list_glob(path, *pattern, progress)
    is_list = is_list_file(path) and os.path.isfile(path) and not holds_vectors(path)
    return list_listed(path, progress) if is_list else None


def is_archive(url: str) -> bool:
    """Whether an address is that of one file that holds all images."""
    return urls.split(url).path.lower().endswith((".npz", ".npy", ".tar"))


def _list_remote(url: str, progress: Progress) -> Listing:
    """What a list at an address names, or what an object store holds below one.

    Raises
    ------
    InputError, MissingDataError, MissingDependencyError, StorageError
    """
    source, parts = urls.shown(url), urls.split(url)
    if parts.path.lower().endswith(LIST_ENDINGS):
        list_path = remote.fetch_whole(url, anew=True)
        if holds_vectors(str(list_path)):
            raise InputError(f"{source!r} is a table of numbers, no list of addresses: download it, and give the file")
        entries = _read_list(str(list_path), parts.path, f"list {source!r}")
        addresses, refused = _sound(entries, lambda entry: remote.in_list(entry, url))
        files, skipped = _read(_fetched(addresses, source, remote.named_hosts([url]), progress))
        return _had(Listing(f"list {source!r}", source, files, [*refused, *skipped]))
    if parts.scheme.lower() in urls.WEB:
        raise InputError(
            f"{source!r} cannot be listed: give a list of addresses (.txt, .csv), or a .tar, .npz or .npy file"
        )
    places = remote.fetched(remote.list_store(url), source, frozenset(), progress)
    return _had(Listing(repr(source), source, *_read(places)))


def _had(found: Listing) -> Listing:
    """A listing of addresses, of which at least one file must be here, with names that no two share."""
    if not found.files:
        first = f"; {found.skipped[0].name!r}: {found.skipped[0].reason}" if found.skipped else ""
        raise MissingDataError(f"{found.called} names no image that can be had{first}")
    return replace(found, files=listing.uniquely_named(found.files))


def _sound(entries: Iterable[str], address: Callable[[str], str]) -> tuple[list[str], list[Skipped]]:
    """The addresses that are meant, and the entries that are none or are not followed."""
    sound, refused = list[str](), list[Skipped]()
    for entry in entries:
        try:
            sound.append(address(entry))
        except InputError as error:
            refused.append(Skipped(shown_name(urls.shown(entry)), str(error)))
    return sound, refused


def _fetched(addresses: list[str], source: str, named: frozenset[str], progress: Progress) -> list[Place | Skipped]:
    """Where each address lies now, under a name relative to what all of them share, or why it does not."""
    names = [shown_name(urls.name_of(one)) for one in addresses]
    above = os.path.commonpath([os.path.dirname(name) for name in names]) if names else ""
    entries = [(one, name[len(above) :].lstrip("/"), "") for one, name in zip(addresses, names, strict=True)]
    return remote.fetched(entries, source, named, progress)


def _read(places: Iterable[Place | Skipped]) -> tuple[list[Listed], list[Skipped]]:
    """Files and folders at places, in their order."""
    files, skipped = list[Listed](), list[Skipped]()
    for one in places:
        found = one if isinstance(one, Skipped) else list_file(one[1], one[0])
        if isinstance(found, Skipped):
            skipped.append(found)
        elif isinstance(found, Listed):
            files.append(found)
        elif not isinstance(one, Skipped):  # a folder
            inside, passed = list_files(one[1])
            files += [replace(file, name=f"{one[0]}/{file.name}") for file in inside]
            skipped += [Skipped(f"{one[0]}/{left.name}", left.reason) for left in passed]
    return files, skipped


def list_paths(paths: list[str], progress: Progress) -> Listing:
    """Paths of a Python list, in its order; one that stands there twice is two images, so that labels fit the list."""
    absolute = [path if urls.is_url(path) else os.path.abspath(os.path.expanduser(path)) for path in paths]
    source = [urls.shown(path) if urls.is_url(path) else path for path in absolute]
    return _listing(f"the list of {len(paths)} paths", source, absolute, progress)


def list_glob(pattern: str, root: str, parts: list[str], progress: Progress) -> Listing:
    """The files below a folder that match the parts of a pattern, in natural order.

    ``*`` and ``?`` match within one name, ``[…]`` one of some letters, ``**`` any folders or none. As in folders,
    hidden files are passed over and no folder is read twice.

    Raises
    ------
    MissingDataError
        If none does.
    """
    if not os.path.isdir(root):
        raise MissingDataError(f"no file matches {shown_name(pattern)!r}: there is no folder {shown_name(root)!r}")
    depth = None if "**" in parts else len(parts)
    files, skipped = list_files(root, depth, progress)
    chosen = [one for one in files if _matches(parts, one.name.split("/"))]
    passed = [one for one in skipped if _concerns(parts, one.name.split("/"))]
    if not chosen:
        hint = "; for the files in folders write '/**' behind them" if depth else ""
        raise MissingDataError(f"no file matches {shown_name(pattern)!r}{hint}")
    return Listing(f"pattern {shown_name(pattern)!r}", pattern, chosen, passed)


def list_listed(path: str, progress: Progress) -> Listing:
    """The files that a list file names: a line each, or a column of a table.

    Parameters
    ----------
    path : str
        ``.txt``: one path a line. ``.csv``, ``.tsv``: the column whose heading is the first of `PATH_WORDS`, else
        the first column. Paths are relative to the folder of the list, or, where they are not there, to the working
        folder; they may have backslashes, letters composed or not, and the encoding of old Windows programs. Lines
        without a path, and remarks (``# …``), are passed over; a path that stands there again is taken once.

    Raises
    ------
    InputError
        If it cannot be read, or is empty.
    MissingDataError
        If no path in it exists.
    """
    called = f"list {shown_name(path)!r}"
    listed = [(entry, _resolved(entry, os.path.dirname(path))) for entry in _read_list(path, path, called)]
    entries = [one for entry, one in listed if not entry.lstrip().startswith("#") or os.path.lexists(one)]
    if not entries:
        raise InputError(f"{called} holds remarks alone; expected one path of an image a line")
    return _listing(called, path, list(dict.fromkeys(entries)), progress)


def _read_list(path: str, name: str, called: str) -> list[str]:
    try:
        with opened_text(path) as lines:
            entries = list(dict.fromkeys(_entries(lines, name)))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{called} cannot be read: {error}") from error
    if not entries:
        raise InputError(f"{called} is empty; expected one path of an image a line")
    if any("\0" in entry for entry in entries):
        raise InputError(f"{called} is not text in UTF-8: save it so, one path of an image a line")
    return entries


def _resolved(entry: str, root: str) -> str:
    """Where a path of a list lies: relative to the list's folder, else to the working folder; an address as it is."""
    if urls.is_url(entry.strip()):
        return entry.strip()
    for written in dict.fromkeys(_spellings(entry)):
        for folder in (root, ""):
            path = os.path.abspath(os.path.join(folder, os.path.expanduser(written)))
            if os.path.lexists(path):
                return path
    return os.path.abspath(os.path.join(root, os.path.expanduser(entry)))


def _spellings(entry: str) -> Iterator[str]:
    """A path as it stands in a list, and as it may be meant.

    Without quotes (Windows: "copy as path"), with other slashes, in old Windows letters, composed or not.
    """
    yield entry
    plain = [entry.strip().strip('"').replace("\\", "/")]
    if any("\udc80" <= one <= "\udcff" for one in plain[0]):  # bytes that are not UTF-8
        plain.append(plain[0].encode("utf-8", "surrogateescape").decode("cp1252", "replace"))
    for one in plain:
        yield from (one, unicodedata.normalize("NFC", one), unicodedata.normalize("NFD", one))


def _listing(called: str, source: str | list[str], paths: list[str], progress: Progress) -> Listing:
    """Files, folders and addresses, in their order; names of either kind are relative to what those share."""
    addresses = [path for path in paths if urls.is_url(path)]
    fetched = dict.fromkeys(addresses)
    refused: list[Skipped] = []
    if addresses:
        sound, refused = _sound(addresses, lambda one: urls.split(one) and one)
        key = source if isinstance(source, str) else "\n".join(source)
        fetched |= dict(zip(sound, _fetched(sound, key, remote.named_hosts(sound), progress), strict=True))
    local = [path for path in paths if path not in fetched]
    there = [path for path in local if os.path.lexists(path)]
    if not there and not addresses:
        numbers = isinstance(source, str) and columns_of(source) is not None
        hint = "; of vectors write plain numbers (1234.5), and leave a column of paths out" if numbers else ""
        raise MissingDataError(
            f"none of the {len(paths)} files of {called} exists; the first would be {shown_name(paths[0])!r}{hint}"
        )
    above = os.path.commonpath([os.path.dirname(path) for path in there]) if there else ""

    def place(path: str) -> Place | Skipped | None:
        if path in fetched:
            return fetched[path]
        if not os.path.lexists(path):
            return Skipped(shown_name(path), ABSENT)
        return shown_name(os.path.relpath(path, above).replace(os.sep, "/")), path

    files, skipped = _read(one for one in map(place, paths) if one is not None)
    found = Listing(called, source, listing.uniquely_named(files), [*refused, *skipped])
    return _had(found) if addresses else found


def _concerns(parts: list[str], names: list[str]) -> bool:
    """Whether what cannot be read, a file or a folder (``sub/``), is or may hold what a pattern matches."""
    return _matches(parts, names) if names[-1] else _matches(parts, names[:-1], leads=True)


def _matches(parts: list[str], names: list[str], leads: bool = False) -> bool:
    """Whether the components of a name match those of a pattern, or of a folder ``leads`` to what may match."""
    if not names:
        return leads or not parts
    if parts[:1] == ["**"]:
        return leads or len(parts) == 1 or any(_matches(parts[1:], names[first:]) for first in range(len(names)))
    return len(parts) > leads and fnmatchcase(names[0], parts[0]) and _matches(parts[1:], names[1:], leads)


def _entries(lines: Iterable[str], path: str) -> Iterator[str]:
    if path.lower().endswith(".txt"):
        yield from (line.rstrip("\r\n") for line in lines if line.strip())
        return
    lines, head, remarks = iter(lines), "", list[str]()
    for head in lines:
        if not NO_ROW.fullmatch(head):
            break
        remarks += [head] if head.lstrip().startswith("#") else []  # the name of a file may begin so
    delimiter = max(",;\t", key=head.count)  # the comma where none is there
    words = [word.strip().lower() for row in csv.reader([head], delimiter=delimiter) for word in row]
    found = next((words.index(word) for word in PATH_WORDS if word in words), None)
    column = found or 0
    for row in csv.reader(lines if found is not None else chain(remarks, [head], lines), delimiter=delimiter):
        if column < len(row) and row[column].strip():
            yield row[column]
