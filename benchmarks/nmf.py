"""How fast is an iteration of GSNMF, next to scikit-learn, and how far from what the machine can do?

    python benchmarks/nmf.py --threads 1 --json benchmarks/results/nmf.jsonl

4 096 features of 6 000 samples, L = 1 024, the size of the FCN paper's VGG-16 on Birds-200. ``share`` is the rate of
the operations of an iteration's matrix products, 4·N·M·L + 4·N·L² + 4·M·L², over the measured rate of one of them (the
two Gram matrices need only half of theirs). All take turns in one process, and the best of ``--repeats`` counts. One
thread is timed by the processor's clock, which other programs hardly disturb.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

N, M, L = 6000, 4096, 1024
ITERATIONS = 4  # the time of one more than these, less the time of one, divided by them
SKLEARN = "scikit-learn"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="append the result to this file")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)  # before numpy and torch are loaded
    import numpy as np
    import torch
    from sklearn.decomposition import NMF

    from asterism.clustering.nmf import Penalty, factorise

    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    X, W, H = (np.abs(rng.standard_normal(shape, dtype=np.float32)) for shape in ((N, M), (L, M), (N, L)))
    rows, bases, codes = (torch.from_numpy(one).to(options.device) for one in (X, W, H))
    cuda = rows.device.type == "cuda"

    def seconds(compute: Callable[[], object]) -> float:
        clock = time.process_time if options.threads == 1 and not cuda else time.perf_counter
        began = clock()
        compute()
        if cuda:
            torch.cuda.synchronize()
        return clock() - began

    def ours(n_iter: int, penalty: Penalty) -> float:
        return seconds(lambda: factorise(rows, bases, codes, penalty, n_iter=n_iter, tol=0))

    def theirs(n_iter: int, l1: float = 0.0, l2: float = 0.0) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weight, share = (l1 + l2) / M, l1 / (l1 + l2) if l1 + l2 else 0.0
            model = NMF(
                L, solver="mu", init="custom", max_iter=n_iter, tol=0, alpha_W=weight, alpha_H=0.0, l1_ratio=share
            )
            return seconds(lambda: model.fit_transform(X, W=H.copy(), H=W.copy()))

    programs: dict[str, Callable[[int], float]] = {
        "gsnmf": lambda n: ours(n, Penalty(0.05, 0.02)),
        f"gsnmf, {SKLEARN}": lambda n: theirs(n, 0.05, 0.02),
        "nmf": lambda n: ours(n, Penalty()),
        f"nmf, {SKLEARN}": theirs,
    }
    product = list[float]()
    whole: dict[str, dict[int, list[float]]] = {name: {1: [], 1 + ITERATIONS: []} for name in programs}
    for _ in range(options.repeats):
        product.append(seconds(lambda: rows @ bases.T))
        for name, program in programs.items():
            for n_iter, times in whole[name].items():
                times.append(program(n_iter))
    best = {name: (min(found[1 + ITERATIONS]) - min(found[1])) / ITERATIONS for name, found in whole.items()}
    rate = 2 * N * M * L / min(product)
    operations = 4 * N * M * L + 4 * N * L * L + 4 * M * L * L
    print(f"{N}×{M}, L = {L}, {options.threads} threads; the product X Wᵀ runs at {rate / 1e9:.0f} GFLOP/s")
    for name in programs:
        print(f"  {name:20s} {best[name]:7.3f} s an iteration, share {operations / best[name] / rate:5.1%}")
    if options.json:
        line = {
            "bench": "nmf",
            "shape": [N, M, L],
            "threads": options.threads,
            "device": options.device,
            "seconds": {name: round(value, 4) for name, value in best.items()},
            "gflops_of_a_product": round(rate / 1e9, 1),
            "share": {name: round(operations / best[name] / rate, 3) for name in best},
            "versions": {name: version(name) for name in ("torch", "numpy", "scikit-learn")},
            "python": platform.python_version(),
        }
        with open(options.json, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
