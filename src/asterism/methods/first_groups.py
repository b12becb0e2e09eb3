"""The groups that DBC's and DEC's joint stage starts from: k-means, as in the papers, or merging along a graph."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F

from asterism.clustering.kmeans import kmeans
from asterism.clustering.means import cluster_means
from asterism.clustering.votes import vote
from asterism.methods.jule_settings import MergeRule
from asterism.methods.jule_steps import Merger, from_main, neighbors_for
from asterism.parameters import Interval, Parameters
from asterism.training import Run

MAX_MERGED = 100_000  # images that are merged; the neighbours of 10^5 take some two minutes of a core


class FirstGroups(Parameters):
    """How features are grouped before encoder and centers learn together.

    Parameters
    ----------
    method : {"linkage", "k-means"}, default="linkage"
        ``"k-means"`` is Algorithm 1, line 3. ``"linkage"`` is ours: JULE's merging along the graph of nearest
        neighbours, which finds clusters that are no balls. Both go by the direction of the features.
    n_init : int, default=20
        Restarts of k-means (silent in the paper; DEC's 20).
    n_neighbors : int, optional
        K_s of the graph; by default 20, and 10 where a cluster has fewer than 100 images on average.
    rounds : int, default=5
        Ours: for so many rounds the groups themselves are the target R, a 1 for each image, before R is made from the
        scores. Nearest centers cut clusters that are no balls (MNIST: ACC .93 by linkage, .78 by its centers); the
        network first learns to round them. 0 is the paper.

    Notes
    -----
    Of more than 100 000 images that many are drawn at random and merged; the others go with their nearest neighbours
    among them, by eq. 4 of JULE. Time O(N²·D), memory O(N·(D + K_s)).
    """

    _parameter_constraints: ClassVar[dict] = {
        "method": [{"linkage", "k-means"}],
        "n_init": [Interval(int, 1, None)],
        "n_neighbors": [Interval(int, 1, None), None],
        "rounds": [Interval(int, 0, None)],
    }

    def __init__(
        self, method: str = "linkage", n_init: int = 20, n_neighbors: int | None = None, rounds: int = 5
    ) -> None:
        self.method = method
        self.n_init = n_init
        self.n_neighbors = n_neighbors
        self.rounds = rounds

    def find(self, features: torch.Tensor, n_clusters: int, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels (N,) and centers (k, D), the groups' mean features; a resumed run takes those that it had.

        Parameters
        ----------
        features : torch.Tensor of shape (N, D)
        n_clusters : int
            k.
        run : Run
        """
        points = F.normalize(features)

        def compute() -> dict[str, torch.Tensor]:
            if self.method == "k-means":
                found = kmeans(points, n_clusters, n_init=self.n_init, random_state=run.random_state("k-means"))
                return {"labels": torch.as_tensor(found.labels).long()}
            empty = {"labels": torch.zeros(len(points), dtype=torch.int64)}
            return from_main(run, lambda: {"labels": self._merged(points, n_clusters, run)}, empty)

        labels = run.once("first-groups", compute)["labels"]
        return labels, cluster_means(features, labels, n_clusters)

    def _merged(self, points: torch.Tensor, n_clusters: int, run: Run) -> torch.Tensor:
        n = len(points)
        n_neighbors = neighbors_for(self.n_neighbors, n, n_clusters)
        merger = Merger(n_clusters, n_neighbors, MergeRule(), run.runtime.device)
        if n <= MAX_MERGED:
            return merger.merge_anew(points, None)["labels"]
        drawn = torch.randperm(n, generator=run.generator("merged"))[:MAX_MERGED]
        found = merger.merge_anew(points[drawn], None)
        sigma2 = float(found["sigma2"])
        shares = vote(points, points[drawn].numpy(), found["labels"].numpy(), n_neighbors, sigma2, n_clusters)
        return shares.argmax(1)
