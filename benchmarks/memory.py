"""Peak memory of fit, predict and transform: method × number of images.

    python benchmarks/memory.py --methods kmeans,dbc --n 20000,100000 --side 32 --folder /tmp

Random colour images lie in an ``.npy`` file. Each measurement is a process of its own, which samples ``RssAnon`` of
/proc/self/status fifty times a second: memory of its own, without what is mapped from files (the system takes that back
when memory is short). ``VmHWM``, the peak with mapped pages, stands beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

ONE = {"training.n_epochs": 1}
AUTOENCODER = {"autoencoder.training.n_epochs": 1}
STACKED = {**AUTOENCODER, "autoencoder.layer_training.n_epochs": 1}
SMALL = {  # settings that make a fit short: what is measured is memory
    "kmeans": {"n_init": 1},
    "dbc": ONE | AUTOENCODER,
    "dec": ONE | STACKED,
    "fcae-kmeans": AUTOENCODER,
    "dae-kmeans": STACKED,
    "jule": ONE,
    "temi": ONE,
    "fcn": ONE,
    "deepcluster": ONE,
    "deepcluster-v2": ONE,
}
STEPS = ("open", "fit", "predict", "transform")


def status(name: str) -> int:
    """A number of bytes in /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


class Peak:
    """The largest ``RssAnon`` while the block runs."""

    def __enter__(self) -> Peak:
        self.value, self._on = 0, True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while self._on:
            self.value = max(self.value, status("RssAnon"))
            time.sleep(0.02)

    def __exit__(self, *error: object) -> None:
        self._on = False
        self._thread.join()


def set_parameter(estimator: object, name: str, value: object) -> None:
    """Set a nested parameter by its dotted name."""
    *path, last = name.split(".")
    for part in path:
        if getattr(estimator, part) is None:
            setattr(estimator, part, estimator.resolved(part))  # type: ignore[attr-defined]
        estimator = getattr(estimator, part)
    setattr(estimator, last, value)


def measure(method: str, path: str, n_fit: int, k: int) -> None:
    """In this process: open, fit to the first n_fit images, predict and transform all; prints JSON."""
    from asterism import METHODS, open_images

    began, rows = time.monotonic(), {}
    model = METHODS[method](n_clusters=k, random_state=0, device="cpu")
    for name, value in SMALL.get(method, {}).items():
        set_parameter(model, name, value)
    rows["start"] = {"anon": status("RssAnon"), "peak": status("VmHWM"), "seconds": 0.0}
    images: Any = None
    for step in STEPS:
        began = time.monotonic()
        with Peak() as peak:
            if step == "open":
                images = open_images(path)
            elif step == "fit":
                model.fit(images if n_fit >= len(images) else images.part(0, n_fit))
            else:
                getattr(model, step)(images)
        seconds = round(time.monotonic() - began, 1)
        rows[step] = {"anon": peak.value, "peak": status("VmHWM"), "seconds": seconds}
    print(json.dumps(rows))


def make(path: Path, n: int, side: int, k: int) -> None:
    """Noisy images of k patterns, written block by block."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (k, side, side, 3), dtype=np.uint8)
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (n, side, side, 3))
    for start in range(0, n, 10_000):
        stop = min(start + 10_000, n)
        noise = rng.integers(0, 56, (stop - start, side, side, 3), dtype=np.uint8)
        out[start:stop] = patterns[rng.integers(0, k, stop - start)] + noise
    out.flush()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="kmeans")
    parser.add_argument("--n", default="20000,100000")
    parser.add_argument("--n-fit", type=int, default=2**62, help="fit to so many of them only")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        method, path = options.one
        measure(method, path, options.n_fit, options.k)
        return
    print(f"{'METHOD':16}{'N':>9}  {'STEP':10}{'OWN GiB':>9}{'PEAK GiB':>10}{'SECONDS':>9}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for n in map(int, options.n.split(",")):
            path = Path(folder) / f"{n}.npy"
            make(path, n, options.side, options.k)
            for method in options.methods.split(","):
                own = ["--one", method, str(path), "--n-fit", str(options.n_fit), "-k", str(options.k)]
                done = subprocess.run([sys.executable, __file__, *own], capture_output=True, text=True)
                if done.returncode:
                    print(f"{method:16}{n:9}  {done.stderr.strip().splitlines()[-1]}")
                    continue
                for step, row in json.loads(done.stdout.splitlines()[-1]).items():
                    anon, peak = row["anon"] / 2**30, row["peak"] / 2**30
                    print(f"{method:16}{n:9}  {step:10}{anon:9.2f}{peak:10.2f}{row['seconds']:9.1f}", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
