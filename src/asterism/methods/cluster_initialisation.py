"""The groups that DBC's and DEC's joint stage starts from: k-means, as in the papers, or merging along a graph."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from asterism.clustering.centroids import cluster_means
from asterism.clustering.kmeans import kmeans
from asterism.clustering.neighbor_voting import vote
from asterism.images import Augmentation, RandomTransform
from asterism.images.augment import AUGMENTATIONS
from asterism.methods.jule_settings import MergeRule
from asterism.methods.jule_steps import Merger, few_images, neighbors_for
from asterism.parameters import Each, Parameters, parameter
from asterism.parameters.constraints import FRACTION_BELOW_1, NON_NEGATIVE_INT, POSITIVE_INT
from asterism.training import Run

MAX_MERGED = 100_000  # images that are merged; the neighbours of 10^5 take some two minutes of a core
SMALLEST_GROUP = 10  # images of a cluster on average, below which no network learns so many
FEW_NEIGHBORS = 5  # K_s where a cluster has few images (docs/methods/dbc.md)


class ClusterInitialisation(Parameters, kw_only=False):
    """How features are grouped before encoder and centers learn together.

    Notes
    -----
    Of more than 100 000 images that many are drawn at random and merged; the others go with their nearest neighbours
    among them, by eq. 4 of JULE. Time O(N²·D), memory O(N·(D + K_s)).
    """

    method: str = parameter({"linkage", "k-means"}, default="linkage")
    """``"k-means"`` is Algorithm 1, line 3. ``"linkage"`` is ours: JULE's merging along the graph of nearest
    neighbours, which finds clusters that are no balls. Both go by the direction of the features."""
    n_init: int = parameter(POSITIVE_INT, default=20)
    """Restarts of k-means (silent in the paper; DEC's 20)."""
    n_neighbors: int | None = parameter(POSITIVE_INT, default=None)
    """K_s of the graph; by default 20, and 5 where a group has fewer than 100 images on average."""
    multiples: tuple[int, ...] = parameter(Each(POSITIVE_INT, empty=True), default=(2, 1, 1))
    """Ours: before the k groups are taken, the network learns groups of its own features, and these are found anew
    after each time: first 2·k of them, then k, then k. Of 2·k groups most hold one class only, and once these are
    learnt the rest merges right (docs/methods/dbc.md). Where a cluster has fewer than 100 images on average, all
    multiples are 1: a network learns any groups of a few images. Numbers that leave fewer than 10 images a group are
    left out. () is the paper."""
    rounds: int = parameter(NON_NEGATIVE_INT, default=5)
    """Epochs for which each of these groupings is learnt, a 1 in the target for each image's group; 0 is the paper."""
    augmentation: RandomTransform | str | None = parameter(AUGMENTATIONS, default=None, when_none=Augmentation())
    """Of the images while groups are learnt, small shifts and rotations; `DBC` has none of its own accord where a group
    has fewer than 100 images on average."""
    smallest: float = parameter(FRACTION_BELOW_1, default=1 / 3)
    """Linkage counts no cluster below this share of the mean size N / k, and gives its images to their neighbours: a
    few odd ones else hold out as a group while two true ones are merged. For sets whose groups differ more in size, a
    lower share."""

    def learnt(self, n_images: int, n_clusters: int) -> list[int]:
        """The numbers of groups that the network learns one after the other, before the k groups are taken."""
        multiples = self.multiples if self.rounds else ()
        few = few_images(n_images, n_clusters)
        numbers = [n_clusters if few else multiple * n_clusters for multiple in multiples]
        return [number for number in numbers if number * SMALLEST_GROUP <= n_images]

    def choices(self, n_images: int, n_clusters: int) -> dict[str, Any]:
        """What the mean size of a group decides of the parameters that are left to it."""
        few, found = few_images(n_images, n_clusters), dict[str, Any]()
        if self.method == "linkage" and self.n_neighbors is None:
            found["n_neighbors"] = neighbors_for(None, n_images, n_clusters, FEW_NEIGHBORS)
        if few and self.rounds and any(multiple != 1 for multiple in self.multiples):
            found["multiples"] = ",".join("1" for _ in self.multiples)
        return found

    def find(
        self, features: torch.Tensor, n_clusters: int, run: Run, stage: str = "first-groups"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels (N,) and centers (k, D), the groups' mean features; a resumed run takes those that it had.

        Parameters
        ----------
        features : torch.Tensor of shape (N, D)
        n_clusters : int
            k, or how many are wanted.
        run : Run
        stage : str
            Names what the run keeps.
        """
        points = F.normalize(features)

        def compute() -> dict[str, torch.Tensor]:
            if self.method == "k-means":
                key = "k-means" if stage == "first-groups" else stage
                found = kmeans(points, n_clusters, n_init=self.n_init, random_state=run.random_state(key))
                return {"labels": torch.as_tensor(found.labels).long()}
            empty = {"labels": torch.zeros(len(points), dtype=torch.int64)}
            return run.runtime.from_main(lambda: {"labels": self._merged(points, n_clusters, run)}, empty)

        labels = run.cached(stage, compute)["labels"]
        return labels, cluster_means(features, labels, n_clusters)

    def _merged(self, points: torch.Tensor, n_clusters: int, run: Run) -> torch.Tensor:
        n = len(points)
        n_neighbors = neighbors_for(self.n_neighbors, n, n_clusters, FEW_NEIGHBORS)
        merger = Merger(n_clusters, n_neighbors, MergeRule(smallest=self.smallest), run.runtime.device)
        if n <= MAX_MERGED:
            return merger.merge_anew(points, None)["labels"]
        drawn = torch.randperm(n, generator=run.generator("merged"))[:MAX_MERGED]
        found = merger.merge_anew(points[drawn], None)
        sigma2 = float(found["sigma2"])
        shares = vote(points, points[drawn].numpy(), found["labels"].numpy(), n_neighbors, sigma2, n_clusters)
        return shares.argmax(1)
