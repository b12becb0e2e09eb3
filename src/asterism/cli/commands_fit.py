"""Commands that fit: ``cluster`` and ``demo``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from asterism.cli.arguments import Arg, Bands, Color, Copy, Features, Layout, NoCrop, Opt, OwnScale, Pages, Size, Strict


def cluster(
    images: Annotated[
        str | None,
        Arg(
            metavar="IMAGES",
            help="Folder of images or .tar shards, 'pattern/*.jpg', list.txt, .npz or .npy file, vectors.csv, "
            "s3://, gs://, hf:// or https:// address, or data:NAME (see: asterism data).",
        ),
    ] = None,
    n_clusters: Annotated[
        int | None, Opt("-k", "--n-clusters", help="How many groups.  [default: as suggest-k says]")
    ] = None,
    method: Annotated[str | None, Opt(help="See: asterism methods.  [default: auto, by the images]")] = None,
    out: Annotated[
        Path | None, Opt("--out", "-o", help="Folder of the run.  [default: runs/NAME-METHOD-1, 2, ...]")
    ] = None,
    seed: Annotated[int | None, Opt(min=0, help="Same seed, same groups.  [default: 0]")] = None,
    size: Size = None,
    color: Color = None,
    no_crop: NoCrop = False,
    layout: Layout = None,
    scale: OwnScale = None,
    pages: Pages = None,
    bands: Bands = None,
    features: Features = None,
    strict: Strict = False,
    settings: Annotated[
        list[str] | None,
        Opt("--set", metavar="NAME=VALUE", help="A parameter: training.lr=0.01 (see: asterism methods NAME)."),
    ] = None,
    like: Annotated[Path | None, Opt(help="Take method, parameters and seed from this run.")] = None,
    labels: Annotated[
        str | None, Opt(help="Known classes, for scoring only: folders (CLASS/image.jpg), or a CSV file path,label.")
    ] = None,
    export: Annotated[Path | None, Opt(help="Put the images of each group into a folder below this one.")] = None,
    copy: Copy = False,
    device: Annotated[str | None, Opt(help="auto, cpu, cuda, cuda:1, mps.  [default: auto]")] = None,
    precision: Annotated[
        str | None, Opt(help="32-true, 16-mixed, bf16-mixed ...  [default: 32-true, or as auto says]")
    ] = None,
    outliers: Annotated[bool, Opt("--outliers", help="Images that belong nowhere get no group (-1).")] = False,
    drop_duplicates: Annotated[
        bool, Opt("--drop-duplicates", help="Count copies of a picture once; they get its group.")
    ] = False,
    resume: Annotated[bool, Opt("--resume", help="Go on with the unfinished run in --out.")] = False,
    overwrite: Annotated[bool, Opt("--overwrite", help="Replace the run in --out, the groups in --export.")] = False,
    no_report: Annotated[bool, Opt("--no-report", help="Write no report.html.")] = False,
    quiet: Annotated[bool, Opt("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Group images, write the run folder and its page.

    A run that was interrupted or killed goes on with:
    asterism cluster --resume --out RUN
    """
    typed = dict(locals())  # each is a field of `Request`

    from asterism.cli.cluster import cluster_images
    from asterism.cli.request import Request
    from asterism.images.urls import without_secrets

    command = shlex.join(["asterism", *map(without_secrets, sys.argv[1:])])
    cluster_images(Request(**typed | {"settings": settings or [], "command": command}))


def demo(
    out: Annotated[Path, Opt("--out", "-o", help="Folder of the run; an earlier demo in it is replaced.")] = Path(
        "demo"
    ),
    settings: Annotated[list[str] | None, Opt("--set", metavar="NAME=VALUE", help="As in cluster.")] = None,
) -> None:
    """Group 1 797 digits that scikit-learn brings along.

    Needs no download and takes about half a minute.
    """
    from asterism.cli.demo import show_demo

    show_demo(out, settings or [])
