"""DeepCluster-v2: the modernised DeepCluster in the appendix of Caron et al., "Unsupervised learning of visual features
by contrasting cluster assignments", NeurIPS 2020.

What changes: no new classifier each round, the centroids are it; no extra feature pass, the vectors of the last epoch
are kept in a memory bank; several clusterings at once, several crops of each image, cosine instead of Euclid.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.base import clone
from torch import nn

from asterism.clustering.kmeans import KMeansResult, kmeans
from asterism.clustering.soft import soft_scores
from asterism.estimator import Fitted, ImageClusterer
from asterism.features import extract
from asterism.features.store import gathered
from asterism.images import ImageSource
from asterism.methods.deepcluster_settings import Assignment, ContrastiveStart, MultiCrop, Projection, SizedDefaults
from asterism.methods.swav import Prototypes, Queue, WithPrototypes, contrastive_loss, crop_groups, swapped_loss
from asterism.networks.alexnet_vgg import seed_dropout
from asterism.networks.body import Body
from asterism.networks.convnet import ConvNet
from asterism.networks.initialise import build
from asterism.parameters import parameter
from asterism.parameters.constraints import POSITIVE, POSITIVE_INT
from asterism.training import Run, Training, train_epoch
from asterism.training.collapse import watch

KMEANS_ITERATIONS = 10
WARM_UP = 0.025  # of the epochs with a rising rate: 10 of 400
SCORED = 2**26  # scores that are held at once


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


class DeepClusterV2(SizedDefaults, ImageClusterer):
    """DeepCluster with centroids as classifier, a memory bank and multi-crop.

    An image's crops learn to find the centroid of the image's group. Features of the last epoch are kept, so that
    grouping needs no pass of its own.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`. Labels are those of a last clustering, of whole images with the finished network.
        `transform` gives z.

    Notes
    -----
    A round costs an epoch of (2 + n_small) crops, with the assignment's ``memory="pass"`` a forward pass, and
    O(10·n_heads·N·k·d) for k-means; the banks hold 2·N·d numbers on every process. Batch norm sees the batch of its own
    process.
    """

    n_clusters: int = parameter(POSITIVE_INT, default=100, kw_only=False)
    """k of every clustering; 3000 for ImageNet."""
    network: ConvNet | None = parameter(ConvNet, default=None, when_none=ConvNet("resnet18", sobel=False))
    """What learns: ResNet-18 in colour. Small crops of another size than the image's (``crops.small.side``) need a
    network that takes them: a ResNet, not AlexNet or VGG."""
    n_heads: int = parameter(POSITIVE_INT, default=3)
    """Clusterings at once; the h-th is of the bank of crop h mod 2."""
    projection: Projection | None = parameter(Projection, default=None, when_none=Projection())
    """The MLP after the network."""
    temperature: float = parameter(POSITIVE, default=0.1)
    """τ: logits are z·c / τ."""
    assignment: Assignment | None = parameter(Assignment, default=None, when_none=Assignment())
    """By k-means, or by Sinkhorn as in SwAV."""
    contrastive_start: ContrastiveStart | None = parameter(ContrastiveStart, default=None, when_none=ContrastiveStart())
    """Epochs of SimCLR before the first grouping; none by default."""
    crops: MultiCrop | None = parameter(MultiCrop, default=None, when_none=MultiCrop())
    """Which crops of an image are shown."""
    training: Training | None = parameter(
        Training,
        default=None,
        when_none=Training(n_epochs=400, batch_size=256, lr=0.06, momentum=0.9, weight_decay=1e-6, schedule="cosine"),
    )
    """The rate rises over the first fortieth of the epochs before it falls along the cosine. The paper has LARC and a
    rate of 4.8 for batches of 4096 (``optimizer="lars"``, with the optional timm); smaller ones do without."""

    def _memory_needed(self, n: int, n_numbers: int) -> int:
        """With the banks of vectors, and those of an epoch that will take their place."""
        vectors = 1 if self.resolved("assignment").kind == "sinkhorn" else 2 * MultiCrop.N_LARGE
        return super()._memory_needed(n, n_numbers) + vectors * 4 * n * self.resolved("projection").n_dims

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        model = self._drawn(self.resolved("network").drawn_for(images, run.generator("weights")), run)
        resident = images.resident(run.runtime)
        training = clone(self.resolved("training"))
        self._start(model, resident, training, run)
        if self.resolved("assignment").kind == "sinkhorn":
            self._swap(model, resident, training, run)
        else:
            self._alternate(model, resident, training, run)
        return self._fitted(model, extract(model, resident, run.runtime), run)

    def _alternate(self, model: Embedding, images: ImageSource, training: Training, run: Run) -> None:
        """DeepCluster-v2: k-means of all images, then an epoch in which their crops find its centroids."""
        optimizer = training.make_optimizer(model.parameters())
        wrapped, stepping = run.runtime.setup(model, optimizer)
        bank = torch.zeros(MultiCrop.N_LARGE, len(images), self.resolved("projection").n_dims)
        previous = torch.full((len(images),), -1)
        state: dict[str, Any] = {"model": model, "optimizer": optimizer, "bank": bank, "previous": previous}
        for t in run.rounds("deepcluster-v2", training.n_epochs, **state):
            if t == 0 or self.resolved("assignment").memory == "pass":
                bank[:] = extract(model, images, run.runtime)
            found = [self._cluster(bank[h % MultiCrop.N_LARGE], run, t, h) for h in range(self.n_heads)]
            run.callback(found[0].labels)
            self._begin_epoch(model, run, t)
            loss = self._train(wrapped, stepping, images, bank, found, training, run, t)
            watch(run, "deepcluster-v2", found[0].labels, previous, self.n_clusters, loss)
            previous.copy_(found[0].labels)

    def _start(self, model: Embedding, images: ImageSource, training: Training, run: Run) -> None:
        """SimCLR: the two large crops of an image learn to be alike, for so many epochs."""
        start, crops = self.resolved("contrastive_start"), self.resolved("crops")
        if start.n_epochs == 0:
            return
        own = clone(training).set_params(n_epochs=start.n_epochs, lr=start.lr or training.lr, schedule="cosine-steps")
        optimizer = own.make_optimizer(model.parameters())
        wrapped, stepping = run.runtime.setup(model, optimizer)
        for t in run.rounds("contrastive", own.n_epochs, model=model, optimizer=optimizer):
            noise = run.generator("contrastive crops", t, run.runtime.rank)

            def loss_of(batch: torch.Tensor, _: torch.Tensor, noise: torch.Generator = noise) -> torch.Tensor:
                return contrastive_loss(wrapped(crops.cut_large(batch, noise)), start.temperature)

            self._begin_epoch(model, run, t, "contrastive dropout")
            rate = partial(_rate, own)
            run.record(loss=train_epoch(images, loss_of, stepping, own, run, ("contrastive", t), lr=rate))

    def _swap(self, model: Embedding, images: ImageSource, training: Training, run: Run) -> None:
        """SwAV: groups of each batch by Sinkhorn, which the other crops of the images are to find."""
        settings, n_dims = self.resolved("assignment"), self.resolved("projection").n_dims
        both = run.runtime.place(WithPrototypes(model, Prototypes(self.n_heads, self.n_clusters, n_dims)))
        optimizer = training.make_optimizer(both.parameters())
        wrapped, stepping = run.runtime.setup(both, optimizer)
        queue, labels = Queue(settings.queue, n_dims, run.runtime.device), torch.full((len(images),), -1)
        state = {"both": both, "optimizer": optimizer, "queue": queue.vectors, "filled": queue.filled, "labels": labels}
        for t in run.rounds("swav", training.n_epochs, **state):
            before = labels
            if t == 0:  # the first prototypes are centroids, so that no group begins empty
                vectors = extract(model, images, run.runtime)
                first = [self._cluster(vectors, run, 0, h) for h in range(self.n_heads)]
                both.prototypes.set(torch.stack([one.centers for one in first]))
                before = first[0].labels.cpu()  # of images that no step of this epoch sees
            self._begin_epoch(model, run, t)
            found = torch.zeros_like(labels)  # 1 + group of each image that is seen
            loss_of = self._swapping(wrapped, both.prototypes, queue, found, run, t)
            loss = train_epoch(images, loss_of, stepping, training, run, ("swav", t), lr=partial(_rate, training))
            found = run.runtime.sum_over_ranks(found)
            new = torch.where(found > 0, found - 1, before)
            run.callback(new)
            watch(run, "swav", new, labels, self.n_clusters, loss)
            labels.copy_(new)

    def _swapping(
        self, model: Any, prototypes: Prototypes, queue: Queue, found: torch.Tensor, run: Run, t: int
    ) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The loss of a batch; writes 1 + the group of each image into ``found``."""
        settings, crops = self.resolved("assignment"), self.resolved("crops")
        noise = run.generator("crops", t, run.runtime.rank)

        def loss_of(batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            parts = [model(one) for one in crops.cut(batch, noise)]
            cosines = torch.cat([one for _, one in parts]).unflatten(0, (-1, len(batch)))  # (crops, B, heads, k)
            with torch.no_grad():
                earlier = run.runtime.shard(queue.full.transpose(0, 1)).transpose(0, 1)
                queued = prototypes(earlier.flatten(0, 1)).unflatten(0, earlier.shape[:2])
                groups = crop_groups(cosines[: MultiCrop.N_LARGE], queued, settings, run.runtime.sum_over_ranks)
            n = int(run.runtime.sum_over_ranks(torch.tensor(len(batch), device=batch.device)))
            new = parts[0][0].detach().unflatten(0, (MultiCrop.N_LARGE, len(batch))).transpose(0, 1)
            queue.push(run.runtime.gather_rows(new, n).transpose(0, 1))
            found[indices] = 1 + groups[0, :, 0].argmax(1).cpu()
            return swapped_loss(cosines, groups, self.temperature)

        return loss_of

    @staticmethod
    def _begin_epoch(model: Embedding, run: Run, t: int, stream: str = "dropout") -> None:
        seed_dropout(model, run.generator(stream, t, run.runtime.rank).initial_seed(), run.runtime.device)
        model.train()

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
        crops, memory = self.resolved("crops"), self.resolved("assignment").memory
        noise = run.generator("crops", t, run.runtime.rank)
        fresh, seen = torch.zeros_like(bank), torch.zeros(bank.shape[1])

        def loss_of(batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            vectors = torch.cat([model(one) for one in crops.cut(batch, noise)])  # (crops·B, d)
            if memory == "crops":
                large = vectors[: MultiCrop.N_LARGE * len(batch)].detach().cpu()
                fresh[:, indices], seen[indices] = large.view(MultiCrop.N_LARGE, len(batch), -1), 1
            wanted = labels[:, indices].to(batch.device)  # (heads, B)
            return multi_head_loss(vectors, centroids, wanted, self.temperature)

        key = ("deepcluster-v2", t)
        loss = train_epoch(images, loss_of, optimizer, training, run, key, lr=partial(_rate, training))
        if memory == "crops":
            fresh, seen = run.runtime.sum_over_ranks(fresh), run.runtime.sum_over_ranks(seen)
            bank[:, seen > 0] = fresh[:, seen > 0]
        return loss

    def _fitted(self, model: Embedding, vectors: torch.Tensor, run: Run) -> Fitted:
        found = self._cluster(vectors, run, self.resolved("training").n_epochs, 0)
        rows = max(1, SCORED // self.n_clusters)
        confidence = gathered((soft_scores(part, found.centers).amax(1) for part in vectors.split(rows)), len(vectors))
        return Fitted(model, found.labels.numpy(), found.centers.numpy(), confidence.numpy())

    def _drawn(self, body: Body, run: Run) -> Embedding:
        sizes = self.resolved("projection")
        stand_in = Body()  # while the MLP is drawn, by another rule than the network
        stand_in.n_features = body.n_features
        model = build(lambda: Embedding(stand_in, sizes.hidden, sizes.n_dims), run.generator("mlp"))
        model.body = body
        return run.runtime.place(model)

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Module:
        network, sizes = self.resolved("network"), self.resolved("projection")
        return build(
            lambda: Embedding(network.construct(shape), sizes.hidden, sizes.n_dims), torch.Generator().manual_seed(0)
        )


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


def _rate(training: Training, epoch: float) -> float:
    """The schedule's rate, rising linearly over the first epochs; with "cosine-steps" from step to step."""
    if training.schedule == "cosine-steps":
        return training.rate(epoch) * min(1.0, epoch / (WARM_UP * training.n_epochs))
    rise = max(1, round(WARM_UP * training.n_epochs))
    return training.rate(epoch) * min(1.0, (epoch + 1) / rise)
