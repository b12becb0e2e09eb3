"""WebDataset shards, plain ``.tar`` files of samples -> `ImageSource`.

A sample is a run of members that share a name up to the first dot: ``0001.jpg``, ``0001.cls``. Only the headers are
read to list them; an image is read from its place in the shard when it is decoded, as the file of a folder is.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from asterism.errors import InputError, MissingDataError, StorageError
from asterism.images.decode import Unreadable
from asterism.images.folder import open_listed
from asterism.images.io_errors import retry
from asterism.images.labels import encode_labels
from asterism.images.listing import IMAGE_ENDINGS, Listed, natural_key, shown_name
from asterism.images.options import Options
from asterism.images.source import ImageSource, Skipped

ENDING = ".tar"
LARGEST = 2**29  # bytes of a member; a larger one is no image that could be decoded
_LABEL = ".cls"
_LABEL_BYTES = 1024
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


@dataclass(frozen=True)
class Member(Listed):
    """An image in a shard: where its bytes lie, and the label of its sample."""

    offset: int = 0
    label: str | None = None

    @property
    def content(self) -> bytes:
        """The encoded image.

        Raises
        ------
        Unreadable, StorageError
            The second if the machine, not the shard, is in trouble.
        """
        if self.n_bytes > LARGEST:
            raise Unreadable(f"{self.n_bytes:,} bytes, more than the {LARGEST:,} that are read")
        try:
            return retry(self._read, self.path)
        except StorageError:
            raise
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from error

    def _read(self) -> bytes:
        with open(self.path, "rb") as shard:
            shard.seek(self.offset)
            return shard.read(self.n_bytes)


def is_pattern(path: str) -> bool:
    """Whether it names shards by braces: ``train-{000..146}.tar``."""
    return path.endswith(ENDING) and _BRACES.search(path) is not None


def is_shards(path: str) -> bool:
    """Whether a path names shards: a pattern, a ``.tar`` file, or a folder that holds such files and no images."""
    if not os.path.isdir(path):
        return path.endswith(ENDING)
    try:
        names = os.listdir(path)
    except OSError:  # said where the folder is opened
        return False
    images = any(os.path.splitext(name)[1].lower() in IMAGE_ENDINGS for name in names)
    return not images and any(name.endswith(ENDING) and not name.startswith(".") for name in names)


def expand(pattern: str) -> list[str]:
    """The names that a pattern stands for: ``a-{08..10}.tar`` is ``a-08.tar``, ``a-09.tar``, ``a-10.tar``."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    first, last, words = found.groups()
    numbers = range(int(first), int(last) + 1) if words is None else ()
    parts = [f"{i:0{len(first)}d}" for i in numbers] if words is None else words.split(",")
    return [name for part in parts for name in expand(pattern[: found.start()] + part + pattern[found.end() :])]


def open_shards(path: str, options: Options) -> ImageSource:
    """Open the images of shards.

    Parameters
    ----------
    path : str
        See `is_shards`.
    options : Options
        Size and colour as for a folder (`open_folder`).

    Returns
    -------
    ImageSource
        uint8. Shards stand in natural order, samples as they lie in them, so that a shard is read from its beginning to
        its end; names are ``SHARD/member.jpg``. Labels are those of the members ``.cls``, where every image has one.

    Raises
    ------
    MissingDataError
        If a shard that a pattern names does not exist.
    InputError
        If no shard holds an image; with ``strict`` if a shard or an image is damaged.
    StorageError
        If the images fit neither into memory nor into the cache folder.

    Notes
    -----
    Cost: the headers of all members at every opening; then as for a folder.
    """
    shards = _shards(path)
    skipped: list[Skipped] = []
    members = [member for shard in shards for member in _members(shard, skipped, options.strict)]
    root = os.path.abspath(path)
    opened, kept = open_listed(f"shards {shown_name(root)!r}", root, members, skipped, options)
    labels = [one.label for one in kept if isinstance(one, Member) and one.label is not None]
    if len(labels) < len(kept):
        return opened
    whole = all(re.fullmatch(r"[0-9]{1,18}", one) for one in labels)
    encoded, label_names = encode_labels([int(one) for one in labels] if whole else labels)
    return replace(opened, labels=encoded, label_names=label_names)


def _shards(path: str) -> list[str]:
    if os.path.isdir(path):
        names = [name for name in os.listdir(path) if name.endswith(ENDING) and not name.startswith(".")]
        return [os.path.abspath(os.path.join(path, name)) for name in sorted(names, key=natural_key)]
    shards = [os.path.abspath(one) for one in expand(path)]
    missing = [one for one in shards if not os.path.isfile(one)]
    if missing or not shards:
        among = f"{len(missing)} of {len(shards)} shards do not exist; the first is {missing[0]!r}" if missing else ""
        raise MissingDataError(among or f"{path!r} names no shard: count upwards, as in shards-{{000..099}}.tar")
    return shards


def _members(shard: str, skipped: list[Skipped], strict: bool) -> Iterator[Member]:
    """The first image of each sample of a shard; what is no plain file is passed over."""
    called = os.path.basename(shard).removesuffix(ENDING)
    try:
        modified = os.stat(shard).st_mtime_ns
        with tarfile.open(shard, "r:") as archive:
            for sample in _samples(archive):
                yield from _image_of(sample, archive, shard, called, modified)
                archive.members = []  # type: ignore[attr-defined]  # else the archive remembers every member
        if not _ended(shard):
            raise tarfile.ReadError("it ends without the mark of its end")
    except (OSError, EOFError, tarfile.TarError) as error:
        reason = "not a plain tar archive (a compressed one cannot be read), or cut off"
        reason = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else f"{reason}: {error}"
        if strict:
            raise InputError(f"strict=True and shard {shard!r} cannot be read: {reason}") from error
        skipped.append(Skipped(shown_name(os.path.basename(shard)), reason))


def _ended(shard: str) -> bool:
    """Whether an archive has its end, two blocks of zeros: one cut off between two members looks whole otherwise."""
    with open(shard, "rb") as file:
        file.seek(max(0, os.path.getsize(shard) - 1024))
        return not any(file.read())


def _key(name: str) -> tuple[str, str]:
    """Folder and stem of a member, and what stands behind the first dot of its name: WebDataset's rule."""
    folder, slash, base = name.rpartition("/")
    stem, dot, ending = base.partition(".")
    return folder + slash + stem, (dot + ending).lower()


def _samples(archive: tarfile.TarFile) -> Iterator[list[tarfile.TarInfo]]:
    sample: list[tarfile.TarInfo] = []
    for member in archive:
        if not member.isfile():
            continue
        if sample and _key(member.name)[0] != _key(sample[0].name)[0]:
            yield sample
            sample = []
        sample.append(member)
    if sample:
        yield sample


def _image_of(
    sample: Iterable[tarfile.TarInfo], archive: tarfile.TarFile, shard: str, called: str, modified: int
) -> Iterator[Member]:
    by_ending: dict[str, tarfile.TarInfo] = {}
    for one in sample:
        by_ending.setdefault(_key(one.name)[1], one)
    image = next((one for ending, one in by_ending.items() if ending in IMAGE_ENDINGS), None)
    if image is None:
        return
    label = None
    if _LABEL in by_ending and by_ending[_LABEL].size <= _LABEL_BYTES:
        stream = archive.extractfile(by_ending[_LABEL])
        label = None if stream is None else stream.read().decode("utf-8", "replace").strip() or None
    name = shown_name(f"{called}/{image.name}")
    yield Member(shard, name, image.size, modified, image.offset_data, label)
