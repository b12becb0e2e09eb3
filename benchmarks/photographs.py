"""Groups of photographs from the same frozen features: the default beside what people script, and processor seconds.

    python benchmarks/photographs.py --features FOLDER --json benchmarks/results/photographs.jsonl
    python benchmarks/photographs.py --show benchmarks/results/photographs.jsonl > docs/photographs-table.md
    python benchmarks/photographs.py --fresh --seeds 1 --features FOLDER --json benchmarks/results/fresh.jsonl
    python benchmarks/photographs.py --weightless --features FOLDER --json benchmarks/results/weightless.jsonl
    python benchmarks/photographs.py --weightless --show benchmarks/results/weightless.jsonl

Classes score only. A part of a set is drawn by classes with a fixed seed, so that sets of few and of many classes are
among them. The features are computed once and kept in FOLDER. Peers that are not installed are left out
(``pip install umap-learn hdbscan evoc fast-plscan``); those that choose the number of groups themselves bear a ``*``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

NETWORKS = ("mobilenet_v2", "squeezenet1_0")
# name of the features, classes, seed of the draw of classes, most images a class (0: all), most images
PARTS = (
    ("flowers", 89, 0, 0, 0),
    ("flowers+", 17, 1, 80, 0),
    ("flowers+", 17, 2, 80, 0),
    ("flowers+", 40, 3, 45, 0),
    ("flowers+", 7, 11, 0, 0),
    ("scene15", 15, 0, 0, 2000),
    ("scene15", 6, 4, 0, 0),
    ("scene15", 7, 5, 0, 0),
    ("scene15", 7, 15, 0, 0),
    ("scene15", 10, 6, 0, 0),
    ("cifar10", 10, 0, 0, 2000),
    ("cifar10", 6, 8, 0, 1600),
    ("coil100", 20, 7, 0, 0),
    ("coil100", 100, 0, 0, 0),
    ("cmu-pie", 20, 9, 0, 0),
    ("cmu-pie", 68, 0, 0, 0),
    ("ukbench", 250, 0, 0, 0),
)
# Draws of classes that nothing was chosen on, classes of even and of uneven sizes in turns, at most 1 960 images.
UNEVEN = -1  # a random share of a quarter to all of the images of each class
MOST_FRESH = 1960
FRESH = tuple(
    (name, n_classes, seed + turn, UNEVEN if turn % 2 and name != "flowers+" else 0, MOST_FRESH)
    for name, n_classes, seed, turns in (
        ("scene15", 6, 100, 4),
        ("scene15", 7, 110, 4),
        ("scene15", 8, 120, 4),
        ("scene15", 10, 130, 4),
        ("scene15", 12, 251, 1),
        ("cifar10", 6, 140, 3),
        ("cifar10", 8, 150, 3),
        ("flowers+", 6, 160, 3),
        ("flowers+", 7, 170, 3),
        ("flowers+", 10, 180, 3),
        ("flowers+", 17, 190, 3),
        ("flowers+", 40, 200, 2),
        ("coil100", 10, 210, 2),
        ("coil100", 25, 220, 2),
        ("cmu-pie", 10, 230, 2),
        ("cmu-pie", 25, 240, 2),
    )
    for turn in range(turns)
)
SEEDS = (0, 1, 2)
# What needs no weights: our histograms, MobileNetV2 at 96 pixels with random weights, pixels of 16x16. On fewer parts.
WEIGHTLESS = ("hog-color", "random convolutions", "pixels")
FEWER = tuple(PARTS[i] for i in (5, 6, 10, 12))


def features_of(network: str, name: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, M) and classes (N,) of a whole set, from the folder, or computed into it."""
    if name == "flowers+":
        parts = [features_of(network, part, folder) for part in ("flowers", "flowers_tr")]
        return np.concatenate([X for X, _ in parts]), np.concatenate([y for _, y in parts])
    kept = folder / f"{network}-{name}.npz"
    if not kept.exists():
        from asterism.features import extract
        from asterism.runtime import Runtime

        source, y = images_of(name)
        runtime = Runtime("cpu")
        X = extract(runtime.place(network_for(network, source.shape)), source, runtime).numpy()
        np.savez(kept, X=X, y=y)
    with np.load(kept, allow_pickle=False) as found:
        return found["X"], found["y"]


def network_for(name: str, shape: tuple[int, int, int]) -> Any:
    """What makes features of images of a shape (C, H, W)."""
    import torch

    from asterism import Backbone

    if name == "pixels":
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(16), torch.nn.Flatten()).eval()
    if name == "random convolutions":
        torch.manual_seed(0)
        return Backbone("mobilenet_v2", size=96).build(shape, pretrained=False)
    return Backbone(name).build(shape)


def images_of(name: str) -> tuple[Any, np.ndarray]:
    """Images and classes of a set; of two large ones a part."""
    from asterism import open_images

    data = Path(os.environ["ASTERISM_DATA"])
    folders = {
        "flowers": "flowers102/test",
        "flowers_tr": "flowers102/train",
        "scene15": "scene15",
        "ukbench": "ukbench",
    }
    if name in folders:
        source = open_images(data / folders[name], photo_side=224, crop=False)
        classes = [one.split("/")[0] for one in source.names]
        every = sorted(one.name for one in (data / folders[name.removesuffix("_tr")]).iterdir())
        return source, np.array([every.index(one) for one in classes])
    source = open_images({"cifar10": "data:cifar10-test"}.get(name, f"data:{name}"))
    most = {"coil100": 3600, "cifar10": 3000}.get(name, len(source))
    drawn = np.random.default_rng(0).permutation(len(source))[:most] if most < len(source) else np.arange(len(source))
    return source.subset(drawn), np.asarray(source.labels)[drawn]


def part(X: np.ndarray, y: np.ndarray, n_classes: int, seed: int, per_class: int, most: int) -> tuple:
    """The images of some classes."""
    rng = np.random.default_rng(seed)
    chosen = []
    for label in rng.permutation(np.unique(y))[:n_classes]:
        own = np.flatnonzero(y == label)
        rng.shuffle(own)
        kept = max(15, int(len(own) * rng.uniform(0.25, 1))) if per_class == UNEVEN else per_class
        chosen.append(own[:kept] if kept else own)
    index = np.sort(np.concatenate(chosen))
    if most and len(index) > most:
        index = np.sort(rng.permutation(index)[:most])
    return X[index].astype("f4"), np.unique(y[index], return_inverse=True)[1]


Method = Callable[[np.ndarray, int, int], np.ndarray]  # samples, number of groups, seed → labels


def peers(with_temi: bool) -> dict[str, Method]:
    """What groups features (N, M) into k groups with a seed."""
    from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
    from sklearn.preprocessing import normalize

    from asterism import FCN, TEMI, Diffusion, DiscriminantDiffusion

    def k_means(X: np.ndarray, k: int, seed: int) -> np.ndarray:
        return KMeans(k, n_init=10, random_state=seed).fit_predict(X)

    def spectral(X: np.ndarray, k: int, seed: int) -> np.ndarray:
        found = SpectralClustering(k, affinity="nearest_neighbors", n_neighbors=15, random_state=seed)
        return found.fit_predict(normalize(X - X.mean(0)))

    every: dict[str, Method] = {
        "diffusion": lambda X, k, seed: Diffusion(k, metric="cosine", random_state=seed).fit_predict(X),
        "discriminant-diffusion": lambda X, k, seed: DiscriminantDiffusion(
            k, metric="cosine", random_state=seed
        ).fit_predict(X),
        "fcn": lambda X, k, seed: FCN(k, random_state=seed).fit_predict(X),
        "k-means": k_means,
        "k-means, unit length": lambda X, k, seed: k_means(normalize(X - X.mean(0)), k, seed),
        "Ward": lambda X, k, seed: AgglomerativeClustering(k).fit_predict(normalize(X - X.mean(0))),
        "spectral": spectral,
    }
    if with_temi:
        every["temi"] = lambda X, k, seed: TEMI(k, random_state=seed).fit_predict(X)
    try:
        import umap

        def embedded(X: np.ndarray, seed: int, metric: str) -> np.ndarray:
            return umap.UMAP(n_components=10, metric=metric, random_state=seed).fit_transform(X)

        every["UMAP + k-means"] = lambda X, k, seed: k_means(embedded(X, seed, "euclidean"), k, seed)
        every["UMAP (cosine) + k-means"] = lambda X, k, seed: k_means(embedded(X, seed, "cosine"), k, seed)
        import hdbscan

        every["UMAP (cosine) + HDBSCAN*"] = lambda X, k, seed: hdbscan.HDBSCAN(min_cluster_size=15).fit_predict(
            embedded(X, seed, "cosine")
        )
        import evoc

        every["EVoC*"] = lambda X, k, seed: evoc.EVoC(random_state=seed).fit_predict(X)
        import fast_plscan

        every["UMAP (cosine) + PLSCAN*"] = lambda X, k, seed: fast_plscan.PLSCAN().fit_predict(
            embedded(X, seed, "cosine")
        )
    except ImportError as missing:
        warnings.warn(f"{missing}: left out", stacklevel=1)
    return every


def scores(y: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """ACC by the best one-to-one match, NMI (arithmetic mean), ARI; noise (−1) is a group of its own."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    table = contingency_matrix(y, labels)
    rows, columns = linear_sum_assignment(-table)
    acc = table[rows, columns].sum() / len(y)
    return {"acc": acc, "nmi": normalized_mutual_info_score(y, labels), "ari": adjusted_rand_score(y, labels)}


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One record a network, part, peer and seed that is not in the file yet."""
    known = set()
    if options.json and options.json.exists():
        known = {
            tuple(json.loads(one)[key] for key in ("set", "network", "method", "seed")) for one in options.json.open()
        }
    every = {name: run for name, run in peers(options.temi).items() if not options.only or name in options.only}
    for run in every.values():  # compile and import outside the clock
        run(np.random.default_rng(0).normal(size=(200, 40)).astype("f4") + 3, 3, 0)
    parts = FEWER if options.weightless else FRESH if options.fresh else PARTS
    for seed in SEEDS[: options.seeds]:
        for network in WEIGHTLESS if options.weightless else NETWORKS:
            for name, n_classes, draw, per_class, most in parts:
                label = f"{name.rstrip('+')}, {n_classes} classes" + (f", draw {draw}" if draw else "")
                wanted = [one for one in every if (label, network, one, seed) not in known]
                if not wanted:
                    continue
                X, y = part(*features_of(network, name, options.features), n_classes, draw, per_class, most)
                for one in wanted:
                    began = time.process_time()
                    labels = every[one](X, n_classes, seed)
                    seconds = time.process_time() - began
                    line = {"set": label, "n": len(y), "network": network, "method": one, "seed": seed}
                    found = {key: round(value, 4) for key, value in scores(y, labels).items()}
                    yield {**line, **found, "groups": int(labels.max()) + 1, "cpu_seconds": round(seconds, 2)}


def show(path: Path) -> None:
    """A Markdown table of means over parts, networks and seeds, and one of ACC a part."""
    rows = [json.loads(one) for one in path.open()]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = {method: {(r["set"], r["network"]) for r in rows if r["method"] == method} for method in methods}
    whole = [method for method in methods if len(cells[method]) == max(map(len, cells.values()))]
    rows = [row for row in rows if row["method"] in whole]
    print("| method | ACC | NMI | ARI | seeds | processor seconds a set | worst ACC against k-means, UMAP + k-means |")
    print("|---|---|---|---|---|---|---|")
    for method in whole:
        own = [row for row in rows if row["method"] == method]
        of_seed = {seed: [row for row in own if row["seed"] == seed] for seed in SEEDS}
        complete = [some for some in of_seed.values() if len(some) == len(cells[method])]
        means = np.array([[np.mean([row[key] for row in some]) for key in ("acc", "nmi", "ari")] for some in complete])
        spread = means.std(0, ddof=1) if len(means) > 1 else [None] * 3
        figures = " | ".join(
            f"{mean:.3f}" + ("" if sd is None else f" ± {sd:.3f}")
            for mean, sd in zip(means.mean(0), spread, strict=True)
        )
        figures += f" | {len(complete)}"
        seconds = np.mean([row["cpu_seconds"] for row in own])
        print(f"| {method} | {figures} | {seconds:.2f} | {_worst(rows, method):+.3f} |")
    print("\nACC a set, MobileNetV2 / SqueezeNet, mean over seeds:\n")
    print("| set | " + " | ".join(whole) + " |")
    print("|---" * (len(whole) + 1) + "|")
    for name in dict.fromkeys(row["set"] for row in rows):
        print(f"| {name} | " + " | ".join(_pair(rows, name, method) for method in whole) + " |")


def show_fresh(path: Path) -> None:
    """A Markdown table of means over the fresh draws, of few and of more classes."""
    rows = [json.loads(one) for one in path.open()]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        cells.setdefault((row["set"], row["network"]), {})[row["method"]] = row
    print("| classes | tasks | method | ACC | NMI | ARI | processor seconds | worst ACC against the last two |")
    print("|---|---|---|---|---|---|---|---|")
    for name, least, most in (("6 to 10", 6, 10), ("12 to 40", 12, 40)):
        some = [one for key, one in cells.items() if least <= int(key[0].split(", ")[1].split()[0]) <= most]
        for method in methods:
            means = [np.mean([one[method][key] for one in some]) for key in ("acc", "nmi", "ari")]
            seconds = np.mean([one[method]["cpu_seconds"] for one in some if one[method]["cpu_seconds"] is not None])
            worst = min(one[method]["acc"] - max(one[rival]["acc"] for rival in methods[-2:]) for one in some)
            figures = " | ".join(f"{mean:.3f}" for mean in means)
            print(f"| {name} | {len(some)} | {method} | {figures} | {seconds:.1f} | {worst:+.3f} |")


def show_weightless(path: Path) -> None:
    """A Markdown table of ACC and ARI of what needs no weights."""
    rows = [json.loads(one) for one in path.open()]
    counts = {seed: sum(row["seed"] == seed for row in rows) for seed in {row["seed"] for row in rows}}
    rows = [row for row in rows if counts[row["seed"]] == max(counts.values())]  # seeds that all have been run with
    print("| set | " + " | ".join(WEIGHTLESS) + " |\n" + "|---" * (len(WEIGHTLESS) + 1) + "|")
    for name in [*dict.fromkeys(row["set"] for row in rows), "mean"]:
        cells = []
        for network in WEIGHTLESS:
            own = [row for row in rows if row["network"] == network and name in (row["set"], "mean")]
            cells.append(" / ".join(f"{np.mean([row[key] for row in own]):.3f}" for key in ("acc", "ari")))
        print(f"| {name} | " + " | ".join(cells) + " |")


def _mean(rows: list[dict[str, Any]], name: str, network: str, method: str, key: str = "acc") -> float:
    return float(np.mean([r[key] for r in rows if (r["set"], r["network"], r["method"]) == (name, network, method)]))


def _pair(rows: list[dict[str, Any]], name: str, method: str) -> str:
    return " / ".join(f"{_mean(rows, name, network, method):.2f}" for network in NETWORKS)


def _worst(rows: list[dict[str, Any]], method: str) -> float:
    """Over sets and networks, the least of ACC minus the better of k-means' and UMAP + k-means'."""
    cells = {(row["set"], row["network"]) for row in rows}
    best = {cell: max(_mean(rows, *cell, one) for one in ("k-means", "UMAP + k-means")) for cell in cells}
    return min(_mean(rows, *cell, method) - best[cell] for cell in cells)


def main() -> None:
    """Run what is not recorded, or show what is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, default=Path("features"), help="folder where features are kept")
    parser.add_argument("--json", type=Path, help="append one line a run to this file, and skip what it has")
    parser.add_argument("--only", action="append", help="these methods only")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--temi", action="store_true", help="TEMI too: minutes a set")
    parser.add_argument("--weightless", action="store_true", help="features that need no weights, of diffusion alone")
    parser.add_argument("--fresh", action="store_true", help="other draws of classes, that nothing was chosen on")
    parser.add_argument("--show", type=Path, help="print the tables of a file instead")
    options = parser.parse_args()
    if options.show:
        (show_weightless if options.weightless else show_fresh if options.fresh else show)(options.show)
        return
    if options.weightless:
        options.only = ["diffusion"]
    options.features.mkdir(parents=True, exist_ok=True)
    for line in lines(options):
        print(json.dumps(line), flush=True)
        if options.json:
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    main()
