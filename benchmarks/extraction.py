"""What a pre-trained network's features of a folder of photographs cost beside the bare network's forward passes.

Three parts, in turns: decoding (the folder is packed anew), the bare network on batches that lie in memory, and our
pass with an empty cache of features (gathering, scaling, hashing, writing). Photographs are decoded once, on all cores
that the process may use, before the first pass; every later command finds the pack and the features.

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
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runtime = Runtime(options.device)
    whole, decoding = with_empty_cache(
        lambda: timed(options, lambda: open_images(options.images_from, photo_side=224, crop=False))
    )
    decoding /= len(whole)
    images = whole.subset(range(min(options.images, len(whole))))
    network = runtime.place(Backbone(options.backbone).build(images.shape)).eval()
    sizes = []  # of the batches of our own pass: the bare network has the same
    hook = network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    with_empty_cache(lambda: cached_extract(network, images.subset(range(1)), runtime))
    hook.remove()
    batches = [images.batch(part, runtime.device) for part in torch.arange(len(images)).split(sizes[0])]

    @torch.no_grad()
    def bare():
        with runtime.autocast():
            return torch.cat([network(batch).float().cpu() for batch in batches])

    pairs = []
    for _ in range(options.repeats):
        ours = with_empty_cache(lambda: timed(options, lambda: cached_extract(network, images, runtime)))
        plain = timed(options, bare)
        assert torch.allclose(ours[0], plain[0], atol=1e-4)
        pairs.append((ours[1], plain[1]))
    ratio = statistics.median(plain / ours for ours, plain in pairs)
    ours, plain = (len(images) / statistics.median(column) for column in zip(*pairs, strict=True))
    row = {
        "backbone": options.backbone,
        "from": options.images_from,
        "images": len(images),
        "batch": sizes[0],
        "images_a_second": {"ours": round(ours, 1), "bare": round(plain, 1), "decoding": round(1 / decoding, 1)},
        "share": round(ratio, 4),
    }
    print(f"{options.backbone}, {len(images)} images of {images.shape}: ours {ours:.1f} images/s, bare {plain:.1f}")
    print(f"share of the bare network's rate: {ratio:.1%}; decoding {1 / decoding:.0f} images/s, once")
    about = {"bench": "extraction", "threads": options.threads, "load": os.getloadavg()[0]}
    print(json.dumps({**about, **row, "hardware": hardware(runtime.device), "versions": versions()}))


if __name__ == "__main__":
    main()
