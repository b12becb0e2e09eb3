"""``asterism filters``: pictures of what a network's filters look for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asterism.cli.text import say

Arg = typer.Argument
Opt = typer.Option


def filters(
    run: Annotated[Path, Arg(metavar="RUN", help="Folder of a finished run.")],
    images: Annotated[
        str | None, Arg(metavar="IMAGES", help="For the strongest nine.  [default: the run's own]")
    ] = None,
    out: Annotated[Path | None, Opt(help="Folder of the pictures.  [default: RUN/filters]")] = None,
    layers: Annotated[str | None, Opt(help="conv1,conv3,conv5.  [default: the first, a middle and the last]")] = None,
    n: Annotated[int, Opt("--n", min=1, help="Filters shown of each layer.")] = 8,
    steps: Annotated[int, Opt(min=0, help="Of gradient ascent; 0 leaves it out.")] = 300,
    device: Annotated[str, Opt(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Draw first-layer filters, images made for a filter, and the images that please it most.

    Writes first-layer.png, and for each layer LAYER-ascent.png and LAYER-strongest.png, a row a filter.
    """
    from asterism.cli.feature_visualisation import draw_filters

    for path in draw_filters(run, images, out or run / "filters", layers, n, steps, device):
        say(str(path))
