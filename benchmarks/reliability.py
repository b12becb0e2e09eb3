"""Are the confidences, the refusals and the stability of the default for photographs what they say they are?

    python benchmarks/reliability.py --features FOLDER --json benchmarks/results/reliability.jsonl
    python benchmarks/reliability.py --show --json benchmarks/results/reliability.jsonl

On the parts of sets of ``photographs.py``. Classes are only counted, after the fit. One line a part and network:

- ``groups``, of ``diffusion``, and ``groups of the default``, of ``discriminant-diffusion``: accuracy and mean
  confidence in ten bins of confidence; stability, and the ARI with the classes;
- ``refused``: a model of one half of a set refuses so many of the other half, of noise images, of 500 images of
  another set; fitted without outliers and with;
- ``nothing``: stability where there are no groups to be found: one class cut into six, features of noise images,
  vectors of noise, columns of a set's features shuffled.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from photographs import NETWORKS, PARTS, features_of, part, scores

BINS = 10
WHOLE = ("flowers", "scene15", "cifar10", "coil100", "cmu-pie", "ukbench")
OTHER = 500  # images of another set
DEFAULT = "groups of the default"


def noise_images() -> np.ndarray:
    """White and coarse noise, plain colours, stripes and checks: (120, 224, 224, 3), uint8."""
    from PIL import Image

    rng, side, found = np.random.default_rng(0), 224, []
    for i in range(120):
        if i < 40:
            found.append(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        elif i < 80:
            small = Image.fromarray(rng.integers(0, 256, (*(int(rng.choice([4, 8, 16, 32])),) * 2, 3), dtype=np.uint8))
            found.append(np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)))
        elif i < 100:
            found.append(np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8))
        else:
            width, (y, x) = int(rng.integers(4, 40)), np.mgrid[:side, :side]
            first = ((x // width + y // width * (i % 2)) % 2)[..., None] == 0
            found.append(np.where(first, rng.integers(0, 256, 3), rng.integers(0, 256, 3)).astype(np.uint8))
    return np.stack(found)


def noise_features(network: str, folder: Path) -> np.ndarray:
    """Features (120, M) of noise images, from the folder, or computed into it."""
    kept = folder / f"{network}-noise.npz"
    if not kept.exists():
        from asterism import Backbone, open_images
        from asterism.features import extract
        from asterism.runtime import Runtime

        source, runtime = open_images(noise_images()), Runtime("cpu")
        np.savez(kept, X=extract(runtime.place(Backbone(network).build(source.shape)), source, runtime).numpy())
    with np.load(kept, allow_pickle=False) as found:
        return found["X"]


def fitted(X: np.ndarray, k: int, method: str = "Diffusion", **asked: Any) -> Any:
    """A method of features (N, M)."""
    import asterism

    return getattr(asterism, method)(k, metric="cosine", random_state=0).fit(X.astype("f4"), **asked)


def right(y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each image lies in the group that stands for its class, by the best one-to-one match."""
    from asterism.metrics import match_clusters

    of = match_clusters(y, labels)
    return np.array([of.get(int(group)) == int(label) for group, label in zip(labels, y, strict=True)])


def groups(kind: str, name: str, network: str, X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """How sure a fit is, and how right."""
    model = fitted(X, len(np.unique(y)), "DiscriminantDiffusion" if kind == DEFAULT else "Diffusion")
    hit, sure = right(y, model.labels_), model.confidence_
    where = np.minimum((sure * BINS).astype(int), BINS - 1)
    n, total, hits = (np.bincount(where, weight, BINS) for weight in (None, sure, hit))
    bins = [[int(a), round(b / max(a, 1), 4), round(c / max(a, 1), 4)] for a, b, c in zip(n, total, hits, strict=True)]
    ece = float(np.abs(total - hits).sum() / len(y))
    found = {"acc": float(hit.mean()), "confidence": float(sure.mean()), "ece": ece}
    found |= {"ari": scores(y, model.labels_)["ari"], "stability": float(model.stability_)}
    found |= {"sd": float(sure.std()), "brier": float(np.square(sure - hit).mean())}
    line = {"kind": kind, "set": name, "network": network, "n": len(y)}
    return line | {key: round(value, 4) for key, value in found.items()} | {"auc": _ranked(hit, sure), "bins": bins}


def _ranked(hit: np.ndarray, sure: np.ndarray) -> float | None:
    """Area under the ROC curve of right against wrong; None where all are right."""
    from sklearn.metrics import roc_auc_score

    return None if hit.all() else round(float(roc_auc_score(hit, sure)), 4)


def refused(name: str, network: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Whom a model of one half of a set refuses."""
    X, y = features_of(network, name, folder)
    other = features_of(network, "scene15" if name != "scene15" else "flowers", folder)[0][:OTHER]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(X))
    half, rest = order[: len(X) // 2], order[len(X) // 2 :]
    for asked in (None, 0.01):
        model = fitted(X[half], len(np.unique(y)), outliers=asked)
        line = {"kind": "refused", "set": name, "network": network, "outliers": asked, "n": len(half)}
        line["in_fit"] = round(float((model.labels_ < 0).mean()), 4)
        for what, rows in (("members", X[rest]), ("noise", noise_features(network, folder)), ("others", other)):
            found = model.predict(rows.astype("f4"), outliers=0.01)
            line[what] = round(float((found < 0).mean()), 4)
        yield line


def nothing(network: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Stability where there is nothing to be found."""
    X, y = features_of(network, "scene15", folder)
    rng = np.random.default_rng(0)
    shuffled = np.stack([rng.permutation(column) for column in X.T], 1)
    classes = {f"one class of scene15 ({label})": X[y == label] for label in np.unique(y)[:4].tolist()}
    for what, rows, k in (
        *((what, rows, 6) for what, rows in classes.items()),
        ("noise images", noise_features(network, folder)[:80], 4),
        ("vectors of noise", rng.normal(size=(1500, 200)), 10),
        ("columns of scene15 shuffled", shuffled, 15),
    ):
        model = fitted(rows, k)
        found = {"stability": float(model.stability_), "confidence": float(model.confidence_.mean())}
        line = {"kind": "nothing", "set": what, "network": network, "n": len(rows), "k": k}
        yield line | {key: round(value, 4) for key, value in found.items()}


def lines(folder: Path, known: set[tuple[str, str, str]]) -> Iterator[dict[str, Any]]:
    """All that is not known yet."""
    for network in NETWORKS:
        for name, n_classes, draw, per_class, most in PARTS:
            label = f"{name.rstrip('+')}, {n_classes} classes" + (f", draw {draw}" if draw else "")
            for kind in ("groups", DEFAULT):
                if (kind, label, network) not in known:
                    drawn = part(*features_of(network, name, folder), n_classes, draw, per_class, most)
                    yield groups(kind, label, network, *drawn)
        for name in WHOLE:
            if ("refused", name, network) not in known:
                yield from refused(name, network, folder)
        if ("nothing", "noise images", network) not in known:
            yield from nothing(network, folder)


def _show_groups(rows: list[dict[str, Any]]) -> None:
    bins = np.sum([[[n, n * sure, n * hit] for n, sure, hit in row["bins"]] for row in rows], 0)
    print(f"\n{rows[0]['kind']}\n\n| confidence | images | mean confidence | right |\n|---|---|---|---|")
    for i, (n, sure, hit) in enumerate(bins.tolist()):
        if n:
            print(f"| {i / BINS:.1f} – {(i + 1) / BINS:.1f} | {n:.0f} | {sure / n:.3f} | {hit / n:.3f} |")
    print("\n| set | ACC | mean confidence | ECE | stability | ARI |\n|---|---|---|---|---|---|")
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        cells = (
            " / ".join(f"{row[key]:.2f}" for row in own) for key in ("acc", "confidence", "ece", "stability", "ari")
        )
        print(f"| {name} | " + " | ".join(cells) + " |")
    means = (
        f"{key} {np.mean([row[key] for row in rows if row[key] is not None]):.3f}"
        for key in ("ece", "sd", "brier", "auc")
    )
    print("\nMeans: " + ", ".join(means) + "\n")


def show(path: Path) -> None:
    """The tables of the docs."""
    rows = [json.loads(one) for one in path.open()]
    of_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in ("groups", DEFAULT, "refused", "nothing")}
    for kind in (DEFAULT, "groups"):
        _show_groups(of_kind[kind])
    print("| set | fitted | of the fit | of the other half | of noise images | of another set |\n" + "|---" * 6 + "|")
    for row in of_kind["refused"]:
        how = "with `outliers=.01`" if row["outliers"] else "without"
        shares = " | ".join(f"{100 * row[key]:.1f} %" for key in ("in_fit", "members", "noise", "others"))
        print(f"| {row['set']}, {row['network']} | {how} | {shares} |")
    print("\n| nothing to be found | k | stability | mean confidence |\n|---|---|---|---|")
    for name in dict.fromkeys(row["set"] for row in of_kind["nothing"]):
        own = [row for row in of_kind["nothing"] if row["set"] == name]
        cells = (" / ".join(f"{row[key]:.2f}" for row in own) for key in ("stability", "confidence"))
        print(f"| {name} | {own[0]['k']} | " + " | ".join(cells) + " |")


def main() -> None:
    """Run what is not recorded, or show what is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, default=Path("features"), help="folder where features are kept")
    parser.add_argument("--json", type=Path, required=True, help="append lines to this file, and skip what it has")
    parser.add_argument("--show", action="store_true", help="print the tables of the file instead")
    options = parser.parse_args()
    if options.show:
        show(options.json)
        return
    options.features.mkdir(parents=True, exist_ok=True)
    known = set()
    if options.json.exists():
        known = {tuple(json.loads(one)[key] for key in ("kind", "set", "network")) for one in options.json.open()}
    for line in lines(options.features, known):
        print(json.dumps(line), flush=True)
        with options.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
