"""How fast does the merging engine go, how much memory does it take, and how do both grow with N?

    python benchmarks/merging.py --max-n 1000000 --json benchmarks/results/merging.jsonl --plot docs/merging.svg
    python benchmarks/merging.py --only real dense --threads 4

*Made* data (10^3 … ``--max-n``, up to 10^6): 100 groups, each a sheet of 8 dimensions in 64, L2-normalised as the
features of JULE are. *Real*: MNIST-test and MNIST-full pixels, merged to 10. *Dense*: the plain numpy transcription of
graph degree linkage (n_c × N degrees, every update by the formula of docs/papers/jule.md), merging alone, at 10 000.

Exact neighbours take O(N²·D): above ``--exact-up-to`` they are approximate (faiss), and measured apart from merging
like the others. So a row says how fast merging is at 10^6, and what the exact neighbours of 10^5 cost.

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
    parser.add_argument("--plot", type=Path, help="write a plot of time and memory over N (SVG)")
    parser.add_argument("--sizes", type=int, nargs="*", help="these made sets only")
    parser.add_argument("--show", type=Path, help="measure nothing: show and plot the rows of this file")
    parser.add_argument("--exact-up-to", type=int, default=100_000, help="samples; above, approximate neighbours")
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
    X = images.batch(slice(None)).flatten(1)
    return (X / X.norm(dim=1, keepdim=True)).numpy()


def timed(function):
    """Result, seconds by the clock, seconds of all threads."""
    start, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - start, time.process_time() - cpu


def stages(X, clock, exact_up_to: int) -> int:
    """From features to labels; ``clock(part, function)`` times each part. Returns the number of initial clusters."""
    from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components
    from asterism.clustering.linkage import merge

    found = clock("neighbours", lambda: knn(X, 20, approximate=len(X) > exact_up_to))
    W, initial = clock("graph", lambda: (affinity_graph(found)[0], nearest_neighbor_components(found[0])))
    for criterion in ("gdl", "jule"):
        merging = clock(criterion, lambda c=criterion: merge(W, initial, CLUSTERS, criterion=c, features=X))
    return merging.n_initial_clusters


def peak() -> float:
    """Largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform != "darwin" else 1)


def child(name: str, threads: int, exact_up_to: int) -> None:
    """Measure one set and print the row as JSON."""
    import torch

    torch.set_num_threads(threads)
    stages(made(2000), lambda part, function: function(), 2000)  # compile
    X = made(int(name)) if name.isdigit() else real(name)
    row: dict = {"set": name, "n": len(X), "dim": X.shape[1], "base": peak(), "load": os.getloadavg()[0]}

    def clock(part, function):
        result, row[part], row[f"{part} cpu"] = timed(function)
        return result

    row["exact neighbours"] = len(X) <= exact_up_to
    row["clusters"] = stages(X, clock, exact_up_to)
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
    """Graph degree linkage as docs/papers/jule.md writes it, in plain numpy: O(n_c² + N) a merge, O(n_c·N) memory."""
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


def run_child(name: str, threads: int, exact_up_to: int) -> dict | None:
    """A process for one set: its row, or None where it fails, with the reason printed."""
    command = [sys.executable, __file__, "--one", name, "--threads", str(threads)]
    command += ["--exact-up-to", str(exact_up_to)]
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
    values = {part: [row[f"{part} cpu"] for row in large] for part in PARTS[1:]}
    values["memory"] = [row["memory"] - row["base"] for row in large]
    found = {name: float(np.polyfit(n, np.log(np.maximum(one, 1e-9)), 1)[0]) for name, one in values.items()}
    exact = [row for row in large if row["exact neighbours"]]
    if len(exact) > 1:
        x, y = ([row[name] for row in exact] for name in ("n", "neighbours cpu"))
        found["exact neighbours"] = float(np.polyfit(np.log(x), np.log(y), 1)[0])
    return found


def plot(rows: list[dict], path: Path) -> None:
    """Time and memory over N as SVG, on logarithmic axes, with N log N through the last point of "gdl"."""
    import math

    n = [row["n"] for row in rows]
    unit = rows[-1]["gdl cpu"] / (n[-1] * math.log(n[-1]))
    exact = [row for row in rows if row["exact neighbours"]]
    times = {part: (n, [row[f"{part} cpu"] for row in rows]) for part in PARTS[1:]}
    times["exact neighbours"] = ([row["n"] for row in exact], [row["neighbours cpu"] for row in exact])
    times["N log N"] = (n, [unit * m * math.log(m) for m in n])
    memory = {"peak": (n, [row["memory"] / 2**30 for row in rows])}
    memory["above the empty process"] = (n[2:], [(row["memory"] - row["base"]) / 2**30 for row in rows[2:]])
    drawn = _panel(times, "CPU seconds, one thread", 0) + _panel(memory, "GiB", 430)
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 340" font-family="sans-serif" font-size="12">'
    path.write_text(f'{head}<rect width="860" height="340" fill="#fff"/>{drawn}</svg>\n', encoding="utf-8")


COLORS = ("#1b6ca8", "#c2571a", "#2e7d4f", "#7b4fa3", "#888888")


def _panel(lines: dict[str, tuple[list, list]], title: str, left: int) -> str:
    """One plot of lines on logarithmic axes, 430 wide, decades as grid."""
    import math

    values = [y for _, ys in lines.values() for y in ys if y > 0]
    sizes = [x for xs, _ in lines.values() for x in xs]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - first) / (last - first)
        return left + 50 + 350 * across, 290 - 250 * (math.log10(y) - low) / (high - low)

    drawn = [f'<text x="{left + 50}" y="22" font-weight="bold">{title}</text>']
    for power in range(low, high + 1):
        y = place(10**first, 10.0**power)[1]
        drawn.append(f'<path d="M{left + 50} {y:.1f}h350" stroke="#ddd"/>')
        drawn.append(f'<text x="{left + 44}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for power in range(first, last + 1):
        x = place(10.0**power, 10.0**low)[0]
        drawn.append(f'<path d="M{x:.1f} 40v250" stroke="#ddd"/>')
        drawn.append(
            f'<text x="{x:.1f}" y="308" text-anchor="middle">10<tspan dy="-5" font-size="9">{power}</tspan></text>'
        )
    for k, ((name, (xs, ys)), color) in enumerate(zip(lines.items(), COLORS, strict=False)):
        points = [place(x, y) for x, y in zip(xs, ys, strict=True) if y > 0]
        dash = ' stroke-dasharray="4 4"' if name == "N log N" else ""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in points if not dash]
        drawn.append(f'<text x="{left + 60}" y="{56 + 16 * k}" fill="{color}">{name}</text>')
    return "".join(drawn)


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA"):  # before the libraries are loaded
        os.environ[f"{name}_NUM_THREADS"] = str(options.threads)
    if options.one:
        dense(options.threads) if options.one == "dense" else child(options.one, options.threads, options.exact_up_to)
        return
    facts = {
        "threads": options.threads,
        "cores": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "numba", "numpy", "scipy")},
    }
    print(f"{options.threads} of {facts['cores']} cores; seconds by the clock (and of all threads), GiB at the peak")
    print(f"{'set':<11}{'N':>9}{'initial':>9}{''.join(f'{part:>20}' for part in PARTS)}{'GiB':>8}{'load':>7}")
    rows = [json.loads(line) for line in options.show.read_text().splitlines()] if options.show else []
    for row in rows:
        show(row)
    for name in [] if options.show else names_of(options):
        row = run_child(name, options.threads, options.exact_up_to)
        if row is None:
            continue
        show(row)
        rows.append(row)
        if options.json:
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**row, **facts}) + "\n")
    grown = sorted((row for row in rows if row["set"].isdigit()), key=lambda row: row["n"])
    print(", ".join(f"{name} ~ N^{p:.2f}" for name, p in exponents(grown).items()))
    if options.plot and grown:
        plot(grown, options.plot)


def names_of(options: argparse.Namespace) -> list[str]:
    """The sets to measure."""
    sizes = options.sizes or [n for n in SIZES if n <= options.max_n]
    names = [str(n) for n in sizes] if "made" in options.only else []
    names += ["mnist-test", "mnist"] if "real" in options.only else []
    return names + (["dense"] if "dense" in options.only else [])


if __name__ == "__main__":
    main()
