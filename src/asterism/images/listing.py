"""What lies in a folder: every file below it, in natural order, without following links in circles."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass

from asterism.errors import InputError
from asterism.images.source import Skipped

# Names that announce an image. Only for the words of a refusal and for strict=True: content decides what is one.
IMAGE_ENDINGS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".bmp",
        ".dib",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".avif",
        ".heic",
        ".heif",
    ]
)


@dataclass(frozen=True)
class Listed:
    """A file: the path that opens it, the name that is shown (always UTF-8), and what tells that it has changed."""

    path: str
    name: str
    n_bytes: int
    modified_ns: int

    @property
    def content(self) -> str | bytes:
        """What is decoded: here the path, or the encoded image itself."""
        return self.path

    @property
    def looks_like_image(self) -> bool:
        """Whether its name ends as those of images do."""
        return os.path.splitext(self.name)[1].lower() in IMAGE_ENDINGS


def natural_key(name: str) -> list[list[tuple[str, int, str]]]:
    """Sort key under which ``img2`` stands before ``img10``, folder by folder and without regard to case."""
    key = []
    for part in name.split("/"):
        pieces = re.split(r"([0-9]+)", part.casefold())  # text, digits, text, digits, …
        key.append([_number_key(piece) if i % 2 else (piece, 0, "") for i, piece in enumerate(pieces)])
    return [*key, [(name, 0, "")]]  # the name itself settles ties such as a1 and a01


def _number_key(digits: str) -> tuple[str, int, str]:
    """Orders digits as the number that they are; Python makes no number of more than 4 300."""
    short = digits.lstrip("0")
    return "", len(short), short


def shown_name(path: str) -> str:
    r"""A path as text that can be written as UTF-8: bytes that are not UTF-8 appear as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def list_files(root: str) -> tuple[list[Listed], list[Skipped]]:
    """Every file below a folder.

    Hidden files and folders (a leading dot) are passed over in silence. Links to folders are followed, but no folder
    is read twice; folders themselves come before links to them.

    Parameters
    ----------
    root : str
        Absolute path of the folder.

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
        relative = "" if folder == root else os.path.relpath(folder, root).replace(os.sep, "/") + "/"
        try:
            info = os.stat(folder)
            if (info.st_dev, info.st_ino) in seen:
                skipped.append(Skipped(shown_name(relative), "a link to a folder that was read already"))
                continue
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            if folder == root:
                raise InputError(f"folder {shown_name(root)!r} cannot be read: {error.strerror}") from error
            skipped.append(Skipped(shown_name(relative), f"folder cannot be read: {error.strerror}"))
            continue
        for entry in sorted(found, key=lambda one: one.name):
            listed = _listed(entry, shown_name(relative + entry.name))
            if isinstance(listed, Listed):
                files.append(listed)
            elif isinstance(listed, Skipped):
                skipped.append(listed)
            else:
                (links if entry.is_symlink() else folders).append(entry.path)
    return sorted(files, key=lambda one: natural_key(one.name)), skipped


def _listed(entry: os.DirEntry[str], name: str) -> Listed | Skipped | None:
    """A file to read, a reason not to, or None for a folder."""
    try:
        info = entry.stat()
    except OSError as error:
        dangling = entry.is_symlink() and isinstance(error, FileNotFoundError)
        return Skipped(name, "a link to nothing" if dangling else str(error.strerror))
    if stat.S_ISDIR(info.st_mode):
        return None
    if not stat.S_ISREG(info.st_mode):  # opening a pipe would wait for ever
        return Skipped(name, "not a regular file")
    return Listed(entry.path, name, info.st_size, info.st_mtime_ns)
