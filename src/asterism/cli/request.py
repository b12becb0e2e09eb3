"""What was typed after ``asterism cluster``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asterism.cli.arguments import parse_bands, parse_scale, parse_size

DEFAULT_METHOD = "dbc"  # where none is named and nothing is chosen by the images (`asterism.cli.choosing`)


@dataclass
class Request:
    """What the user typed, by the names of the command's options; None is what was left out."""

    images: str | None = None
    n_clusters: int | None = None
    method: str | None = None
    out: Path | None = None
    seed: int | None = None
    size: str | None = None
    color: str | None = None
    no_crop: bool = False
    layout: str | None = None
    scale: str | None = None
    pages: str | None = None
    bands: str | None = None
    features: str | None = None
    strict: bool = False
    settings: list[str] = field(default_factory=list)
    like: Path | None = None
    labels: str | None = None
    export: Path | None = None
    copy: bool = False
    device: str | None = None
    precision: str | None = None
    outliers: bool = False
    drop_duplicates: bool = False
    resume: bool = False
    overwrite: bool = False
    no_report: bool = False
    quiet: bool = False
    command: str = "asterism cluster"
    number: dict[str, Any] | None = None  # how the number of groups was found; see `asterism.cli.advising`
    chosen: str = ""  # what `asterism.cli.choosing` has to say
    # The images, where they were looked at before the fit, and how they were opened.
    opened: tuple[dict[str, Any], Any] | None = field(default=None, repr=False, compare=False)

    @property
    def opening(self) -> dict[str, Any]:
        """What was typed of how images are opened, as `asterism.images.open_images` takes it; raises `InputError`."""
        typed = {
            "size": parse_size(self.size),
            "color": self.color,
            "layout": self.layout,
            "scale": parse_scale(self.scale),
            "pages": self.pages,
            "bands": parse_bands(self.bands),
            "features": None if self.features is None else os.path.abspath(os.path.expanduser(self.features)),
            "crop": False if self.no_crop else None,
            "strict": self.strict or None,
        }
        return {name: value for name, value in typed.items() if value is not None}

    @property
    def label_source(self) -> str | None:
        """``labels`` as a run remembers them: "folders", or the file's whole path."""
        return self.labels if self.labels in (None, "folders") else os.path.abspath(os.path.expanduser(self.labels))
