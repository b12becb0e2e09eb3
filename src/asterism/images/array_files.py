"""Files of numpy, ``.npy`` and ``.npz`` -> `ImageSource`; nothing in them is unpickled."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from asterism.errors import AsterismError, InputError, StorageError, reason_of
from asterism.images.arrays import open_array
from asterism.images.decode import Unreadable, quiet, read_image
from asterism.images.io_errors import is_machine_error, retry
from asterism.images.npz import FEATURE_KEYS, check_archive, check_header, image_key, npz_labels, npz_names
from asterism.images.options import Options
from asterism.images.pack import block_length, in_blocks, map_blocks, memory_budget, pack
from asterism.images.raster import COLORED
from asterism.images.source import ImageSource

MAPPED_BYTES = 2**30  # of an .npy file, above which it is mapped: the system then holds what it has room for
_JPEG_SAMPLE = 64  # that many of a file's JPEGs are looked at to tell whether all are grey


def open_npy(path: str, options: Options, source: str | None = None) -> ImageSource:
    """Open an ``.npy`` file; one that is large is memory-mapped, not read.

    Raises
    ------
    InputError
        As `open_array` does, and for a file that is damaged or holds Python objects.
    StorageError
        If the machine, not the file, is in trouble.
    """
    source = source or os.path.abspath(path)
    return open_array(read_array(path), options, source, name=f"{os.path.basename(source)!r}")


def read_array(path: str) -> np.ndarray:
    """The array of an ``.npy`` file; errors as in `open_npy`."""
    is_large = os.path.getsize(path) > min(MAPPED_BYTES, memory_budget())
    with _reading(path, ".npy"):
        with open(path, "rb") as stream:
            check_header(stream, os.path.getsize(path))
        array = retry(lambda: np.load(path, mmap_mode="r" if is_large else None, allow_pickle=False), path)
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path!r} is not an .npy file but an archive: name it .npz")
    return array


def read_archive(path: str) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` file; errors as in `open_npz`."""
    with _reading(path, ".npz"):
        check_archive(path)
        with retry(lambda: np.load(path, allow_pickle=False), path) as archive:
            return {key: archive[key] for key in archive.files}


@contextmanager
def _reading(path: str, ending: str) -> Iterator[None]:
    """Whatever damaged headers, or arrays of another kind than they should be, lead to: one line that says so."""
    try:
        yield
    except AsterismError:
        raise
    except Exception as error:
        if is_machine_error(error):
            raise StorageError(f"{path!r} cannot be read: {reason_of(error)}") from error
        raise InputError(f"{path!r} cannot be read as an {ending} file: {reason_of(error)}") from error


def open_npz(path: str, options: Options, source: str | None = None, split: int | None = None) -> ImageSource:
    """Open an ``.npz`` file.

    Parameters
    ----------
    path : str
        Holds ``images``, an array as in `open_array` (or one of `asterism.images.npz.IMAGE_KEYS`, if there is only one
        of them; else one of ``FEATURE_KEYS``, vectors, and perhaps their ``names``), and perhaps ``labels`` or ``y``,
        ``label_names``, ``split``. Instead of ``images`` it may hold ``jpeg``, uint8, all files one after the other,
        and ``offsets``: image i is ``jpeg[offsets[i]:offsets[i + 1]]``.
    options : Options
    source : str, optional
        What ``origin`` calls the file; its absolute path by default.
    split : int, optional
        Only the images whose ``split`` has this value.

    Raises
    ------
    InputError
        If the images cannot be found or used; if the labels are not one an image.
    StorageError
        If the machine, not the file, is in trouble.
    """
    source = source or os.path.abspath(path)
    with _reading(path, ".npz"):
        check_archive(path)
        loaded = retry(lambda: np.load(path, allow_pickle=False), path)
        if isinstance(loaded, np.ndarray):
            raise InputError(f"{path!r} is not an .npz file but a single array: name it .npy")
        with loaded as archive:
            chosen = np.flatnonzero(archive["split"] == split) if split is not None else None
            if "jpeg" in archive and "offsets" in archive:
                opened = _open_jpegs(archive["jpeg"], archive["offsets"], chosen, options, source)
            else:
                images = _array(archive, key := image_key(archive.files, path))
                images = images if chosen is None else images[chosen]
                opened = open_array(images, options, source, name=f"{os.path.basename(path)!r}")
                if key in FEATURE_KEYS:
                    opened = replace(opened, names=npz_names(archive, chosen, len(opened), path))
            labels, label_names = npz_labels(archive, chosen, len(opened), path)
    return replace(opened, labels=labels, label_names=label_names)


def _array(archive: Any, key: str) -> np.ndarray:
    """An array of an ``.npz``; one that is large is unpacked into a file of the cache, block by block, and mapped."""
    name = f"{key}.npy"
    if name not in archive.zip.namelist() or archive.zip.getinfo(name).file_size <= memory_budget():
        return archive[key]
    with archive.zip.open(name) as file:
        shape, fortran, dtype = check_header(file, archive.zip.getinfo(name).file_size) or ((), False, np.dtype(bool))
        if fortran or dtype.hasobject or len(shape) < 2 or 0 in shape:
            return archive[key]
        return map_blocks(_blocks(file, shape, dtype), shape[1:], dtype)


def _blocks(file: Any, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
    length = block_length(shape[1:], dtype.itemsize)
    for start in range(0, shape[0], length):
        rows = min(length, shape[0] - start)
        content = file.read(rows * math.prod(shape[1:]) * dtype.itemsize)
        yield np.frombuffer(content, dtype).reshape(rows, *shape[1:])  # a file that was cut off is a ValueError


def _open_jpegs(
    jpeg: np.ndarray, offsets: np.ndarray, chosen: np.ndarray | None, options: Options, source: str
) -> ImageSource:
    """Decode the JPEGs of an archive; all must have one size unless one is asked for."""
    whole = offsets.ndim == 1 and offsets.dtype.kind in "iu" and jpeg.ndim == 1 and jpeg.dtype == np.uint8
    if not whole or (np.diff(offsets.astype(np.int64)) < 0).any() or not 0 <= offsets[0] <= offsets[-1] <= len(jpeg):
        raise InputError(
            f"{source!r} cannot be read: expected 'jpeg', uint8 (n,), and 'offsets', integers that rise from 0 to n"
        )
    wanted = np.arange(len(offsets) - 1) if chosen is None else chosen
    if len(wanted) == 0:
        raise InputError(f"Found array with 0 sample(s) in {source!r} while a minimum of 1 is required.")

    colored = list[int]()

    def load(n_channels: int | None, position: int) -> np.ndarray:
        i = wanted[position]
        try:
            content = jpeg[offsets[i] : offsets[i + 1]].tobytes()
            header, pixels = read_image(content, options.size, options.crop, n_channels, how=options.how)
        except Unreadable as error:
            raise InputError(f"image {i} of {source!r} cannot be read: {error.reason}") from error
        colored.extend([i] if COLORED in header.notes else [])
        return pixels

    def blocks() -> Iterator[np.ndarray]:
        for block in in_blocks(partial(load, shape[2]), len(wanted), block_length(shape)):
            odd = next((image.shape for image in block if image.shape != shape), None)
            if odd is not None:
                raise InputError(
                    f"images of {source!r} differ in size, {odd[:2]} and {shape[:2]}: give one, as size=64"
                )
            yield np.stack(block)

    with quiet():
        positions = range(0, len(wanted), -(-len(wanted) // _JPEG_SAMPLE))
        sample = [load(options.n_channels, position) for position in positions]
        shape = (sample[0].shape[0], sample[0].shape[1], max(image.shape[2] for image in sample))
        pixels = pack(blocks(), len(wanted), shape)
        if colored and options.n_channels is None:  # one that was no sample
            shape = (*shape[:2], 3)
            pixels = pack(blocks(), len(wanted), shape)
    names = [str(position) for position in range(len(wanted))]
    return ImageSource(pixels, names, origin=options.origin(source, shape))
