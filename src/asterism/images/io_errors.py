"""Errors of the machine told from errors of a file: they are tried again, then end the work, never a picture."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from asterism.errors import StorageError

T = TypeVar("T")


class Unreadable(Exception):
    """A file that gives no image; `reason` is one line, `identified` says whether it looked like an image at all."""

    def __init__(self, reason: str, identified: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.identified = " ".join(reason.split()), identified


# What these say holds for the machine, the disk, or the user's rights. The bytes of a file are not known to be wrong.
_NAMES = [
    *("EACCES", "EPERM", "EROFS"),  # rights
    *("ENOMEM", "EMFILE", "ENFILE", "ENOSPC", "EDQUOT", "EAGAIN", "EBUSY", "EDEADLK", "ENOLCK", "EINTR", "ETXTBSY"),
    *("EIO", "ENXIO", "ENODEV", "ENOMEDIUM", "EUCLEAN"),  # the disk
    *("ENOENT", "ENOTDIR", "ESTALE"),  # listed, and gone since
    # A mounted disk of another machine.
    *("ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNABORTED"),
    *("ECONNREFUSED", "ECONNRESET", "EREMOTEIO", "ECOMM", "EPIPE", "ESHUTDOWN", "ENOLINK", "EKEYEXPIRED", "ENOKEY"),
]
MACHINE_ERRNOS = frozenset(getattr(errno, name) for name in _NAMES if hasattr(errno, name))
_LASTING = frozenset((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR))  # no pause mends these
PAUSES = (0.05, 0.25, 0.7)  # seconds before a second, third and fourth try


def is_machine_error(error: BaseException) -> bool:
    """Whether an error says nothing about the file: memory, descriptors, rights, a disk or mount that failed.

    Such an error must never be reported as a damaged image, and never be remembered.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in MACHINE_ERRNOS)


def patiently(read: Callable[[], T], may_pass: Callable[[Exception], bool]) -> T:
    """``read()``, tried again after short pauses as long as its error may pass; the last one is raised."""
    for pause in PAUSES:
        try:
            return read()
        except Exception as error:
            if not may_pass(error):
                raise
        time.sleep(pause)
    return read()


def retry(read: Callable[[], T], called: str, known: Collection[int] = ()) -> T:
    """``read()``, tried again after short pauses where the machine and not the file is in trouble.

    Parameters
    ----------
    read : callable
        Opens and reads one file.
    called : str
        What the message calls the file.
    known : collection of int, optional
        Numbers of errors that the caller tells in his own words: they are passed on.

    Raises
    ------
    StorageError
        If the trouble stays; everything else that ``read`` raises is passed on.
    """

    def may_pass(error: Exception) -> bool:
        return is_machine_error(error) and getattr(error, "errno", None) not in (*known, *_LASTING)

    try:
        return patiently(read, may_pass)
    except (OSError, MemoryError) as error:
        if not is_machine_error(error) or getattr(error, "errno", None) in known:
            raise
        raise StorageError(_line(error, called)) from error


def _line(error: OSError | MemoryError, called: str) -> str:
    reason = (error.strerror if isinstance(error, OSError) else None) or "not enough memory"
    if isinstance(error, PermissionError):
        advice = "allow reading it, or move it out of the folder"
    elif isinstance(error, FileNotFoundError):
        advice = "it was there when the folder was listed; is the disk still there? Then run the same again"
    else:
        advice = "the machine is in trouble, not the file: when that is mended, run the same again"
    return f"{called!r} cannot be read: {reason}; {advice}"
