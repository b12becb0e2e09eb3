"""The options that every kind of input shares, checked once."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from asterism.errors import InputError
from asterism.images.depth import Scale, White
from asterism.images.listing import Progress, silent
from asterism.images.raster import PAGES, How

LAYOUTS = ("NHW", "NHWC", "NCHW", "ND")
COLORS = ("grey", "rgb", "bands")


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
    scale: Scale | str | None = None
    pages: str = "first"
    bands: tuple[int, ...] | None = None
    progress: Progress = field(default=silent, compare=False)

    @classmethod
    def checked(cls, *given: Any, **named: Any) -> Options:
        """Options with every value in its one spelling; takes what `Options` takes.

        Raises
        ------
        InputError
            Names the parameter, what it got and what it needs.
        """
        asked = cls(*map(_plain, given), **{name: _plain(value) for name, value in named.items()})
        color = "grey" if asked.color == "gray" else asked.color
        if color is not None and color not in COLORS:
            raise InputError(f"color={color!r} cannot be used: color must be None, 'grey', 'rgb' or 'bands'")
        if asked.layout is not None and asked.layout not in LAYOUTS:
            among = ", ".join(LAYOUTS)
            raise InputError(f"layout={asked.layout!r} cannot be used: layout must be None or one of {among}")
        for name, value in (("crop", asked.crop), ("strict", asked.strict)):
            if not isinstance(value, bool):
                raise InputError(f"{name}={value!r} cannot be used: {name} must be True or False")
        if asked.pages not in PAGES:
            raise InputError(f"pages={asked.pages!r} cannot be used: pages must be one of {', '.join(PAGES)}")
        return replace(
            asked,
            color=color,
            size=_checked_size(asked.size),
            white=_checked_white(asked.white),
            scale=_checked_scale(asked.scale),
            bands=_checked_bands(asked.bands),
        )

    @property
    def n_channels(self) -> int | None:
        """1 or 3 where a colour was asked for."""
        return {"grey": 1, "rgb": 3}.get(self.color or "")

    @property
    def level(self) -> White | Scale | None:
        """The white or scale that is given."""
        return self.scale if isinstance(self.scale, Scale) else self.white

    @property
    def how(self) -> How:
        """What of each file is wanted."""
        return How(self.pages, self.bands, self.layout, declared=isinstance(self.scale, Scale))

    def origin(
        self,
        source: str | list[str] | None,
        shape: tuple[int, int, int],
        is_table: bool = False,
        white: White | Scale | None = None,
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
        white : White or Scale, optional
            What was white in pixels of more than 8 bits, if there were such, or the scale of each channel.
        """
        height, width, channels = shape
        looks = {"size": None, "color": None} if is_table else {"size": [height, width], "color": color_of(channels)}
        found: dict[str, Any] = {"source": source, **looks, "crop": self.crop, "layout": self.layout}
        if isinstance(white, Scale):
            found["scale"] = white.write()
        elif white is not None:
            found["white"] = list(white)
        if self.pages != "first":
            found["pages"] = self.pages
        return found if self.bands is None else {**found, "bands": list(self.bands)}


# What an origin may say besides ``source``: the options that `asterism.images.reopen` opens it again with.
REOPENED = frozenset({"features", *(one.name for one in fields(Options))} - {"progress"})


def color_of(n_channels: int) -> str:
    """What `asterism.images.open_images` calls images of so many channels."""
    return {1: "grey", 3: "rgb"}.get(n_channels, "bands")


def reading_of(origin: Mapping[str, Any]) -> dict[str, Any]:
    """How new images are read to have the values of those that came from there: options of `open_images`."""
    found = {key: origin[key] for key in ("white", "scale", "pages", "bands") if origin.get(key) is not None}
    scale = _checked_scale(found.get("scale"))
    return found | {"scale": replace(scale, of_fit=True, recorded=False)} if isinstance(scale, Scale) else found


def _plain(value: Any) -> Any:
    """Python's own numbers and lists, where these are numpy's, torch's or a table's; else the value itself."""
    if isinstance(value, (tuple, list)) and not isinstance(value, White):
        return [_plain(one) for one in value] if isinstance(value, list) else tuple(map(_plain, value))
    return value.tolist() if hasattr(value, "tolist") else value


def _checked_white(white: Any) -> White | None:
    if white is None or isinstance(white, White):
        return white
    pair = tuple(white) if isinstance(white, (tuple, list)) else (white, white)
    if len(pair) == 2 and all(one is None or (_is_finite(one) and one >= 0) for one in pair):
        integer, floating = pair
        return White(
            None if integer is None else min(65535, int(integer)), None if floating is None else float(floating)
        )
    raise InputError(f"white={white!r} cannot be used: white must be None, or the value of white, as 4095 or 1.0")


def _checked_scale(scale: Any) -> Scale | str | None:
    if scale is None or isinstance(scale, Scale) or scale == "percentile":
        return scale
    pair = (scale.get("low"), scale.get("high")) if isinstance(scale, Mapping) else scale
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        low, high = (tuple(one) if isinstance(one, (tuple, list)) else (one,) for one in pair)
        numbers_only = all(_is_finite(one) for one in (*low, *high))
        if numbers_only and len(low) == len(high) > 0 and all(a <= b for a, b in zip(low, high, strict=True)):
            return Scale(tuple(map(float, low)), tuple(map(float, high)), recorded=isinstance(scale, Mapping))
    raise InputError(
        f"scale={scale!r} cannot be used: scale must be 'percentile', or the values that become black and white, as in "
        "(0, 4095), or a pair of lists of them, one a channel"
    )


def _checked_bands(bands: Any) -> tuple[int, ...] | None:
    if bands is None:
        return None
    chosen = tuple(bands) if isinstance(bands, (tuple, list)) else (bands,)
    if not chosen or not all(type(one) is int and 1 <= one <= 10_000 for one in chosen):
        raise InputError(
            f"bands={bands!r} cannot be used: bands must be numbers of channels, from 1 on, as in (4, 3, 2)"
        )
    return chosen


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(float(value))


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
        sides = [int(one) for one in pair if isinstance(one, numbers.Integral) and not isinstance(one, bool)]
        if len(sides) == 2 and min(sides) >= 1:
            return sides[0], sides[1]
    raise InputError(f"size={size!r} cannot be used: size must be an integer >= 1 or a pair (height, width) of them")
