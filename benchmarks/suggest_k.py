"""How far from the truth is the k that ``asterism suggest-k`` gives, on sets whose classes are known?

    python benchmarks/suggest_k.py digits usps coil20 --json benchmarks/results/suggest-k.jsonl

The classes are only counted, after the sweep.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

SETS = ("digits", "usps", "mnist-test", "coil20", "coil100", "cmu-pie", "umist-380", "flowers102", "scene15")


def main() -> None:
    """Sweep and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="append one line a set to this file")
    options = parser.parse_args()
    from asterism.cli.advising import advise
    from asterism.images import open_images

    for name in options.sets:
        began = time.monotonic()
        found, on = advise(f"data:{name}", None, options.seed, None, "cpu")
        seconds = time.monotonic() - began
        truth = len(np.unique(open_images(f"data:{name}").labels))
        alone = {one: found.ks[int(getattr(found, one).argmax())] for one in ("stability", "silhouette", "eigengap")}
        line = {"set": name, "classes": truth, "k": found.k, "low": found.low, "high": found.high, **alone}
        line["answers"] = {str(size): k for size, k in found.answers.items()}
        line |= {"features": on, "seed": options.seed, "seconds": round(seconds, 1), "says": found.sentence}
        print(line)
        if options.json:
            with open(options.json, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
