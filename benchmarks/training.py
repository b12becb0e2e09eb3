"""Seconds of a training epoch of FCAE, DBC and JULE against a plain PyTorch script of the same network.

Both run in turns in one process on the same images, batches and optimiser, without augmentation (the plain script has
none); the ratio is what counts.

    python benchmarks/training.py [--images 12800] [--rounds 5] [--threads 1] [--device cpu]
"""

import argparse
import json
import statistics
import time

import torch
from plain_twins.networks import PlainDBC, PlainFCAE, PlainJULE, plain_triplet_loss

from asterism.clustering.soft import boosted_targets, kl_loss
from asterism.features import extract
from asterism.images import open_images
from asterism.methods.jule_settings import TripletTraining
from asterism.methods.soft_clusterer import SoftAssignment
from asterism.networks import FullyConvolutionalAutoEncoder
from asterism.networks.jule_net import build_conv
from asterism.runtime import Runtime, hardware, versions
from asterism.training import Run, Training, train_epoch
from asterism.training.autoencoder import euclidean_loss
from asterism.training.triplets import TripletLoss

TRAINING = Training(n_epochs=100, batch_size=256, optimizer="sgd", lr=1e-4)


def plain_fcae(pixels, device):
    """One epoch of the plain script's auto-encoder, as a function."""
    network = PlainFCAE().to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    x = pixels.to(device)

    def epoch(_):
        for indices in torch.randperm(len(x)).split(256):
            batch = x[indices]
            loss = ((batch - network(batch)) ** 2).sum() / len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def plain_dbc(pixels, device, k=10):
    """One round of the plain script's DBC: scores of all images, then an epoch."""
    encoder = PlainFCAE().to(device).train()
    model = PlainDBC(encoder, torch.randn(k, 120, device=device)).to(device)
    parameters = [
        p for name, p in model.named_parameters() if "deconv" not in name and "bn4" not in name and "bn5" not in name
    ]
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)
    x = pixels.to(device)

    def epoch(_):
        model.eval()
        with torch.no_grad():
            scores = torch.cat([model(batch) for batch in x.split(1024)])
            boosted = scores**2 / (scores**2).sum(0)
            targets = boosted / boosted.sum(1, keepdim=True)
        model.train()
        for indices in torch.randperm(len(x)).split(256):
            s, r = model(x[indices]), targets[indices]
            loss = (r * (r / s).log()).sum() / len(indices)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def our_fcae(images, runtime):
    """The same epoch by Asterism."""
    network = runtime.place(FullyConvolutionalAutoEncoder(images.shape)).train()
    run = Run(runtime, 0)
    wrapped, optimizer = runtime.setup(network, TRAINING.make_optimizer(network.parameters()))
    images = images.resident(runtime)

    def epoch(t):
        train_epoch(images, lambda x, _: euclidean_loss(x, wrapped(x)), optimizer, TRAINING, run, ("fcae", t))

    return epoch


def our_dbc(images, runtime, k=10):
    """The same round by Asterism."""
    encoder = FullyConvolutionalAutoEncoder(images.shape).encoder
    model = runtime.place(SoftAssignment(encoder, torch.randn(k, 120))).train()
    run = Run(runtime, 0)
    wrapped, optimizer = runtime.setup(model, TRAINING.make_optimizer(model.parameters()))
    images = images.resident(runtime)

    def epoch(t):
        targets = boosted_targets(extract(model, images, runtime)).to(runtime.device)
        train_epoch(
            images,
            lambda x, i: kl_loss(targets[i.to(targets.device)], wrapped(x)),
            optimizer,
            TRAINING,
            run,
            ("dbc", t),
        )

    return epoch


def plain_jule(pixels, clusters, device):
    """One epoch of the plain script's triplet training."""
    network = PlainJULE().to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-5)
    x, clusters = pixels.to(device), clusters.to(device)

    def epoch(_):
        for indices in torch.randperm(len(x), device=device).split(100):
            loss = plain_triplet_loss(network(x[indices]), clusters[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def our_jule(images, clusters, runtime):
    """The same epoch by Asterism."""
    network = runtime.place(build_conv(images.shape, torch.Generator().manual_seed(0))).train()
    run, training, loss = Run(runtime, 0), TripletTraining(), TripletLoss()
    wrapped, optimizer = runtime.setup(network, training.make_optimizer(network.parameters()))
    images = images.resident(runtime)

    def epoch(t):
        noise = run.generator("triplets", t)
        train_epoch(
            images,
            lambda x, i: loss(wrapped(x), clusters[i], 1.0, noise),
            optimizer,
            training,
            run,
            ("jule", t),
            lr=0.01,
        )

    return epoch


def seconds(function, t, device):
    """Wall seconds of one call, GPU work included."""
    began = time.perf_counter()
    function(t)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main():
    """Print the table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=12800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="begin of a part's name: FCAE, DBC, JULE")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    runtime = Runtime(arguments.device)
    pixels = (torch.rand(arguments.images, 1, 28, 28) * 255).to(torch.uint8)
    images = open_images(pixels[:, 0].numpy())
    plain = pixels.float() / 255
    clusters = torch.randint(0, 17, (arguments.images,))  # as many as MNIST-test has in its last period
    row = {"hardware": hardware(runtime.device), "versions": versions(), "images": arguments.images}
    for name, ours, theirs in (
        ("FCAE epoch", our_fcae(images, runtime), plain_fcae(plain, runtime.device)),
        ("DBC round", our_dbc(images, runtime), plain_dbc(plain, runtime.device)),
        ("JULE epoch", our_jule(images, clusters, runtime), plain_jule(plain, clusters, runtime.device)),
    ):
        if not name.startswith(arguments.only):
            continue
        pairs = [
            (seconds(ours, t, runtime.device), seconds(theirs, t, runtime.device)) for t in range(arguments.rounds + 1)
        ]
        pairs = pairs[1:]  # the first is the warm-up
        ratio = statistics.median(a / b for a, b in pairs)
        a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name}: ours {a:.2f} s, plain {b:.2f} s, ratio {ratio:.3f}")
        row[name] = {"ours": round(a, 3), "plain": round(b, 3), "ratio": round(ratio, 3)}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
