"""A run's images, found again in a source that may have changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asterism.images.source import ImageSource

MOST_HASHED = 2**30  # bytes of pixels: hashing them takes a second or two; of more, names alone tell what is new
MOST_COPIED = 2**31  # bytes that a choice of images may take in memory


@dataclass(frozen=True)
class FoundAgain:
    """What became of a run's images.

    Attributes
    ----------
    source : ImageSource
        What is there now.
    images : ImageSource or None
        The run's images, in its order; None where one of them is gone, or where they have another shape.
    index : ndarray of shape (N,), int64
        Where each image of the run is now; −1 where it is gone.
    unchanged : ndarray of shape (N,), bool
        Which images are there and, as far as is known, have the same pixels.
    counted : bool
        Whether it is known by image what has changed; else any of them may have.
    """

    source: ImageSource
    images: ImageSource | None
    index: np.ndarray
    unchanged: np.ndarray
    counted: bool = True

    @property
    def same(self) -> bool:
        """Whether `images` are those that the run was made from."""
        return self.images is not None and bool(self.unchanged.all())

    @property
    def change(self) -> str:
        """What has changed, in words (``3 added, 1 changed``); empty if nothing has."""
        there = self.index >= 0
        n_changed, n_gone = int((there & ~self.unchanged).sum()), int((~there).sum())
        counts = {"added": len(self.source) - int(there.sum()), "changed": n_changed, "gone": n_gone}
        return ", ".join(
            f"{n if self.counted or what != 'changed' else 'some'} {what}" for what, n in counts.items() if n
        )


def find_again(
    source: ImageSource, names: Sequence[str], fingerprint: str | None, hashes: np.ndarray | None = None
) -> FoundAgain:
    """Look up a run's images by their names.

    Parameters
    ----------
    source : ImageSource
        What is there now.
    names : sequence of str, of length N
        Of the run's images.
    fingerprint : str or None
        Of the run's images.
    hashes : ndarray of shape (N,), uint64, optional
        What `pixel_hashes` gave for them.

    Returns
    -------
    FoundAgain
    """
    n = len(names)
    if len(source) == n and (fingerprint is None or source.fingerprint == fingerprint):
        return FoundAgain(source, source, np.arange(n), np.ones(n, dtype=bool))
    place = {name: i for i, name in enumerate(source.names)}
    index = np.array([place.get(name, -1) for name in names], dtype=np.int64)
    there = index >= 0
    images = source.subset(index) if there.all() and n * source.pixels[:1].nbytes <= MOST_COPIED else None
    unchanged = there.copy()
    now = None if hashes is None else pixel_hashes(source)
    if now is not None and hashes is not None and len(hashes) == n:
        unchanged[there] = now[index[there]] == hashes[there]
    elif images is not None and images.fingerprint != fingerprint:
        unchanged[:] = False  # some of them: which is not known
    return FoundAgain(source, images, index, unchanged, now is not None)


def pixel_hashes(source: ImageSource) -> np.ndarray | None:
    """A number for each image that changes with its pixels, (N,) uint64; None where there are too many to read."""
    if source.pixels.nbytes > MOST_HASHED:
        return None
    about = hashlib.blake2b(repr((tuple(source.pixels.shape[1:]), source.pixels.dtype)).encode(), digest_size=8)

    def hashed() -> bytes:
        found = []
        for image in source.pixels:
            digest = about.copy()
            digest.update(np.ascontiguousarray(image.cpu().numpy()).data)
            found.append(digest.digest())
        return b"".join(found)

    return np.frombuffer(source.once("hashes", 8 * len(source), hashed), "<u8").astype(np.uint64)
