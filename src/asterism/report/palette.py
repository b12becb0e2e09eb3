"""Colours of the clusters: told apart on white and on black, the same for a number on every page."""

from __future__ import annotations

import math

# Chosen by hand for the usual ten or so; of middling lightness, so that neither theme swallows one.
FIRST = (
    "#4e79d8", "#f0862d", "#3fa35b", "#dc4b52", "#9566cf", "#2fb0ac",
    "#e377b9", "#c9a51f", "#a4734e", "#57b3e8", "#8fb32f", "#7b8794",
)  # fmt: skip
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
LIGHTNESS = (0.62, 0.74, 0.54)
GREY = "#7b8794"  # of images in no group


def palette(n: int) -> list[str]:
    """n colours as ``#rrggbb``: the chosen ones, then hues a golden angle apart at three lightnesses."""
    more = (oklch(LIGHTNESS[i % 3], 0.13, i * GOLDEN_ANGLE) for i in range(n - len(FIRST)))
    return [*FIRST[:n], *more]


def oklch(lightness: float, chroma: float, hue: float) -> str:
    """A colour of Ottosson's OKLCH space as ``#rrggbb``, clipped to what a screen shows; hue in radians."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(1.0, max(0.0, one)))):02x}" for one in linear)


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
