"""What lies in a folder: every file below it, in natural order, without following links in circles."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from asterism.errors import InputError, StorageError
from asterism.files import LITTER
from asterism.images.io_errors import retry

# Names that announce an image. Only for the words of a refusal and for strict=True: content decides what is one.
IMAGE_ENDINGS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff")
    + (".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".heic", ".heif")
)
COMPRESSED = (".tgz", ".tbz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")


def looks_like_image(name: str) -> bool:
    """Whether a name ends as those of images do."""
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


def archive_reason(name: str) -> str | None:
    """Why an archive that lies beside images is not read; None for other files."""
    if name.lower().endswith(COMPRESSED):
        return "a compressed archive: unpack it to have its images read"
    if name.lower().endswith(".tar"):
        return "an archive beside other files: give it by itself, or unpack it, to have its images read"
    return None


# What systems make beside a user's files: thumbnails and bins of network disks, what Windows and macOS keep.
_OF_SYSTEMS = LITTER.union(
    ("@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX", "Icon\r")
)
_FROM_WINDOWS = ":Zone.Identifier"  # a word beside each file that came from the web, where Linux copied it
UNREAD = "folder cannot be read"
_SAID = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR)
_DIGITS = re.compile("[0-9]+")
TOLD = 4096  # files, from one word of how many are listed to the next
T = TypeVar("T")
Progress = Callable[[str, int, int], None]  # what is being done, how many files are done, of how many


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody wants to see."""


@dataclass(frozen=True)
class Skipped:
    """An image that could not be used, and why, in one line."""

    name: str
    reason: str


@dataclass(frozen=True)
class Listed:
    """A file: the path that opens it, the name that is shown (always UTF-8), and what tells that it has changed.

    See `changed`.
    """

    path: str
    name: str
    n_bytes: int
    modified_ns: int

    @property
    def content(self) -> str | bytes:
        """What is decoded: here the path, or the encoded image itself."""
        return self.path


def natural_key(name: str) -> str:
    """Sort key under which ``img2`` stands before ``img10``, folder by folder and without regard to case.

    One text, as lists of parts would take ten times the memory of millions of names: a text ends with a zero, a folder
    with another, and before the digits of a number stands how many they are. The name itself settles ties.
    """
    return _DIGITS.sub(_number_key, name.casefold().replace("/", "\0\0")) + f"\0\0{name}"


def _number_key(digits: re.Match[str]) -> str:
    """Orders digits as the number that they are; Python makes no number of more than 4 300."""
    short = digits[0].lstrip("0")
    return f"\0{chr(1 + len(short))}{short}"


def is_hidden(name: str) -> bool:
    """Whether a file or folder is passed over in silence: its name begins with a dot, or a system made it."""
    dotted = name.startswith(".") and name not in (".", "..")
    return dotted or name in _OF_SYSTEMS or name.endswith(_FROM_WINDOWS)


def changed(info: os.stat_result) -> int:
    """A number that is another when a file has changed.

    Also when it has its old time again, as some editors of photographs see to, or has changed names with another.
    """
    return info.st_mtime_ns + info.st_ctime_ns


def shown_name(path: str) -> str:
    r"""A path as text that can be written as UTF-8: bytes that are not UTF-8 appear as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def uniquely_named(files: list[Listed]) -> list[Listed]:
    """The files with names that no two share."""
    names = told_apart([file.name for file in files])
    return [one if one.name == name else replace(one, name=name) for one, name in zip(files, names, strict=True)]


def told_apart(names: list[str]) -> list[str]:
    """Names that no two share: the second ``a.png`` becomes ``a.png#2``."""
    taken = set(names)
    if len(taken) == len(names):
        return names
    met, found, numbers = set[str](), list[str](), dict[str, int]()
    for given in names:
        name, number = given, numbers.get(given, 2)  # of millions of one name none is tried twice
        while name in met or (name != given and name in taken):
            name, number = f"{given}#{number}", number + 1
        numbers[given] = number
        met.add(name)
        found.append(name)
    return found


def list_files(root: str, depth: int | None = None, progress: Progress = silent) -> tuple[list[Listed], list[Skipped]]:
    """Every file below a folder.

    Hidden files and folders (a leading dot) are passed over in silence, as is what systems make (``Thumbs.db``,
    ``@eaDir`` with its thumbnails, bins), and runs that were written among the images: the pictures in them are none
    of these. Links to folders are followed, but no folder
    is read twice; folders themselves come before links to them.

    Parameters
    ----------
    root : str
        Absolute path of the folder.
    depth : int, optional
        So many folders deep, itself included; all by default.
    progress : callable, optional
        See `asterism.images.open_images`; of files that are listed nobody knows how many there will be: 0.

    Returns
    -------
    files : list of Listed
        In natural order.
    skipped : list of Skipped
        Folders and entries that could not be read.

    Raises
    ------
    InputError
        If the folder itself cannot be read.
    """
    files: list[Listed] = []
    skipped: list[Skipped] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [root], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)  # links only when no real folder is left
        if depth is not None and folder != root and folder[len(root) :].strip("/").count("/") >= depth - 1:
            continue
        relative = "" if folder == root else os.path.relpath(folder, root).replace(os.sep, "/") + "/"
        try:
            info = _read(folder, os.stat)
            if (info.st_dev, info.st_ino) in seen:
                skipped.append(Skipped(shown_name(relative), "a link to a folder that was read already"))
                continue
            seen.add((info.st_dev, info.st_ino))
            names = _read(folder, _names)
        except StorageError:
            raise
        except OSError as error:
            if folder == root:
                raise InputError(f"folder {shown_name(root)!r} cannot be read: {error.strerror}") from error
            skipped.append(Skipped(shown_name(relative), f"{UNREAD}: {error.strerror}"))
            continue
        if folder != root and "run.json" in names and _is_run(os.path.join(folder, "run.json")):
            continue
        for name in names:
            path = os.path.join(folder, name)
            listed = list_file(path, shown_name(relative + name))
            if isinstance(listed, Listed):
                files.append(listed)
                if len(files) % TOLD == 0:
                    progress("listing", len(files), 0)
            elif isinstance(listed, Skipped):
                skipped.append(listed)
            else:
                (links if os.path.islink(path) else folders).append(path)
    if len(files) >= TOLD:
        progress("listing", len(files), len(files))
    return uniquely_named(sorted(files, key=lambda one: natural_key(one.name))), skipped


def _is_run(path: str) -> bool:
    """Whether a file is the record of a run of Asterism's."""
    with suppress(OSError):
        if os.path.isfile(path):  # a pipe would never end
            with open(path, "rb") as file:
                return re.match(rb'\s*\{\s*"format": \d+,\s*"status": "', file.read(100)) is not None
    return False


def list_file(path: str, name: str) -> Listed | Skipped | None:
    """A file to read, a reason not to, or None for a folder.

    Raises
    ------
    StorageError
        If the machine, not the file, is in trouble.
    """
    try:
        info = _read(path, os.stat)
    except StorageError:
        raise
    except OSError as error:
        dangling = os.path.islink(path) and isinstance(error, FileNotFoundError)
        return Skipped(name, "a link to nothing" if dangling else str(error.strerror))
    if stat.S_ISDIR(info.st_mode):
        return None
    if not stat.S_ISREG(info.st_mode):  # opening a pipe would wait for ever
        return Skipped(name, "not a regular file")
    return Listed(path, name, info.st_size, changed(info))


def _names(folder: str) -> list[str]:
    """What lies in a folder and is not hidden, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not is_hidden(entry.name))


def _read(path: str, read: Callable[[str], T]) -> T:
    """``read(path)``, tried again where the machine is in trouble; what is forbidden or gone is the caller's to say."""
    return retry(lambda: read(path), path, _SAID)
