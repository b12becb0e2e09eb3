"""What ``asterism cluster FOLDER`` costs from cold, beside decoding and the bare network alone; and a second run.

    python benchmarks/folder.py FOLDER [--images 2000] [--backbone mobilenet_v2] [--threads 2]

Each step is a process of its own: decoding into an empty cache; the bare forward pass, channels last, on batches that
lie in memory (float32, as the command computes where the pass takes less than a minute); the default command with an
empty cache, page and all; the same folder with another number of groups, which must neither decode nor pass anything.
By the clock, and in processor seconds of the process and its children: on a busy machine the latter say more.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ALONE = """
import sys, time, torch
from asterism import Backbone
from asterism.images import open_images
from asterism.runtime import Runtime
folder, name, threads, what = sys.argv[1:]
torch.set_num_threads(int(threads))
images = open_images(folder, photo_side=224, crop=False)
if what == "pass":
    network = Runtime("cpu").place(Backbone(name).build(images.shape)).eval()
    batches = [images.batch(part, torch.device("cpu")) for part in torch.arange(len(images)).split(64)]
    with torch.no_grad():
        network(batches[0])
        clock, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            network(batch)
    print(time.perf_counter() - clock, time.process_time() - cpu)
"""


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """Seconds by the clock and of the processors, and what was printed."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    seconds, after = time.perf_counter() - began, os.times()
    print(f"{seconds:.0f} s", end=" ", file=sys.stderr, flush=True)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu, done.stdout


def main() -> None:
    """Measure, print, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        photos = Path(room, "photos")
        photos.mkdir()
        found = sorted(one for one in options.folder.rglob("*") if one.suffix.lower() in {".jpg", ".jpeg", ".png"})
        for number, one in enumerate(found[: options.images]):
            (photos / f"{number:05d}{one.suffix}").symlink_to(one.resolve())

        def environment(cache: str) -> dict[str, str]:
            return os.environ | {"ASTERISM_CACHE": str(Path(room, cache)), "OMP_NUM_THREADS": str(options.threads)}

        def alone(what: str) -> list[str]:
            return [sys.executable, "-c", ALONE, str(photos), options.backbone, str(options.threads), what]

        def cluster(k: int, number: int) -> list[str]:
            asked = ["cluster", str(photos), "-k", str(k), "--out", str(Path(room, f"run{number}"))]
            return [sys.executable, "-m", "asterism", *asked]

        start = timed([sys.executable, "-c", "import torch, asterism.cli.app"], environment("a"))[:2]
        decoded, again = (timed(alone("decode"), environment("a"))[:2] for _ in range(2))
        bare = [float(one) for one in timed(alone("pass"), environment("a"))[2].split()]
        cold = timed(cluster(20, 1), environment("b"))[:2]
        second = timed(cluster(30, 2), environment("b"))[:2]
    decoding = [one - other for one, other in zip(decoded, again, strict=True)]  # less start and imports
    least = [one + other for one, other in zip(decoding, bare, strict=True)]
    row = {"bench": "folder", "images": min(options.images, len(found)), "backbone": options.backbone}
    row |= {"threads": options.threads, "load": round(os.getloadavg()[0], 1)}
    for name, pair in (("start", start), ("decoding", decoding), ("pass", bare), ("cold", cold), ("second", second)):
        row[name] = [round(one, 1) for one in pair]
    row["ratio"] = [round(one / other, 2) for one, other in zip(cold, least, strict=True)]
    print("seconds by the clock, of the processors:")
    print("\n".join(f"{name:>9} {row[name][0]:7.1f} {row[name][1]:7.1f}" for name in list(row)[5:-1]))
    print(f"cold / (decoding + pass): {row['ratio'][0]:.2f} by the clock, {row['ratio'][1]:.2f} of the processors")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
