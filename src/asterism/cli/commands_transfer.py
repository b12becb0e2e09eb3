"""``asterism transfer``: what the features that a run has learned are good for."""

from __future__ import annotations

from typing import Annotated

import typer

from asterism.cli.added import Commands
from asterism.cli.arguments import Arg, Device, Json, Labels, Opt, Run
from asterism.cli.text import aligned, say

transfer = typer.Typer(
    name="transfer",
    cls=Commands,
    help="Measure what the features of a run are good for.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@transfer.callback()
def _transfer() -> None:
    """Measure what the features of a run are good for."""


def probe(
    run: Run,
    images: Annotated[str, Arg(metavar="IMAGES", help="Images with classes: data:NAME, a folder or .npz file.")],
    labels: Labels = None,
    layers: Annotated[str | None, Opt(help="conv3,conv5: of these only.  [default: all]")] = None,
    settings: Annotated[
        list[str] | None, Opt("--set", metavar="NAME=VALUE", help="n_epochs=90, ten_crops=true ...")
    ] = None,
    seed: Annotated[int, Opt(min=0, help="Of the split and of the training.")] = 0,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Train a linear classifier on each frozen layer; of other methods than DeepCluster's on the features alone.

    data:NAME that has parts NAME-train and NAME-test is split so, other images at random, four to one.
    """
    from json import dumps

    from asterism.cli.probing import probe_run

    rows = probe_run(run, images, labels, layers, settings or [], seed, device)
    if json:
        say(dumps(rows))
        return
    cells = ([row["layer"], f"{row['accuracy']:.4f}", row["n_features"], row["weight_decay"]] for row in rows)
    say(aligned([["LAYER", "ACCURACY", "FEATURES", "DECAY"], *cells]))
