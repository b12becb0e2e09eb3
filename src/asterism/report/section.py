"""`Section`: one part of the page, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from asterism.images.sprites import Sprites


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
