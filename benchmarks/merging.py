"""How fast does the merging engine go, how much memory does it take, and how do both grow with N?

    python benchmarks/merging.py --threads 1 --max-n 100000 --json benchmarks/results/merging.jsonl --plot merging.html
    python benchmarks/merging.py --only real dense --threads 4

*Made* data (10^3 … ``--max-n``, up to 10^6): 100 groups, each a sheet of 8 dimensions in 64, L2-normalised as the
features of JULE are. *Real*: MNIST-test and MNIST-full pixels, merged to 10. *Dense*: the plain numpy transcription of
graph degree linkage (n_c × N degrees, every update by the formula of FACTS §1.5), merging alone, at 10 000.

Each size runs in a process of its own, whose peak memory is what it says; kernels are compiled before the clock
starts. ``cpu`` are seconds of all threads, which a busy machine does not stretch as it does the wall clock: the
exponents p of time ~ N^p are fitted to them, over the sizes from 10^4 on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

SIZES = [1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
PARTS = ("neighbours", "graph", "gdl", "jule")
CLUSTERS = 10


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-n", type=int, default=100_000, help="largest made set, 1000 … 1000000")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=["made", "real", "dense"], default=["made", "real", "dense"])
    parser.add_argument("--json", type=Path, help="append one line a set to this file")
    parser.add_argument("--plot", type=Path, help="write a plot of time and memory over N (HTML; needs plotly)")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a child: the set to measure
    return parser.parse_args()


def made(n: int):
    """100 sheets of 8 dimensions in 64: (n, 64) float32, L2-normalised."""
    import numpy as np

    rng = np.random.default_rng(0)
    centers = 0.3 * rng.normal(size=(100, 64))
    spans = rng.normal(size=(100, 8, 64)) / 8**0.5
    group = rng.integers(100, size=n)
    X = np.empty((n, 64), np.float32)
    for g in range(100):
        rows = np.flatnonzero(group == g)
        inside = rng.normal(size=(len(rows), 8)) @ spans[g]
        X[rows] = centers[g] + np.tanh(inside) + 0.1 * rng.normal(size=(len(rows), 64))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def real(name: str):
    """Pixels of a named set, (N, H·W) float32, L2-normalised."""
    from asterism.images import open_images

    images = open_images(f"data:{name}")
    X = images.batch(range(len(images))).flatten(1)
    return (X / X.norm(dim=1, keepdim=True)).numpy()


def timed(function):
    """Result, seconds by the clock, seconds of all threads."""
    start, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - start, time.process_time() - cpu


def stages(X, clock) -> int:
    """From features to labels; ``clock(part, function)`` times each part. Returns the number of initial clusters."""
    from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components
    from asterism.clustering.linkage import merge

    found = clock("neighbours", lambda: knn(X, 20))
    W, initial = clock("graph", lambda: (affinity_graph(found)[0], nearest_neighbor_components(found[0])))
    for criterion in ("gdl", "jule"):
        merging = clock(criterion, lambda c=criterion: merge(W, initial, CLUSTERS, criterion=c, features=X))
    return merging.n_initial_clusters


def peak() -> float:
    """Largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform != "darwin" else 1)


def child(name: str, threads: int) -> None:
    """Measure one set and print the row as JSON."""
    import torch

    torch.set_num_threads(threads)
    stages(made(2000), lambda part, function: function())  # compile
    X = made(int(name)) if name.isdigit() else real(name)
    row: dict = {"set": name, "n": len(X), "dim": X.shape[1], "base": peak(), "load": os.getloadavg()[0]}

    def clock(part, function):
        result, row[part], row[f"{part} cpu"] = timed(function)
        return result

    row["clusters"] = stages(X, clock)
    row["memory"] = peak()
    print(json.dumps(row))


def dense(threads: int) -> None:
    """Time the plain numpy transcription against the engine, in this process, and print the ratio as JSON."""
    import numpy as np
    import torch

    from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components
    from asterism.clustering.linkage import merge

    torch.set_num_threads(threads)
    X = made(10_000)
    found = knn(X, 20)
    W, initial = affinity_graph(found)[0], nearest_neighbor_components(found[0])
    merge(W, initial, CLUSTERS, isolated="never")  # compile
    runs = [timed(lambda: merge(W, initial, CLUSTERS, isolated="never", full=False)) for _ in range(3)]
    ours, cpu = min(run[1] for run in runs), min(run[2] for run in runs)
    slow, theirs, their_cpu = timed(lambda: dense_gdl(W, initial, CLUSTERS))
    same = len(set(zip(slow, runs[0][0].labels, strict=True))) == len(np.unique(slow))
    row = {"set": "dense", "n": len(X), "seconds": ours, "dense": theirs, "cpu": cpu, "dense cpu": their_cpu}
    print(json.dumps({**row, "ratio": theirs / ours, "same labels": bool(same), "load": os.getloadavg()[0]}))


def dense_gdl(W, labels, n_clusters: int):
    """Graph degree linkage as FACTS §1.5 writes it, in plain numpy: O(n_c² + N) a merge, O(n_c·N) memory."""
    import numpy as np
    import scipy.sparse

    n = int(labels.max()) + 1
    labels = labels.copy()
    member = scipy.sparse.csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))))
    into, out = (member @ W).toarray(), (member @ W.T).toarray()  # D⁻, D⁺ (n_c, N)
    U = (member @ (into * out).T).T.copy()  # U[c][i]
    size = np.bincount(labels).astype(float)
    alive = np.ones(n, bool)
    A = U / size[:, None] ** 2
    A = A + A.T
    np.fill_diagonal(A, -np.inf)
    for _ in range(n - n_clusters):
        a, b = sorted(np.unravel_index(A.argmax(), A.shape))
        into[a] += into[b]
        out[a] += out[b]
        labels[labels == b] = a
        size[a] += size[b]
        alive[b] = False
        U[:, a] += U[:, b]
        U[a] = np.bincount(labels, into[a] * out[a], minlength=n)
        row = U[a] / size[a] ** 2 + U[:, a] / size**2
        row[~alive] = row[a] = -np.inf
        A[a] = A[:, a] = row
        A[b] = A[:, b] = -np.inf
    return labels


def run_child(name: str, threads: int) -> dict | None:
    """A process for one set: its row, or None where it fails, with the reason printed."""
    command = [sys.executable, __file__, "--one", name, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: {(done.stderr.strip().splitlines() or ['killed'])[-1]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def show(row: dict) -> None:
    """One line of the table."""
    if row["set"] == "dense":
        print(
            f"dense numpy at {row['n']}: {row['dense']:.2f} s, the engine {row['seconds']:.3f} s: {row['ratio']:.0f} ×"
            f" (cpu {row['dense cpu'] / row['cpu']:.0f} ×), same labels: {row['same labels']}"
        )
        return
    times = "".join(f"{row[part]:>9.2f} ({row[f'{part} cpu']:>8.2f})" for part in PARTS)
    print(f"{row['set']:<11}{row['n']:>9}{row['clusters']:>9}{times}{row['memory'] / 2**30:>8.2f}{row['load']:>7.1f}")


def exponents(rows: list[dict]) -> dict[str, float]:
    """p of cpu seconds ~ N^p for each part, and of the memory above that of the empty process."""
    import numpy as np

    large = [row for row in rows if row["n"] >= 10_000]
    if len(large) < 2:
        return {}
    n = np.log([row["n"] for row in large])
    values = {part: [row[f"{part} cpu"] for row in large] for part in PARTS}
    values["memory"] = [row["memory"] - row["base"] for row in large]
    return {name: float(np.polyfit(n, np.log(np.maximum(one, 1e-9)), 1)[0]) for name, one in values.items()}


def plot(rows: list[dict], path: Path) -> None:
    """Time and memory over N, on logarithmic axes, with N log N through the last point of "gdl"."""
    import math

    import plotly.graph_objects as go

    n = [row["n"] for row in rows]
    figure = go.Figure()
    for part in PARTS:
        figure.add_scatter(x=n, y=[row[f"{part} cpu"] for row in rows], name=f"{part}, cpu s")
    unit = rows[-1]["gdl cpu"] / (n[-1] * math.log(n[-1]))
    figure.add_scatter(x=n, y=[unit * m * math.log(m) for m in n], name="N log N", line={"dash": "dot"})
    figure.add_scatter(x=n, y=[row["memory"] / 2**30 for row in rows], name="peak memory, GiB", line={"dash": "dash"})
    figure.update_layout(xaxis={"type": "log", "title": "N"}, yaxis={"type": "log"}, title="Merging to 10 clusters")
    figure.write_html(path, include_plotlyjs="cdn")


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):  # before the libraries are loaded
        os.environ[f"{name}_NUM_THREADS"] = str(options.threads)
    if options.one:
        dense(options.threads) if options.one == "dense" else child(options.one, options.threads)
        return
    facts = {
        "threads": options.threads,
        "cores": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "numba", "numpy", "scipy")},
    }
    print(f"{options.threads} of {facts['cores']} cores; seconds by the clock (and of all threads), GiB at the peak")
    print(f"{'set':<11}{'N':>9}{'initial':>9}{''.join(f'{part:>20}' for part in PARTS)}{'GiB':>8}{'load':>7}")
    names = [str(n) for n in SIZES if n <= options.max_n] if "made" in options.only else []
    names += ["mnist-test", "mnist"] if "real" in options.only else []
    names += ["dense"] if "dense" in options.only else []
    rows = []
    for name in names:
        row = run_child(name, options.threads)
        if row is None:
            continue
        show(row)
        rows.append(row)
        if options.json:
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**row, **facts}) + "\n")
    grown = [row for row in rows if row["set"].isdigit()]
    print(", ".join(f"{name} ~ N^{p:.2f}" for name, p in exponents(grown).items()))
    if options.plot and grown:
        plot(grown, options.plot)


if __name__ == "__main__":
    main()
