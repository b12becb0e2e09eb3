"""``asterism transfer verify``: faces told apart by the features of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from asterism.cli.arguments import Arg, Device, Json, Opt, Run
from asterism.cli.text import aligned, say


def verify(
    run: Run,
    lfw: Annotated[Path, Arg(metavar="LFWDIR", help="Folder of NAME/NAME_0001.jpg with pairs.txt in it or beside it.")],
    fine_tune: Annotated[
        bool, Opt("--fine-tune", help="First train the network on the run's own groups, with a softmax layer.")
    ] = False,
    settings: Annotated[
        list[str] | None, Opt("--set", metavar="NAME=VALUE", help="Of that training: n_epochs=20, lr=0.01 ...")
    ] = None,
    face: Annotated[float, Opt(min=0.05, max=1.0, help="Side of the middle that is seen, of the photograph's.")] = 0.6,
    seed: Annotated[int, Opt(min=0, help="Of the fine-tuning.")] = 0,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Face verification on Labelled Faces in the Wild: are two photographs of one person?

    The image-restricted protocol on the pairs of View 2: the cosine of the two features against a threshold chosen on
    nine folds and tested on the tenth; the mean of ten, with its standard error.
    """
    from json import dumps

    from asterism_papers.cli.verifying import verify_run

    found = verify_run(run, lfw, fine_tune, settings or [], face, seed, device)
    if json:
        say(dumps(found))
        return
    say(
        aligned(
            [
                ["FOLD", "ACCURACY", "THRESHOLD"],
                *(
                    [i + 1, f"{accuracy:.4f}", f"{threshold:.4f}"]
                    for i, (accuracy, threshold) in enumerate(zip(found["folds"], found["thresholds"], strict=True))
                ),
            ]
        )
    )
    say(f"\n{found['accuracy']:.4f} ± {found['standard_error']:.4f} on {found['n_pairs']} pairs")
