"""A folder of images of any kind and size -> `ImageSource`."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from asterism.errors import InputError
from asterism.images.decode import Unreadable, decode, quiet, read_header
from asterism.images.listing import Listed, list_files
from asterism.images.options import Options
from asterism.images.pack import block_length, in_blocks, load_packed, pack
from asterism.images.source import ImageSource, Skipped

# Without a size: images that all have one size up to this many pixels a side stay as they are …
LARGEST_NATIVE_SIDE = 128
# … and others become squares of this side: what the papers' networks for small images take in reasonable time.
DEFAULT_SIDE = 64
# So many images that could hold colour are looked at before all are called grey.
COLOR_SAMPLES = 256
PACKING_VERSION = 1  # part of the cache key: raise it when the same files give other pixels


def open_folder(path: str, options: Options, source: str | None = None) -> ImageSource:
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
    key = _cache_key(root, files, options)
    with quiet():
        cached = load_packed(key)
        failed: dict[int, Unreadable] = {}
        if cached is not None:
            pixels, meta = cached
            failed = {int(i): Unreadable(reason) for i, reason in meta["failed"].items()}
        else:
            pixels, failed = _pack(files, options, key, root, skipped)
    names = [file.name for i, file in enumerate(files) if i not in failed]
    skipped = skipped + [Skipped(files[i].name, _reason(files[i], failed[i])) for i in sorted(failed)]
    shape = tuple(pixels.shape[1:])
    origin = options.origin(source or root, (shape[0], shape[1], shape[2]))
    return ImageSource(pixels, names, skipped=skipped, origin=origin)


def _pack(
    files: list[Listed], options: Options, key: str, root: str, skipped: list[Skipped]
) -> tuple[torch.Tensor, dict[int, Unreadable]]:
    """Settle size and colour, then decode; returns pixels and, by index into ``files``, what failed."""
    failed: dict[int, Unreadable] = {}
    wanted, options = list(range(len(files))), _settled(files, options, failed)
    wanted = [i for i in wanted if i not in failed]
    if options.size is None or options.n_channels is None or not wanted:
        raise InputError(_nothing_found(root, files, failed, skipped))
    shape = (*options.size, options.n_channels)
    blocks = _decoded(files, wanted, options, failed)
    pixels = pack(
        blocks, len(wanted), shape, key=key, meta=lambda: {"failed": {i: failed[i].reason for i in failed}}
    )
    if len(pixels) == 0:
        raise InputError(_nothing_found(root, files, failed, skipped))
    return pixels, failed


def _decoded(
    files: list[Listed], wanted: list[int], options: Options, failed: dict[int, Unreadable]
) -> Iterator[np.ndarray]:
    """Blocks (b, H, W, C) of the wanted files; notes in ``failed`` those that cannot be decoded."""

    def load(position: int) -> np.ndarray | None:
        index = wanted[position]
        try:
            return decode(files[index].path, options.size, options.crop, options.n_channels)
        except Unreadable as error:
            _note(files, index, error, options, failed)
            return None

    height, width = options.size or (1, 1)
    for block in in_blocks(load, len(wanted), block_length((height, width, options.n_channels or 3))):
        good = [image for image in block if image is not None]
        if good:
            yield np.stack(good)


def _settled(files: list[Listed], options: Options, failed: dict[int, Unreadable]) -> Options:
    """Options with size and colour decided, from the headers of all files; None where no file is an image."""
    if options.size is not None and options.color is not None:
        return options

    def look(index: int) -> tuple[tuple[int, int], bool] | None:
        try:
            header = read_header(files[index].path)
        except Unreadable as error:
            _note(files, index, error, options, failed)
            return None
        return header.size, header.is_grey

    headers = [header for block in in_blocks(look, len(files), 4096) for header in block]
    sizes = Counter(header[0] for header in headers if header is not None)
    if not sizes:
        return options
    size, color = options.size, options.color
    if size is None:
        only = next(iter(sizes)) if len(sizes) == 1 else None
        keep = only is not None and max(only) <= LARGEST_NATIVE_SIDE
        size = only if keep else (DEFAULT_SIDE, DEFAULT_SIDE)
    if color is None:
        colored = [i for i, header in enumerate(headers) if header is not None and not header[1]]
        color = "grey" if _all_grey(files, colored) else "rgb"
    return replace(options, size=size, color=color)


def _all_grey(files: list[Listed], colored: list[int]) -> bool:
    """Whether evenly spaced samples of the files that could hold colour hold none (R = G = B everywhere)."""
    step = -(-len(colored) // COLOR_SAMPLES) or 1
    for index in colored[::step]:  # photographs end this at the first
        try:
            pixels = decode(files[index].path)
        except Unreadable:
            continue
        if pixels.shape[2] == 3 and bool((pixels != pixels[:, :, :1]).any()):
            return False
    return True


def _note(
    files: list[Listed], index: int, error: Unreadable, options: Options, failed: dict[int, Unreadable]
) -> None:
    """Remember a file that gives no image; with strict it is the end, unless it never claimed to be one."""
    if options.strict and (error.identified or files[index].looks_like_image):
        raise InputError(f"image {files[index].name!r} cannot be read: {_reason(files[index], error)}")
    failed[index] = error


def _reason(file: Listed, error: Unreadable) -> str:
    if not error.identified and file.name.lower().endswith((".heic", ".heif")):
        return "HEIC images cannot be read here: convert them to JPEG"
    return error.reason


def _nothing_found(
    root: str, files: list[Listed], failed: dict[int, Unreadable], skipped: list[Skipped]
) -> str:
    found = [Skipped(files[i].name, _reason(files[i], failed[i])) for i in sorted(failed)] + skipped
    if not found:
        return (
            f"folder {root!r} holds no images: it is empty; expected image files in it or in its subfolders"
        )
    first = min(found, key=lambda one: not one.name.lower().endswith((".jpg", ".jpeg", ".png")))
    return f"folder {root!r} holds no readable image among {len(found)} files; {first.name!r}: {first.reason}"


def _cache_key(root: str, files: list[Listed], options: Options) -> str:
    """Hex digest that changes with every file's name, length and time, and with what is asked for."""
    digest = hashlib.blake2b(digest_size=16)
    asked: list[Any] = [
        PACKING_VERSION,
        os.fsencode(root),
        options.size,
        options.color,
        options.crop,
        options.strict,
    ]
    digest.update(repr(asked).encode())
    for file in files:
        digest.update(repr((os.fsencode(file.path), file.n_bytes, file.modified_ns)).encode())
    return digest.hexdigest()
