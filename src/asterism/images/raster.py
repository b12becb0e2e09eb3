"""Images as arrays of any number of channels, as satellites, microscopes and scanners write them: not Pillow's kind.

A reader of such a kind (`asterism.images.tiff`, `asterism.images.dicom`, …) gives a `Raster`: what the file says of
itself, and a function that reads it. Pages become one image here, and missing values black.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from asterism.images.convert import has_color
from asterism.images.depth import Range, Scale, White, row_blocks
from asterism.images.io_errors import Unreadable
from asterism.images.resample import fit_array, recolor

MAX_VALUES, MAX_VALUE_BYTES = 2**27, 2**29  # channels times pixels times pages that are read of a file
MOST_CHANNELS = 32  # that an array may have without a layout: with more it may be a stack of images
Note = tuple[str, str]  # what files are or hold, and what is done: "hold several pages", "the first of each is taken"
SEVERAL = "hold several pages or frames"
FRAMES: Note = (SEVERAL, "the first of each is taken")  # of an animation or a burst
COLORED: Note = ("have colour", "they are seen as grey")
_PAGES_ARE = {
    "first": "the first of each is taken; pages='mean', 'max' or 'channels' takes all",
    "mean": "the mean of each file's is taken",
    "max": "the brightest value of each file's is taken",
    "channels": "all of each file's are taken as channels",
}
PAGES = tuple(_PAGES_ARE)
# Axes of pages to be flipped, by orientation, after a transposition from 5 on.
_FLIPS = {1: (), 2: (2,), 3: (1, 2), 4: (1,), 5: (), 6: (2,), 7: (1, 2), 8: (1,)}
MISSING: Note = ("hold pixels without a value (NaN or no-data)", "these are taken as black")
ALPHA: Note = ("have an alpha channel beside deep or many channels", "it is left out")


def pages_note(pages: str) -> Note:
    """What is said of files of several pages."""
    return SEVERAL, _PAGES_ARE[pages]


@dataclass(frozen=True)
class How:
    """What of a file is wanted: fields of `asterism.images.options.Options`."""

    pages: str = "first"
    bands: tuple[int, ...] | None = None
    layout: str | None = None
    arrays: bool = False  # whether .npy files are images
    declared: bool = False  # whether a scale is, which comes before a DICOM's own window


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes
    ----------
    size : (int, int)
        (H, W) as the eye will see it.
    n_channels : int
        1 (it can hold no colour), 3 (red, green and blue), or as many as a raster has.
    is_deep : bool
        Whether its values have more than 8 bits and need a scale, see `asterism.images.depth`.
    notes : tuple of Note
        What a person must hear of how it is read.
    """

    size: tuple[int, int]
    n_channels: int
    is_deep: bool
    notes: tuple[Note, ...]


@dataclass
class Planes:
    """Pixels as a file holds them.

    Attributes
    ----------
    values : ndarray of shape (H, W, C)
        uint8, or deeper: any integers or floats.
    missing : ndarray of bool of shape (H, W, C), optional
        Where they mean nothing.
    inverted : bool
        Whether low values are bright.
    window : Scale, optional
        Black and white, as the file declares them.
    """

    values: np.ndarray
    missing: np.ndarray | None = None
    inverted: bool = False
    window: Scale | None = None

    @property
    def is_deep(self) -> bool:
        """Whether its values need a scale."""
        return self.values.dtype != np.uint8 and self.window is None

    @property
    def range(self) -> Range:
        """Lowest and highest value that means something."""
        blocks, missing = row_blocks(self.values.shape), self.missing
        parts = (self.values[rows] if missing is None else self.values[rows][~missing[rows]] for rows in blocks)
        ends = [(part.min(), part.max()) for part in parts if part.size]
        return Range(self.values.dtype.kind == "f", float(np.min(ends)), float(np.max(ends)))

    def eight_bit(self, level: Callable[[], White | Scale]) -> np.ndarray:
        """The pixels as (H, W, C) uint8.

        Raises
        ------
        Unreadable
            If they lie outside the scale.
        """
        found = level() if self.is_deep else self.window
        low, scaled = (0.0, None) if found is None else (found.low[0], found.scaling(lambda: self.range))
        pixels = np.empty(self.values.shape, np.uint8)
        for rows in row_blocks(self.values.shape):  # else there would be three of them in memory, and in floats
            values, missing = self.values[rows], None if self.missing is None else self.missing[rows]
            if scaled is not None:
                values = scaled(values if missing is None else np.where(missing, np.float64(low), values))
            values = 255 - values if self.inverted else values
            pixels[rows] = values if missing is None else np.where(missing, np.uint8(0), values)
        return pixels

    def sample(self, n: int) -> np.ndarray:
        """About n pixels (m, C), evenly spaced, as floats; NaN where a value is missing."""
        step = max(1, round((self.values.shape[0] * self.values.shape[1] / n) ** 0.5))
        values = self.values[step // 2 :: step, step // 2 :: step].astype(np.float64)
        if self.missing is not None:
            values[self.missing[step // 2 :: step, step // 2 :: step]] = np.nan
        return values.reshape(-1, values.shape[2])


@dataclass(frozen=True)
class Raster(Header):
    """An image that is not loaded yet.

    Attributes
    ----------
    read : callable
        Gives the `Planes`; whatever it raises means that the file is damaged.
    """

    read: Callable[[], Planes]

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_error: Any) -> None:
        """Nothing is open."""

    def load(self) -> Planes:
        """Read it."""
        planes = self.read()
        if planes.values.shape[:2] != self.size or planes.values.shape[2] != self.n_channels:
            raise Unreadable("an image of another shape than its header says")
        return planes

    def pixels(
        self, size: tuple[int, int] | None, crop: bool, n_channels: int | None, white: Callable[[], White | Scale]
    ) -> tuple[np.ndarray, tuple[Note, ...]]:
        """Its pixels (H, W, C) uint8, and what is to be said of them; see `asterism.images.decode.read_image`.

        Raises
        ------
        Unreadable
            If it has other channels than are wanted.
        """
        n = self.n_channels
        if n_channels not in (None, n) and (n not in (1, 3) or n_channels not in (1, 3)):
            wanted = {1: "grey is", 3: "red, green and blue are"}.get(n_channels or 0, f"{n_channels} are")
            raise Unreadable(
                f"{n} channel{'s' if n > 1 else ''} where {wanted} wanted; bands=(3, 2, 1) picks by number"
            )
        planes = self.load()
        notes = self.notes if planes.missing is None else (*self.notes, MISSING)
        image = planes.eight_bit(white)
        notes = (*notes, COLORED) if n == 3 and n_channels == 1 and has_color(image) else notes
        return fit_array(recolor(image, n_channels), size, crop), notes


def check_values(n: int, n_bytes: int = 1) -> None:
    """Refuse what would take too much memory and time: n values of so many bytes; raises `Unreadable`."""
    most = min(MAX_VALUES, MAX_VALUE_BYTES // n_bytes)
    if n > most:
        raise Unreadable(f"{n:,} values, more than the {most:,} that are decoded: export smaller images or pages")


def channels_after(shape: tuple[int, int], how: How) -> int:
    """How many channels are left of (pages, channels)."""
    n = shape[1] * (shape[0] if how.pages == "channels" else 1)
    if how.bands is None:
        return n
    if max(how.bands) > n:
        raise Unreadable(f"{n} channel{'s' if n > 1 else ''}, and bands={how.bands} were asked for")
    return len(how.bands)


def turned(stack: np.ndarray, orientation: int) -> np.ndarray:
    """A stack (pages, H, W, C) upright, by its orientation of EXIF."""
    return np.flip(stack.swapaxes(1, 2) if orientation >= 5 else stack, _FLIPS[orientation])


def flattened(stack: np.ndarray, how: How, nodata: float | None) -> np.ndarray:
    """One image (H, W, C) of a stack (pages, H, W, C)."""
    if how.pages == "channels":
        image = np.moveaxis(stack, 0, 2).reshape(*stack.shape[1:3], -1)
    elif len(stack) == 1 or how.pages == "first":
        image = stack[0]
    elif nodata is not None or stack.dtype.kind == "f":
        image = _of_known(stack, how.pages, nodata)
    elif how.pages == "max":
        image = stack.max(0)
    else:
        image = np.empty(stack.shape[1:], stack.dtype)
        for rows in row_blocks(image.shape):
            image[rows] = np.rint(stack[:, rows].mean(0, dtype=np.float64))
    return image if how.bands is None else image[:, :, [one - 1 for one in how.bands]]


def _of_known(stack: np.ndarray, pages: str, nodata: float | None) -> np.ndarray:
    """An image (H, W, C): mean or brightest of the pages that have a value there; elsewhere what the first has."""
    image = stack[0].copy()
    for rows in row_blocks((*image.shape, len(stack))):
        values = stack[:, rows].astype(np.float64)
        known = np.isfinite(values) if nodata is None else np.isfinite(values) & (stack[:, rows] != nodata)
        n = known.sum(0)
        if pages == "max":
            told = np.where(known, values, -np.inf).max(0)
        else:
            told = np.where(known, values, 0).sum(0) / np.maximum(n, 1)
        told = told if stack.dtype.kind == "f" else np.rint(told)
        image[rows] = np.where(n > 0, told, values[0]).astype(stack.dtype)
    return image


def planes_of(stack: np.ndarray, how: How, nodata: float | None = None, **about: Any) -> Planes:
    """Pixels of a stack (pages, H, W, C) of any numbers.

    Parameters
    ----------
    stack : ndarray
    how : How
    nodata : float, optional
        The value that means nothing; NaN and infinity mean nothing anyhow.
    about : see `Planes`
    """
    if stack.dtype.kind not in "buif":
        raise Unreadable(f"pixels of type {stack.dtype}: only whole and real numbers are read")
    values = flattened(stack, how, nodata)
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.dtype.kind == "f" and values.dtype.itemsize < 4:
        values = values.astype(np.float32)
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    missing = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if nodata is not None:
        missing |= values == nodata
    if missing.all():
        raise Unreadable("an image without a single value: all are NaN or no-data")
    return Planes(values, missing if missing.any() else None, **about)


def array_axes(shape: tuple[int, ...], layout: str | None) -> tuple[int, ...]:
    """How an array is one image: its axes of rows, columns and, if it has such, channels.

    Raises
    ------
    Unreadable
        If that cannot be told.
    """
    if len(shape) == 2 and layout in (None, "NHW"):
        return 0, 1
    if len(shape) == 3 and 0 not in shape:
        last, first = 2 * shape[2] <= min(shape[:2]), 2 * shape[0] <= min(shape[1:])
        if layout == "NHWC" or (layout is None and last and shape[2] <= MOST_CHANNELS):
            return 0, 1, 2
        if layout == "NCHW" or (layout is None and first and shape[0] <= MOST_CHANNELS):
            return 1, 2, 0
    raise Unreadable(
        f"an array of shape {shape}; one image has (H, W), (H, W, C) or (C, H, W) of at most {MOST_CHANNELS} channels "
        "(layout='NHWC' or 'NCHW' takes any); of many, pass the .npy file itself",
        identified=False,
    )
