"""WebDataset shards, plain ``.tar`` files of samples: which paths name them, and what they hold.

A sample is a run of members that share a name up to the first dot: ``0001.jpg``, ``0001.cls``. To list the images, the
headers of the members alone are read; an image is read from its place in the shard when it is decoded, as the file of a
folder is. Whatever looks like an image and is not read is listed, as in a folder. No network library is loaded.
"""

from __future__ import annotations

import math
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, NamedTuple

import numpy as np

from asterism.errors import InputError, MissingDataError, StorageError, reason_of
from asterism.images import listing
from asterism.images.io_errors import Unreadable, retry
from asterism.images.labels import encode_labels
from asterism.images.listing import Listed, Skipped, shown_name
from asterism.images.paths import Listing

ENDING = ".tar"
MOST_SHARDS = 10**6  # that a pattern may name
# What may lie beside shards: a folder with any other file is a folder of images.
_BESIDE = frozenset((".json", ".jsonl", ".txt", ".md", ".csv", ".tsv", ".yaml", ".yml", ".idx", ".index", ".log"))
_BRACES = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}|\{([^{}]*,[^{}]*)\}")


def is_pattern(path: str) -> bool:
    """Whether it names shards by braces: ``train-{000..146}.tar``."""
    return is_shard(path) and _BRACES.search(path) is not None


def is_shard(path: str) -> bool:
    """Whether a path ends as shards do."""
    return path.lower().endswith(ENDING)


def is_shards(path: str) -> bool:
    """Whether a path names shards: a pattern, a ``.tar`` file, or a folder that plainly is one of shards.

    That is one with ``.tar`` files in it, or in its subfolders, and nothing else but tables, notes and compressed
    archives.
    """
    if not os.path.isdir(path):
        return is_shard(path)
    found = False
    for folder, folders, names in os.walk(path):
        folders[:] = [one for one in folders if not listing.is_hidden(one)]
        if any(os.path.islink(os.path.join(folder, one)) for one in folders):
            return False
        for name in (one for one in names if not listing.is_hidden(one)):
            ending = os.path.splitext(name)[1].lower()
            found = found or ending == ENDING
            if ending not in (ENDING, *listing.COMPRESSED, *_BESIDE):
                return False
    return found


def expand(pattern: str) -> list[str]:
    """The names that a pattern stands for: ``a-{08..10}.tar`` is ``a-08.tar``, ``a-09.tar``, ``a-10.tar``.

    Raises
    ------
    InputError
        If they are more than `MOST_SHARDS`.
    """
    spans = [
        int(last) - int(first) + 1 if not words else words.count(",") + 1
        for first, last, words in _BRACES.findall(pattern)
    ]
    if math.prod(max(0, n) for n in spans) > MOST_SHARDS:
        raise InputError(f"{pattern!r} names more than {MOST_SHARDS:,} shards")
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    first, last, words = found.groups()
    numbers = range(int(first), int(last) + 1) if words is None else ()
    parts = [f"{i:0{len(first)}d}" for i in numbers] if words is None else words.split(",")
    return [name for part in parts for name in expand(pattern[: found.start()] + part + pattern[found.end() :])]


LARGEST = 2**29  # bytes of a member; a larger one is no image that could be decoded
_REPLACED = "replaced by a later member of the same name"
_LABEL = ".cls"
_LABEL_BYTES = 1024
_LONGEST_WORDS = 2**20  # bytes of a header's own data: long names, comments
_WORDS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


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
            return _bytes_of(shard, self)


def list_shards(path: str) -> Listing:
    """The shards that a path names, in natural order; see `is_shards`.

    Raises
    ------
    MissingDataError
        If a shard that a pattern names does not exist.
    """
    root = os.path.abspath(path)
    called = f"shards {shown_name(root)!r}"
    if os.path.isdir(path):
        files, skipped = listing.list_files(root)
        shards = [one for one in files if is_shard(one.name)]
        reasons = ((one.name, listing.archive_reason(one.name)) for one in files if not is_shard(one.name))
        skipped += [Skipped(name, reason) for name, reason in reasons if reason is not None]
        return Listing(called, root, shards, skipped)
    paths = [root] if os.path.exists(root) else [os.path.abspath(one) for one in expand(path)]
    missing = [one for one in paths if not os.path.isfile(one)]
    if missing or not paths:
        among = f"{len(missing)} of {len(paths)} shards do not exist; the first is {missing[0]!r}" if missing else ""
        raise MissingDataError(among or f"{path!r} names no shard: count upwards, as in shards-{{000..099}}.tar")
    above = os.path.commonpath([os.path.dirname(one) for one in paths])
    files = [Listed(one, shown_name(os.path.relpath(one, above)), 0, 0) for one in paths]
    return Listing(called, root, files)


def list_members(shards: Listing, strict: bool = False, progress: listing.Progress = listing.silent) -> Listing:
    """The images in shards, in their order; names are ``SHARD/member.jpg``.

    Raises
    ------
    InputError
        With ``strict``, if a shard is damaged or something that looks like an image is not read.
    StorageError
    """
    skipped = list(shards.skipped)
    if strict and skipped:
        raise InputError(f"strict=True and {skipped[0].name!r} is not read: {skipped[0].reason}")
    members: list[Listed] = []
    for shard in shards.files:
        members += _Shard(shard.path, shard.name, skipped, strict).members()
        progress("listing", len(members), 0)
    progress("listing", len(members), len(members))
    return Listing(shards.called, shards.source, listing.uniquely_named(members), skipped)


def member_labels(members: Sequence[Listed]) -> tuple[np.ndarray, list[str] | None] | None:
    """Classes (N,) that the members ``.cls`` tell, and what they are called; None unless every image has one.

    Images that lie in no shard have none.
    """
    labels = [one.label for one in members if isinstance(one, Member) and one.label is not None]
    if len(labels) < len(members):
        return None
    whole = all(re.fullmatch(r"[0-9]{1,18}", one) for one in labels)
    return encode_labels([int(one) for one in labels] if whole else labels)


class _Part(NamedTuple):
    """A member of a shard, as its header has it."""

    name: str
    n_bytes: int
    offset: int

    @property
    def ending(self) -> str:
        """What stands behind the last dot: the kind of file."""
        return os.path.splitext(self.name)[1].lower()

    @property
    def key(self) -> tuple[str, str]:
        """Folder and stem, and what stands behind the first dot of the name: WebDataset's rule."""
        folder, slash, base = self.name.rpartition("/")
        stem, dot, ending = base.partition(".")
        return folder + slash + stem, (dot + ending).lower()


class _Header(tarfile.TarInfo):
    """A header that is not believed where it claims what makes no sense."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in _WORDS and found.size > _LONGEST_WORDS):
            raise tarfile.ReadError(f"a header claims {found.size} bytes")
        return found


@dataclass
class _Shard:
    """One shard on its way to members; what is not read is added to ``skipped``."""

    path: str
    name: str
    skipped: list[Skipped]
    strict: bool
    found: dict[str, Member] = field(default_factory=dict)
    passed: list[Skipped] = field(default_factory=list)
    places: dict[str, list[str]] = field(default_factory=dict)  # names of the images of each stem
    apart: list[_Part] = field(default_factory=list)  # members that no image stands beside

    def members(self) -> list[Member]:
        """Its images, in their order; of two with one name the later, as when it is unpacked."""
        try:
            retry(self._read, self.path)
        except (InputError, StorageError):
            raise
        except Exception as error:  # damaged or made up, tarfile raises anything
            reason = "not a plain tar archive (a compressed one cannot be read), or cut off"
            reason = getattr(error, "strerror", None) or f"{reason}: {reason_of(error, 200)}"
            if self.strict:
                raise InputError(f"strict=True and shard {self.path!r} cannot be read: {reason}") from error
            self.passed.append(Skipped(self.name, reason))
        self.skipped += self.passed
        return list(self.found.values())

    def _read(self) -> None:
        for one in (self.found, self.passed, self.places, self.apart):
            one.clear()
        modified = listing.changed(os.stat(self.path))
        with open(self.path, "rb") as file, tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive:
            sample: list[_Part] = []
            try:
                for part in self._parts(archive):
                    if sample and part.key[0] != sample[0].key[0]:
                        self._add(sample, file, modified)
                        sample = []
                    sample.append(part)
            finally:  # what stands before a damage is sound
                self._add(sample, file, modified)
                self._join(file)
            _check_end(file, archive.offset)

    def _parts(self, archive: tarfile.TarFile) -> Iterator[_Part]:
        """Its plain files."""
        before = -1
        while (header := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # else the archive remembers every member
            if header.size < 0 or archive.offset <= before:
                raise tarfile.ReadError("a header leads backwards")
            before = archive.offset
            name = header.name.removeprefix("./")
            if header.isdir() or any(listing.is_hidden(one) for one in name.split("/")):
                continue
            if not header.isreg() or header.issparse():
                kind = "a sparse member" if header.issparse() else "a link or a device, not a file"
                self._pass_over(name, f"{kind}; it is not read")
                continue
            yield _Part(name, header.size, header.offset_data)

    def _add(self, sample: Sequence[_Part], file: BinaryIO, modified: int) -> None:
        """The picture of a sample; all of its pictures where none has nothing but an ending behind the first dot."""
        latest = {one.name: one for one in sample}
        replaced = [one.name for one in sample if latest[one.name] is not one and one.ending in listing.IMAGE_ENDINGS]
        self.passed += [Skipped(self._called(name), _REPLACED) for name in replaced]
        sample = list(latest.values())
        pictures = [one for one in sample if one.ending in listing.IMAGE_ENDINGS]
        plain = [one for one in pictures if one.key[1] in listing.IMAGE_ENDINGS]
        chosen = plain[:1] or pictures
        for one in pictures if plain else ():
            if one is not chosen[0]:
                self._pass_over(one.name, f"a further picture of the sample of {shown_name(chosen[0].name)}")
        if sample and not pictures:
            self.apart += sample
        labels = {
            one.name[: -len(_LABEL)]: one for one in sample if one.ending == _LABEL and one.n_bytes <= _LABEL_BYTES
        }
        for one in chosen:
            label = labels.get(os.path.splitext(one.name)[0]) or labels.get(one.key[0])
            name = self._called(one.name)
            if self.found.pop(name, None) is not None:
                self.passed.append(Skipped(name, _REPLACED))
            text = None if label is None else _label_of(file, label)
            self.found[name] = Member(self.path, name, one.n_bytes, modified, one.offset, text)
            for stem in {os.path.splitext(one.name)[0], one.key[0]}:
                self.places.setdefault(stem, []).append(name)

    def _join(self, file: BinaryIO) -> None:
        """Give labels to the images that they do not stand beside: ``tar`` takes the files of a folder in any order."""
        told = set[str]()
        for part in self.apart:
            names = self.places.get(os.path.splitext(part.name)[0]) or self.places.get(part.key[0])
            if names is None and part.key[0] not in told:
                told.add(part.key[0])
                self._pass_over(part.name, "no image by the ending of its name, and none beside it")
            is_label = part.ending == _LABEL and part.n_bytes <= _LABEL_BYTES
            for name in names if names is not None and is_label else ():
                if self.found[name].label is None:
                    self.found[name] = replace(self.found[name], label=_label_of(file, part))

    def _called(self, member: str) -> str:
        return shown_name(f"{self.name[: -len(ENDING)]}/{member}")

    def _pass_over(self, member: str, reason: str) -> None:
        name = self._called(member)
        if self.strict and listing.looks_like_image(member):
            raise InputError(f"strict=True and image {name!r} is not read: {reason}")
        self.passed.append(Skipped(name, reason))


def _label_of(file: BinaryIO, part: _Part) -> str | None:
    return _bytes_of(file, part).decode("utf-8", "replace").strip() or None


def _bytes_of(file: BinaryIO, part: _Part | Member) -> bytes:
    file.seek(part.offset)
    return file.read(part.n_bytes)


def _check_end(file: BinaryIO, offset: int) -> None:
    """See that nothing but the mark of the end, zeros, stands behind the last member: tarfile stops at any damage."""
    file.seek(offset)
    mark = file.read(tarfile.BLOCKSIZE)
    if any(mark):
        raise tarfile.ReadError(f"damaged at byte {offset}; what stands behind is not read")
    if len(mark) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends without the mark of its end")
    while rest := file.read(2**20):
        if any(rest):
            raise tarfile.ReadError("it goes on behind the mark of its end (two archives in one); that is not read")
