"""Commands that fit: ``cluster`` and ``demo``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from asterism.cli.arguments import Opt
from asterism.cli.request import Request, signature


def cluster(**typed: Any) -> None:
    """Group images, write the run folder and its page.

    A run that was interrupted or killed goes on with:
    asterism cluster --resume --out RUN
    """
    from asterism.cli.cluster import cluster_images
    from asterism.images.urls import without_secrets

    command = shlex.join(["asterism", *map(without_secrets, sys.argv[1:])])
    given = {name: value for name, value in typed.items() if value is not None}
    cluster_images(Request(**given, command=command))


cluster.__signature__ = signature()  # type: ignore[attr-defined]  # what typer reads


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
