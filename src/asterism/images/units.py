"""What pixel values mean: which of them is white is told once for a whole set, and kept with the model.

Networks see uint8 pixels as 0 to 1 and floats as they are. So a model that was fitted on one kind of pixels must see
other kinds in its own units: by a rule where dtype and range tell them, else not at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from asterism.errors import InputError
from asterism.images.depth import Scale
from asterism.images.source import ImageSource

BYTE, SIXTEEN = 255.0, 65535.0
OVERSHOOT = 0.1  # of white: so far resampled pixels may lie outside 0 to white
LOOSE = 0.5  # of white: noisy pixels that are still taken as they are, with a warning
SURE = 0.5  # of white: floats that reach it are of that white
DARKEST = 1 / 16  # of white: a set that does not reach it is in other units, or nearly black
APART = 8.0  # times: values that so much exceed those of the fit are in other units
_ROWS = 4096  # images looked at together


@dataclass(frozen=True)
class Units:
    """Of the pixels that a model was fitted on.

    Attributes
    ----------
    dtype : {"uint8", "float32"}
    low, high : float
        Between what they lie.
    full_scale : float
        What the integers that were given had for white: 255, or 65535 and less where they had more bits.
    """

    dtype: str
    low: float
    high: float
    full_scale: float = BYTE

    @classmethod
    def of(cls, images: ImageSource) -> Units:
        """Of a whole set; floats are read once."""
        low, high = _range(images)
        return cls(str(images.pixels.dtype).removeprefix("torch."), low, high, images.full_scale)

    @classmethod
    def read(cls, content: Any) -> Units | None:
        """What ``run.json`` holds; None where an older version wrote it, or it is not what it was."""
        if not isinstance(content, Mapping) or content.get("dtype") not in ("uint8", "float32"):
            return None
        numbers = [content.get(name) for name in ("low", "high", "full_scale")]
        if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in numbers):
            return None
        return cls(content["dtype"], *map(float, numbers))  # type: ignore[arg-type]  # checked above

    def write(self) -> dict[str, Any]:
        """Plain JSON, for `read`."""
        return asdict(self)

    @property
    def white(self) -> float | None:
        """The value that is white; None for floats whose units nobody knows."""
        if self.dtype == "uint8":
            return 1.0 if self.high == 1 else BYTE  # 0 and 1 only: a drawing in black and white
        return _white_of_floats(self.low, self.high)

    def __str__(self) -> str:
        kind = "integers" if self.dtype == "uint8" else "floats"
        if self.dtype == "uint8" and self.full_scale != BYTE:
            return f"integers from 0 to {self.full_scale:g}"
        return f"{kind} from {self.low:.4g} to {self.high:.4g}"

    def seen(self, images: ImageSource) -> ImageSource:
        """Other images in the units of the fit.

        Parameters
        ----------
        images : ImageSource
            No table: vectors have no white.

        Returns
        -------
        ImageSource
            Its `batch` gives what the model was fitted on. Says in a warning what was converted.

        Raises
        ------
        InputError
            Where the units would be a guess.
        """
        if len(images) == 0:
            return images
        found = Units.of(images)
        white = self._white_of(found)
        if white is None or self.white is None:
            return images
        own = BYTE if self.dtype == "uint8" else 1.0  # what `batch` divides the fit's pixels by
        divisor = white * own / self.white
        if divisor == (BYTE if found.dtype == "uint8" else 1.0):
            return images
        _say(f"X holds {found} and the model was fitted on {self}: {white:g} is taken for its {self.white:g}")
        return replace(images, white=divisor)

    def from_zero_to_one(self, images: ImageSource, tell: bool = False) -> ImageSource:
        """Images in the units of the fit as networks want them that were trained elsewhere: black is 0, white 1.

        Parameters
        ----------
        images : ImageSource
            Of the fit, or what `seen` gave.
        tell : bool, default=False
            Say in a warning what floats are taken for, where they are not from 0 to 1.

        Returns
        -------
        ImageSource
            Its `batch` gives 0 to 1; floats whose white nobody knows stay as they are.
        """
        own = BYTE if self.dtype == "uint8" else 1.0  # what `batch` divides the fit's pixels by
        if self.white is None and tell:
            _say(f"X holds {self}, and the pre-trained network expects 0 (black) to 1 (white): scale X so")
        if self.white is None or self.white == own:
            return images
        if tell and self.dtype != "uint8":
            _say(f"X holds {self}: the pre-trained network sees {self.white:g} as white")
        divisor = images.white or (BYTE if images.pixels.dtype == torch.uint8 else 1.0)
        return replace(images, white=divisor * self.white / own)

    def _white_of(self, found: Units) -> float | None:
        """The white of other images; None takes them as they are."""
        if found.dtype == "uint8":
            return self._white_of_integers(found)
        if self.white is None:
            self._compare(found)
            return None
        own = 1.0 if self.dtype == "uint8" else self.white
        below = {1.0: 0.0, BYTE: 1.0, SIXTEEN: BYTE}[own] * (1 + OVERSHOOT)  # so high a lesser white may reach
        if _within(found, own, OVERSHOOT) and (found.high > below or own == 1 or found.high == 0):
            if 0 < found.high < DARKEST * own:
                _say(f"X holds {found} and the model was fitted on {self}: it is nearly black if {own:g} is white")
            return own
        white = _white_of_floats(found.low, found.high, (0.0, DARKEST))
        if self.full_scale > BYTE and white != 1:  # floats up to 255 may be dark ones of more
            more = found.high > (1 + OVERSHOOT) * BYTE and _within(found, self.full_scale, OVERSHOOT)
            white = self.full_scale if more else None
        if white is not None and white < own:
            raise InputError(
                f"X holds {found} and the model was fitted on {self}: it may be dark, or white may be {white:g}; "
                f"pass X * {own / white:g} if {white:g} is white, (X / {own / BYTE:g}).astype('uint8') if "
                f"{own:g} is"
            )
        if white is None and _within(found, own, LOOSE):
            _say(f"X holds {found} and the model was fitted on {self}: {own:g} is taken for white")
            return own
        if white is None:
            raise InputError(self._other(found))
        return white

    def _white_of_integers(self, found: Units) -> float | None:
        if self.white is None:
            raise InputError(self._other(found))
        if found.high == 1 and self.white == 1:
            return 1.0
        if found.high == 1:
            _say("X holds no integer above 1 and is taken for black: pass X.astype(bool) if 1 is white")
        return BYTE

    def _compare(self, found: Units) -> None:
        """Refuse floats that cannot be in the units of the fit, whatever these are."""
        ours, theirs = (max(abs(one.low), abs(one.high)) for one in (self, found))
        width = self.high - self.low
        apart = found.low > self.high + width or (found.high < self.low - width and theirs > 0)
        if theirs > APART * ours or (0 < theirs <= 1 + OVERSHOOT and ours >= 2 * APART) or apart:
            raise InputError(self._other(found))
        if _within(found, 1.0, OVERSHOOT) and self.low < -OVERSHOOT and found.high > 0:
            _say(f"X holds {found} and the model was fitted on {self}: it is taken as it is")

    def _other(self, found: Units) -> str:
        return (
            f"X holds {found} and the model was fitted on {self}: which value stands for which would be a guess; "
            f"pass X in the units of the fit"
        )


def in_units_of(scale: Scale, arrays: Iterable[np.ndarray]) -> bool:
    """Whether values of more than 8 bits are in the units of a scale, as far as their range tells.

    A set that does not reach a sixteenth of its white, or exceeds it eightfold, is in other units (0 to 1, say). Says
    in a warning where a set is that dark that it may be.
    """
    low, white = min(scale.low), max(scale.high)
    deep = [one for one in arrays if one.dtype.kind in "iuf" and one.dtype != np.uint8 and one.size]
    highest = max((_highest(one) for one in deep), default=-np.inf)
    reached = (highest - low) / ((white - low) or 1.0)
    if DARKEST <= reached < SURE:
        _say(f"X holds values up to {highest:.4g}: read by the scale of the fit, {scale}")
    return DARKEST <= reached <= APART


def _highest(array: np.ndarray) -> float:
    return float(array.max() if array.dtype.kind != "f" else np.max(array, initial=-np.inf, where=np.isfinite(array)))


def _white_of_floats(low: float, high: float, reached: tuple[float, float] = (DARKEST, SURE)) -> float | None:
    """1, 255 or 65535 where the range leaves no doubt: these parts of 1 and of 255 must be reached, but by black."""
    for white, part in ((1.0, reached[0]), (BYTE, reached[1]), (SIXTEEN, SURE)):
        if low >= -OVERSHOOT * white and (part * white <= high or low == high == 0) and high <= (1 + OVERSHOOT) * white:
            return white
    return None


def _within(found: Units, white: float, slack: float) -> bool:
    return found.low >= -slack * white and found.high <= (1 + slack) * white


def _range(images: ImageSource) -> tuple[float, float]:
    """Lowest and highest pixel; of bytes it is enough to know whether one is above 1."""
    lows, highs = [], []
    for block in images.pixels.split(_ROWS):
        lows.append(float(block.min()))
        highs.append(float(block.max()))
        if block.dtype == torch.uint8 and highs[-1] > 1:
            return 0.0, BYTE
    return min(lows), max(highs)


def _say(line: str) -> None:
    warnings.warn(line, UserWarning, stacklevel=6)
