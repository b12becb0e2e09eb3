"""`Section`: one part of the page, as data; and numbers, times and names as a reader wants them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from asterism.images.sprites import Sprites

LONGEST_NAME = 160  # letters; of a longer name the page shows both ends
NARROW_SPACE = "\u202f"  # no-break: a number never falls apart at the end of a line


@dataclass
class Section:
    """A part of the page.

    Attributes
    ----------
    id : str
        Anchor of the part, and the name of its template ``ID.html``. If it holds `data`, its scripts ``ID*.js`` define
        ``asterism.draw.ID``.
    title : str
        Heading, and link at the top of the page.
    values : dict
        What the template shows.
    data : plain JSON, optional
        What the script is handed.
    sprites : Sprites, optional
        Pictures: an element ``<canvas data-sprite="3">`` of the template shows the fourth.
    """

    id: str
    title: str
    values: dict[str, Any] = field(default_factory=dict)
    data: Any = None
    sprites: Sprites | None = None


def grouped(number: int) -> str:
    """Write 1234567 as 1 234 567."""
    return f"{number:,}".replace(",", NARROW_SPACE)


def counted(number: int, one: str) -> str:
    """Write a number with its noun: 1 image, 2 images."""
    return f"{grouped(number)} {one}{'' if number == 1 else 's'}"


def rounded(value: float, digits: int = 3, whole: float = 1.0) -> str:
    """A share of the whole; what is not quite all or nothing is not written as such, but ``> 0.999`` or ``< 0.001``."""
    step = 10.0**-digits
    if 0 < value < step / 2:
        return f"< {step:.{digits}f}"
    near = whole - step / 2 <= value < whole * (1 - 1e-12)  # a sum of shares may miss the whole by an ulp
    return f"> {whole - step:.{digits}f}" if near else f"{value:.{digits}f}"


def short(value: float) -> str:
    """Four significant digits, whole numbers whole."""
    return grouped(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds as ``0.8 s``, ``42 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{minutes} min {rest} s" if hours == 0 else f"{grouped(hours)} h {minutes_left} min"


def shortened(name: str) -> str:
    """A name, or both ends of a very long one: ten thousand of them stand on a page."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"


def without_home(text: str) -> str:
    """Text in which the user's own folder is ``~``: a page is mailed, and whose machine it was concerns nobody."""
    home = os.path.expanduser("~")
    if len(home) < 3 or not os.path.isabs(home):
        return text
    # A path begins at the start or behind one of these; behind anything else the name is that of a folder below others.
    return re.sub(rf"(?<![^\s'\"`=:,(\[])('?){re.escape(home)}/", r"~/\1", text)
