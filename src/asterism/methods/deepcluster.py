"""DeepCluster: Caron, Bojanowski, Joulin and Douze, "Deep clustering for unsupervised learning of visual features",
ECCV 2018.

A network's own features are clustered, and the clusters are the classes that it then learns to tell apart. This works
because convolutions with random weights already say something about an image (§3.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from asterism.clustering.centroids import cluster_means
from asterism.clustering.kmeans import kmeans
from asterism.clustering.power_iteration import power_iteration_clustering
from asterism.clustering.soft import soft_scores
from asterism.errors import InputError
from asterism.estimator import Fitted, ImageClusterer
from asterism.external import external, external_class, read_call
from asterism.features.extract import store_features
from asterism.features.reduce import Reduction, fit_reduction
from asterism.features.store import FeatureStore, gathered
from asterism.images import ImageSource, RandomTransform
from asterism.images.augment import AUGMENTATIONS, Crops
from asterism.methods.autoencoders import resolve_augmentation
from asterism.methods.deepcluster_settings import SizedDefaults
from asterism.networks.body import Body
from asterism.networks.convnet import ConvNet
from asterism.parameters import HasMethod, Parameters, parameter, shown
from asterism.parameters.constraints import FRACTION_BELOW_1, POSITIVE, POSITIVE_INT
from asterism.runtime import Runtime
from asterism.training import Run, Training
from asterism.training.collapse import watch
from asterism.training.pseudolabels import SAMPLERS, train_on_pseudo_labels

KMEANS_ITERATIONS = 20  # of faiss, without a tolerance (docs/papers/deepcluster.md)
STEPS_OF_ROUND, FEWEST_ROUNDS = 500, 4  # docs/methods/deepcluster.md has what other lengths of a round did
SCORED = 2**26  # scores that are held at once


class Whitening(Parameters, kw_only=False):
    """What features go through before they are clustered (§3.4)."""

    n_components: int | None = parameter([POSITIVE_INT, None], default=256)
    """Of the PCA; None keeps every dimension."""
    whiten: bool = parameter(bool, default=True)
    """Scale every component to variance 1."""
    normalise: bool = parameter(bool, default=True)
    """Scale every vector to length 1."""


class ClusterSpace(nn.Module):
    """Images (B, C, H, W) → the vectors (B, d) that were clustered: network, PCA, whitening, unit length."""

    def __init__(self, body: Body, reduction: Reduction) -> None:
        super().__init__()
        self.body = body
        self.reduction = reduction

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Reduced features (B, d)."""
        return self.reduction(self.body(images))


@dataclass(frozen=True)
class Clustering:
    """What one clustering found.

    Attributes
    ----------
    labels : torch.Tensor of shape (N,)
        Of all images, on the CPU.
    centers : torch.Tensor of shape (k, d)
    n_split : int
        Empty clusters that were given half of another, over all iterations (§3.3).
    vectors : FeatureStore
        This process's share of what was clustered.
    reduction : Reduction
    """

    labels: torch.Tensor
    centers: torch.Tensor
    n_split: int
    vectors: FeatureStore
    reduction: Reduction

    @property
    def n_clusters(self) -> int:
        """k, empty clusters counted."""
        return len(self.centers)


class DeepCluster(SizedDefaults, ImageClusterer):
    """Cluster the features, learn the clusters, again and again.

    Each round groups the network's features by k-means and trains the network to tell these groups apart. What is
    wanted is the network; ask for about ten times as many groups as there are kinds of image.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`; labels are those of the clustering after the last epoch. ``encoder_.body`` is the network,
        `transform` gives what was clustered.

    Notes
    -----
    A round costs a forward pass over N images, O(N·D² + D³) for the PCA, O(20·N·k·d) for k-means, and an epoch of
    training. Under ``torchrun`` every process keeps the features of its share, on disk where they are large.

    Examples
    --------
    >>> from asterism import DeepCluster
    >>> from asterism.training import Training
    >>> model = DeepCluster(100, training=Training(n_epochs=30, lr=0.05)).fit("photos/")  # doctest: +SKIP
    """

    n_clusters: int = parameter(POSITIVE_INT, default=100, kw_only=False)
    """k. Over-segmentation helps the features: the paper's best k is 10 000 for ImageNet's 1000 classes (Fig. 2c), so
    take about ten times the groups that you expect. It was chosen with labels (PASCAL VOC's)."""
    network: ConvNet | None = parameter(ConvNet, default=None, when_none=ConvNet())
    """What learns: AlexNet with batch norm behind a Sobel filter."""
    whitening: Whitening | None = parameter(Whitening, default=None, when_none=Whitening())
    """What features go through first: PCA, whitening, unit length."""
    clusterer: Any = parameter([str, HasMethod("fit_predict", "a clusterer with fit_predict")], default="kmeans")
    """What groups the features. ``"pic"``: power iteration clustering, which finds the number of clusters itself, of
    vectors of length 1. Any other clusterer with scikit-learn's ``fit_predict`` can stand here, ours too
    (``MiniBatchKMeans(30)``, ``GaussianMixture(30)``, ``GraphDegreeLinkage(30)``), or its class by its path,
    ``"sklearn.cluster.Birch"`` or ``"sklearn.cluster.Birch(threshold=0.1)"``, which is given ``n_clusters``. A
    clusterer's own number of clusters counts; images that it leaves out (−1) join the nearest mean."""
    reassign_every: float | None = parameter(POSITIVE, default=None)
    """Epochs between two clusterings, or a part of one. By default one, as in the paper, whose epoch has 5000 steps;
    where an epoch has fewer than 500, as many epochs as have 500, but no more than a quarter of all: a new classifier
    is learnt first, and in a few steps it teaches the network little. Rounds are whole, so that the last may go beyond
    ``training.n_epochs``; none is longer than that."""
    sampler: str = parameter(set(SAMPLERS), default="uniform")
    """How images are drawn: every cluster equally often (§3.3); as the released code does; as they come. See
    `draw_images`."""
    head_momentum: float | None = parameter(FRACTION_BELOW_1, default=None)
    """The classifier's own momentum: 0 in the released code, the network's in the paper's words and here."""
    training: Training | None = parameter(
        Training,
        default=None,
        when_none=Training(n_epochs=500, batch_size=256, lr=0.05, momentum=0.9, weight_decay=1e-5),
    )
    """The paper's (docs/papers/deepcluster.md); for a few thousand images on a laptop 50 to 100 epochs do."""
    augmentation: RandomTransform | str | None = parameter(AUGMENTATIONS, default=None, when_none=Crops())
    """Of the images that are learnt from: random crops and flips."""

    def _check_needs(self, X: Any) -> None:
        super()._check_needs(X)
        if self.clusterer == "pic" and not self.resolved("whitening").normalise:
            raise InputError("clusterer='pic' goes by vectors of length 1: leave whitening.normalise out")

    def _number_wanted(self) -> int | None:
        return self.n_clusters if self.clusterer == "kmeans" else None

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        body = run.runtime.place(self.resolved("network").drawn_for(images, run.generator("weights")))
        epochs = self._epochs_a_round(self.resolved("training"), len(images))
        training = by_rounds(self.resolved("training"), epochs)
        optimizer = training.make_optimizer(body.parameters())
        resident = images.resident(run.runtime)
        previous = torch.full((len(images),), -1)  # the clusters of the round before
        state: dict[str, Any] = {"body": body, "optimizer": optimizer, "previous": previous}
        for t in run.rounds("deepcluster", training.n_epochs, **state):
            found = self._cluster(body, resident, run, t)  # eq. (2)
            run.callback(found.labels)
            loss = train_on_pseudo_labels(  # eq. (1)
                body,
                resident,
                found.labels,
                found.n_clusters,
                optimizer,
                training,
                run,
                ("deepcluster", t),
                sampler=self.sampler,
                n_draws=max(1, round(epochs * len(images))),
                head_momentum=self.head_momentum,
                augmentation=resolve_augmentation(self),
            )
            watch(run, "deepcluster", found.labels, previous, found.n_clusters, loss, split=found.n_split)
            previous.copy_(found.labels)
        return self._fitted(body, self._cluster(body, resident, run, training.n_epochs), run, len(images))

    def _choices(self, images: ImageSource, runtime: Runtime) -> list[str]:
        sized = super()._choices(images, runtime)
        epochs = self._epochs_a_round(self.resolved("training"), len(images))
        if self.reassign_every is not None or epochs == 1:
            return sized
        steps = max(1, round(_steps_of(self.resolved("training"), len(images))))
        return [*sized, f"reassign_every={epochs:.3g}, as an epoch has {steps} steps"]

    def _epochs_a_round(self, training: Training, n: int) -> float:
        """Epochs between two clusterings of n images."""
        if self.reassign_every is not None:
            return min(self.reassign_every, training.n_epochs or self.reassign_every)
        rounds = _steps_of(training, n, training.n_epochs) // STEPS_OF_ROUND
        return max(1.0, training.n_epochs / max(FEWEST_ROUNDS, rounds))

    def _cluster(self, body: Body, images: ImageSource, run: Run, t: int) -> Clustering:
        """Features → PCA, whitening, length 1 → clusters; every process holds its own share of the vectors."""
        folder = None if run.folder is None else run.folder / "checkpoint"
        features = store_features(body, images, run.runtime, folder)
        whitening = self.resolved("whitening")
        reduction = fit_reduction(
            features.blocks,
            whitening.n_components or body.n_features,
            whiten=whitening.whiten,
            normalise=whitening.normalise,
            reduce=run.runtime.sum_over_ranks,
            rank=run.runtime.rank,
        )
        vectors = features.map(reduction, folder)
        labels, centers, n_split = self._group(vectors, len(images), run, t)
        return Clustering(labels, centers, n_split, vectors, reduction)

    def _group(self, vectors: FeatureStore, n: int, run: Run, t: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Cluster the vectors of all n images: labels (n,), the same on every process, centers (k, d), and splits."""
        if self.clusterer != "kmeans":
            return self._group_by_other(vectors, n, run, t)
        # Distinct images as first centroids, the same on any number of processes.
        first = torch.randperm(n, generator=run.generator("clusters", t))[: self.n_clusters]
        found = kmeans(
            vectors.blocks,
            self.n_clusters,
            init=_rows(vectors, first, run),
            max_iter=KMEANS_ITERATIONS,
            tol=0,
            empty="split",
            random_state=run.random_state("clusters", t),
            reduce=run.runtime.sum_over_ranks,
            rank=run.runtime.rank,
        )
        return run.runtime.gather_rows(found.labels, n).cpu(), found.centers, found.n_refilled

    def _group_by_other(
        self, vectors: FeatureStore, n: int, run: Run, t: int
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        """The same by another clusterer, to which the main process shows all vectors."""
        everything = run.runtime.gather_rows(torch.cat(list(vectors.blocks())), n)

        def found() -> dict[str, torch.Tensor]:
            if self.clusterer == "pic":
                return {"labels": torch.from_numpy(power_iteration_clustering(everything))}
            random_state = run.random_state("clusters", t)
            return {"labels": _fit_predict(self.clusterer, everything, self.n_clusters, random_state)}

        # The main process's: a clusterer that draws in its own way would find other groups on each.
        labels = run.runtime.from_main(found, {"labels": torch.zeros(n, dtype=torch.int64)})["labels"]
        return labels, cluster_means(everything, labels.to(everything.device)), 0

    def _fitted(self, body: Body, found: Clustering, run: Run, n: int) -> Fitted:
        rows = max(1, SCORED // len(found.centers))
        parts = (part for block in found.vectors.blocks() for part in block.split(rows))
        confidence = gathered((soft_scores(part, found.centers).amax(1) for part in parts), len(found.vectors))
        return Fitted(
            encoder=ClusterSpace(body, found.reduction),
            labels=found.labels.numpy(),
            centers=found.centers.cpu().numpy(),
            confidence=run.runtime.gather_rows(confidence, n).cpu().numpy(),
        )

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Module:
        body = self.resolved("network").drawn(shape, torch.Generator().manual_seed(0))
        return ClusterSpace(body, Reduction(body.n_features, self._n_components, self.resolved("whitening").normalise))

    def _restore_state(self, state: dict[str, Any]) -> None:
        self._n_components = state["encoder"]["reduction.projection"].shape[1]
        super()._restore_state(state)


def by_rounds(training: Training, epochs: float) -> Training:
    """The same training counted in rounds of so many epochs, each of which `train_epoch` takes for one epoch."""
    own = clone(training)
    own.n_epochs = math.ceil(round(training.n_epochs / epochs, 6))  # 17 / (17 / 7) is above 7
    if training.max_steps is not None:
        own.max_steps = max(1, round(training.max_steps * epochs))
    if training.drop_interval is not None:
        own.set_params(drop_interval=training.drop_interval / epochs)
    return own


def _steps_of(training: Training, n: int, n_epochs: int = 1) -> float:
    """Steps that so many epochs of n images have."""
    steps = n_epochs * n / training.batch_size_for(n)
    return steps if training.max_steps is None else min(steps, n_epochs * training.max_steps)


def _rows(vectors: FeatureStore, ids: torch.Tensor, run: Run) -> torch.Tensor:
    """The vectors of images by their numbers among all, on every process."""
    runtime = run.runtime
    mine = ids % runtime.world_size == runtime.rank  # see `Runtime.shard`
    own = vectors.at(ids[mine] // runtime.world_size)
    rows = own.new_zeros(len(ids), own.shape[1])
    rows[mine.to(rows.device)] = own
    return runtime.sum_over_ranks(rows)


def _fit_predict(
    clusterer: Any, vectors: torch.Tensor, n_clusters: int, random_state: np.random.RandomState
) -> torch.Tensor:
    """Labels 0 … k − 1 of vectors (n, d) by a clusterer, or its path; those left out join the nearest mean."""
    seed = int(random_state.randint(2**31 - 1))
    path, settings = read_call(clusterer) if isinstance(clusterer, str) else ("", {})
    if not callable(getattr(external_class(path) if path else clusterer, "fit_predict", None)):  # before it is made
        raise InputError(f"clusterer={shown(clusterer)} has no fit_predict: give one that puts images into groups")
    one = external(path, settings, n_clusters, seed) if path else clone(clusterer, safe=False)
    if getattr(one, "random_state", 0) is None and hasattr(one, "set_params"):
        one.set_params(random_state=seed)
    found = np.asarray(one.fit_predict(vectors.cpu().numpy()))
    if found.shape != (len(vectors),):
        raise InputError(f"clusterer={shown(clusterer)} gave labels of shape {found.shape} for {len(vectors)} images")
    if found.dtype.kind not in "iuf":  # names
        found = np.unique(found.astype(str), return_inverse=True)[1]
    if not (found >= 0).any():
        raise InputError(f"clusterer={shown(clusterer)} found no group: give one that puts images into groups")
    numbers, labels = np.unique(found[found >= 0], return_inverse=True)
    whole = torch.full((len(found),), -1)
    whole[torch.from_numpy(found >= 0)] = torch.from_numpy(labels)
    left = whole < 0
    if left.any():
        kept = vectors[~left.to(vectors.device)]
        means = cluster_means(kept, whole[~left].to(vectors.device))
        whole[left] = torch.cdist(vectors[left.to(vectors.device)], means[: len(numbers)]).argmin(1).cpu()
    return whole
