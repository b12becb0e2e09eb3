"""What a row of JULE's Tables 5, 6 and 8 is: features learned on one set at work on another, patches' in a codebook."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from asterism.features import extract
from asterism.images import ImageSource, open_images
from asterism.methods import JULE, load
from asterism.methods.jule_steps import Merger, mean_image, neighbors_for
from asterism.metrics import scores
from asterism.networks.jule_net import ConvNetwork
from asterism.networks.pixels import Pixels
from asterism.runs import RunFolder
from asterism.runtime import Runtime
from asterism.training.checkpoint import load_state, save_state
from asterism.training.progress import ProgressBars
from asterism_papers.evaluation import protocol, runs
from asterism_papers.evaluation.jule_runs import kept_run
from asterism_papers.evaluation.protocol import Row, Setting, Task
from asterism_papers.evaluation.table import Entry
from asterism_papers.transfer.codebook import Codebook, PatchFeatures, Whitening, normalise_contrast, random_patches
from asterism_papers.transfer.svm import SquaredHingeSVM

SIDE = 6  # pixels of a patch
WEIGHTS = (1, 3, 10, 30, 100, 300, 1000, 3000)  # C of the SVM, of which the labelled images choose; Coates' is 100
PART = 1000  # images that are coded between two savings
LAYERS = ("data", "top (ip)", "top-1", "top-2")  # pixels, the linear layer, the last block's output, the one before


class BlockOutput(nn.Module):
    """Images (B, C, H, W) → output of one of the network's blocks from the end, flat and of length 1.

    Parameters
    ----------
    network : ConvNetwork
    from_end : int
        1 is the last block.
    """

    def __init__(self, network: ConvNetwork, from_end: int) -> None:
        super().__init__()
        self.network = network
        self.layer = network.layer_names[-from_end]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, D)."""
        return F.normalize(self.network.maps(images, [self.layer])[self.layer].flatten(1))


class CrossDataset:
    """``perform`` of Tables 5 and 6: cluster one set with what JULE learned on another.

    Images are resized to the learned network's size and their channels matched to its; every layer's output is scaled
    to length 1 ("for all test algorithms we L2-normalise"); then JULE's merging from the initial clusters to the end,
    without any training: with pixels that is the tables' column "data" (docs/papers/jule.md: .874 and .872 are its
    figures). The mean image of the clustered set is taken off where the network was learned on centred images; the
    paper is silent, and the other way, by what the clustered set's own file has, gave .798, .805 and .855 for
    MNIST-test → USPS where this gives .866, .876 and .922 (one seed).

    Parameters
    ----------
    source : Entry
        The run of JULE.
    learned_on : mapping of str to str
        Of each set that is clustered, the set that the network is learned on.
    by_variant : mapping of str to Entry
        Other runs, for the entries of these variants.
    """

    def __init__(
        self, source: Entry, learned_on: Mapping[str, str], by_variant: Mapping[str, Entry] | None = None
    ) -> None:
        self.source = source
        self.by_variant = dict(by_variant or {})
        self.learned_on = learned_on

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Learn where that is not done yet, cluster, and give the row of ``papers/results``."""
        other = self.learned_on[task.dataset]
        learning = replace(task, dataset=other)
        source = self.by_variant.get(task.entry.variant, self.source)
        row, kept = kept_run(learning, source, protocol.open_dataset(other), folder, setting)
        began = time.monotonic()
        model = cast(JULE, load(kept))
        layer = task.entry.method.removeprefix("jule-")
        seen_by = task.dataset if layer == "data" else other
        centered = bool(source.params_on(seen_by).get("center"))
        features = self._features(model, layer, task, images, centered, Runtime(setting.device))
        labels = np.asarray(protocol.shuffled(images, task.seed).labels)
        n_classes = len(np.unique(labels))
        asked = task.entry.params_on(other).get("n_neighbors", model.n_neighbors)
        n_neighbors = neighbors_for(asked, len(features), n_classes)
        merger = Merger(n_classes, n_neighbors, model.resolved("merging"), features.device)
        found = merger.merge_anew(features, None)["labels"].numpy()
        row |= {
            "dataset": task.dataset,
            "scores": scores(labels, found),
            "seconds": round(time.monotonic() - began, 3),
            "params": {**task.params, "n_clusters": n_classes},
        }
        row["protocol"] |= {
            "images": protocol.describe(task.dataset, images),
            "fingerprint": images.fingerprint,
            "n_clusters": f"number of classes ({n_classes})",
            "learned on": other,
            "minus its own mean image": centered,
        }
        return row

    def _features(
        self, model: JULE, layer: str, task: Task, images: ImageSource, centered: bool, runtime: Runtime
    ) -> torch.Tensor:
        """Features (N, D) of the images in the seed's order."""
        if layer != "data":
            channels, height, width = model.image_shape_
            color = "grey" if channels == 1 else "rgb"
            images = open_images(f"data:{task.dataset}", size=(height, width), color=color)
        images = replace(protocol.shuffled(images, task.seed), labels=None, label_names=None)
        mean = mean_image(images) if centered else torch.zeros(images.shape)
        if layer == "data":
            return extract(runtime.place(Pixels(True, mean)), images, runtime)
        network = cast(ConvNetwork, model.encoder_)
        network.mean.copy_(mean)
        from_end = LAYERS.index(layer) - 1
        encoder = network if from_end == 0 else BlockOutput(network, from_end)
        return extract(runtime.place(encoder), images, runtime)


class PatchCodebook:
    """``perform`` of Table 8: CIFAR-10 coded by a codebook of patches, or of what JULE learns from them, and an SVM.

    Parameters
    ----------
    n_patches : int
        Patches of the training part that everything without labels is learned from: 40 000.
    n_centers : int
        Codes: 1600.
    labelled : tuple of int
        Numbers of training images that the SVM sees. A fifth of them chooses its C, on which the paper is silent:
        Coates' 100, for all 50 000 images, lost 4 points where 5000 are labelled, and against 300 one where all are.
    """

    def __init__(self, n_patches: int, n_centers: int, labelled: tuple[int, ...]) -> None:
        self.n_patches = n_patches
        self.n_centers = n_centers
        self.labelled = labelled

    def __call__(self, task: Task, images: ImageSource, folder: Path, setting: Setting) -> Row:
        """Learn, code, classify, and give the row of ``papers/results``."""
        began = time.monotonic()
        train = protocol.shuffled(images, task.seed)
        test = protocol.open_dataset(task.dataset.replace("-train", "-test"))
        features = self._features(task, train, folder, setting)
        book = Codebook(self.n_centers, n_patches=self.n_patches, features=features).fit(train, task.seed)
        with ProgressBars(setting.verbose) as progress:
            codes, earlier = kept_codes(book, train, folder / "train", progress)
            test_codes, more = kept_codes(book, test, folder / "test", progress)
        found, chosen, earlier = {}, {}, earlier + more
        for n in self.labelled:
            machine = SquaredHingeSVM(WEIGHTS).fit(codes[:n], np.asarray(train.labels)[:n])
            chosen[str(n)] = machine.C_
            found[f"svm_{n}"] = round(machine.score(test_codes, np.asarray(test.labels)), 6)
        row = protocol.row_of(task, images, setting, found, time.monotonic() - began + earlier, self.n_centers)
        row["params"] = task.params
        row["resumed"] = {"commit": None, "seconds": round(earlier, 3)} if earlier else None
        row["protocol"] |= {
            "order": "shuffled by the seed; the SVM sees the first images of it",
            "patches": self.n_patches,
            "codes": self.n_centers,
            "C": chosen,
            "C of": list(WEIGHTS),
            "labels": "of the SVM only",
        }
        return row

    def _features(self, task: Task, train: ImageSource, folder: Path, setting: Setting) -> PatchFeatures | None:
        """Whitened patches (n, 3, 6, 6) → what the codebook is made of; None for the patches themselves."""
        if task.entry.class_name != "jule":
            return None
        network = cast(ConvNetwork, self._learned(task, train, folder, setting).encoder_).eval()
        if task.entry.variant == "ip":
            return torch.no_grad()(network)
        blocks = {"conv1&2": ("conv1", "conv2")}.get(task.entry.variant, (task.entry.variant,))

        @torch.no_grad()
        def features(white: torch.Tensor) -> torch.Tensor:
            maps = network.maps(white, blocks)
            return torch.cat([maps[name].flatten(1) for name in blocks], dim=1)

        return features

    def _learned(self, task: Task, train: ImageSource, folder: Path, setting: Setting) -> JULE:
        """JULE fitted to the whitened patches that the codebook will draw, kept for the other columns."""
        kept = folder.parent / f"kept-jule-patches-{task.seed}-{self.n_patches}"
        with runs.claimed(kept) as free:
            if not free:
                raise runs.BusyError(f"another process is fitting {kept}; run it again when that is done")
            return self._fitted(task, train, kept, setting)

    def _fitted(self, task: Task, train: ImageSource, kept: Path, setting: Setting) -> JULE:
        if RunFolder(kept).exists and RunFolder(kept).read()["status"] == "finished":
            return cast(JULE, load(kept))
        generator = torch.Generator().manual_seed(task.seed)
        patches = normalise_contrast(random_patches(train, self.n_patches, SIDE, generator))
        white = Whitening.of(patches)(patches).view(len(patches), -1, SIDE, SIDE).permute(0, 2, 3, 1)
        model = cast(JULE, task.estimator())
        model.set_params(device=setting.device, verbose=setting.verbose, run_dir=str(kept))
        model.fit(white.numpy())
        return model


def kept_codes(book: Codebook, images: ImageSource, folder: Path, progress: ProgressBars) -> tuple[torch.Tensor, float]:
    """Codes (N, 4·K) of N images, kept in a folder part by part, so that a killed run goes on where it was.

    Parameters
    ----------
    book : Codebook
        Fitted. Parts of another codebook than this one are not taken.
    images : ImageSource
    folder : Path
    progress : ProgressBars

    Returns
    -------
    codes : torch.Tensor
        float32.
    seconds : float
        That parts which lay there already had taken.
    """
    codes, earlier = torch.empty(len(images), 4 * book.n_centers), 0.0
    stage, starts = f"{folder.name} codes", range(0, len(images), PART)
    progress.start(stage, len(starts))
    for start in starts:
        path, part = folder / f"{start}.safetensors", range(start, min(start + PART, len(images)))
        found = load_state(path) if path.exists() else {}
        if "centers" in found and torch.equal(found["centers"], book.centers_):
            earlier += found["seconds"]
        else:
            began = time.monotonic()
            found = {"centers": book.centers_, "codes": book.transform(images.subset(part))}
            save_state(path, {**found, "seconds": time.monotonic() - began})
        codes[part.start : part.stop] = found["codes"]
        progress.advance(stage)
    progress.finish(stage, len(starts))
    return codes, earlier
