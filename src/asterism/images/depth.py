"""Pixels of more than 8 bits: what is white in them, settled once for a whole set and said in a line.

A file of 16 bits does not say whether 4095 or 65535 is white, nor one of floats whether 1 or 255 is. The brightest
pixel of all files of a set tells, so that a dark image stays darker than its neighbours; where it does not tell, the
files are refused. Images of other channels than grey or red, green and blue have a scale for each channel: percentiles
of the whole set, or what is declared. New images of a run are seen with the white or the scale of its fit.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from asterism.images.io_errors import Unreadable

BITS = (8, 10, 12, 14, 16)  # what cameras and scanners store in 16 bits
LEAST = 32  # a brightest pixel below says nothing: a mask of a few classes, or an image that is nearly black
STRIP = 2**22  # pixels that are converted together
PERCENTILES = (0.5, 99.5)  # of a channel's values in a set, which become 0 and 255
ASKED, SAMPLED = 256, 4096  # images that tell these, and pixels of each
CUT_OFF, CUT_OFF_BY_FIT = 0.01, 0.05  # share of values at one end of a scale from which it is said; new images vary
COUNTED = 2**16  # about so many of an array's values, evenly spaced, tell it
_LOWER_HALF = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}  # the other order of bytes


class White(NamedTuple):
    """The values that become 255 in integers and floats; 0 where each image tells for itself, None where none can."""

    integer: int | None = 65535
    floating: float | None = 0

    @property
    def low(self) -> tuple[float, ...]:
        """The values that become 0, as of a `Scale`."""
        return (0.0,)

    def scaling(self, ends: Callable[[], Range]) -> Callable[[np.ndarray], np.ndarray]:
        """What makes bytes of the values of an image, whose ``ends`` are asked for; errors as of `white_for`."""
        top = white_for(ends(), self)
        return lambda values: to_eight_bits(values, top)


class Beyond:
    """How many of the values that were scaled lie below and above the scale; threads may count together."""

    def __init__(self) -> None:
        self.n = self.below = self.above = 0
        self._lock = Lock()

    def add(self, n: int, below: int, above: int) -> None:
        """Add so many values, and those of them that lie beyond."""
        with self._lock:
            self.n, self.below, self.above = self.n + n, self.below + below, self.above + above

    def count(self, values: np.ndarray, low: float, high: float) -> None:
        """Count those of an array (H, W) or (H, W, C)."""
        step = max(1, round((values.size / COUNTED) ** 0.5))
        seen = values[tuple(slice(min(step, side) // 2, None, step) for side in values.shape[:2])]
        self.add(seen.size, int(np.count_nonzero(seen < low)), int(np.count_nonzero(seen > high)))

    def lines(self, scale: Scale) -> list[str]:
        """What a person must hear of it: one line, or none."""
        ends = ((self.below, "below"), (self.above, "above"))
        least = (CUT_OFF_BY_FIT if scale.of_fit else CUT_OFF) * max(1, self.n)
        cut = [f"{100 * n / self.n:.0f} % lie {where} it" for n, where in ends if n >= least]
        advice = "and are cut off; scale=(low, high) declares another"
        return [f"scale {scale}: of the values {' and '.join(cut)} {advice}"] if cut else []


@dataclass(frozen=True)
class Scale:
    """For each channel, or for all alike, the values that become 0 and 255; what lies beyond becomes these too.

    ``of_fit``: it is a model's, and new arrays may be in other units. ``recorded``: it was declared for the same images
    before. ``beyond`` counts what lies beyond.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    of_fit: bool = field(default=False, compare=False, repr=False)
    recorded: bool = field(default=False, compare=False, repr=False)
    beyond: Beyond | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, samples: np.ndarray) -> Scale | None:
        """Percentiles of pixels (n, C), NaN where there is no value; None where there is none at all."""
        if samples.size == 0 or np.isnan(samples).all():
            return None
        columns = [column[~np.isnan(column)] for column in samples.T]
        ends = [np.percentile(column, PERCENTILES) if len(column) else (0.0, 1.0) for column in columns]
        low, high = (tuple(float(end[i]) for end in ends) for i in (0, 1))
        return cls(low, high)

    def scaling(self, _ends: Callable[[], Range]) -> Callable[[np.ndarray], np.ndarray]:
        """`apply`, whatever the ends of an image's values."""
        return self.apply

    def apply(self, values: np.ndarray) -> np.ndarray:
        """uint8 of values (H, W) or (H, W, C).

        Raises
        ------
        Unreadable
            If they have another number of channels.
        """
        n = values.shape[2] if values.ndim == 3 else 1
        if len(self.low) not in (1, n):
            raise Unreadable(f"{n} channel{'s' if n > 1 else ''} where the scale has {len(self.low)}")
        if len(self.low) == 1:
            return self._scaled(values, 0)
        return np.stack([self._scaled(values[:, :, i], i) for i in range(n)], axis=2)

    def _scaled(self, values: np.ndarray, channel: int) -> np.ndarray:
        low, high = self.low[channel], self.high[channel]
        if self.beyond is not None:
            self.beyond.count(values, low, high)
        part = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / ((high - low) or 1.0))
        return np.rint(np.clip(np.nan_to_num(part), 0, 255)).astype(np.uint8)

    def write(self) -> dict[str, list[float]]:
        """Plain JSON, from which `asterism.images.open_images` takes it."""
        return {"low": list(self.low), "high": list(self.high)}

    def __str__(self) -> str:
        pairs = [f"{low:.4g}…{high:.4g}" for low, high in zip(self.low, self.high, strict=True)]
        return ", ".join(pairs[:4]) + (f" and {len(pairs) - 4} more" if len(pairs) > 4 else "")


class Range(NamedTuple):
    """Darkest and brightest pixel of one deep image."""

    is_float: bool
    low: float
    high: float

    @property
    def usable(self) -> bool:
        """Whether such pixels have a scale at all: neither NaN, nor negative, nor too large."""
        return bool(self.low >= 0 and self.high <= (255 if self.is_float else 65535))


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """The rows of an image (H, W, …) in blocks of about `STRIP` values, that are converted together."""
    step = max(1, STRIP // max(1, math.prod(shape[1:])))
    for top in range(0, shape[0], step):
        yield slice(top, min(top + step, shape[0]))


def is_deep_mode(mode: str) -> bool:
    """Whether images in a mode of Pillow's have more than 8 bits a pixel: I, I;16 and its kin, F."""
    return mode.startswith("I") or mode == "F"


def is_deep(image: Image.Image) -> bool:
    """Whether an image, not loaded yet, has more than 8 bits a pixel without saying what is white in them."""
    return is_deep_mode(image.mode) or is_deep_color(image)


def is_deep_color(image: Image.Image) -> bool:
    """Whether it is a file of 16 bits with colours or an alpha, not loaded yet: Pillow decodes the upper 8 of them."""
    modes = [raw_mode(tile) for tile in getattr(image, "tile", ())[:1]]
    return bool(modes) and modes[0].partition(";")[0] in ("RGB", "RGBA", "RGBX", "LA") and modes[0][-4:-1] == ";16"


def lower_half(image: Image.Image) -> Image.Image:
    """Load the lower 8 bits of such a file instead: those that the other order of bytes takes for the upper.

    Of grey with alpha Pillow knows one order only: there the four bytes of a pixel are loaded as four channels.
    """
    changed = []
    for tile in image.tile:  # type: ignore[attr-defined]  # every file has one
        mode = raw_mode(tile)
        other = "RGBA" if mode.startswith("LA") else mode[:-1] + _LOWER_HALF[mode[-1]]
        args = other if isinstance(tile[3], str) else (other, *tile[3][1:])
        changed.append(tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args))
    with_alpha = raw_mode(image.tile[0]).startswith("LA")  # type: ignore[attr-defined]
    image.tile = changed  # type: ignore[attr-defined]
    image.load()
    return image.getchannel("G").convert("RGB") if with_alpha else image.copy()


def raw_mode(tile: Any) -> str:
    """What Pillow calls the layout of a file's pixels."""
    args = tile[3]
    return args if isinstance(args, str) else str(args[0]) if args else ""


def deep_values(image: Image.Image, lower: Image.Image | None) -> np.ndarray:
    """Pixels (H, W) or (H, W, 3) as the file holds them; ``lower`` has the lower half of them."""
    if lower is None:
        return np.asarray(image)
    upper = np.asarray(image)[..., :3].astype(np.uint16)
    return (upper << 8) | np.asarray(lower)[..., :3]


def value_range(image: Image.Image, lower: Image.Image | None = None) -> Range:
    """The range of a loaded deep image."""
    ends = []
    for rows in row_blocks(image.size[::-1]):
        box = (0, rows.start, image.width, rows.stop)
        part = deep_values(image.crop(box), None if lower is None else lower.crop(box))
        ends.append((part.min(), part.max()))
    return Range(image.mode == "F", float(np.min(ends)), float(np.max(ends)))  # a NaN anywhere makes both NaN


def white_for(found: Range, white: White) -> float:
    """What becomes 255 in an image of that range.

    Raises
    ------
    Unreadable
        If that is not known, or pixels lie outside it: any other scale would be a guess.
    """
    if found.is_float:
        top = white.floating or (1.0 if white.floating == 0 and found.high <= 1 else 255.0)
        if white.floating is not None and found.low >= 0 and found.high <= top:
            return top
        can = f"0 to {top:g}, as of the set," if white.floating and found.usable else "0 to 1 or 0 to 255"
        raise Unreadable(f"float pixels from {found.low:g} to {found.high:g}; {can} can be read")
    low, high = int(found.low), int(found.high)
    if not found.usable:
        raise Unreadable(f"32-bit pixels from {low} to {high}; 0 to 65535 can be read")
    if not white.integer:
        raise Unreadable(f"16-bit pixels of no value above {high}: what is white cannot be told; scale them to 8 bits")
    if high > white.integer:
        raise Unreadable(f"16-bit pixels up to {high} where {white.integer} is white in the set")
    return white.integer


def to_eight_bits(values: np.ndarray, white: float) -> np.ndarray:
    """uint8 of pixels from 0 to ``white``, rounded to nearest."""
    if values.dtype == np.uint16:
        return np.rint(np.arange(2**16) * (255.0 / white)).clip(0, 255).astype(np.uint8)[values]
    return np.rint(values * (255.0 / white)).astype(np.uint8)


def white_of_set(ranges: Sequence[Range], n: int) -> tuple[White, list[str]]:
    """One white for all.

    Parameters
    ----------
    ranges : sequence of Range
        Of the deep images.
    n : int
        Number of all images, for the lines.

    Returns
    -------
    white : White
    lines : list of str
        What a person must hear of it.
    """
    integer, integer_lines = _integer_white([one for one in ranges if one.usable and not one.is_float], n)
    floating, float_lines = _float_white([one for one in ranges if one.usable and one.is_float], n)
    return White(integer, floating), integer_lines + float_lines


def _integer_white(found: Sequence[Range], n: int) -> tuple[int | None, list[str]]:
    high = int(max((one.high for one in found), default=0))
    if high == 0:
        return 65535, []
    if high < LEAST:
        return None, []
    bits = next(bits for bits in BITS if high < 2**bits)
    hold = f"{len(found)} of {n} images hold 16-bit values"
    if bits < 16:
        return 2**bits - 1, [f"{hold} up to {high}: taken as {bits} bit (0…{2**bits - 1})"]
    dim = [one for one in found if one.high < 2**12]
    if 2 * len(dim) < len(found):
        return 65535, []
    return 65535, [f"{hold}, {len(dim)} of them no value above 4095: all are taken as 16 bit (0…65535), up to {high}"]


def _float_white(found: Sequence[Range], n: int) -> tuple[float | None, list[str]]:
    high = max((one.high for one in found), default=0.0)
    if not found:
        return 0, []
    hold = f"{len(found)} of {n} images hold float values up to {high:.4g}"
    if high <= 1:
        return 1.0, [f"{hold}: taken as 0…1"]
    if high < LEAST:
        return (1.0 if any(one.high <= 1 for one in found) else None), []
    dark = sum(one.high <= 1 for one in found)
    return 255.0, [f"{hold}{f', {dark} of them none above 1' if dark else ''}: taken as 0…255"]


@dataclass(eq=False)
class SetWhite:
    """The white or the scale of a set, looked for when the first deep image asks for it; threads may ask together.

    Attributes
    ----------
    found : White, Scale or None
        That of a fit, which holds for new images too, or a declared one; else what was found.
    ranges : callable
        Gives the ranges of all deep images of the set.
    n : int
        Number of images of the set.
    samples : callable, optional
        Gives pixels (n, C) of some deep images, for percentiles.
    percentile : bool, default=False
        Take these even where a white can be told.
    looked : list of str
        What a person must hear of how it was found.
    beyond : Beyond or None
        Of a scale that was declared; percentiles cut off what they say.
    """

    found: White | Scale | None
    ranges: Callable[[], Iterable[Range]]
    n: int
    samples: Callable[[], Sequence[np.ndarray]] | None = None
    percentile: bool = False
    looked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = Lock()
        self.beyond = Beyond() if isinstance(self.found, Scale) and not self.found.recorded else None

    def __call__(self) -> White | Scale:
        """The white or the scale."""
        with self._lock:
            if self.found is None:
                self.found, self.looked = self._look()
            if isinstance(self.found, Scale) and self.found.beyond is not self.beyond:
                self.found = replace(self.found, beyond=self.beyond)
            return self.found

    @property
    def lines(self) -> list[str]:
        """What a person must hear: how it was found, and what it cut off so far."""
        if self.beyond is None or not isinstance(self.found, Scale):
            return self.looked
        return [*self.looked, *self.beyond.lines(self.found)]

    def _look(self) -> tuple[White | Scale, list[str]]:
        if not self.percentile:
            ranges = list(self.ranges())
            faint = all(one.is_float and one.high < 1 / 255 for one in ranges) and any(one.high > 0 for one in ranges)
            if self.samples is None or not ranges or (any(one.usable for one in ranges) and not faint):
                return white_of_set(ranges, self.n)
        samples = list(self.samples()) if self.samples is not None else []
        found = Scale.of(np.concatenate(samples)) if samples else None
        if found is None:
            return White(), []
        channels = f"{len(found.low)} channels, each" if len(found.low) > 1 else "deep pixels,"
        low, high = PERCENTILES
        return found, [
            f"{channels} scaled by the set's {low:g} to {high:g} % of values ({found}; from {len(samples)} of {self.n}"
            " images); scale=(low, high) declares another"
        ]
