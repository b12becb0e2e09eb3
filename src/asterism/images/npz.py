"""What an ``.npz`` holds, checked before it is read: where its images and labels are. No network library is needed."""

from __future__ import annotations

import math
import zipfile
from typing import IO, Any

import numpy as np

from asterism.errors import InputError
from asterism.images.label_files import PATH_WORDS
from asterism.images.labels import encode_labels
from asterism.images.listing import told_apart
from asterism.machine import available_memory

# Where an .npz may hold its images, if it has no `images`; else vectors, as `asterism embed` writes them; its labels.
IMAGE_KEYS = ("X", "x", "data", "arr_0", "x_train", "X_train")
FEATURE_KEYS = ("features", "embeddings", "vectors")
LABEL_KEYS = ("labels", "y", "y_train")
LONGEST_HEADER = 2**16
NAME_KEYS = ("label_names", "class_names")


def check_archive(path: str) -> None:
    """See that arrays are no larger than their bytes, and those beside the images than the memory, before reading."""
    if not zipfile.is_zipfile(path):  # np.load says what it is
        return
    with zipfile.ZipFile(path) as archive:
        images = {f"{key}.npy" for key in ("images", *IMAGE_KEYS, *FEATURE_KEYS)}  # mapped where they are large
        n_bytes = sum(member.file_size for member in archive.infolist() if member.filename not in images)
        free = available_memory()
        if n_bytes > free:
            raise ValueError(f"it claims to hold {n_bytes:,} bytes beside its images, and {free:,} of memory are free")
        for member in archive.infolist():
            with archive.open(member) as stream:
                check_header(stream, member.file_size, f"{member.filename!r}: ")


def check_header(stream: IO[bytes], n_bytes: int, what: str = "") -> tuple[tuple[int, ...], bool, np.dtype] | None:
    """See that an array is no larger than the n_bytes that are there for it: its header alone would decide.

    Gives its shape, whether it is in Fortran's order, and its dtype; None of what is no array, which np.load will say.
    """
    if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        return None
    major = stream.read(2)[:1]
    place, n_letters = stream.tell(), int.from_bytes(stream.read(2 if major == b"\x01" else 4), "little")
    if n_letters > LONGEST_HEADER:  # numpy reads it whole, 4 GiB of zeros in 4 MB of a zip, to say the same
        raise ValueError(f"{what}its header is {n_letters:,} letters long")
    stream.seek(place)
    read = np.lib.format.read_array_header_1_0 if major == b"\x01" else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(stream)
    except (MemoryError, RecursionError) as error:  # of Python's parser, of brackets in brackets
        raise ValueError(f"{what}its header is nested too deep") from error
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed > n_bytes:
        raise ValueError(f"{what}its header claims shape {str(shape)[:80]} of {dtype}, and there are {n_bytes:,} bytes")
    return shape, fortran, dtype


def image_key(keys: list[str], path: str) -> str:
    """The key of the images; an InputError where none is plain."""
    if "images" in keys:
        return "images"
    found = [key for key in IMAGE_KEYS if key in keys] or [key for key in FEATURE_KEYS if key in keys]
    if len(found) == 1:
        return found[0]
    among = f"it holds {', '.join(map(repr, keys)) or 'nothing'}"
    others = ", ".join((*IMAGE_KEYS, *FEATURE_KEYS))
    raise InputError(f"{path!r} needs a key 'images' (or a single one of {others}); {among}")


def npz_names(archive: Any, chosen: np.ndarray | None, n: int, path: str) -> list[str]:
    """What the images are called, of the chosen rows; an InputError where these are not one an image."""
    key = next((key for key in archive.files if key.casefold() in PATH_WORDS), None)
    if key is None:
        return [str(row) for row in range(n)]
    values = archive[key] if chosen is None else archive[key][chosen]
    if values.shape != (n,):
        raise InputError(f"{path!r} holds {key!r} of shape {values.shape} for {n} vectors; expected shape ({n},)")
    return told_apart(as_texts(values))


def as_texts(values: np.ndarray) -> list[str]:
    """Values as text; bytes are UTF-8."""
    return (np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values.astype(str)).tolist()


def npz_labels(
    archive: Any, chosen: np.ndarray | None, n: int, path: str
) -> tuple[np.ndarray | None, list[str] | None]:
    """Classes (N,) from 0 and their names, of the chosen rows; an InputError where they are not one an image."""
    key = next((key for key in LABEL_KEYS if key in archive), None)
    if key is None:
        return None, None
    values = archive[key] if chosen is None else archive[key][chosen]
    if values.ndim == 2 and values.shape[1] == 1:  # as Keras has them
        values = values[:, 0]
    if values.shape != (n,):
        raise InputError(f"{path!r} holds {key!r} of shape {values.shape} for {n} images; expected shape ({n},)")
    names_key = next((key for key in NAME_KEYS if key in archive), None)
    labels = as_texts(values) if values.dtype.kind == "S" else values.tolist()
    return encode_labels(labels, None if names_key is None else as_texts(archive[names_key]))
