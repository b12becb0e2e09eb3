"""Writing files: whole or not at all, never through a link, one process at a time, with the room made sure of first."""

from __future__ import annotations

import csv
import errno
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from asterism.errors import StorageError

_ZEROS = bytes(2**20)
LARGEST_LOCK = 4096  # bytes
_NO_LOCKS = [getattr(errno, name, None) for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP")]
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # a path makes one slash of the two
LITTER = frozenset((".DS_Store", ".directory", "Thumbs.db", "desktop.ini"))  # of folders that were looked into
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_REMARK = "#"  # begins a line that tables of numbers do not count


@contextmanager
def exclusive(lock: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file; the system lets go of it when the process ends, however it ends.

    Parameters
    ----------
    lock : Path
        Missing folders above it are made; it is removed afterwards.
    wait : bool, default=False
        Wait for another process that holds it.

    Yields
    ------
    bool
        False where another process holds it, and it was not waited for.

    Raises
    ------
    StorageError
        If the file cannot be made.

    Notes
    -----
    Some network file systems have no locks. There a warning is given, and the user must see to it himself.
    """
    from filelock import FileLock, Timeout  # loads what only a lock needs

    held = FileLock(lock, timeout=-1 if wait else 0, mode=0o644)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        _check_lock(lock)
        held.acquire()
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            reason = error.strerror or error
            raise StorageError(f"cannot write {lock}: {reason}; choose another folder") from error
        warnings.warn(
            f"the file system of {lock.parent} has no locks: see to it that one process works there at a time",
            UserWarning,
            stacklevel=3,
        )
    try:
        yield True
    finally:
        try:
            if held.is_locked:
                with suppress(OSError):
                    lock.unlink()
        finally:  # a Ctrl-C may come in between
            held.release()


def _check_lock(lock: Path) -> None:
    """See that a lock is a file of our own: opening it might empty what it is a name of."""
    with suppress(FileNotFoundError):
        found = lock.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size > LARGEST_LOCK:
            raise StorageError(f"{lock} is not a lock of Asterism's; remove it, or choose another folder")


def expanded(path: str | bytes | os.PathLike) -> Path:
    """A path with ``~`` replaced by the user's home; as it stands where the system knows of none."""
    return Path(os.path.expanduser(os.fsdecode(path)))


def is_litter(path: Path) -> bool:
    """Whether a file is what a system leaves in a folder that a person has looked into."""
    return path.name in LITTER and path.is_file()


def check_place(path: Path) -> None:
    """See that something can be written at a path: it is neither an address nor in a home that nobody has.

    Raises
    ------
    StorageError
    """
    first = path.parts[0] if path.parts else ""
    if "\0" in str(path):
        raise StorageError(f"{str(path)!r} is no path: it holds a byte of zero")
    if _ADDRESS.fullmatch(first) and not os.path.lexists(first):
        raise StorageError(f"cannot write to {path}: it is an address; choose a place on this machine")
    if first.startswith("~") and not os.path.lexists(first):
        raise StorageError(f"cannot write to {path}: there is no home {first}; give the whole path")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new, empty file beside ``path``, which takes its place when the block ends.

    A kill or an error at any moment leaves the file that was there before. A link at ``path`` is replaced, and what it
    points to stays as it is.

    Parameters
    ----------
    path : Path
        Missing folders above it are made.

    Yields
    ------
    Path
        To be written to, under a name that nothing else bears, with the same ending.

    Raises
    ------
    StorageError
        If the folder cannot be written to or the disk is full, also where the block raises an OSError.
    """
    ending = path.suffix if len(path.suffix) <= 16 else ""  # some writers choose their format by it
    temporary = path.with_name(f".partial-{os.urandom(8).hex()}{ending}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb", opener=_no_link) as file:
            mode = os.fstat(file.fileno()).st_mode
        try:
            yield temporary
            _settle(temporary, mode)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except StorageError:
        raise
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]
        raise StorageError(f"cannot write {path}: {reason}; make room or choose another place") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all.

    Raises
    ------
    StorageError
        If the folder cannot be written to or the disk is full.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    r"""Write a table, whole or not at all: UTF-8, lines that end in ``\n``, quotes where a field needs them.

    Any reader of CSV finds the same fields again: one that holds a line break of any kind is quoted.

    Parameters
    ----------
    path : Path
    header : sequence of str
        The names of the columns.
    rows : iterable of sequences
        Taken one by one, so that a long table needs no memory.

    Raises
    ------
    StorageError
        If the folder cannot be written to or the disk is full.
    """
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(_UnixLines(file))
        writer.writerow(header)
        writer.writerows(rows)


def read_table(package: str, name: str) -> list[dict[str, str]]:
    """Every row of a table that comes with a package, which may lie in a zip file, by its columns."""
    from importlib.resources import files  # loads what only tables need

    with (files(package) / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def csv_safe(name: str) -> str:
    """A relative path that no spreadsheet takes for a formula: ``=x.png`` becomes ``./=x.png``, the same file."""
    return f"./{name}" if name[:1] in _FORMULA else name


def row_safe(name: str) -> str:
    """What `csv_safe` gives, and no remark: ``#x.png`` becomes ``./#x.png``."""
    return f"./{name}" if name[:1] == _REMARK else csv_safe(name)


def csv_plain(name: str) -> str:
    """What `csv_safe` was given."""
    return name[2:] if name[:2] == "./" and name[2:3] in (*_FORMULA, _REMARK) else name


def reserve(file: BinaryIO | int, n_bytes: int) -> None:
    """Make sure of the room that a file will take.

    A file that is mapped into memory gets its room on the disk page by page. If the disk is full by then, the system
    ends the process (a bus error). After this call that cannot happen.

    Parameters
    ----------
    file : binary file or int
        Open for writing; or its descriptor. It is made n_bytes long if it is shorter. What it holds stays.
    n_bytes : int

    Raises
    ------
    OSError
        If there is not so much room, as any writing would.
    """
    handle = file if isinstance(file, int) else file.fileno()
    n_now = os.fstat(handle).st_size
    if n_bytes <= n_now:
        return
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        os.posix_fallocate(handle, n_now, n_bytes - n_now)
        return
    os.lseek(handle, n_now, os.SEEK_SET)
    while n_now < n_bytes:
        n_now += os.write(handle, _ZEROS[: n_bytes - n_now])


class _UnixLines:
    r"""What `csv.writer` writes, with ``\n`` at the ends of lines.

    The writer quotes the characters that end its lines and no other kind of line break: it must be left with ``\r\n``.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> None:
        self._file.write(line.removesuffix("\r\n") + "\n")


def _no_link(path: str, flags: int) -> int:
    """Descriptor of a file that is no link; a new one has the permissions of an ordinary file."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _settle(path: Path, mode: int) -> None:
    """Bring a written file to the disk, with the permissions that it was made with (some writers change them)."""
    with open(path, "r+b", opener=_no_link) as file:
        if os.fstat(file.fileno()).st_mode != mode:
            os.chmod(path, mode & 0o777)
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
