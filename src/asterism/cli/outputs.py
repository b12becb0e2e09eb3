"""Whether a command may write where it is told to, seen before the work begins."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from asterism.errors import InputError, RunError, StorageError
from asterism.files import check_place, is_litter
from asterism.runs.folder import FILES


def check_writable(path: Path, written_before: Callable[[Path], bool] | None = None, overwrite: bool = False) -> None:
    """See, before hours of work, that a file or folder can be made at a path.

    Parameters
    ----------
    path : Path
    written_before : callable, optional
        Of a file: says whether one that is there was written by the same command before, and may be replaced.
    overwrite : bool, default=False
        Replace any file.

    Raises
    ------
    RunError, StorageError
        If not.
    """
    check_place(path)
    ancestor = path.absolute()
    while not os.path.lexists(ancestor) and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    if ancestor != path.absolute() and not ancestor.is_dir():
        raise StorageError(f"cannot write to {path}: {ancestor} is not a folder; choose another place")
    if not os.access(ancestor, os.W_OK):
        raise StorageError(f"cannot write to {path}: no permission in {ancestor}; choose another place")
    for link in (one for one in (path.absolute(), *path.absolute().parents) if one.is_symlink()):
        if any((above / "run.json").is_file() for above in link.parents):  # perhaps a stranger's run
            raise RunError(f"cannot write to {path}: {link} is a link in a run folder; choose another place")
    if written_before is None:
        return
    if path.name in ("run.json", *FILES) and (path.parent / "run.json").is_file():
        raise RunError(f"{path} belongs to the run in {path.parent}; choose another place")
    if overwrite or not os.path.lexists(path):
        return
    if not path.is_file():
        raise StorageError(f"cannot write to {path}: it is not a file; choose another place")
    if not written_before(path):
        raise RunError(f"{path} is there already and was not written by this command; choose another, or --overwrite")


def check_folder(path: Path, is_ours: Callable[[str], bool]) -> None:
    """See that files may be put into a folder: one that is new or empty, or holds nothing but an earlier answer.

    Parameters
    ----------
    path : Path
    is_ours : callable
        Says of the name of a file whether the same command writes such.

    Raises
    ------
    RunError, StorageError
        If not.
    """
    check_writable(path)
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise StorageError(f"cannot write to {path}: it is not a folder; choose another place")
    with os.scandir(path) as found:
        others = sorted(
            one.name
            for one in found
            if one.is_symlink() or not (one.is_file() and (is_ours(one.name) or is_litter(Path(one.path))))
        )
    if others:
        raise RunError(
            f"{path} holds {others[0]!r}, which is not of this command; choose a folder that is new or empty"
        )


def check_page(run: Path, out: Path | None) -> Path:
    """Where a page goes; what is there already must be a page; raises `InputError` or `StorageError`."""
    page = out or run / "report.html"
    if out is not None and page.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {out} must end in .html: it names the page")
    check_writable(page)
    if out is not None and page.is_file():
        with open(page, "rb") as file:
            if b"Asterism</title>" not in file.read(2**16):
                raise InputError(f"{page} is there already and is no page of Asterism's; choose another --out")
    return page
