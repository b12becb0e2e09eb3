"""What arrays and shards bring along, read without torch: classes for scores, and pictures for an export."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from asterism.errors import AsterismError
from asterism.images.catalogue import PREFIX, digit_images, named_set
from asterism.images.digest import pixel_digest
from asterism.images.npz import check_archive, image_key, npz_labels
from asterism.images.shards import list_members, list_shards, member_labels

LARGEST = 2**28  # bytes of images that are hashed here


def bundled_labels(source: str, fingerprint: str) -> np.ndarray | None:
    """Classes (N,) of the images of an ``.npz`` file or a named set that is one.

    Parameters
    ----------
    source : str
        What the images' ``origin`` calls it.
    fingerprint : str
        Of the images that are meant.

    Returns
    -------
    ndarray or None
        None where the arrays of the file, as they stand there, are not those images, and where anything is amiss: it
        then has to be opened (`asterism.images.reopen`), which tells what.
    """
    found = _as_they_stand(source, fingerprint)
    return None if found is None else found[1]


def bundled_pictures(source: str, fingerprint: str) -> np.ndarray | None:
    """Pixels (N, H, W, C), uint8, of the same; None, too, where they are vectors or no bytes."""
    found = _as_they_stand(source, fingerprint)
    return found[0] if found is not None and found[0].dtype == np.uint8 and found[0].shape[1:3] != (1, 1) else None


def shard_labels(path: str, names: Sequence[str]) -> np.ndarray | None:
    """Classes (N,) that shards tell of images, by their names; None where they do not tell all, or cannot be read."""
    try:
        members = {one.name: one for one in list_members(list_shards(path)).files}
        found = member_labels([members[name] for name in names])
    except (AsterismError, LookupError, OSError):
        return None
    return None if found is None else found[0]


def _as_they_stand(source: str, fingerprint: str) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Pixels (N, H, W, C) and classes, if those pixels have the fingerprint."""
    path, split = os.path.expanduser(source), None
    try:
        if source == f"{PREFIX}digits":
            images, labels = digit_images()
            return _checked(images, labels, fingerprint)
        if source.startswith(PREFIX):
            chosen = named_set(source)
            path, split = ("", None) if chosen is None else (str(chosen.path or ""), chosen.split)
        if not path.lower().endswith(".npz") or not os.path.isfile(path):
            return None
        check_archive(path)
        with np.load(path, allow_pickle=False) as archive:
            key = image_key(archive.files, path)
            if archive.zip.getinfo(f"{key}.npy").file_size > LARGEST:
                return None
            rows = np.flatnonzero(archive["split"] == split) if split is not None else None
            images = archive[key] if rows is None else archive[key][rows]
            return _checked(images, npz_labels(archive, rows, len(images), path)[0], fingerprint)
    except Exception:  # whatever a damaged file leads to
        return None


def _checked(
    images: np.ndarray, labels: np.ndarray | None, fingerprint: str
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """An array (N, H, W), (N, H, W, C), (N, C, H, W) or (N, D), packed as it is, if it then has the fingerprint."""
    if images.ndim == 2:
        images = images[:, None, None]
    elif images.ndim == 3:
        images = images[..., None]
    elif images.ndim == 4 and images.shape[3] > 4:
        images = images.transpose(0, 2, 3, 1)
    if images.dtype != np.uint8:
        images = images.astype(np.float32)
    dtype = f"torch.{images.dtype.name}"
    digest = pixel_digest(images.shape, dtype, None, images.nbytes, lambda *part: images[slice(*part)])
    return (images, labels) if digest == fingerprint else None
