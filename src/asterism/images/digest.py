"""The number that tells a block of pixels from any other; no network library is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

HASH_WHOLE_BYTES = 2**30  # a block larger than this is hashed by samples: whole hashing of 100 GB would take minutes
ROWS = 4096  # that are read at once
IMAGE_BYTES = 16  # of the digest of one image


def pixel_digest(
    shape: tuple[int, ...], dtype: str, white: float | None, n_bytes: int, rows: Callable[[int, int], np.ndarray]
) -> str:
    """Hex digest of pixels (N, H, W, C) and their order.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
        As torch calls it: ``"torch.uint8"``.
    white : float or None
        What the pixels are divided by, where that does not follow from their type.
    n_bytes : int
        Of all pixels.
    rows : callable
        ``rows(start, stop)`` gives some of them.
    """
    about = f"({', '.join([repr(shape), dtype, *([] if white is None else [repr(white)])])})"
    digest = hashlib.blake2b(about.encode(), digest_size=16)
    step = 1 if n_bytes <= HASH_WHOLE_BYTES else -(-n_bytes // HASH_WHOLE_BYTES)
    for start in range(0, shape[0], ROWS * step):
        digest.update(np.ascontiguousarray(rows(start, start + ROWS)).data)
    return digest.hexdigest()


def image_digest(pixels: np.ndarray) -> bytes:
    """Digest of one image's pixels."""
    return hashlib.blake2b(np.ascontiguousarray(pixels), digest_size=IMAGE_BYTES).digest()


def for_the_eye(pixels: np.ndarray) -> np.ndarray:
    """Bytes (H, W, C) as a picture (H, W) or (H, W, 3): the first three channels, or two as red and green."""
    if pixels.shape[2] == 1:
        return pixels[:, :, 0]
    if pixels.shape[2] == 2:
        return np.concatenate([pixels, np.zeros_like(pixels[:, :, :1])], axis=2)
    return pixels[:, :, :3]
