"""The groups as folders: ``DIR/cluster-003/`` with the images of group 3, as links or copies.

Every folder is made anew and every file name is one plain component, so nothing is ever written outside of DIR;
``export.csv`` in it lists what was written, and only what stands there is removed when DIR is written again.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from asterism.cli.outputs import check_writable
from asterism.cli.recorded import Unrecorded, known_levels, read_recorded
from asterism.cli.text import counted, note
from asterism.errors import InputError, RunError, StorageError
from asterism.files import csv_safe, is_litter, write_csv
from asterism.images.io_errors import Unreadable
from asterism.images.label_files import match_paths
from asterism.images.listing import Listed
from asterism.images.paths import Listing, is_searched, list_images
from asterism.images.remote import is_fetched
from asterism.images.shards import Member, is_shards, list_members, list_shards
from asterism.runs.folder import has_header

MANIFEST = "export.csv"
HEADER = ("file", "cluster", "path")
NONE = "none"  # the folder of images that belong nowhere
_OURS = re.compile(r"(?:none|cluster-\d+|group-\d+(?:/group-\d+(?:-\d+)+)*)/(?!\.{1,2}$)[^/\0]+")
LONGEST_NAME = 200  # bytes; most file systems take 255


def check_export(target: Path, source: str | list[str] | None, overwrite: bool) -> None:
    """See, before hours of work, that groups can be written to a folder.

    Raises
    ------
    InputError, RunError, StorageError
        If it lies among the images, or holds something else.
    """
    check_writable(target)
    if isinstance(source, str) and is_searched(source, target):
        raise InputError(f"{target} lies among the images, where it would be taken for images; choose another")
    if not target.is_dir():
        if os.path.lexists(target):
            raise StorageError(f"{target} is not a folder; choose another")
        return
    manifest = target / MANIFEST
    ours = manifest.is_file() and not manifest.is_symlink() and has_header(manifest, HEADER)
    if not ours and not all(map(is_litter, target.iterdir())):
        raise RunError(f"{target} holds other things; groups need a folder that is new or empty: choose another")
    if ours and not overwrite:
        raise RunError(f"{target} holds groups already; choose another folder, or --overwrite")


def export_recorded(
    path: Path, target: Path, n_clusters: int | None, levels: bool, copy: bool, images: str | None, overwrite: bool
) -> int:
    """Export a run's groups, merged or divided into so many, or all levels, by what stands in its tables; how many.

    Raises
    ------
    Unrecorded
        Before anything is written.
    InputError, MissingDataError, RunError, StorageError
    """
    run = read_recorded(path, images)
    numbers = [one["n_clusters"] for one in known_levels(run.content) or ()] if levels else None
    if numbers == []:
        raise Unrecorded
    groups, folders = regrouped(run.groups, n_clusters, numbers, run.regrouped)
    files = files_of(run.source)
    picture = run.picture() if files is None else None
    check_export(target, run.source, overwrite)
    return export_groups(groups, run.names, target, files, picture, copy, folders)


def export_groups(
    labels: np.ndarray,
    names: list[str],
    target: Path,
    files: dict[str, Listed] | None,
    picture: Callable[[int], np.ndarray] | None = None,
    copy: bool = False,
    folders: list[str] | None = None,
) -> int:
    """Write the images of each group to a folder of its own.

    Parameters
    ----------
    labels : ndarray of shape (N,)
        The group of each image.
    names : list of str, of length N
        Of the images.
    target : Path
        See `check_export`; an earlier export in it is removed.
    files : dict or None
        See `files_of`.
    picture : callable, optional
        Gives an image by its number, as an array of bytes, needed where they are not files.
    copy : bool, default=False
        Copies instead of symbolic links. Images in shards, and those that were fetched, are always copied; arrays and
        named sets become PNG files.
    folders : list of str, optional
        Folder of each image, below ``target``; by default ``cluster-000`` and so on.

    Returns
    -------
    int
        Number of images that were written; how many are no longer there is said on standard error.

    Raises
    ------
    InputError
        If none of the images is there.
    StorageError
    """
    if files is not None:
        files = _known(names, files)
    try:
        target.mkdir(parents=True, exist_ok=True)
        _remove_earlier(target)
        return _write(target, labels, folders or _folders(labels), names, files, picture, copy)
    except Unreadable as error:
        raise StorageError(
            f"cannot write the groups to {target}: an image of a shard cannot be read: {error}"
        ) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        hint = "" if copy else "; where links are not possible, use --copy"
        raise StorageError(f"cannot write the groups to {target}: {error.strerror or error}{hint}") from error


def _write(
    target: Path,
    labels: np.ndarray,
    folders: list[str],
    names: list[str],
    files: dict[str, Listed] | None,
    picture: Callable[[int], np.ndarray] | None,
    copy: bool,
) -> int:
    taken: dict[str, int] = {}
    planned = []  # of each image what it will be called, below DIR, and the file that it is, if it is one
    for index, (name, folder) in enumerate(zip(names, folders, strict=True)):
        origin = None if files is None else files.get(name)
        if files is None or (origin is not None and os.path.isfile(origin.path)):
            chosen = unused_name(folder, name, ".png" if origin is None else None, taken)
            planned.append((chosen, origin, index))
    # First the list: an export that breaks off can then be removed, and made again.
    rows = ([chosen, labels[index], csv_safe(names[index])] for chosen, _, index in planned)
    write_csv(target / MANIFEST, HEADER, rows)
    used = {chosen.rpartition("/")[0] for chosen, _, _ in planned}
    for folder in sorted({"/".join(one.split("/")[:n]) for one in used for n in range(1, one.count("/") + 2)}):
        _make(target / folder)
    for chosen, origin, index in planned:
        if isinstance(origin, Member):
            (target / chosen).write_bytes(origin.content)
        elif origin is not None and (copy or is_fetched(origin.path)):
            shutil.copyfile(origin.path, target / chosen)
        elif origin is not None:
            os.symlink(os.path.abspath(origin.path), target / chosen)
        elif picture is not None:
            Image.fromarray(picture(index)).save(target / chosen, format="PNG")
    if len(planned) < len(names):
        note(f"{counted(len(names) - len(planned), 'image')} no longer there and not exported")
    return len(planned)


def _make(folder: Path) -> None:
    """Make a folder; one that is there must be empty, and no link: it could lead elsewhere."""
    try:
        folder.mkdir()
    except FileExistsError:
        if folder.is_symlink() or not folder.is_dir() or not all(map(is_litter, folder.iterdir())):
            raise StorageError(f"{folder} is not asterism's; move it, or choose another folder") from None


def _folders(labels: np.ndarray, kind: str = "cluster") -> list[str]:
    """Folder of each image, by its group."""
    width = max(3, len(str(labels.max())))
    return [NONE if group < 0 else f"{kind}-{group:0{width}d}" for group in labels.tolist()]


def nested_folders(levels: list[np.ndarray]) -> list[str]:
    """Folder of each image: groups within groups.

    Parameters
    ----------
    levels : list of ndarray of shape (N,)
        Groups from coarse to fine, which nest; −1 for an image that is in none.

    Returns
    -------
    list of str, of length N
        ``group-002``, ``group-002/group-002-1`` for its first part, and so on;
        ``none``.
    """
    whole = _folders(levels[0], "group")
    for finer in levels[1:]:
        parts: dict[str, dict[int, int]] = {}  # of each folder, its parts and their numbers
        for folder, part in sorted({*zip(whole, finer.tolist(), strict=True)}):
            parts.setdefault(folder, {})[part] = len(parts.get(folder, ())) + 1
        for i, folder in enumerate(whole):
            if len(parts[folder]) > 1:
                whole[i] = f"{folder}/{folder.rpartition('/')[2]}-{parts[folder][int(finer[i])]}"
    return whole


def regrouped(
    own: np.ndarray, n_clusters: int | None, levels: list[int] | None, cut: Callable[[int], np.ndarray]
) -> tuple[np.ndarray, list[str] | None]:
    """Groups (N,) as they are to be exported, and the folder of each image; None for one folder a group.

    Parameters
    ----------
    own : ndarray of shape (N,)
        The run's groups.
    n_clusters : int or None
        Merge or divide them into so many.
    levels : list of int or None
        Numbers of groups of the levels that a run has: folders within folders for all of them, its own among them; the
        groups are those of the finest.
    cut : callable
        Gives so many groups (N,) that nest with the run's.

    Raises
    ------
    InputError
        If levels are wanted, and there is none.
    """
    if levels is not None:
        if not levels:
            raise InputError("these images are too few to tell levels apart; give a number of groups with --cut")
        found = [cut(number) for number in sorted({*levels, len(np.unique(own[own >= 0]))})]
        return found[-1], nested_folders(found)
    if n_clusters is None:
        return own, None
    groups = cut(n_clusters)
    return groups, within(groups, own)


def within(groups: np.ndarray, run_groups: np.ndarray) -> list[str]:
    """Folders of groups that are unions, or parts, of a run's."""
    return nested_folders(sorted((run_groups, groups), key=lambda labels: len(np.unique(labels))))


def unused_name(folder: str, name: str, ending: str | None, taken: dict[str, int]) -> str:
    """``folder/name``: one plain component behind the folder, as no other image has it (on any file system).

    Parameters
    ----------
    folder : str
    name : str
        Of the image; only what stands behind its last slash is used.
    ending : str or None
        Replaces the name's own.
    taken : dict of str to int
        Names that are used, in lower case, each with the number that is tried next for another of that name; the new
        one is added.
    """
    base = re.split(r"[/\\]", name)[-1]
    stem, own = os.path.splitext(base)
    stem = "".join(one if one.isprintable() and one not in '<>:"|?*' else "_" for one in stem).strip(" .") or "image"
    own = "".join(one for one in own if one.isalnum() or one == ".")[:10] if ending is None else ending
    stem = stem.encode()[:LONGEST_NAME].decode(errors="ignore")
    encoding = sys.getfilesystemencoding()  # of few letters where a shell says LC_ALL=C, or Latin-1
    stem, own = (one.encode(encoding, "replace").decode(encoding).replace("?", "_") for one in (stem, own))
    chosen = f"{folder}/{stem}{own}"
    first = chosen.casefold()
    number = taken.get(first, 2)
    while chosen.casefold() in taken:
        chosen, number = f"{folder}/{stem}-{number}{own}", number + 1
    taken[first] = number
    taken.setdefault(chosen.casefold(), 2)
    return chosen


def files_of(source: str | list[str] | None) -> dict[str, Listed] | None:
    """The file of each image, or its place in a shard, by the name that a run knows it by.

    None where images are neither.

    Raises
    ------
    InputError, MissingDataError, StorageError
        If the folder, list or shard cannot be read.
    """
    if isinstance(source, str) and is_shards(source):
        listing: Listing | None = list_members(list_shards(source))
    else:
        listing = None if source is None else list_images(source)
    return None if listing is None else {file.name: file for file in listing.files}


def _known(names: list[str], files: dict[str, Listed]) -> dict[str, Listed]:
    """Files by the names of the images; where none is called so, by paths that agree as those of labels do."""
    if any(name in files for name in names):
        return files
    listed = list(files)
    found = {
        name: files[listed[i]] for name, i in zip(names, match_paths(names, listed).tolist(), strict=True) if i >= 0
    }
    if not found and names:
        there = f"; there: {listed[0][:200]!r}" if listed else ""
        raise InputError(
            f"none of the {counted(len(names), 'image')} is there any more; images: {names[0][:200]!r}{there}"
        )
    return found


def _remove_earlier(target: Path) -> None:
    """Remove what an earlier export wrote, and nothing else."""
    manifest = target / MANIFEST
    if not manifest.is_file():
        return
    try:
        with open(manifest, newline="", encoding="utf-8") as lines:
            written = [row[0] for row in csv.reader(lines) if row]
    except (ValueError, csv.Error) as error:
        raise StorageError(f"{manifest} cannot be read: {error}; choose another folder") from error
    names = [name for name in written if _OURS.fullmatch(name)]
    above = {target / name: [target / one for one in Path(name).parents][:-1] for name in names}  # folders below DIR
    ours = {file for file, outer in above.items() if not any(one.is_symlink() for one in outer)}
    folders = {one for file in ours for one in above[file] if one.is_dir()}
    for folder in folders:
        if any(one not in ours and one not in folders and not is_litter(one) for one in folder.iterdir()):
            raise StorageError(f"{folder} holds files that are not asterism's; move them or choose another")
    for file in ours:
        file.unlink(missing_ok=True)
    for folder in sorted(folders, reverse=True):  # the inner ones first
        for one in filter(is_litter, list(folder.iterdir())):
            one.unlink()
        folder.rmdir()
    manifest.unlink()
