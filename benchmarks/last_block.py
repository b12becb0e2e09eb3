"""Does it help to train the last block of the network on the groups? ``fine_tune=4`` beside the frozen default.

    python benchmarks/last_block.py --features FOLDER --json benchmarks/results/last-block.jsonl
    python benchmarks/last_block.py --show benchmarks/results/last-block.jsonl

MobileNetV2; classes score only. Frozen features are those of ``photographs.py``, in FOLDER; activations below the block
are computed before the clock starts, and kept in the cache. One line a part, seed and number of trained layers.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from photographs import FRESH, features_of, images_of, part, scores

from asterism import Backbone, DiscriminantDiffusion, open_images
from asterism.images import ImageSource
from asterism.methods.last_layers import features_above
from asterism.runtime import Runtime, hardware, versions

NETWORK, LAYERS = "mobilenet_v2", 4  # of its last block, and the convolution above it
# How the block is trained was chosen on other draws of these sets (docs/photographs.md); of these, small ones first.
DRAWS = (180, 230, 190, 220, 240, 120, 140)
OTHERS = tuple(one for draw in DRAWS for one in FRESH if one[2] == draw)
SEEDS = (0, 1, 2)


def pictures(name: str, index: np.ndarray) -> ImageSource:
    """Some images of a set, whose features `features_of` gives."""
    if name != "flowers+":
        return images_of(name)[0].subset(index)
    data = Path(os.environ["ASTERISM_DATA"]) / "flowers102"
    every = [str(data / folder / one) for folder in ("test", "train") for one in listed(data / folder)]
    return open_images([every[i] for i in index], photo_side=224, crop=False)


def listed(folder: Path) -> list[str]:
    """The names of a folder's images, in the order of their features."""
    return open_images(folder, photo_side=224, crop=False).names


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One record a part, seed and number of layers that is not in the file yet."""
    kept = [json.loads(one) for one in options.json.open()] if options.json and options.json.exists() else []
    known = {tuple(one[key] for key in ("set", "fine_tune", "seed")) for one in kept}
    runtime = Runtime("cpu")
    about = {"network": NETWORK, "hardware": hardware(runtime.device), "versions": versions()}
    for name, n_classes, draw, per_class, most in OTHERS:
        label = f"{name.rstrip('+')}, {n_classes} classes, draw {draw}"
        wanted = [(n, seed) for seed in SEEDS for n in (0, LAYERS) if (label, n, seed) not in known]
        if not wanted:
            continue
        features, y = features_of(NETWORK, name, options.features)
        numbers, y = part(np.arange(len(y))[:, None], y, n_classes, draw, per_class, most)
        index = numbers[:, 0].astype(int)
        images, backbone = pictures(name, index), Backbone(NETWORK)
        features_above(runtime.place(backbone.build(images.shape)), LAYERS, images, runtime)
        for n_layers, seed in wanted:
            model = DiscriminantDiffusion(
                n_classes, backbone=backbone, metric="cosine", device="cpu", fine_tune=n_layers, random_state=seed
            )
            began = time.process_time()
            labels = model.fit_predict(images if n_layers else features[index])
            seconds = round(time.process_time() - began, 2)
            found = {key: round(float(value), 4) for key, value in scores(y, labels).items()}
            line = {"set": label, "n": len(y), "fine_tune": n_layers, "seed": seed, **found, "cpu_seconds": seconds}
            yield line | {"load": round(os.getloadavg()[0], 1), **about}


def show(path: Path) -> None:
    """A Markdown table: each part frozen and trained, mean over seeds, and the means over parts."""
    rows = [json.loads(one) for one in path.open()]
    print("| set | images | seeds | frozen: ACC | NMI | ARI | s | trained: ACC | NMI | ARI | s | ACC, worst seed |")
    print("|" + "---|" * 12)
    for name in dict.fromkeys(row["set"] for row in rows):
        _print(name, [row for row in rows if row["set"] == name])
    _print("mean", rows)


def _print(name: str, rows: list[dict[str, Any]]) -> None:
    """A line of the table of one part's rows, or of many parts'."""
    by = {n: {(row["set"], row["seed"]): row for row in rows if row["fine_tune"] == n} for n in (0, LAYERS)}
    cells = []
    for n in (0, LAYERS):
        some = [row for key, row in by[n].items() if key in by[LAYERS - n]]
        cells += [f"{np.mean([row[key] for row in some]):.3f}" for key in ("acc", "nmi", "ari")]
        cells += [f"{np.mean([row['cpu_seconds'] for row in some]):.1f}"]
    worst = min(row["acc"] - by[0][key]["acc"] for key, row in by[LAYERS].items() if key in by[0])
    n_images = str(rows[0]["n"]) if len({row["set"] for row in rows}) == 1 else ""
    n_seeds = len({seed for _, seed in by[LAYERS]})
    print(f"| {name} | {n_images} | {n_seeds} | " + " | ".join(cells) + f" | {worst:+.3f} |")


def main() -> None:
    """Run what is not recorded, or show what is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--features", type=Path, default=Path("features"), help="folder where features are kept")
    parser.add_argument("--json", type=Path, help="append one line a run to this file, and skip what it has")
    parser.add_argument("--show", type=Path, help="print the table of a file instead")
    options = parser.parse_args()
    if options.show:
        show(options.show)
        return
    torch.set_num_threads(1)
    options.features.mkdir(parents=True, exist_ok=True)
    for line in lines(options):
        print(json.dumps(line), flush=True)
        if options.json:
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
