"""What a pre-trained network's features of a folder of photographs cost beside the bare network's forward passes.

Decoding (the folder is packed anew), then in turns our pass with an empty cache of features (gathering, scaling,
hashing, writing) and the bare network, channels last, on batches that lie in memory: both in float32 and, where the
processor is fast at it, in bfloat16; with ``--compile`` also through torch.compile. Photographs are decoded once, on
all cores that the process may use, before the first pass; every later command finds the pack and the features.

    python benchmarks/extraction.py [FOLDER or data:NAME] [--backbone mobilenet_v2] [--images 512] [--threads 1]

Processor seconds are measured where one thread computes (``--threads 1``): on a busy machine they say what an idle one
needs by the clock.
"""

import argparse
import json
import os
import statistics
import tempfile
import time

import torch

from asterism import Backbone
from asterism.features.cache import cached_extract
from asterism.images import open_images
from asterism.methods.choosing import has_fast_bfloat16
from asterism.runtime import Runtime, hardware, versions


def timed(options, function):
    """Result and seconds; of the processors of this process where that is the same thing."""
    clock = time.process_time if options.threads == 1 and options.device == "cpu" else time.perf_counter
    began = clock()
    result = function()
    if options.device != "cpu":
        torch.cuda.synchronize()
    return result, clock() - began


def with_empty_cache(function):
    """Call it with a cache of its own, which is gone afterwards."""
    before = os.environ.get("ASTERISM_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ASTERISM_CACHE"] = folder
        try:
            return function()
        finally:
            if before is None:
                del os.environ["ASTERISM_CACHE"]
            else:
                os.environ["ASTERISM_CACHE"] = before


def main():
    """Measure, print, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images_from", nargs="?", default="data:ukbench")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: needs a compiler, and a minute")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runtime = Runtime(options.device)
    whole, decoding = with_empty_cache(
        lambda: timed(options, lambda: open_images(options.images_from, photo_side=224, crop=False))
    )
    decoding /= len(whole)
    images = whole.subset(range(min(options.images, len(whole))))
    programs, batch = passes(options, images, runtime)
    rounds = []
    for _ in range(options.repeats):  # in turns: what else the machine does hits all alike
        rounds.append({name: timed(options, run)[1] for name, run in programs.items()})
    ratio = statistics.median(least(one, "bare") / least(one, "ours") for one in rounds)
    rates = {name: round(len(images) / statistics.median(one[name] for one in rounds), 1) for name in programs}
    row = {
        "backbone": options.backbone,
        "from": options.images_from,
        "images": len(images),
        "batch": batch,
        "images_a_second": {**rates, "decoding": round(1 / decoding, 1)},
        "share": round(ratio, 4),
    }
    print(f"{options.backbone}, {len(images)} images of {images.shape}, images/s: {row['images_a_second']}")
    print(f"our fastest pass has {ratio:.1%} of the fastest bare network's rate; decoding comes once")
    about = {"bench": "extraction", "threads": options.threads, "load": os.getloadavg()[0]}
    print(json.dumps({**about, **row, "hardware": hardware(runtime.device), "versions": versions()}))


def least(seconds, whose):
    """Seconds of the fastest of ours, or of the bare networks."""
    return min(value for name, value in seconds.items() if name.startswith(whose))


def passes(options, images, runtime):
    """What is compared, by name, each once called; and the number of images in a batch of ours.

    Half precision where the processor is fast at it, as ``--method auto`` has it.
    """
    network = runtime.place(Backbone(options.backbone).build(images.shape)).eval()  # channels_last
    sizes = []  # of the batches of our own pass: the bare network has the same
    hook = network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    with_empty_cache(lambda: cached_extract(network, images.subset(range(1)), runtime))
    hook.remove()
    batches = [images.batch(part, runtime.device) for part in torch.arange(len(images)).split(sizes[0])]

    def ours(runtime):
        return lambda: with_empty_cache(lambda: cached_extract(network, images, runtime))

    def bare(runtime, network=network):
        @torch.no_grad()
        def run():
            with runtime.autocast():
                return torch.cat([network(batch).float().cpu() for batch in batches])

        return run

    programs = {"ours": ours(runtime), "bare": bare(runtime)}
    if options.device == "cpu" and has_fast_bfloat16():
        half = Runtime(options.device, "bf16-mixed")
        programs |= {"ours, bf16": ours(half), "bare, bf16": bare(half)}
    if options.compile:
        programs["bare, torch.compile"] = bare(runtime, torch.compile(network))
    found = {name: run() for name, run in programs.items()}  # and compiled, outside the clock
    assert torch.allclose(found["ours"], found["bare"], atol=1e-4)
    return programs, sizes[0]


if __name__ == "__main__":
    main()
