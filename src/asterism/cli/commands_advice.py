"""Commands that advise: ``suggest-k``."""

from __future__ import annotations

from typing import Annotated

import typer

from asterism.cli.text import say

Arg = typer.Argument
Opt = typer.Option


def suggest_k(
    images: Annotated[
        str,
        Arg(
            metavar="IMAGES",
            help="Folder of images or .tar shards, 'pattern/*.jpg', list.txt, .npz or .npy file, or data:NAME.",
        ),
    ],
    k_max: Annotated[int | None, Opt("--k-max", help="Largest number of groups to try.")] = None,
    seed: Annotated[int, Opt(min=0, max=2**32 - 1, help="Same seed, same answer.")] = 0,
    layout: Annotated[str | None, Opt(help="Of arrays: NHW, NHWC, NCHW or ND.")] = None,
    device: Annotated[str, Opt(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Annotated[bool, Opt("--json", help="Print JSON.")] = False,
) -> None:
    """Guess how many groups there are, and show how sure that is.

    Asks graphs of 5, 10, 20 and 40 neighbours, and on how many groups two halves of the images agree; where the
    answers differ, says between what.
    """
    from json import dumps

    from asterism.cli.advising import advise, shown_advice

    found, on = advise(images, k_max, seed, layout, device)
    if json:
        curves = {
            name: [round(float(one), 4) for one in getattr(found, name)]
            for name in ("modularity", "stability", "silhouette", "eigengap")
        }
        known = {"k": found.k, "low": found.low, "high": found.high, "features": on, "says": found.sentence}
        known["agreed"] = found.agreed
        known["answers"] = {str(size): k for size, k in found.answers.items()}
        say(dumps({**known, "ks": found.ks, **curves}))
        return
    say(shown_advice(found, on))
