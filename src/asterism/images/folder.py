"""A folder of images of any kind and size -> `ImageSource`."""

from __future__ import annotations

import hashlib
import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from asterism.errors import InputError
from asterism.images.convert import has_color
from asterism.images.decode import Header, Unreadable, decode, quiet, read_header, read_image, read_range, read_sample
from asterism.images.depth import ASKED, SAMPLED, Range, Scale, SetWhite, White
from asterism.images.listing import UNREAD, Listed, archive_reason, looks_like_image
from asterism.images.options import Options
from asterism.images.pack import block_length, in_blocks
from asterism.images.pack_cache import KEEP_SECONDS, is_kept, load_packed, pack_kept, recall, remember
from asterism.images.paths import ABSENT, Listing
from asterism.images.raster import COLORED, Note
from asterism.images.raster_readers import readers_here
from asterism.images.remote import BROKEN
from asterism.images.source import ImageSource, Kept, Skipped
from asterism.machine import available_cores

T = TypeVar("T")
# Without a size: images that all have one size up to this many pixels a side stay as they are …
LARGEST_NATIVE_SIDE = 128
# … and others become squares of this side: what the papers' networks for small images take in reasonable time.
DEFAULT_SIDE = 64
# So many images that could hold colour are looked at before all are decoded as grey, where one with colour is noticed.
COLOR_SAMPLES = 256
LARGE, LOOK = 2**24, 1024  # pixels of an image that is looked at for colour at this many a side
SHORT_BLOCK = 256  # images that are decoded together, at least: what a kill may cost
COMMON = (".jpg", ".jpeg", ".png", ".heic")  # names that promise an image: why one is none tells most
PACKING_VERSION = 5  # part of the cache key: raise it when the same files give other pixels


def open_listed(listing: Listing, options: Options) -> tuple[ImageSource, list[Listed]]:
    """Decode and pack what was listed, or find it packed.

    Parameters
    ----------
    listing : Listing
    options : Options
        Without a size the rule is: if all images have one size, at most `LARGEST_NATIVE_SIDE` pixels a side, they keep
        it; else the shorter side becomes `DEFAULT_SIDE` and the centre is kept (or all is squashed: ``crop=False``).
        Without a color: grey if every image is.

    Returns
    -------
    images : ImageSource
        uint8; what could not be read is in `skipped`.
    kept : list of Listed
        The files that they come from.

    Raises
    ------
    InputError
        If nothing of it is an image, or with ``strict`` if an image is damaged.
    StorageError
        If the images fit neither into memory nor into the cache folder.
    """
    missed = next((one for one in listing.skipped if _is_missed(one)), None)
    if options.strict and missed is not None:
        raise InputError(f"strict=True and image {missed.name!r} cannot be read: {missed.reason}")
    reading = _Reading(listing, options)
    with quiet():
        pixels, key = reading.packed()
    for line in reading.told():
        warnings.warn(f"{listing.called}: {line}", stacklevel=2)
    kept = [file for index, file in enumerate(listing.files) if index not in reading.failed]
    skipped = listing.skipped + reading.unreadable()
    skipped.sort(key=lambda one: not _is_missed(one) and archive_reason(one.name) is None)  # a list shows the first
    _, height, width, channels = pixels.shape
    origin = options.origin(listing.source, (height, width, channels), white=reading.white.found)
    names = [file.name for file in kept]
    return ImageSource(pixels, names, skipped=skipped, origin=origin, kept=Kept.of(key, pixels)), kept


@dataclass
class _Reading:
    """Files on their way to pixels.

    ``failed`` collects, by index into ``files``, why one gives none; ``claiming`` are those that look like images.
    """

    listing: Listing
    options: Options
    failed: dict[int, str] = field(default_factory=dict)
    claiming: set[int] = field(default_factory=set)
    notes: dict[Note, set[int]] = field(default_factory=dict)
    n_channels: int = 0

    def __post_init__(self) -> None:
        self.files = self.listing.files
        self.how = replace(self.options.how, arrays=not any(looks_like_image(file.name) for file in self.files))
        percentile = self.options.scale == "percentile"
        self.white = SetWhite(self.options.level, self._ranges, len(self.files), self._samples, percentile)

    def packed(self) -> tuple[torch.Tensor, str]:
        """Settle size and colour, then decode, or find it done; and under what the pixels are kept."""
        size, n_channels = self._settled()
        return self._packed(size, n_channels)

    def _packed(self, size: tuple[int, int], n_channels: int) -> tuple[torch.Tensor, str]:
        self.n_channels = n_channels
        self.white.percentile |= self.n_channels not in (1, 3)
        wanted = (size, self.n_channels, self.options.crop)
        key = self._key(*wanted, _levels(self.options.scale or self.options.white))
        known = recall(key) or {}  # where white was found out, it is no other for being given
        place = known.get("same", key)
        found = load_packed(place)
        if found is None:
            n = len(self.files) - len(self.failed)
            shape = (*size, self.n_channels)
            found = pack_kept(key, n, shape, partial(self._decoded, shape), self._state, self._restore)
        self._restore(found[1], len(self.files))
        if self.notes.pop(COLORED, None) and self.options.n_channels is None:  # a file that was no sample
            return self._packed(size, 3)
        if is_kept(key):
            self._remember(size, self.n_channels)
            if self.white.found is not None:
                remember(self._key(*wanted, _levels(self.white.found)), {"same": key})
        if len(found[0]) == 0:
            raise InputError(self._nothing_found())
        return found[0], place

    def told(self) -> list[str]:
        """What the user should know of how his files were read."""
        found = sorted(self.notes.items(), key=lambda one: min(one[1]))
        n = len(self.files)
        lines = [
            f"{len(at)} of {n} files {what}, as {self.files[min(at)].name!r}: {then}" for (what, then), at in found
        ]
        return [*self.white.lines, *lines]

    def unreadable(self) -> list[Skipped]:
        """The files that give no image, in their order."""
        return [Skipped(self.files[index].name, reason) for index, reason in sorted(self.failed.items())]

    def _asked(self, read: Callable[..., T], index: int, *about: Any, say: bool = False) -> T | None:
        """What a reader finds in a file; None where it gives no image, which is noted if it is to be said."""
        try:
            return read(self.files[index].content, *about, self.how)
        except Unreadable as error:
            if say:
                self._note(index, error)
            return None

    def _ranges(self) -> Iterator[Range]:
        """The ranges of all files of more than 8 bits."""
        for block in in_blocks(partial(self._asked, read_range), len(self.files), 4096):
            yield from (found for found in block if found is not None)

    def _samples(self) -> list[np.ndarray]:
        """Pixels of some deep images, evenly spaced, all of one number of channels."""
        found: list[np.ndarray] = []
        for index in range(0, len(self.files), -(-len(self.files) // ASKED) or 1):
            sample = self._asked(read_sample, index, SAMPLED)
            if sample is not None and sample.shape[1] == self.n_channels:
                found.append(sample)
        return found

    def _state(self) -> dict[str, Any]:
        """What is to be remembered of the files that were decoded."""
        notes = [[*note, sorted(at)] for note, at in list(self.notes.items())]
        about = {"claiming": sorted(self.claiming), "notes": notes, "lines": self.white.looked}
        if (beyond := self.white.beyond) is not None:
            about["beyond"] = [beyond.n, beyond.below, beyond.above]
        return {"failed": dict(self.failed), **about, "white": _levels(self.white.found)}

    def _restore(self, state: dict[str, Any], n_done: int) -> None:
        """Remember it again; what was found out behind the file at ``n_done`` will be found out anew."""
        claiming = {int(index) for index in state["claiming"]}
        for what, then, at in state["notes"]:
            self.notes.setdefault((what, then), set()).update(int(index) for index in at if int(index) < n_done)
        if state["white"] is not None and self.options.level is None:
            found = state["white"]
            self.white.found = Scale(tuple(found[0]), tuple(found[1])) if isinstance(found[0], list) else White(*found)
            self.white.looked = list(state["lines"])
        if self.white.beyond is not None and not self.white.beyond.n:
            self.white.beyond.add(*state.get("beyond", (0, 0, 0)))
        for index, reason in state["failed"].items():
            if int(index) < n_done:
                self._leave_out(int(index), str(reason), int(index) in claiming)

    def _decoded(self, shape: tuple[int, int, int], first: int) -> Iterator[tuple[int, np.ndarray]]:
        """Blocks (b, H, W, C) of the files from an index on, and the index behind each."""

        def load(position: int) -> np.ndarray | None:
            index = first + position
            if index in self.failed:
                return None
            found = self._asked(read_image, index, shape[:2], self.options.crop, shape[2], self.white, say=True)
            if found is None:
                return None
            for note in found[0].notes:
                self.notes.setdefault(note, set()).add(index)
            return found[1]

        n_done, n = first, len(self.files)
        length = min(block_length(shape), max(SHORT_BLOCK, 16 * available_cores()))
        self.options.progress("decoding", first, n)
        for block in in_blocks(load, n - first, length):
            good = [image for image in block if image is not None]
            n_done += len(block)
            yield n_done, np.stack(good) if good else np.empty((0, *shape), np.uint8)
            self.options.progress("decoding", n_done, n)

    def _settled(self) -> tuple[tuple[int, int], int]:
        """(H, W) and number of channels, from the headers of all files where the options leave them open."""
        size, n_channels = self.options.size, self.options.n_channels
        if size is not None and n_channels is not None:
            return size, n_channels
        known = recall(self._about_looks) or {}
        if len(known) == 3:
            return (int(known["height"]), int(known["width"])), int(known["channels"])
        began = time.monotonic()
        headers: list[Header | None] = []
        for block in in_blocks(partial(self._asked, read_header, say=True), len(self.files), 4096):
            headers += block
            self.options.progress("looking", len(headers), len(self.files))
        seen = {i: header for i, header in enumerate(headers) if header is not None}
        if not seen:
            raise InputError(self._nothing_found())
        if size is None:
            sizes = {header.size for header in seen.values()}
            first = next(iter(sizes))
            native = len(sizes) == 1 and max(first) <= LARGEST_NATIVE_SIDE
            side = self.options.photo_side or DEFAULT_SIDE
            size = first if native else (side, side)
        if n_channels is None:
            counts = Counter(header.n_channels for header in seen.values())
            n_channels = counts.most_common(1)[0][0]
            if n_channels in (1, 3):
                colored = {i: header for i, header in seen.items() if header.n_channels == 3}
                n_channels = 1 if self._all_grey(colored) else 3
        if time.monotonic() - began > KEEP_SECONDS:
            self._remember(size, n_channels)
        return size, n_channels

    @property
    def _about_looks(self) -> str:
        """Under what the size and colour that were settled are remembered."""
        return self._key(self.options.size, self.options.n_channels, self.options.photo_side)

    def _remember(self, size: tuple[int, int], n_channels: int) -> None:
        if self.options.size is None or self.options.n_channels is None:
            remember(self._about_looks, {"height": size[0], "width": size[1], "channels": n_channels})

    def _key(self, *wanted: Any) -> str:
        """Hex digest of every file's path, place, length and time, of what is wanted of them, and of the readers."""
        digest = hashlib.blake2b(repr((PACKING_VERSION, readers_here(), wanted, self.how)).encode(), digest_size=16)
        for file in self.files:
            place = getattr(file, "offset", 0)
            digest.update(repr((os.fsencode(file.path), place, file.n_bytes, file.modified_ns)).encode())
        return digest.hexdigest()

    def _all_grey(self, colored: dict[int, Header]) -> bool:
        """Whether evenly spaced samples of the files that could hold colour hold none (R = G = B, but for rounding)."""
        step = -(-len(colored) // COLOR_SAMPLES) or 1
        for index, header in list(colored.items())[::step]:  # photographs end this at the first
            large = math.prod(header.size) > LARGE
            try:
                pixels = read_sample(self.files[index].content, LARGE, self.how) if header.is_deep else None
                if pixels is None:
                    pixels = decode(self.files[index].content, (LOOK, LOOK) if large else None, False, how=self.how)
            except Unreadable:
                continue
            if has_color(pixels):
                return False
        return True

    def _note(self, index: int, error: Unreadable) -> None:
        """Say why a file gives no image."""
        name = self.files[index].name
        archive = None if error.identified else archive_reason(name)
        self._leave_out(index, archive or error.reason, bool(error.identified or archive or looks_like_image(name)))

    def _leave_out(self, index: int, reason: str, claims: bool) -> None:
        """Remember a file that gives no image; with strict it is the end, unless it never claimed to be one."""
        if self.options.strict and claims:
            raise InputError(f"strict=True and image {self.files[index].name!r} cannot be read: {reason}")
        self.failed[index] = reason
        if claims:
            self.claiming.add(index)

    def _nothing_found(self) -> str:
        found = self.unreadable() + self.listing.skipped
        if not found:
            return f"{self.listing.called} holds no images: it is empty; expected image files, in subfolders or not"
        telling = min(found, key=lambda one: (not one.name.lower().endswith(COMMON), archive_reason(one.name) is None))
        n = f"{len(found)} file{'s' if len(found) > 1 else ''}"
        return f"{self.listing.called} holds no images that can be read, among {n}; {telling.name!r}: {telling.reason}"


def _is_missed(one: Skipped) -> bool:
    return one.reason == ABSENT or one.reason.startswith((BROKEN, UNREAD)) or looks_like_image(one.name)


def _levels(level: White | Scale | str | None) -> Any:
    """White or scale in one spelling, as plain JSON: 0 and 0.0 are the same."""
    if level is None or isinstance(level, str):
        return level
    if isinstance(level, Scale):
        return [list(level.low), list(level.high)]
    return [None if one is None else float(one) for one in level]
