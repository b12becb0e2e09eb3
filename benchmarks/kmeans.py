"""How fast is k-means, next to scikit-learn and faiss, and how far from what the machine can do?

    python benchmarks/kmeans.py --threads 2 --repeats 3 --json benchmarks/results/kmeans.jsonl

All programs start from the same centers, do the same number of iterations (``tol=0``) and end with labels. They take
turns, and the best of ``--repeats`` counts: on a busy machine compare the columns of one run only. ``share`` is the
rate of 2·N·k·D operations an iteration over the measured rate of a large matrix product; more than 100 % means that
distances were not computed, because bounds proved them needless. faiss is used where it can be imported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One size of the problem."""

    n: int
    dim: int
    k: int
    n_init: int
    max_iter: int
    spread: float  # of the components' means; the noise around them has variance 1

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.n}×{self.dim} k={self.k} n_init={self.n_init}"


CASES = {
    "small": Case(70_000, 120, 10, 1, 15, 0.25),
    "restarts": Case(70_000, 120, 10, 20, 15, 0.25),
    "middle": Case(20_000, 64, 100, 1, 15, 0.25),
    "large": Case(200_000, 256, 1000, 1, 10, 0.5),
    "noise": Case(200_000, 256, 1000, 1, 10, 0.0),  # the worst case: no clusters to find
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=["small", "restarts", "middle", "large"], help=" ".join(CASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--iterations", type=int, help="at most so many, of all programs")
    parser.add_argument("--json", type=Path, help="append one line a case and program to this file")
    options = parser.parse_args()
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"unknown case {', '.join(sorted(unknown))}; choose from {', '.join(CASES)}")
    return options


def data(case: Case):
    """A mixture of k Gaussians, and starting centers drawn from its rows: (N, D), (n_init, k, D) float32."""
    import numpy as np

    rng = np.random.default_rng(0)
    means = case.spread * rng.standard_normal((case.k, case.dim), dtype=np.float32)
    X = means[rng.integers(case.k, size=case.n)]
    X += rng.standard_normal(X.shape, dtype=np.float32)
    init = [X[rng.choice(case.n, case.k, replace=False)] for _ in range(case.n_init)]
    return X, np.stack(init)


def asterism(case: Case, X, init) -> tuple[float, int]:
    """Inertia and iterations of ours."""
    from asterism.clustering.kmeans import kmeans

    found = kmeans(X, case.k, init=init, tol=0, max_iter=case.max_iter, random_state=0)
    return found.inertia, found.n_iter


def sklearn(algorithm: str):
    """scikit-learn's KMeans, once for each start."""

    def run(case: Case, X, init) -> tuple[float, int]:
        from sklearn.cluster import KMeans

        settings = {"n_init": 1, "max_iter": case.max_iter, "tol": 0, "algorithm": algorithm}
        found = [KMeans(case.k, init=start, **settings).fit(X) for start in init]
        best = min(found, key=lambda model: model.inertia_)
        return float(best.inertia_), best.n_iter_

    return run


def faiss(case: Case, X, init) -> tuple[float, int]:
    """faiss's Clustering, once for each start, and one search for the labels, as DeepCluster does."""
    import faiss as library

    best = (float("inf"), 0)
    for start in init:
        clustering = library.Clustering(case.dim, case.k)
        clustering.niter = case.max_iter
        clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, case.n
        library.copy_array_to_vector(start.ravel(), clustering.centroids)
        index = library.IndexFlatL2(case.dim)
        clustering.train(X, index)
        distances, _ = index.search(X, 1)
        best = min(best, (float(distances.sum(dtype=float)), clustering.iteration_stats.size()))
    return best


def product_rate() -> float:
    """Rate of a large float32 matrix product, in operations a second."""
    import torch

    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    out = torch.empty(2048, 2048)
    return 2 * 2048**3 / min(timed(lambda: torch.mm(a, b, out=out))[0] for _ in range(5))


def timed(function) -> tuple[float, float, object]:
    """Seconds by the clock, seconds of all threads, result."""
    start, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - start, time.process_time() - cpu, result


def measure(case: Case, repeats: int) -> list[dict]:
    """One row a program."""
    X, init = data(case)
    programs = {"asterism": asterism, "sklearn lloyd": sklearn("lloyd")}
    if case.k <= 100:  # elkan holds N·k bounds
        programs["sklearn elkan"] = sklearn("elkan")
    if "faiss" in sys.modules:
        programs["faiss"] = faiss
    asterism(case, X[: case.k * 4], init)  # compile
    runs: dict[str, list] = {name: [] for name in programs}
    rates = []
    for _ in range(repeats):
        rates.append(product_rate())
        for name, program in programs.items():
            runs[name].append(timed(lambda program=program: program(case, X, init)))
    rows = []
    for name, found in runs.items():
        seconds, cpu = min(run[0] for run in found), min(run[1] for run in found)
        inertia, n_iter = found[0][2]
        work = 2.0 * case.n * case.k * case.dim * case.n_init * (n_iter + 1)  # and the last assignment
        row = {"case": case.name, "program": name, "seconds": seconds, "cpu_seconds": cpu, "n_iter": n_iter}
        rows.append({**row, "inertia": inertia, "share": work / seconds / max(rates), "product_rate": max(rates)})
    return rows


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):  # before the libraries are loaded
        os.environ[f"{name}_NUM_THREADS"] = str(options.threads)
    warnings.filterwarnings("ignore")  # convergence at max_iter is meant
    try:
        import faiss as library
    except ImportError:
        print("faiss cannot be imported and is left out")
    else:
        library.omp_set_num_threads(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    versions = {name: version(name) for name in ("torch", "scikit-learn", "numba", "numpy")}
    if "faiss" in sys.modules:
        versions["faiss"] = sys.modules["faiss"].__version__
    facts = {
        "threads": options.threads,
        "load": os.getloadavg()[0],
        "versions": versions,
        "machine": platform.processor(),
    }
    print(f"{options.threads} threads, load {facts['load']:.1f}, " + ", ".join(f"{n} {v}" for n, v in versions.items()))
    for name in options.cases:
        case = CASES[name]
        if options.iterations is not None:
            case = replace(case, max_iter=min(case.max_iter, options.iterations))
        rows = measure(case, options.repeats)
        fastest = min(row["seconds"] for row in rows if row["program"] != "asterism")
        print(f"\n{rows[0]['case']}, product {rows[0]['product_rate'] / 1e9:.0f} Gop/s")
        print(f"{'program':<15}{'seconds':>9}{'cpu s':>9}{'iter':>6}{'ms/iter':>9}{'share':>8}{'ratio':>7}  inertia")
        for row in rows:
            each = 1e3 * row["seconds"] / (row["n_iter"] + 1) / case.n_init
            print(
                f"{row['program']:<15}{row['seconds']:>9.3f}{row['cpu_seconds']:>9.3f}{row['n_iter']:>6}{each:>9.2f}"
                f"{row['share']:>8.0%}{row['seconds'] / fastest:>7.2f}  {row['inertia']:.6g}"
            )
            if options.json:
                with options.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**row, **facts, "ratio": row["seconds"] / fastest}) + "\n")


if __name__ == "__main__":
    main()
