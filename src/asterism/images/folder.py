"""A folder of images of any kind and size -> `ImageSource`."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from asterism.errors import InputError
from asterism.images.decode import Header, Unreadable, decode, quiet, read_header, read_image, read_range
from asterism.images.depth import Range, SetWhite, White
from asterism.images.listing import Listed, archive_reason, list_files, looks_like_image, shown_name
from asterism.images.options import Options
from asterism.images.pack import block_length, in_blocks, load_packed, pack
from asterism.images.paths import ABSENT, Listing
from asterism.images.source import ImageSource, Skipped

# Without a size: images that all have one size up to this many pixels a side stay as they are …
LARGEST_NATIVE_SIDE = 128
# … and others become squares of this side: what the papers' networks for small images take in reasonable time.
DEFAULT_SIDE = 64
# So many images that could hold colour are looked at before all are called grey.
COLOR_SAMPLES = 256
LARGE, LOOK = 2**24, 1024  # pixels of an image that is looked at for colour at this many a side
PACKING_VERSION = 2  # part of the cache key: raise it when the same files give other pixels


def open_folder(path: str, options: Options, source: str | None = None, parts: tuple[str, ...] = ()) -> ImageSource:
    """Open every image below a folder.

    Parameters
    ----------
    path : str
        The folder.
    options : Options
        Without a size the rule is: if all images have one size, at most `LARGEST_NATIVE_SIDE` pixels a side, they keep
        it; else the shorter side becomes `DEFAULT_SIDE` and the centre is kept (or all is squashed: ``crop=False``).
        Without a color: grey if every image is.
    source : str, optional
        What ``origin`` calls the folder; its absolute path by default.
    parts : tuple of str
        Only these of its subfolders; all by default.

    Returns
    -------
    ImageSource
        uint8; names are paths relative to the folder, with ``/``; what could not be read is in `skipped`.

    Raises
    ------
    InputError
        If nothing below the folder is an image, or with ``strict`` if an image is damaged.
    StorageError
        If the images fit neither into memory nor into the cache folder.
    """
    root = os.path.abspath(path)
    files, skipped = list_files(root)
    if parts:
        files = [file for file in files if file.name.split("/")[0] in parts]
        skipped = [one for one in skipped if one.name.split("/")[0] in parts]
    return open_listed(Listing(f"folder {shown_name(root)!r}", source or root, files, skipped), options)[0]


def open_listed(listing: Listing, options: Options) -> tuple[ImageSource, list[Listed]]:
    """Decode and pack what was listed, or find it packed.

    Parameters
    ----------
    listing : Listing
    options : Options
        See `open_folder`.

    Returns
    -------
    images : ImageSource
    kept : list of Listed
        The files that they come from.
    """
    called, files, skipped = listing.called, listing.files, listing.skipped
    missed = next((one for one in skipped if one.reason == ABSENT or looks_like_image(one.name)), None)
    if options.strict and missed is not None:
        raise InputError(f"strict=True and image {missed.name!r} cannot be read: {missed.reason}")
    key = _cache_key(called, files, options)
    with quiet():
        pixels, meta = load_packed(key) or _Reading(called, files, skipped, options).pack(key)
    for line in meta.get("told", ()):
        warnings.warn(f"{called}: {line}", stacklevel=2)
    failed = {int(index): reason for index, reason in meta["failed"].items()}
    kept = [file for index, file in enumerate(files) if index not in failed]
    skipped = skipped + [Skipped(files[index].name, failed[index]) for index in sorted(failed)]
    _, height, width, channels = pixels.shape
    white = None if meta.get("white") is None else White(*meta["white"])
    origin = options.origin(listing.source, (height, width, channels), white=white)
    return ImageSource(pixels, [file.name for file in kept], skipped=skipped, origin=origin), kept


@dataclass
class _Reading:
    """Files on their way to pixels; ``failed`` collects, by index into ``files``, why one gives none."""

    called: str
    files: Sequence[Listed]
    skipped: list[Skipped]
    options: Options
    failed: dict[int, str] = field(default_factory=dict)
    paged: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.white = SetWhite(self.options.white, self._ranges, len(self.files))

    def pack(self, key: str) -> tuple[torch.Tensor, dict[str, Any]]:
        """Settle size and colour, then decode."""
        size, n_channels = self._settled()
        wanted = [index for index in range(len(self.files)) if index not in self.failed]
        blocks = self._decoded(wanted, size, n_channels)
        return pack(blocks, len(wanted), (*size, n_channels), key=key, meta=self._meta)

    def _meta(self) -> dict[str, Any]:
        """What is remembered beside the pixels."""
        told = [*self.white.lines]
        if self.paged:
            n = f"{len(self.paged)} of {len(self.files)} files hold"
            told.append(f"{n} several pages, as {self.files[min(self.paged)].name!r}: the first page of each is taken")
        return {"failed": self.failed, "white": self.white.found, "told": told}

    def _ranges(self) -> Iterator[Range]:
        """The ranges of all files of more than 8 bits."""
        for block in in_blocks(self._range, len(self.files), 4096):
            yield from (found for found in block if found is not None)

    def _range(self, index: int) -> Range | None:
        try:
            return read_range(self.files[index].content)
        except Unreadable:  # said where it is decoded
            return None

    def _decoded(self, wanted: list[int], size: tuple[int, int], n_channels: int) -> Iterator[np.ndarray]:
        """Blocks (b, H, W, C) of the files at the indices ``wanted``."""

        def load(position: int) -> np.ndarray | None:
            index = wanted[position]
            try:
                header, pixels = read_image(self.files[index].content, size, self.options.crop, n_channels, self.white)
            except Unreadable as error:
                self._note(index, error)
                return None
            if header.has_pages:
                self.paged.add(index)
            return pixels

        n_read = 0
        for block in in_blocks(load, len(wanted), block_length((*size, n_channels))):
            good = [image for image in block if image is not None]
            n_read += len(good)
            if good:
                yield np.stack(good)
        if n_read == 0:
            raise InputError(self._nothing_found())

    def _settled(self) -> tuple[tuple[int, int], int]:
        """(H, W) and number of channels, from the headers of all files where the options leave them open."""
        size, n_channels = self.options.size, self.options.n_channels
        if size is not None and n_channels is not None:
            return size, n_channels
        headers = [header for block in in_blocks(self._look, len(self.files), 4096) for header in block]
        sizes = {header.size for header in headers if header is not None}
        if not sizes:
            raise InputError(self._nothing_found())
        if size is None:
            first = next(iter(sizes))
            native = len(sizes) == 1 and max(first) <= LARGEST_NATIVE_SIDE
            side = self.options.photo_side or DEFAULT_SIDE
            size = first if native else (side, side)
        if n_channels is None:
            colored = {i: header.size for i, header in enumerate(headers) if header is not None and not header.is_grey}
            n_channels = 1 if self._all_grey(colored) else 3
        return size, n_channels

    def _look(self, index: int) -> Header | None:
        try:
            return read_header(self.files[index].content)
        except Unreadable as error:
            self._note(index, error)
            return None

    def _all_grey(self, colored: dict[int, tuple[int, int]]) -> bool:
        """Whether evenly spaced samples of the files that could hold colour, given by size, hold none (R = G = B)."""
        step = -(-len(colored) // COLOR_SAMPLES) or 1
        for index, (height, width) in list(colored.items())[::step]:  # photographs end this at the first
            large = height * width > LARGE
            try:
                pixels = decode(self.files[index].content, (LOOK, LOOK) if large else None, crop=False)
            except Unreadable:
                continue
            if any(not np.array_equal(pixels[..., 0], pixels[..., i]) for i in range(1, pixels.shape[2])):
                return False
        return True

    def _note(self, index: int, error: Unreadable) -> None:
        """Remember a file that gives no image; with strict it is the end, unless it never claimed to be one."""
        file, reason = self.files[index], error.reason
        archive = None if error.identified else archive_reason(file.name)
        reason = archive or reason
        if self.options.strict and (error.identified or archive or file.looks_like_image):
            raise InputError(f"strict=True and image {file.name!r} cannot be read: {reason}")
        self.failed[index] = reason

    def _nothing_found(self) -> str:
        found = [Skipped(self.files[index].name, reason) for index, reason in sorted(self.failed.items())]
        found += self.skipped
        if not found:
            return f"{self.called} holds no images: it is empty; expected image files, in subfolders or not"
        telling = min(found, key=lambda one: (not _claims(one.name), archive_reason(one.name) is None))
        n = f"{len(found)} file{'s' if len(found) > 1 else ''}"
        return f"{self.called} holds no images that can be read, among {n}; {telling.name!r}: {telling.reason}"


def _claims(name: str) -> bool:
    """Whether a name promises a common kind of image."""
    return name.lower().endswith((".jpg", ".jpeg", ".png", ".heic"))


def _cache_key(called: str, files: Sequence[Listed], options: Options) -> str:
    """Hex digest that changes with every file's name, length and time, and with what is asked for."""
    digest = hashlib.blake2b(digest_size=16)
    asked: list[Any] = [
        PACKING_VERSION,
        os.fsencode(called),
        options.size,
        options.color,
        options.crop,
        options.strict,
        options.photo_side,
        options.white,
    ]
    digest.update(repr(asked).encode())
    for file in files:
        digest.update(repr((os.fsencode(file.path), file.n_bytes, file.modified_ns)).encode())
    return digest.hexdigest()
