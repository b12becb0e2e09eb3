"""Classes that a file of arrays brings along, read without opening its images: scores do not wait for torch."""

from __future__ import annotations

import os

import numpy as np

from asterism.images.catalogue import PREFIX, digit_images, named_sets
from asterism.images.digest import pixel_digest
from asterism.images.npz import check_archive, image_key, npz_labels

LARGEST = 2**28  # bytes of images that are hashed here


def brought_labels(source: str, fingerprint: str) -> np.ndarray | None:
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
    name, path, split = source.removeprefix(PREFIX), os.path.expanduser(source), None
    try:
        if source == f"{PREFIX}digits":
            images, labels = digit_images()
            return labels if _is(images, fingerprint) else None
        if source.startswith(PREFIX):
            chosen = next((one for one in named_sets() if one.name == name), None)
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
            return npz_labels(archive, rows, len(images), path)[0] if _is(images, fingerprint) else None
    except Exception:  # whatever a damaged file leads to
        return None


def _is(images: np.ndarray, fingerprint: str) -> bool:
    """Whether an array (N, H, W), (N, H, W, C), (N, C, H, W) or (N, D), packed as it is, has a fingerprint."""
    if images.ndim == 2:
        images = images[:, None, None]
    elif images.ndim == 3:
        images = images[..., None]
    elif images.ndim == 4 and images.shape[3] > 4:
        images = images.transpose(0, 2, 3, 1)
    if images.dtype != np.uint8:
        images = images.astype(np.float32)
    dtype = f"torch.{images.dtype.name}"
    return pixel_digest(images.shape, dtype, None, images.nbytes, lambda *part: images[slice(*part)]) == fingerprint
