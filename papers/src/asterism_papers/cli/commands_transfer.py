"""``asterism transfer``: what the features that a run has learned are good for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from asterism.cli.arguments import Arg, Device, Json, Labels, Opt, Run
from asterism.cli.text import aligned, say

Quiet = Annotated[bool, Opt("--quiet", "-q", help="Show no progress.")]
VocDir = Annotated[Path, Arg(metavar="VOCDIR", help="VOCdevkit, or the folder VOC2007 or VOC2012 in it.")]
Learn = Annotated[str, Opt(help="fc6-8: the layers behind the convolutions; fc6-8+norm: and batch norm; all.")]
Train = Annotated[str, Opt(help="List of images to learn from.")]
Test = Annotated[str, Opt(help="List of images to be scored on.")]


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
    """Train a linear classifier on each frozen layer that is a map, and on the features.

    Without --labels, data:NAME that has parts NAME-train and NAME-test is split so; others at random, four to one.
    """
    from json import dumps

    from asterism_papers.cli.probing import probe_run

    rows = probe_run(run, images, labels, layers, settings or [], seed, device)
    if json:
        say(dumps(rows))
        return
    cells = ([row["layer"], f"{row['accuracy']:.4f}", row["n_features"], row["weight_decay"]] for row in rows)
    say(aligned([["LAYER", "ACCURACY", "FEATURES", "DECAY"], *cells]))


def retrieval(
    run: Run,
    images: Annotated[
        str, Arg(metavar="IMAGES", help="Photos of objects: data:ukbench, OBJECT/photo.jpg, Oxford5k or Paris6k ...")
    ],
    whiten_on: Annotated[
        str | None, Opt("--whiten-on", metavar="IMAGES", help="Whitening is learnt on these.  [default: the same]")
    ] = None,
    labels: Annotated[str | None, Opt(help="Objects: folders, or a CSV file path,label.  [default: as known]")] = None,
    layer: Annotated[str | None, Opt(help="Whose maps are taken.  [default: the last]")] = None,
    size: Annotated[
        str | None,
        Opt(
            help="Pixels a side, or HEIGHTxWIDTH, 240x320; of Oxford and Paris, of the longer side.  "
            "[default: 224; 1024]"
        ),
    ] = None,
    json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Find the photos of the same object by R-MAC descriptors.

    Prints the mean average precision and UKBench's score, at most 4. A folder with the ground truth of Oxford or Paris
    (NAME_query.txt, NAME_good.txt ...) is searched by its queries.
    """
    from json import dumps

    from asterism_papers.cli.retrieving import retrieve_run

    found = retrieve_run(run, images, whiten_on, labels, layer, size, device, 0 if quiet else 1)
    say(dumps(found) if json else aligned(found.items()))


def voc_classify(
    run: Run,
    voc: VocDir,
    learn: Learn = "fc6-8",
    train: Train = "trainval",
    test: Test = "test",
    settings: Annotated[
        list[str] | None, Opt("--set", metavar="NAME=VALUE", help="n_steps=80000, lr=0.003 ...")
    ] = None,
    seed: Annotated[int, Opt(min=0, help="Of new layers, order, crops.")] = 0,
    json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Classification on PASCAL VOC 2007.

    New last layers, or the whole network, learn from random crops; the score is the mean average precision (11 points)
    over ten crops an image. Killed, the same command goes on.
    """
    from asterism_papers.cli.voc import Asked, transfer

    asked = Asked(run, voc, learn, (train, test), settings or [], seed, device, quiet)
    _tell(transfer("voc-classify", asked), json, "precisions")


def voc_detect(
    run: Run,
    voc: VocDir,
    proposals: Annotated[
        list[Path] | None, Opt(metavar="FILE", help="Boxes to look into, .mat, .npz or .csv; may be given twice.")
    ] = None,
    learn: Learn = "fc6-8",
    train: Train = "trainval",
    test: Test = "test",
    settings: Annotated[list[str] | None, Opt("--set", metavar="NAME=VALUE", help="n_steps=40000 ...")] = None,
    seed: Annotated[int, Opt(min=0, help="Of new layers, order, mirroring, sampling.")] = 0,
    json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Object detection on PASCAL VOC 2007, by Fast R-CNN.

    Without --proposals (selective search's boxes), by Faster R-CNN. The score is the mean average precision (11 points)
    at an overlap of a half. Killed, the same command goes on.
    """
    from asterism_papers.cli.voc import Asked, transfer

    asked = Asked(run, voc, learn, (train, test), settings or [], seed, device, quiet)
    _tell(transfer("voc-detect", asked, proposals or []), json, "precisions")


def voc_segment(
    run: Run,
    voc: VocDir,
    learn: Learn = "fc6-8",
    train: Train = "train",
    test: Test = "val",
    settings: Annotated[list[str] | None, Opt("--set", metavar="NAME=VALUE", help="n_steps=100000 ...")] = None,
    seed: Annotated[int, Opt(min=0, help="Of order, mirroring, dropout.")] = 0,
    json: Json = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Segmentation of PASCAL VOC 2012, by a fully convolutional network.

    The score is the mean intersection over union of the classes. Killed, the same command goes on.
    """
    from asterism_papers.cli.voc import Asked, transfer

    asked = Asked(run, voc, learn, (train, test), settings or [], seed, device, quiet)
    _tell(transfer("voc-segment", asked), json, "overlaps")


def _tell(found: dict[str, Any], json: bool, of_classes: str) -> None:
    """A result as JSON, or for the eye: what was learnt, the scores of the classes, then their means."""
    if json:
        from json import dumps

        say(dumps(found))
        return
    lines = [(name, f"{value:.4f}") for name, value in found[of_classes].items()]
    means = [(name, f"{value:.4f}") for name, value in found.items() if isinstance(value, float)]
    say(aligned([("trained", found["learnt"]), *lines, *means]))
