"""How far from the truth is the k that ``asterism suggest-k`` gives, on sets whose classes are known?

    python benchmarks/suggest_k.py digits usps coil20 --json benchmarks/results/suggest-k-sets.jsonl
    python benchmarks/suggest_k.py --features FOLDER --json benchmarks/results/suggest-k.jsonl
    python benchmarks/suggest_k.py --show --json benchmarks/results/suggest-k.jsonl

With ``--features`` on the parts of sets of ``photographs.py``, whose features it keeps in FOLDER. The classes are only
counted, after the sweep.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SETS = ("digits", "usps", "mnist-test", "coil20", "coil100", "cmu-pie", "umist-380", "flowers102", "scene15")


def of_photographs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line a part and network that is not in the file yet."""
    from photographs import NETWORKS, PARTS, features_of, part
    from sklearn.preprocessing import normalize

    from asterism.clustering.advice import suggest_k

    kept = options.json.open().readlines() if options.json.exists() else []
    known = {tuple(json.loads(one)[key] for key in ("set", "network")) for one in kept}
    for network in NETWORKS:
        for name, n_classes, draw, per_class, most in PARTS:
            label = f"{name.rstrip('+')}, {n_classes} classes" + (f", draw {draw}" if draw else "")
            if (label, network) in known:
                continue
            X, y = part(*features_of(network, name, options.features), n_classes, draw, per_class, most)
            began = time.process_time()
            found = suggest_k(normalize(X), random_state=options.seed)
            line = {"set": label, "network": network, "n": len(y), "classes": n_classes}
            line |= {"k": found.k, "low": found.low, "high": found.high, "agreed": found.agreed}
            yield line | {"seed": options.seed, "cpu_seconds": round(time.process_time() - began, 1)}


def show(path: Path) -> None:
    """A Markdown table: the true number, and what was found."""
    rows = [json.loads(one) for one in path.open()]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    print("| set | classes | " + " | ".join(networks) + " |\n" + "|---" * (len(networks) + 2) + "|")
    for name in dict.fromkeys(row["set"] for row in rows):
        own = {row["network"]: row for row in rows if row["set"] == name}
        found = [own.get(network) for network in networks]
        cells = " | ".join("" if row is None else f"{row['k']} ({row['low']}–{row['high']})" for row in found)
        print(f"| {name} | {next(iter(own.values()))['classes']} | {cells} |")
    held = [row["low"] <= row["classes"] <= row["high"] for row in rows]
    off = np.exp(np.mean([abs(np.log(row["k"] / row["classes"])) for row in rows]))
    wide = np.exp(np.mean([np.log(row["high"] / row["low"]) for row in rows]))
    print(f"\nThe range holds the true number in {sum(held)} of {len(held)}; it spans a factor of {wide:.1f}, and k")
    print(f"is off by a factor of {off:.2f} (geometric means).")


def main() -> None:
    """Sweep and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="append one line a set to this file")
    parser.add_argument("--features", type=Path, help="sweep the parts of photographs.py, whose features lie here")
    parser.add_argument("--show", action="store_true", help="print the table of the file instead")
    options = parser.parse_args()
    if options.show:
        show(options.json)
        return
    if options.features is not None:
        for line in of_photographs(options):
            print(line, flush=True)
            with open(options.json, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return
    from asterism.cli.advising import advise
    from asterism.cli.request import Request
    from asterism.images import open_images

    for name in options.sets:
        began = time.monotonic()
        found, on = advise(Request(f"data:{name}", seed=options.seed, device="cpu"))
        seconds = time.monotonic() - began
        truth = len(np.unique(np.asarray(open_images(f"data:{name}").labels)))
        line = {"set": name, "network": on.removeprefix("features of "), "classes": truth}
        line |= {"k": found.k, "low": found.low, "high": found.high, "agreed": found.agreed}
        line |= {"answers": {str(size): k for size, k in found.answers.items()}}
        line |= {"seed": options.seed, "seconds": round(seconds, 1), "says": found.sentence}
        print(line)
        if options.json:
            with open(options.json, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
