"""Arguments and options that several commands share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Arg = typer.Argument
Opt = typer.Option

Run = Annotated[Path, Arg(metavar="RUN", help="Folder of a finished run.")]
NewImages = Annotated[
    str,
    Arg(
        metavar="IMAGES",
        help="Folder of images or .tar shards, 'pattern/*.jpg', list.txt, .npz or .npy file, or data:NAME.",
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
Layout = Annotated[str | None, Opt(help="Of arrays: NHW, NHWC, NCHW or ND.")]
Strict = Annotated[bool, Opt("--strict", help="Stop at a damaged image instead of skipping it.")]
Device = Annotated[str, Opt(help="auto, cpu, cuda, cuda:1, mps.")]
Copy = Annotated[bool, Opt("--copy/--link", help="Export copies, or symbolic links.")]
Json = Annotated[bool, Opt("--json", help="Print JSON.")]
Overwrite = Annotated[bool, Opt("--overwrite", help="Replace a file of any kind at --out.")]
