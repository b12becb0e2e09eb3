"""What was typed after ``asterism cluster``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

from asterism.cli import arguments
from asterism.cli.arguments import Arg, Opt, parse_bands, parse_scale, parse_size

DEFAULT_METHOD = "dbc"  # where none is named and nothing is chosen by the images (`asterism.cli.choosing`)


@dataclass
class Request:
    """What the user typed; None is what was left out. The annotated fields are the arguments and options."""

    images: Annotated[
        str | None,
        Arg(
            metavar="IMAGES",
            help="Folder of images or .tar shards, 'pattern/*.jpg', list.txt, .npz or .npy file, vectors.csv, "
            "s3://, gs://, hf:// or https:// address, or data:NAME (see: asterism data).",
        ),
    ] = None
    n_clusters: Annotated[
        int | None, Opt("-k", "--n-clusters", help="How many groups.  [default: as suggest-k says]")
    ] = None
    method: Annotated[str | None, Opt(help="See: asterism methods.  [default: auto, by the images]")] = None
    out: Annotated[
        Path | None, Opt("--out", "-o", help="Folder of the run.  [default: runs/NAME-METHOD-1, 2, ...]")
    ] = None
    seed: Annotated[int | None, Opt(min=0, help="Same seed, same groups.  [default: 0]")] = None
    size: arguments.Size = None
    color: arguments.Color = None
    no_crop: arguments.NoCrop = False
    layout: arguments.Layout = None
    scale: arguments.OwnScale = None
    pages: arguments.Pages = None
    bands: arguments.Bands = None
    features: arguments.Features = None
    strict: arguments.Strict = False
    settings: Annotated[
        list[str],
        Opt("--set", metavar="NAME=VALUE", help="A parameter: training.lr=0.01 (see: asterism methods NAME)."),
    ] = field(default_factory=list)
    like: Annotated[Path | None, Opt(help="Take method, parameters and seed from this run.")] = None
    labels: Annotated[
        str | None, Opt(help="Known classes, for scoring only: folders (CLASS/image.jpg), or a CSV file path,label.")
    ] = None
    export: Annotated[Path | None, Opt(help="Put the images of each group into a folder below this one.")] = None
    copy: arguments.Copy = False
    device: Annotated[str | None, Opt(help="auto, cpu, cuda, cuda:1, mps.  [default: auto]")] = None
    precision: Annotated[
        str | None, Opt(help="32-true, 16-mixed, bf16-mixed ...  [default: 32-true, or as auto says]")
    ] = None
    outliers: Annotated[bool, Opt("--outliers", help="Images that belong nowhere get no group (-1).")] = False
    drop_duplicates: Annotated[
        bool, Opt("--drop-duplicates", help="Count copies of a picture once; they get its group.")
    ] = False
    resume: Annotated[bool, Opt("--resume", help="Go on with the unfinished run in --out.")] = False
    overwrite: Annotated[bool, Opt("--overwrite", help="Replace the run in --out, the groups in --export.")] = False
    no_report: Annotated[bool, Opt("--no-report", help="Write no report.html.")] = False
    quiet: Annotated[bool, Opt("--quiet", "-q", help="Say nothing but errors.")] = False
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


def signature() -> Signature:
    """The arguments and options of ``asterism cluster``, as typer reads them off a function."""
    types = get_type_hints(Request, include_extras=True)
    known = {one.name: one.default for one in fields(Request) if get_origin(types[one.name]) is Annotated}
    known["settings"] = None  # its list is made anew each time
    kind = Parameter.KEYWORD_ONLY
    return Signature([Parameter(name, kind, default=one, annotation=types[name]) for name, one in known.items()])
