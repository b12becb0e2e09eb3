"""``asterism demo``: a whole run on images that come with scikit-learn."""

from __future__ import annotations

import shlex
from pathlib import Path

from asterism.cli.cluster import cluster_images
from asterism.cli.request import Request
from asterism.cli.scoring import scored
from asterism.cli.text import as_argument, say
from asterism.errors import RunError
from asterism.report.fitted import open_run
from asterism.runs import RunFolder

COMMAND = "asterism demo"


def show_demo(out: Path, settings: list[str]) -> None:
    """Group the digits and say how well.

    Raises
    ------
    RunError
        If the folder holds a run that is no demo.
    """
    folder = RunFolder(out)
    if folder.exists and not str(folder.read().get("command", "")).startswith(COMMAND):
        raise RunError(f"{out} holds a run that is not a demo; choose another --out")
    say("1 797 handwritten digits of 8x8 pixels into 10 groups. Their labels are used for the score only.")
    command = shlex.join([*COMMAND.split(), "--out", str(out), *(part for one in settings for part in ("--set", one))])
    cluster_images(
        Request(
            images="data:digits", n_clusters=10, out=out, overwrite=True, settings=settings, seed=0, command=command
        )
    )
    run = open_run(out)
    labels = run.labels(None)
    if labels is not None:
        share = scored(labels[0], run.clusterer.labels_)["acc"]
        say(f"\n{share:.1%} of the digits lie in the group of their class (the best one-to-one matching of both).")
    say(f"Open {out / 'report.html'} in a browser. Then, with your own images:")
    say("    asterism cluster FOLDER -k 20 --out RUN")
    say(f"    asterism predict RUN FOLDER --out groups.csv     (this run: {as_argument(out)})")
