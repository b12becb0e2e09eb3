"""`ImageSource`: what every input becomes, images packed once into one block of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from asterism.errors import InputError
from asterism.images.digest import IMAGE_BYTES, for_the_eye, image_digest, pixel_digest
from asterism.images.listing import Skipped
from asterism.images.pack import memory_budget, pack
from asterism.images.pack_cache import noted

if TYPE_CHECKING:
    from asterism.runtime import Runtime

DARK = 0.25  # of the brightest pixel: a darker background is as good as black
MOST_ASKED, FEWEST_ASKED, MOST_VALUES = 1024, 16, 2**24  # images that tell the background, and pixels of theirs
FEW_BYTES, ROWS = 2**26, 1024  # pixels of a choice of images that are always held in memory; images read at once
EVEN = 0.1  # of the pixels' deviation: so far a background's pixels may lie from its level


def stretched(images: torch.Tensor) -> torch.Tensor:
    """Images (n, …) in [0, 1], each by its own range: for the eye."""
    axes = tuple(range(1, images.ndim))
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    return (images - low) / (high - low).clamp_min(1e-12)


class Kept(NamedTuple):
    """The key under which pixels are kept in the cache, and what tells that they are still those that were read."""

    key: str
    place: int
    version: int

    @classmethod
    def of(cls, key: str, pixels: torch.Tensor) -> Kept:
        """As they were read just now."""
        return cls(key, pixels.data_ptr(), -1 if pixels.is_inference() else pixels._version)

    def are(self, pixels: torch.Tensor) -> bool:
        """Whether these are the same pixels, and torch has not changed them in place."""
        return self == Kept.of(self.key, pixels)


@dataclass
class ImageSource:
    """Images in a fixed order, decoded.

    Attributes
    ----------
    pixels : torch.Tensor of shape (N, H, W, C)
        uint8 (0–255) or float32, in memory or memory-mapped from a cache folder.
    names : list of str
        Relative path of each image, or its index as text.
    labels : ndarray of shape (N,) or None
        Known classes from 0, for scoring only; −1 for an image without one.
    label_names : list of str or None
        What the classes are called.
    skipped : list of Skipped
        What the input held besides, and could not be read.
    origin : dict
        What reopens the images (`asterism.images.open.reopen`); ``{"source": None}`` for arrays.
    is_table : bool
        True for (N, D) input: vectors, held as 1×1 images with D channels.
    white : float or None
        What `batch` divides the pixels by; by default uint8 by 255, and floats by nothing.
    full_scale : float
        What the integers that were given had for white: 255, or more where they had more than 8 bits.
    pictures : ImageSource or None
        Of vectors, the N images that they are of, for the eye.
    kept : Kept or None
        Under what the pixels are kept in the cache.
    """

    pixels: torch.Tensor
    names: list[str]
    labels: np.ndarray | None = None
    label_names: list[str] | None = None
    skipped: list[Skipped] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=lambda: {"source": None})
    is_table: bool = False
    white: float | None = None
    full_scale: float = 255.0
    pictures: ImageSource | None = None
    kept: Kept | None = None
    _made: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, height, width, channels = self.pixels.shape
        return channels, height, width

    @property
    def fingerprint(self) -> str:
        """Hex digest of the pixels and their order: two sources with the same one give the same run."""
        about = tuple(self.pixels.shape), str(self.pixels.dtype), self.white, self.pixels.nbytes

        def digest() -> bytes:
            return bytes.fromhex(pixel_digest(*about, lambda *part: self.pixels[slice(*part)].cpu().numpy()))

        name = "fingerprint" if self.white is None else f"fingerprint {self.white}"
        return self.once(name, IMAGE_BYTES, digest).hex()

    @property
    def digests(self) -> list[bytes]:
        """A digest of each image's pixels."""
        each = (image_digest(one) for block in self.pixels.split(1024) for one in block.cpu().numpy())
        found = self.once("digests", IMAGE_BYTES * len(self), lambda: b"".join(each))
        return [found[start : start + IMAGE_BYTES] for start in range(0, len(found), IMAGE_BYTES)]

    def once(self, name: str, n_bytes: int, make: Callable[[], bytes]) -> bytes:
        """What says something of the pixels, so many bytes; made once where they are kept in the cache, and kept there.

        Of other pixels, whose owner may change them, it is made anew each time; so it is where he has changed these.
        """
        if self.kept is None or not self.kept.are(self.pixels):
            return make()
        if name not in self._made:
            self._made[name] = noted(self.kept.key, name, n_bytes, make)
        return self._made[name]

    @cached_property
    def ground(self) -> float:
        """The background level, in the units of `batch`: 0 where the background is black, or there is none.

        The median of the pixels at the images' edges, if at least half of these lie within a tenth of the pixels'
        deviation of it, and it is not dark. White paper has 1, the black of digits 0, photographs have none; up to
        1 024 images are asked.
        """
        if self.shape[1:] == (1, 1) or len(self) == 0:
            return 0.0
        n = min(len(self), MOST_ASKED, max(FEWEST_ASKED, MOST_VALUES // self.pixels[0].numel()))
        chosen = torch.linspace(0, len(self) - 1, n).long()
        images = self.batch(chosen).cpu()  # (n, C, H, W)
        sides = (images[:, :, 0], images[:, :, -1], images[:, :, :, 0], images[:, :, :, -1])
        edge = torch.cat([side.flatten() for side in sides])
        level = edge.median()
        same = ((edge - level).abs() <= EVEN * images.std()).float().mean()
        return float(level) if same >= 0.5 and level.abs() >= DARK * images.abs().max() else 0.0

    def batch(self, indices: torch.Tensor | np.ndarray | slice, device: torch.device | None = None) -> torch.Tensor:
        """Images as the networks take them.

        Parameters
        ----------
        indices : integer tensor or array of shape (B,), or slice
        device : torch.device, optional
            Where the batch is wanted; a resident source (see `to`) is gathered there.

        Returns
        -------
        torch.Tensor of shape (B, C, H, W)
            float32 in channels-last strides; uint8 pixels are scaled to [0, 1], floats are passed as they are, unless
            `white` says what is 1.
        """
        if isinstance(indices, slice):
            block = self.pixels[indices]
        else:
            block = self.pixels[torch.as_tensor(indices, device=self.pixels.device)]
        if device is not None and block.device != device:
            block = block.to(device, non_blocking=device.type == "cuda")  # Apple's reads memory that was given back
        if block.dtype == torch.uint8:
            block = block.float().div_(255 if self.white is None else self.white)  # in place: float() made a copy
        elif self.white is not None:
            block = block / self.white
        return block.permute(0, 3, 1, 2)

    def resident(self, runtime: Runtime) -> ImageSource:
        """The source with its pixels on the device, so that batches are gathered there, if they may stay there."""
        if self.pixels.device == runtime.device or not runtime.has_room(self.pixels.nbytes):
            return self
        return replace(self, pixels=self.pixels.to(runtime.device))

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageSource:
        """The images at the indices, in that order, as a source of its own; a mask (N,) has those where it is True.

        Raises
        ------
        InputError
            For indices that are no whole numbers, and a mask of another length.
        """
        chosen = np.asarray(indices)
        if chosen.dtype == bool and chosen.shape == (len(self),):
            chosen = np.flatnonzero(chosen)
        if chosen.size and chosen.dtype.kind not in "iu":
            what = f"{chosen.dtype} of shape {chosen.shape}"
            raise InputError(f"indices are {what}; expected whole numbers, or a mask of {len(self)} booleans")
        return self._taken(chosen.astype(np.int64))

    def part(self, start: int, stop: int) -> ImageSource:
        """The images from ``start`` to ``stop``, sharing their pixels with this source."""
        return self._taken(slice(start, stop))

    def _taken(self, rows: np.ndarray | slice) -> ImageSource:
        return replace(
            self,
            pixels=self.pixels[rows] if isinstance(rows, slice) else self._picked(torch.from_numpy(rows)),
            names=self.names[rows] if isinstance(rows, slice) else [self.names[i] for i in rows],
            labels=None if self.labels is None else self.labels[rows],
            origin={"source": None},
            kept=None,
            pictures=None if self.pictures is None else self.pictures._taken(rows),
        )

    def _picked(self, places: torch.Tensor) -> torch.Tensor:
        """The pixels of some images; in a nameless file of the cache where they would fill the memory."""
        n_bytes = len(places) * self.pixels[:1].nbytes
        if self.pixels.device.type != "cpu" or n_bytes <= FEW_BYTES or n_bytes <= memory_budget():
            return self.pixels[places]
        _, height, width, channels = self.pixels.shape
        blocks = (self.pixels[part].numpy() for part in places.split(ROWS))
        return pack(blocks, len(places), (height, width, channels), self.pixels[:1].numpy().dtype)

    @property
    def for_the_eye(self) -> ImageSource:
        """The pictures, where these are vectors of such; else the images themselves."""
        return self if self.pictures is None else self.pictures

    def thumbnail(self, index: int) -> np.ndarray:
        """One image as uint8 (H, W) or (H, W, 3) for the eye; float pixels are stretched to their own range.

        Of more channels than three the first three are shown as red, green and blue, two as red and green.
        """
        image = self.for_the_eye.pixels[index].cpu()
        if image.dtype != torch.uint8:
            image = (stretched(image[None])[0] * 255).round().to(torch.uint8)
        return for_the_eye(image.numpy())
