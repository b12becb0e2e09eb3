"""Arguments and options that several commands share, each with its help."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated

import typer

from asterism.errors import InputError

Arg = typer.Argument
Opt = typer.Option

Run = Annotated[Path, Arg(metavar="RUN", help="Folder of a finished run.")]
NewImages = Annotated[
    str,
    Arg(
        metavar="IMAGES",
        help="Folder of images or .tar shards, 'pattern/*.jpg', list.txt, .npz or .npy file, vectors.csv, "
        "or data:NAME.",
    ),
]
Images = Annotated[
    str | None, Opt("--images", metavar="IMAGES", help="Where the run's images are now.  [default: where they were]")
]
Labels = Annotated[
    str | None, Opt(help="Known classes: folders (CLASS/image.jpg), or a CSV file path,label.  [default: as known]")
]
Scale = Annotated[
    str | None,
    Opt(
        metavar="LOW,HIGH",
        help="Black and white of pixels of more than 8 bits, or percentile.  [default: as in the run]",
    ),
]
Size = Annotated[str | None, Opt(help="Pixels a side, 64, or HEIGHTxWIDTH, 48x64.")]
Color = Annotated[str | None, Opt(help="grey, rgb or bands.  [default: as the images are]")]
NoCrop = Annotated[bool, Opt("--no-crop", help="Squash to the size instead of cutting the centre out.")]
OwnScale = Annotated[
    str | None,
    Opt(metavar="LOW,HIGH", help="Black and white of deep pixels, or percentile.  [default: see the guide]"),
]
Pages = Annotated[str | None, Opt(help="Of files of several: first, mean, max, or channels.  [default: first]")]
Bands = Annotated[str | None, Opt(metavar="4,3,2", help="Numbers of the channels that are taken.")]
Features = Annotated[
    str | None,
    Opt(metavar="FILE", help="Group these vectors of the images: .npz, .npy, .csv or .parquet, joined by name."),
]
Layout = Annotated[str | None, Opt(help="Of arrays: NHW, NHWC, NCHW or ND.")]
Strict = Annotated[bool, Opt("--strict", help="Stop at an image or folder that cannot be read.")]
Device = Annotated[str, Opt(help="auto, cpu, cuda, cuda:1, mps.")]
Copy = Annotated[bool, Opt("--copy/--link", help="What --export writes: copies, or symbolic links.")]
Json = Annotated[bool, Opt("--json", help="Print JSON.")]
Overwrite = Annotated[bool, Opt("--overwrite", help="Replace a file of any kind at --out.")]


def check_copy(copy: bool, export: Path | None) -> None:
    """See that ``--copy`` says something; raises `typer.BadParameter`."""
    if copy and export is None:
        raise typer.BadParameter("it tells how --export writes: give --export DIR too", param_hint="--copy")


def parse_size(text: str | None) -> int | tuple[int, int] | None:
    """``64`` or ``48x64`` (height x width); raises `InputError`."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:[x×,](\d+))?", text.strip())
    if match is None:
        raise InputError(f"--size {text} is not a number of pixels, as in 64, or HEIGHTxWIDTH, as in 48x64")
    return int(match[1]) if match[2] is None else (int(match[1]), int(match[2]))


def parse_bands(text: str | None) -> tuple[int, ...] | None:
    """``4,3,2``; raises `InputError`."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5})*", text):
        raise InputError(f"--bands {text} are no numbers of channels, as in 4,3,2")
    return tuple(int(part) for part in text.split(","))


def parse_scale(text: str | None) -> str | tuple[float, float] | None:
    """``0,4095``, or ``percentile``; raises `InputError`."""
    if text is None or text == "percentile":
        return text
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--scale {text} is neither LOW,HIGH, as in 0,4095, nor percentile") from None
    if not low < high < math.inf or low == -math.inf:
        raise InputError(f"--scale {text} cannot be used: LOW, which becomes black, must be below HIGH, as in 0,4095")
    return low, high
