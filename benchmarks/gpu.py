"""The parts of gpu.sh that no other benchmark has.

    python benchmarks/gpu.py features --device cuda     images a second of a network of DINOv2's size, in two precisions
    python benchmarks/gpu.py resnet18 --device cuda     DeepCluster-v2 with ResNet-18 on CIFAR-10; killed, it goes on

The networks' weights are drawn: what a pass costs does not depend on them. Where the data folder has no CIFAR-10,
images of noise stand for it.
"""

import argparse
import json
import time

import torch

from asterism import ConvNet, DeepClusterV2, ImageSource, Training, open_images
from asterism.errors import AsterismError
from asterism.features import extract
from asterism.methods.deepcluster_settings import ContrastiveStart, MultiCrop
from asterism.networks.backbones import Backbone
from asterism.runtime import Runtime, hardware, versions


def noise(n, side):
    """Colour images (n, side, side, 3) of noise."""
    pixels = torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSource(pixels, [""] * n)


def features(options):
    """Images a second through a transformer, a first batch left out."""
    images, found = noise(options.images, 224), {}
    for precision in ("32-true", "bf16-mixed"):
        runtime = Runtime(options.device, precision)
        network = runtime.place(Backbone(options.network).build(images.shape, pretrained=False))
        extract(network, images.part(0, min(256, len(images))), runtime)
        began = time.perf_counter()
        extract(network, images, runtime)
        found[precision] = round(len(images) / (time.perf_counter() - began), 1)
    return {"network": options.network, "images a second": found}


def resnet18(options):
    """Epochs of DeepCluster-v2 after a contrastive start, as many as there is time for; the run resumes."""
    try:
        images = open_images("data:cifar10-train")
    except AsterismError:
        images = noise(50_000, 32)
    images = images.part(0, options.images or len(images))
    model = DeepClusterV2(
        min(100, len(images)),
        network=ConvNet("resnet18", sobel=False),
        crops=MultiCrop(n_small=0),
        contrastive_start=ContrastiveStart(options.epochs // 2),
        training=Training(
            n_epochs=max(1, options.epochs // 2), batch_size=512, lr=0.1, weight_decay=1e-4, schedule="cosine-steps"
        ),
        device=options.device,
        precision="bf16-mixed",
        run_dir=options.out,
        random_state=0,
        verbose=1,
    )
    model.fit(images)
    return {"epochs": options.epochs, "seconds": round(model.fit_seconds_, 1), "images": len(images)}


def main():
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["features", "resnet18"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int)
    parser.add_argument("--network", default="vit_small_patch14_dinov2.lvd142m")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out")
    options = parser.parse_args()
    options.images = options.images or (4096 if options.what == "features" else None)
    found = {"features": features, "resnet18": resnet18}[options.what](options)
    about = {"hardware": hardware(torch.device(options.device)), "versions": versions()}
    print(json.dumps({"benchmark": f"gpu {options.what}", **found, **about}))


if __name__ == "__main__":
    main()
