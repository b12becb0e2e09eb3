"""What a round of DeepCluster spends its time on, and how near each part is to the machine's own rate.

    python benchmarks/deepcluster.py round    [--images 50000] [--clusters 1000] [--width 0.25] [--threads 1]
    python benchmarks/deepcluster.py kmeans   [--images 1000000] [--clusters 10000] [--iterations 3]
    python benchmarks/deepcluster.py passes   [--images 4096]    feature pass and training against bare loops
    python benchmarks/deepcluster.py memory   [--images 2048]    the feature pass that DeepCluster-v2's bank spares

Processor seconds are measured where one thread computes (``--threads 1``): on a busy machine they say what an idle one
needs by the clock.
"""

import argparse
import json
import os
import statistics
import time

import torch
import torch.nn.functional as F

from asterism import ConvNet, Crops, Training
from asterism.clustering.kmeans import kmeans
from asterism.features.extract import feature_batches, store_features
from asterism.features.reduce import fit_reduction
from asterism.images import open_images
from asterism.runtime import Runtime, hardware, versions
from asterism.training import Run
from asterism.training.collapse import examine
from asterism.training.pseudolabels import classifying, train_on_pseudo_labels

TRAINING = Training(batch_size=256, lr=0.05, momentum=0.9, weight_decay=1e-5)


def clock(options):
    """Seconds of this process's processors on one thread of a CPU, else of the wall."""
    return time.process_time() if options.threads == 1 and options.device == "cpu" else time.perf_counter()


def timed(options, function, *arguments, **more):
    """Result and seconds."""
    began = clock(options)
    result = function(*arguments, **more)
    if options.device != "cpu":
        torch.cuda.synchronize()
    return result, clock(options) - began


def product_rate(options):
    """Multiply-adds a second, times two, of a float32 matrix product."""
    a = torch.randn(2048, 2048, device=options.device)
    a @ a
    return 2 * 2048**3 / min(timed(options, torch.mm, a, a)[1] for _ in range(7))


def photos(n, side):
    """Random pixels: nothing here depends on what they show."""
    pixels = torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return open_images(pixels.numpy())


def one_round(options, runtime):
    """Shares of a round: feature pass, PCA, k-means, bookkeeping, training."""
    images, run = photos(options.images, options.side), Run(runtime, 0)
    body = runtime.place(ConvNet(width=options.width).drawn_for(images, run.generator("weights")))
    optimizer, parts = TRAINING.make_optimizer(body.parameters()), {}
    features, parts["feature pass"] = timed(options, store_features, body, images.resident(runtime), runtime)
    reduction, parts["PCA"] = timed(options, fit_reduction, features.blocks, 256)
    vectors, parts["projection"] = timed(options, features.map, reduction)
    kmeans(torch.randn(512, 16), 4, max_iter=2)  # compiled
    first = torch.randperm(len(images), generator=run.generator("first"))[: options.clusters]
    found, parts["k-means"] = timed(
        options, kmeans, vectors.blocks, options.clusters, init=vectors.at(first), max_iter=20, tol=0
    )
    labels = found.labels.cpu()
    _, parts["bookkeeping"] = timed(options, examine, labels, labels.roll(1), options.clusters)
    share = min(options.images, options.trained)
    few, chosen = images.subset(range(share)).to(runtime.device), labels[:share]
    arguments = (body, few, chosen, options.clusters, optimizer, TRAINING, run, ("round", 0))
    _, seconds = timed(options, train_on_pseudo_labels, *arguments, augmentation=Crops())
    parts["training"] = seconds * options.images / share
    total = sum(parts.values())
    clustering = sum(parts[name] for name in ("PCA", "projection", "k-means", "bookkeeping")) / total
    for name, one in parts.items():
        print(f"{name:<14}{one:>9.1f} s {one / total:>7.1%}")
    print(f"clustering without the feature pass: {clustering:.1%} of {total:.0f} s")
    return {**{name: round(one, 3) for name, one in parts.items()}, "clustering share": round(clustering, 4)}


def only_kmeans(options, runtime):
    """k-means at scale, from random rows, against the rate of a matrix product."""
    rows = F.normalize(torch.randn(options.images, 256, device=runtime.device))
    kmeans(rows[:512], 4, max_iter=2)
    rate = product_rate(options)
    found, seconds = timed(options, kmeans, rows, options.clusters, init="random", max_iter=options.iterations, tol=0)
    work = 2.0 * options.images * options.clusters * 256 * (found.n_iter + 1)
    print(f"{seconds:.1f} s for {found.n_iter} iterations and the assignment: {work / seconds / 1e9:.1f} Gop/s,")
    print(f"{work / seconds / rate:.0%} of the {rate / 1e9:.1f} Gop/s of a matrix product")
    return {"seconds": round(seconds, 2), "iterations": found.n_iter, "share": round(work / seconds / rate, 3)}


def passes(options, runtime):
    """Feature pass and training epoch against the same network in a bare loop, in turns."""
    images, run = photos(options.images, options.side).to(runtime.device), Run(runtime, 0)
    body = runtime.place(ConvNet(width=options.width).drawn_for(images, run.generator("weights")))
    pixels = images.batch(slice(0, len(images))).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(options.images) % options.clusters
    optimizer = TRAINING.make_optimizer(body.parameters())
    head = torch.nn.Linear(body.n_features, options.clusters).to(runtime.device)
    model = classifying(body, head)
    plain = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, weight_decay=1e-5, fused=True)

    @torch.no_grad()
    def bare_features():
        body.eval()
        return torch.cat([body(part) for part in pixels.split(1024)])

    def our_features():
        return torch.cat([features for _, features in feature_batches(body, images, runtime)])

    def bare_epoch():
        model.train()
        for indices in torch.randperm(len(pixels)).split(TRAINING.batch_size_for(len(pixels))):
            loss = F.cross_entropy(model(pixels[indices]), labels[indices].to(pixels.device))
            plain.zero_grad()
            loss.backward()
            plain.step()

    def our_epoch():
        train_on_pseudo_labels(body, images, labels, options.clusters, optimizer, TRAINING, run, ("x", 0))

    row = {}
    for name, ours, bare in (("feature pass", our_features, bare_features), ("training", our_epoch, bare_epoch)):
        ours(), bare()
        pairs = [(timed(options, ours)[1], timed(options, bare)[1]) for _ in range(options.repeats)]
        ratio = statistics.median(a / b for a, b in pairs)
        each = [options.images / statistics.median(column) for column in zip(*pairs, strict=True)]
        print(f"{name}: ours {each[0]:.0f} images/s, bare {each[1]:.0f} images/s, time ratio {ratio:.3f}")
        row[name] = {"ours": round(each[0], 1), "bare": round(each[1], 1), "ratio": round(ratio, 4)}
    return row


def memory(options, runtime):
    """Seconds of the feature pass that the memory bank spares, beside those of an epoch of DeepCluster."""
    row = passes(options, runtime)
    feature, training = 1 / row["feature pass"]["ours"], 1 / row["training"]["ours"]
    print(f"the bank spares {feature / (feature + training):.1%} of a round's passes")
    return {**row, "spared": round(feature / (feature + training), 4)}


def main():
    """Measure, print, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["round", "kmeans", "passes", "memory"])
    parser.add_argument("--images", type=int)
    parser.add_argument("--clusters", type=int)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--trained", type=int, default=2560, help="images of the epoch that is timed and scaled up")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    sizes = {"round": (50_000, 1000), "kmeans": (10**6, 10_000), "passes": (4096, 1000), "memory": (2048, 1000)}
    options.images = options.images or sizes[options.what][0]
    options.clusters = options.clusters or sizes[options.what][1]
    torch.set_num_threads(options.threads)
    runtime = Runtime(options.device)
    measure = {"round": one_round, "kmeans": only_kmeans, "passes": passes, "memory": memory}[options.what]
    row = measure(options, runtime)
    about = {"what": options.what, "images": options.images, "clusters": options.clusters, "load": os.getloadavg()[0]}
    print(json.dumps({**about, **row, "hardware": hardware(runtime.device), "versions": versions()}))


if __name__ == "__main__":
    main()
