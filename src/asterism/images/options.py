"""The options that every kind of input shares, checked once."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asterism.errors import InputError
from asterism.images.depth import White

Progress = Callable[[str, int, int], None]  # what is being done, how many images are done, of how many
LAYOUTS = ("NHW", "NHWC", "NCHW", "ND")
COLORS = ("grey", "rgb")


@dataclass(frozen=True)
class Options:
    """What the caller asked for; see `asterism.images.open_images` for the meaning of each field."""

    size: tuple[int, int] | None = None
    color: str | None = None
    crop: bool = True
    layout: str | None = None
    strict: bool = False
    photo_side: int | None = None
    white: White | None = None
    progress: Progress | None = field(default=None, compare=False)

    @classmethod
    def checked(
        cls,
        size: Any,
        color: Any,
        crop: Any,
        layout: Any,
        strict: Any,
        photo_side: int | None = None,
        white: Any = None,
        progress: Progress | None = None,
    ) -> Options:
        """Options with every value in its one spelling.

        Raises
        ------
        InputError
            Names the parameter, what it got and what it needs.
        """
        if color == "gray":
            color = "grey"
        if color is not None and color not in COLORS:
            raise InputError(f"color={color!r} cannot be used: color must be None, 'grey' or 'rgb'")
        if layout is not None and layout not in LAYOUTS:
            raise InputError(f"layout={layout!r} cannot be used: layout must be None or one of {', '.join(LAYOUTS)}")
        for name, value in (("crop", crop), ("strict", strict)):
            if not isinstance(value, bool):
                raise InputError(f"{name}={value!r} cannot be used: {name} must be True or False")
        return cls(_checked_size(size), color, crop, layout, strict, photo_side, _checked_white(white), progress)

    @property
    def n_channels(self) -> int | None:
        """1 or 3 where a colour was asked for."""
        return None if self.color is None else 1 if self.color == "grey" else 3

    def origin(
        self,
        source: str | list[str] | None,
        shape: tuple[int, int, int],
        is_table: bool = False,
        white: White | None = None,
    ) -> dict[str, Any]:
        """What opens the same images again, as plain JSON.

        Size and colour are written as they came out, not as they were asked for: a picture that is added to a folder
        later, or new images that are to look the same, must not change them.

        Parameters
        ----------
        source : str, list of str or None
            Absolute path or pattern, ``"data:NAME"``, absolute paths, or None for what lives in memory only.
        shape : (int, int, int)
            (H, W, C) of the packed images.
        is_table : bool
            Vectors have neither size nor colour.
        white : White, optional
            What was white in pixels of more than 8 bits, if there were such.
        """
        height, width, channels = shape
        size = None if is_table else [height, width]
        color = None if is_table else "grey" if channels == 1 else "rgb"
        found = {"source": source, "size": size, "color": color, "crop": self.crop, "layout": self.layout}
        return found if white is None else {**found, "white": list(white)}


def _checked_white(white: Any) -> White | None:
    if white is None or isinstance(white, White):
        return white
    pair = tuple(white) if isinstance(white, (tuple, list)) else (white, white)
    if len(pair) == 2 and all(one is None or _is_level(one) for one in pair):
        integer, floating = pair
        return White(
            None if integer is None else min(65535, int(integer)), None if floating is None else float(floating)
        )
    raise InputError(f"white={white!r} cannot be used: white must be None, or the value of white, as 4095 or 1.0")


def _is_level(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= float(value) < math.inf


def source_words(origin: Mapping[str, Any] | None) -> str:
    """What a reader is told of where images come from: a path, a name, how many files, or that it was the memory."""
    source = (origin or {}).get("source")
    if isinstance(source, list) and source:
        return f"{len(source)} listed file{'s' if len(source) > 1 else ''}, the first {source[0]}"
    return str(source) if source else "images from memory"


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, numbers.Integral) else size
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        whole = all(isinstance(side, numbers.Integral) and not isinstance(side, bool) for side in pair)
        sides = (int(pair[0]), int(pair[1])) if whole else (0, 0)
        if min(sides) >= 1:
            return sides
    raise InputError(f"size={size!r} cannot be used: size must be an integer >= 1 or a pair (height, width) of them")
