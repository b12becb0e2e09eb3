"""DeepCluster-v2: the modernised DeepCluster in the appendix of Caron et al., "Unsupervised learning of visual features
by contrasting cluster assignments", NeurIPS 2020.

What changes: no new classifier each round, the centroids are it; no extra feature pass, the vectors of the last epoch
are kept in a memory bank; several clusterings at once, several crops of each image, cosine instead of Euclid.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from sklearn.base import clone
from torch import nn

from asterism.clustering.kmeans import KMeansResult, kmeans
from asterism.clustering.soft import soft_scores
from asterism.estimator import COMPUTING, Fitted, ImageClusterer
from asterism.features import extract
from asterism.images import ImageSource
from asterism.images.crops import Crops
from asterism.networks.alexnet_vgg import Body, seed_dropout
from asterism.networks.convnet import ConvNet
from asterism.networks.initialise import build
from asterism.parameters import Interval, Parameters
from asterism.training import Run, Training, train_epoch
from asterism.training.collapse import CollapseDetector, examine

KMEANS_ITERATIONS = 10
N_LARGE = 2  # large crops, each with a memory bank
WARM_UP = 0.025  # of the epochs with a rising rate: 10 of 400
SCORED = 2**26  # scores that are held at once
_COLOURS: dict[str, Any] = {"jitter": 0.8, "grey": 0.2, "blur": 0.5}


class MultiCrop(Parameters):
    """Which crops of an image are shown in one step: two large ones and some small ones.

    Parameters
    ----------
    large : Crops, optional
        Default 8 to 100 % of the area, changed colours, blur.
    small : Crops, optional
        Default 5 to 14 % of the area.
    n_small : int, default=4
        0 for images of 32², whose twentieth part shows nothing.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {"large": Crops(**_COLOURS), "small": Crops(0.05, 0.14, **_COLOURS)}
    _parameter_constraints: ClassVar[dict] = {
        "large": [Crops, None],
        "small": [Crops, None],
        "n_small": [Interval(int, 0, None)],
    }

    def __init__(self, large: Crops | None = None, small: Crops | None = None, n_small: int = 4) -> None:
        self.large = large
        self.small = small
        self.n_small = n_small

    def cut(self, images: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        """Crops of a batch (B, C, H, W): the two large ones as one tensor (2B, …), the small ones as another."""
        large, small = self.resolved("large"), self.resolved("small")
        cut = [torch.cat([large(images, generator) for _ in range(N_LARGE)])]
        if self.n_small:
            cut.append(torch.cat([small(images, generator) for _ in range(self.n_small)]))
        return cut


class Embedding(nn.Module):
    """Images (B, C, H, W) → unit vectors z (B, d): the network and an MLP of two layers on it.

    Parameters
    ----------
    body : Body
    hidden, dim : int
        Units of the MLP's layers.
    """

    def __init__(self, body: Body, hidden: int, dim: int) -> None:
        super().__init__()
        self.body = body
        self.projection = nn.Sequential(
            nn.ReLU(),  # AlexNet's and VGG's features come before theirs; a ResNet's are positive anyway
            nn.Linear(body.n_features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, dim),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """z, each row of length 1."""
        return F.normalize(self.projection(self.body(images)).float())


class DeepClusterV2(ImageClusterer):
    """DeepCluster with centroids as classifier, a memory bank and multi-crop.

    An image's crops learn to find the centroid of the image's group. Features of the last epoch are kept, so that
    grouping needs no pass of its own.

    Parameters
    ----------
    n_clusters : int, default=100
        k of every clustering; 3000 for ImageNet.
    network : ConvNet, optional
        Default ResNet-18 in colour. Small crops of another size than the image's (``crops.small.side``) need a network
        that takes them: a ResNet, not AlexNet or VGG.
    n_heads : int, default=3
        Clusterings at once; the h-th is of the bank of crop h mod 2.
    hidden, n_dims : int, default=2048, 128
        Of the MLP after the network.
    temperature : float, default=0.1
        τ: logits are z·c / τ.
    memory : {"pass", "crops"}, default="pass"
        Where the vectors that are clustered come from. ``"crops"``, the paper: what the network gave for the last
        epoch's crops, so that no image goes through it again. That asks for a network that hardly changes in an epoch:
        with a few hundred steps of a usual rate, vectors from its beginning and its end are so different that k-means
        groups the images by when they were seen (CIFAR-10: NMI to the classes .08 → .02, loss back at ln k after two
        epochs). ``"pass"``, ours: a feature pass before each clustering; .08 → .11 in six epochs. What the pass costs:
        docs/scale.md.
    crops : MultiCrop, optional
    training : Training, optional
        Default SGD, rate 0.06 falling along a cosine after a linear rise over the first fortieth of the epochs,
        momentum 0.9, weight decay 1e-6, batch 256, 400 epochs. The paper has LARC and a rate of 4.8 for batches of
        4096, which it is made for (``optimizer="lars"``, with the optional timm); at batches of a few hundred plain SGD
        does without.
    device, precision, run_dir, random_state, verbose
        See `DBC`.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`. Labels are those of a last clustering, of whole images with the finished network.
        `transform` gives z.

    Notes
    -----
    A round costs an epoch of (2 + n_small) crops, with ``memory="pass"`` a forward pass, and O(10·n_heads·N·k·d) for
    k-means; the banks hold 2·N·d numbers on every process. Batch norm sees the batch of its own process.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "network": ConvNet("resnet18", sobel=False),
        "crops": MultiCrop(),
        "training": Training(n_epochs=400, batch_size=256, lr=0.06, momentum=0.9, weight_decay=1e-6, schedule="cosine"),
    }
    _parameter_constraints: ClassVar[dict] = {
        "n_clusters": [Interval(int, 1, None)],
        "network": [ConvNet, None],
        "n_heads": [Interval(int, 1, None)],
        "hidden": [Interval(int, 1, None)],
        "n_dims": [Interval(int, 1, None)],
        "temperature": [Interval(float, 0, None, closed="neither")],
        "memory": [{"pass", "crops"}],
        "crops": [MultiCrop, None],
        "training": [Training, None],
        **COMPUTING,
    }

    def __init__(
        self,
        n_clusters: int = 100,
        *,
        network: ConvNet | None = None,
        n_heads: int = 3,
        hidden: int = 2048,
        n_dims: int = 128,
        temperature: float = 0.1,
        memory: str = "pass",
        crops: MultiCrop | None = None,
        training: Training | None = None,
        device: str = "auto",
        precision: str = "32-true",
        run_dir: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.network = network
        self.n_heads = n_heads
        self.hidden = hidden
        self.n_dims = n_dims
        self.temperature = temperature
        self.memory = memory
        self.crops = crops
        self.training = training
        self.device = device
        self.precision = precision
        self.run_dir = run_dir
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        model = self._drawn(self.resolved("network").drawn_for(images, run.generator("weights")), run)
        training = clone(self.resolved("training"))
        optimizer = training.make_optimizer(model.parameters())
        wrapped, stepping = run.runtime.setup(model, optimizer)
        resident = images.to(run.runtime.device) if run.runtime.has_room(images.pixels.nbytes) else images
        bank = torch.zeros(N_LARGE, len(images), self.n_dims)
        previous = torch.full((len(images),), -1)
        detector = CollapseDetector(run, self.n_clusters, "deepcluster-v2")
        state: dict[str, Any] = {"model": model, "optimizer": optimizer, "bank": bank, "previous": previous}
        for t in run.rounds("deepcluster-v2", training.n_epochs, **state):
            if t == 0 or self.memory == "pass":
                bank[:] = extract(model, resident, run.runtime)
            found = [self._cluster(bank[h % N_LARGE], run, t, h) for h in range(self.n_heads)]
            run.callback(found[0].labels)
            seed_dropout(model, run.generator("dropout", t, run.runtime.rank).initial_seed(), run.runtime.device)
            model.train()
            loss = self._train(wrapped, stepping, resident, bank, found, training, run, t)
            figures = examine(found[0].labels, previous, self.n_clusters)
            detector.look(loss=loss, loss_of_guessing=math.log(self.n_clusters), **figures)
            previous.copy_(found[0].labels)
        return self._fitted(model, extract(model, resident, run.runtime), run)

    def _cluster(self, vectors: torch.Tensor, run: Run, t: int, head: int) -> KMeansResult:
        """Spherical k-means from random rows; emptied centroids stay where they are (docs/papers/deepcluster.md)."""
        first = torch.randperm(len(vectors), generator=run.generator("clusters", t, head))[: self.n_clusters]
        found = kmeans(
            run.runtime.shard(vectors),
            self.n_clusters,
            init=vectors[first],
            max_iter=KMEANS_ITERATIONS,
            tol=0,
            empty="keep",
            spherical=True,
            random_state=run.random_state("clusters", t, head),
            reduce=run.runtime.sum_over_ranks,
            rank=run.runtime.rank,
        )
        return found._replace(labels=run.runtime.gather_rows(found.labels, len(vectors)))

    def _train(
        self,
        model: Any,
        optimizer: Any,
        images: ImageSource,
        bank: torch.Tensor,
        found: list[KMeansResult],
        training: Training,
        run: Run,
        t: int,
    ) -> float:
        """An epoch in which every crop is to find the clusters of its image; its vectors may become the banks."""
        labels = torch.stack([one.labels for one in found])  # (heads, N)
        centroids = torch.stack([one.centers for one in found]).to(run.runtime.device)  # (heads, k, d)
        crops = self.resolved("crops")
        noise = run.generator("crops", t, run.runtime.rank)
        fresh, seen = torch.zeros_like(bank), torch.zeros(bank.shape[1])

        def loss_of(batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            vectors = torch.cat([model(one) for one in crops.cut(batch, noise)])  # (crops·B, d)
            if self.memory == "crops":
                large = vectors[: N_LARGE * len(batch)].detach().cpu()
                fresh[:, indices], seen[indices] = large.view(N_LARGE, len(batch), -1), 1
            wanted = labels[:, indices].to(batch.device)  # (heads, B)
            return multi_head_loss(vectors, centroids, wanted, self.temperature)

        key = ("deepcluster-v2", t)
        loss = train_epoch(images, loss_of, optimizer, training, run, key, lr=_rate(training, t))
        if self.memory == "crops":
            fresh, seen = run.runtime.sum_over_ranks(fresh), run.runtime.sum_over_ranks(seen)
            bank[:, seen > 0] = fresh[:, seen > 0]
        return loss

    def _fitted(self, model: Embedding, vectors: torch.Tensor, run: Run) -> Fitted:
        found = self._cluster(vectors, run, self.resolved("training").n_epochs, 0)
        rows = max(1, SCORED // self.n_clusters)
        confidence = torch.cat([soft_scores(part, found.centers).amax(1) for part in vectors.split(rows)])
        return Fitted(model, found.labels.numpy(), found.centers.numpy(), confidence.numpy())

    def _drawn(self, body: Body, run: Run) -> Embedding:
        model = build(lambda: Embedding(_Placeholder(body.n_features), self.hidden, self.n_dims), run.generator("mlp"))
        model.body = body
        return run.runtime.place(model)

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Module:
        network = self.resolved("network")
        return build(
            lambda: Embedding(network.construct(shape), self.hidden, self.n_dims), torch.Generator().manual_seed(0)
        )


class _Placeholder(Body):
    """Stands for the network while the MLP is drawn with another rule than its own."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features


def multi_head_loss(
    vectors: torch.Tensor, centroids: torch.Tensor, labels: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Mean over heads and crops of −log softmax(z·c / τ)[y].

    Parameters
    ----------
    vectors : torch.Tensor of shape (n_crops·B, d)
        Unit vectors, crop by crop.
    centroids : torch.Tensor of shape (heads, k, d)
        Constants: nothing is learnt in them.
    labels : torch.Tensor of shape (heads, B)
    temperature : float

    Returns
    -------
    torch.Tensor, scalar
    """
    n_crops = len(vectors) // labels.shape[1]
    losses = [
        F.cross_entropy(vectors @ one.T / temperature, wanted.repeat(n_crops))
        for one, wanted in zip(centroids, labels, strict=True)
    ]
    return torch.stack(losses).mean()


def _rate(training: Training, epoch: int) -> float:
    """The schedule's rate, rising linearly over the first epochs."""
    rise = max(1, round(WARM_UP * training.n_epochs))
    return training.rate(epoch) * min(1.0, (epoch + 1) / rise)
