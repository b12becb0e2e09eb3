"""JULE: Yang, Parikh and Batra, "Joint unsupervised learning of deep representations and image clusters", CVPR 2016.

Agglomerative clustering and learning take turns (Alg. 1). It begins with many small clusters of similar images. In each
period a network is trained so that images of a cluster lie together, and clusters are merged by its features, until as
many are left as were asked for. Then merging is run once more from the start on the final features (OURS-RC).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from asterism.clustering.centroids import cluster_means
from asterism.clustering.linkage import merge_schedule
from asterism.clustering.neighbor_voting import vote
from asterism.estimator import Fitted, ImageClusterer
from asterism.features import extract
from asterism.images import ImageSource
from asterism.methods import jule_steps
from asterism.methods.jule_settings import ConvSettings, MergeRule, TripletTraining
from asterism.methods.jule_steps import Merger
from asterism.networks.jule_net import ConvNetwork, build_conv
from asterism.networks.pixels import Pixels
from asterism.parameters import attribute, parameter
from asterism.parameters.constraints import FRACTION_ABOVE_0, POSITIVE_INT
from asterism.runtime import Runtime
from asterism.training import Run, train_epoch
from asterism.training.triplets import TripletLoss


class JULE(ImageClusterer):
    """Joint unsupervised learning of representations and clusters.

    Many small clusters of near images come first. Then two steps take turns: a network learns to hold images of a
    cluster together, and clusters that are near by its features are merged, until ``n_clusters`` are left.

    Attributes
    ----------
    sf_labels_, rc_labels_ : ndarray of shape (N,)
        OURS-SF and OURS-RC; ``labels_`` is one of them.
    linkage_matrix_ : ndarray of shape (N − 1, 4)
        Merge history of OURS-RC in scipy's form; ``asterism.clustering.linkage.cut(linkage_matrix_, k)`` gives another
        number of clusters without a new run.
    linkage_affinities_ : ndarray of shape (N − 1,)
        Affinity at each row of it.
    stage_labels_ : ndarray of shape (P + 1, N)
        Clusters at the beginning and at the end of each of the P periods, of the last pass if there are several.
    stage_maps_ : ndarray of shape (P + 1, N, 3)
        First three principal components of the features that they were found with (Fig. 1).
    embedding_ : ndarray of shape (N, 160)
        Features of the images fitted, which new images are compared with.
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`; ``confidence_`` is the share of an image's affinity to its K_s neighbours that its own
        cluster has.

    Notes
    -----
    A new image (`predict`, `predict_proba`) gets the cluster that has most of its affinity (eq. 4) to its K_s nearest
    neighbours among the images fitted. Clusters of a merge tree can have any shape, which a nearest centroid would cut.
    An image that was fitted keeps its cluster.

    The loop trains before it merges, on the initial clusters, as both codes do; Alg. 1 reads the other way
    (``merging.merge_first``, docs/papers/jule.md). Cost of a period: n_epochs passes of training, one of features, and
    O(N²·160) for the neighbours, of which the main process alone finds and merges. Memory O(N·(K_s + 160)). Of several
    processes each draws its triplets, and takes its batch norm's statistics, among its own share of a batch: give
    ``training.batch_size`` as many times 100.

    Examples
    --------
    >>> from asterism import JULE
    >>> labels = JULE(n_clusters=10, center=True, random_state=0).fit_predict("data:usps")  # doctest: +SKIP
    """

    _goes_by_neighbors = True
    embedding_: np.ndarray = attribute()
    sf_labels_: np.ndarray = attribute()
    sigma2_: np.ndarray = attribute()
    unroll_rate: float = parameter(FRACTION_ABOVE_0, default=0.9)
    """η, the share of the clusters that a period merges (§3.6): 0.9, and 0.2 for faces in the paper."""
    n_neighbors: int | None = parameter(POSITIVE_INT, default=None)
    """K_s of the sample graph, clipped to the number of other images. By default Table 2's 20, and 10 (ours) where a
    cluster has fewer than 100 images on average: objects and faces (docs/methods/jule.md)."""
    center: bool = parameter(bool, default=False)
    """Take the mean image off first. The authors' files of COIL and USPS were centred, those of MNIST and the faces not
    (docs/papers/jule.md). Where it stays on, only the level of an even background is taken off (ours,
    `ImageSource.ground`: 0 for the paper's sets), so that ink on white paper is grouped as light on black."""
    result: str = parameter({"rc", "sf"}, default="rc")
    """Which labels ``labels_`` are: merged anew on the final features (OURS-RC), or as the loop left them (OURS-SF)."""
    merging: MergeRule | None = parameter(MergeRule, default=None, when_none=MergeRule())
    """How clusters merge."""
    loss: TripletLoss | None = parameter(TripletLoss, default=None, when_none=TripletLoss())
    """What the network learns from."""
    training: TripletTraining | None = parameter(TripletTraining, default=None, when_none=TripletTraining())
    """Of each period."""
    network: ConvSettings | None = parameter(ConvSettings, default=None, when_none=ConvSettings())
    """The network and its features."""

    # ---------------------------------------------------------------- Alg. 1

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        network = run.runtime.place(self._network(images.shape, run.generator("weights")))
        resident = images.resident(run.runtime)
        if self.center:
            network.mean.copy_(jule_steps.mean_image(resident))
        else:
            network.mean.fill_(resident.ground)  # 0 for the paper's sets: black is no ink on white paper
        for n in range(self.resolved("training").n_passes):
            stages = self._initialise(network, resident, run, n)  # 2. initialise y (θ stands already)
            self._unroll(network, resident, run, stages, n)  # 3.–10.
        return self._fitted(network, resident, run, stages)

    def _initialise(
        self, network: ConvNetwork, images: ImageSource, run: Run, n_before: int
    ) -> dict[str, torch.Tensor]:
        """Initial clusters (§3.6) in pixels, or after ``n_before`` passes in features, and room for the periods.

        Returns
        -------
        dict of torch.Tensor
            ``targets`` (P,), numbers of clusters at the periods' ends; ``labels`` (P + 1, N) and ``maps``
            (P + 1, N, 3), of which the first row is filled; ``sigma2`` (1,).
        """
        encoder = network if n_before else Pixels(normalise=True, mean=network.mean)
        n = len(images)
        merger = self._merger(run, n)

        def compute() -> dict[str, torch.Tensor]:
            features = extract(encoder, images, run.runtime)  # (N, C·H·W) or (N, D)
            empty = {"labels": torch.zeros(n, dtype=torch.int64), "sigma2": torch.zeros(1, dtype=torch.float64)}
            seed = int(torch.randint(2**31, (), generator=run.generator("first clusters")))
            found = run.runtime.from_main(lambda: merger.initial(features, seed), empty)
            return {**found, "map": jule_steps.principal_map(features)}

        found = run.cached(_numbered("initial", n_before), compute)
        targets = merge_schedule(int(found["labels"].max()) + 1, self.n_clusters, self.unroll_rate) or [self.n_clusters]
        labels = torch.zeros((len(targets) + 1, n), dtype=torch.int64)
        maps = torch.zeros((len(targets) + 1, n, jule_steps.MAP_DIMENSIONS))
        labels[0], maps[0] = found["labels"], found["map"]
        return {"targets": torch.tensor(targets), "labels": labels, "maps": maps, "sigma2": found["sigma2"]}

    def _unroll(
        self, network: ConvNetwork, images: ImageSource, run: Run, stages: dict[str, torch.Tensor], n_before: int
    ) -> None:
        """Alg. 1, lines 3–10, a period at a time: train on the clusters and merge on the features, or the other way.

        Changes the network and fills ``stages`` in place; a round is an epoch, of which a period's last, or with
        ``merge_first`` its first, merges.
        """
        training, loss = self.resolved("training"), self.resolved("loss")
        merge_first = self.resolved("merging").merge_first
        network.train()
        wrapped, optimizer = run.runtime.setup(network, training.make_optimizer(network.parameters()))
        targets, labels, sigma2 = stages["targets"].tolist(), stages["labels"], stages["sigma2"]
        n_steps = -(-len(images) // training.batch_size)  # an epoch
        state: dict[str, Any] = {"network": network, "optimizer": optimizer.optimizer, **stages}
        stage = _numbered("periods", n_before)
        for t in run.rounds(stage, len(targets) * training.n_epochs, **state):
            period, epoch = divmod(t, training.n_epochs)
            noise = run.generator(_numbered("triplets", n_before), t, run.runtime.rank)
            if merge_first and epoch == 0:
                self._merge(network, images, run, stages, period, in_pixels=period == 0 and n_before == 0)

            def loss_of(
                batch: torch.Tensor,
                indices: torch.Tensor,
                labels: torch.Tensor = labels[period + merge_first],
                noise: torch.Generator = noise,
            ) -> torch.Tensor:
                return loss(wrapped(batch), labels[indices], float(sigma2), noise)

            lr = training.rate_at((epoch if training.restart else t) * n_steps)
            value = train_epoch(images, loss_of, optimizer, training, run, (stage, t), lr=lr)  # 6.
            run.record(loss=value, lr=lr)
            merge_now = not merge_first and epoch == training.n_epochs - 1
            if merge_now:
                self._merge(network, images, run, stages, period)
            now = labels[period + (merge_first or merge_now)]
            run.record(n_clusters=int(now.max()) + 1)
            run.callback(now)

    def _merge(
        self,
        network: ConvNetwork,
        images: ImageSource,
        run: Run,
        stages: dict[str, torch.Tensor],
        period: int,
        in_pixels: bool = False,
    ) -> None:
        """Alg. 1, line 4, the period's timesteps at once: merge its share of the clusters, on pixels or on features."""
        if in_pixels:
            features = extract(Pixels(normalise=True, mean=network.mean), images, run.runtime)
        elif self.resolved("network").batch_statistics:
            features = jule_steps.batch_statistics_features(network, images, run, period)
        else:
            features = extract(network, images, run.runtime)
        labels, sigma2 = stages["labels"], stages["sigma2"]
        empty = {"labels": torch.zeros_like(labels[0]), "sigma2": torch.zeros_like(sigma2)}
        target = int(stages["targets"][period])
        found = run.runtime.from_main(
            lambda: self._merger(run, len(images)).merge(features, labels[period], target), empty
        )
        labels[period + 1] = found["labels"]
        sigma2.copy_(found["sigma2"])
        stages["maps"][period + 1] = jule_steps.principal_map(features)

    # ---------------------------------------------------------------- what is left when it is done

    def _fitted(self, network: ConvNetwork, images: ImageSource, run: Run, stages: dict[str, torch.Tensor]) -> Fitted:
        features = extract(network, images, run.runtime)
        n, sf_labels, double = len(images), stages["labels"][-1], torch.float64
        empty = {
            "labels": torch.zeros(n, dtype=torch.int64),
            "history": torch.zeros((n - 1, 4), dtype=double),
            "affinities": torch.zeros(n - 1, dtype=double),
            "sigma2": torch.zeros(1, dtype=double),
            "confidence": torch.zeros(n, dtype=double),
        }
        kept = sf_labels if self.result == "sf" else None

        def compute() -> dict[str, torch.Tensor]:
            return run.runtime.from_main(lambda: self._merger(run, n).merge_anew(features, kept), empty)

        found = run.cached("rc", compute)
        labels = found["labels"] if kept is None else kept
        attributes = {
            "sf_labels": sf_labels,
            "rc_labels": found["labels"],
            "linkage_matrix": found["history"],
            "linkage_affinities": found["affinities"],
            "stage_labels": stages["labels"],
            "stage_maps": stages["maps"],
            "embedding": features,
            "sigma2": found["sigma2"],
        }
        return Fitted(
            encoder=network,
            labels=labels.numpy(),
            centers=cluster_means(features, labels).numpy(),
            confidence=found["confidence"].numpy(),
            attributes={name: value.numpy() for name, value in attributes.items()},
        )

    def _memory_needed(self, n: int, n_numbers: int) -> int:
        """The pixels as floats, for the first groups; features, neighbours and the groups of each period."""
        return 4 * n * n_numbers + n * (2 * 4 * self.resolved("network").n_features + 2000)

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        """Share (N, k) of each cluster in eq. 4's affinity of features (N, D) to their K_s nearest fitted images."""
        n_clusters, sigma2 = len(self.cluster_centers_), float(self.sigma2_[0])
        n_neighbors = jule_steps.neighbors_for(self.n_neighbors, len(self.embedding_), self.n_clusters)
        return vote(features, *self._members(self.embedding_), n_neighbors, sigma2, n_clusters)

    def _choices(self, images: ImageSource, runtime: Runtime) -> list[str]:
        found = {"n_neighbors": jule_steps.neighbors_for(None, len(images), self.n_clusters)}
        return jule_steps.by_group_size(len(images), self.n_clusters, {} if self.n_neighbors else found)

    def _merger(self, run: Run, n_images: int) -> Merger:
        n_neighbors = jule_steps.neighbors_for(self.n_neighbors, n_images, self.n_clusters)
        return Merger(self.n_clusters, n_neighbors, self.resolved("merging"), run.runtime.device)

    def _encoder_for(self, shape: tuple[int, int, int]) -> ConvNetwork:
        return self._network(shape, torch.Generator().manual_seed(0))

    def _network(self, shape: tuple[int, int, int], generator: torch.Generator) -> ConvNetwork:
        settings = self.resolved("network")
        return build_conv(shape, generator, settings.n_features, settings.norm_scale)


def _numbered(name: str, n_before: int) -> str:
    """Name of a stage, or of what it draws, in the pass after ``n_before`` others."""
    return f"{name} {n_before + 1}" if n_before else name
