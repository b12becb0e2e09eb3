"""What JULE's loop is made of: merging, features by batch statistics, the maps of Fig. 1."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd

from asterism.clustering.graph import affinity_graph, knn, nearest_neighbor_components
from asterism.clustering.kmeans import kmeans
from asterism.clustering.linkage import Merging
from asterism.clustering.neighbor_voting import neighbor_weights
from asterism.clustering.small_clusters import merge_without_small_clusters
from asterism.images import ImageSource
from asterism.methods.jule_settings import MergeRule
from asterism.networks.jule_net import ConvNetwork
from asterism.runtime import capable_device
from asterism.training import Run

N_NEIGHBORS = 20  # K_s of Table 2
FEW_IMAGES = 100  # a cluster; with fewer, half as many neighbours: of 20 too many would be of other clusters
IMAGES_A_CENTER = 4  # of initial clusters by k-means: "average is about 4" (§3.6)
MAP_DIMENSIONS = 3  # of Fig. 1
STATISTICS_BATCH = 100  # images that share their batch norm in the Torch code

Found = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Merger:
    """Graph and merging of one fit.

    Attributes
    ----------
    n_clusters : int
        n*_c, where the fit ends.
    n_neighbors : int
        K_s.
    rule : MergeRule
    device : torch.device
        Where neighbours are searched.
    """

    n_clusters: int
    n_neighbors: int
    rule: MergeRule
    device: torch.device

    def initial(self, features: torch.Tensor, seed: int) -> Found:
        """Initial clusters ``labels`` (N,) and σ² (1,) of features (N, D); the seed is for k-means."""
        found = knn(features, self.n_neighbors, device=self.device)
        _, sigma2 = affinity_graph(found, self.n_neighbors, self.rule.scale)
        if self.rule.initial == "k-means":
            n_centers = max(self.n_clusters, len(features) // IMAGES_A_CENTER)
            labels = kmeans(features.numpy(), n_centers, max_iter=20, random_state=seed).labels
            labels = self._enough(np.unique(labels, return_inverse=True)[1])
        else:
            labels = self._enough(nearest_neighbor_components(found[0]))
        return {"labels": torch.from_numpy(labels), "sigma2": torch.tensor([sigma2], dtype=torch.float64)}

    def merge(self, features: torch.Tensor, labels: torch.Tensor, target: int) -> Found:
        """Clusters (N,) merged down to ``target`` on features (N, D), and σ² (1,)."""
        found = knn(features, self.n_neighbors, device=self.device)
        merging, sigma2 = self._merged(found, features, labels.numpy(), target, full=False)
        return {"labels": torch.from_numpy(merging.labels), "sigma2": torch.tensor([sigma2], dtype=torch.float64)}

    def merge_anew(self, features: torch.Tensor, kept: torch.Tensor | None) -> Found:
        """OURS-RC: from the initial clusters of the final features (N, D) to the end.

        All at once, where the Torch code merges in portions of a period. With exact affinities a portion changes one
        thing: at its beginning clusters that became isolated are attached, while there are more than 20·n*_c clusters.
        With K_s = 20 there are none on USPS and MNIST-test, with K_s = 5 some (NMI of the two .73 and .89, on pixels).

        Parameters
        ----------
        features : torch.Tensor of shape (N, D)
        kept : torch.Tensor of shape (N,), optional
            Labels whose ``confidence`` is wanted; by default the new ones.

        Returns
        -------
        dict of torch.Tensor
            ``labels`` (N,), ``history`` (N − 1, 4) and ``affinities`` (N − 1,) of the merging, ``sigma2`` (1,),
            ``confidence`` (N,): share of an image's affinity to its neighbours that its cluster has.
        """
        found = knn(features, self.n_neighbors, device=self.device)
        first = self._enough(nearest_neighbor_components(found[0]))
        merging, sigma2 = self._merged(found, features, first, self.n_clusters, full=True)
        labels = merging.labels if kept is None else kept.numpy()
        weights = neighbor_weights(found[1], sigma2)  # (N, K_s)
        own = (weights * (labels[found[0]] == labels[:, None])).sum(1)
        return {
            "labels": torch.from_numpy(merging.labels),
            "history": torch.from_numpy(merging.history),
            "affinities": torch.from_numpy(merging.affinities),
            "sigma2": torch.tensor([sigma2], dtype=torch.float64),
            "confidence": torch.from_numpy(own / weights.sum(1)),
        }

    def _enough(self, labels: np.ndarray) -> np.ndarray:
        """Initial clusters, or single images where these are too few."""
        if labels.max() + 1 >= self.n_clusters:
            return labels
        warnings.warn(
            f"images form {labels.max() + 1} initial clusters, fewer than n_clusters={self.n_clusters}: merging starts "
            "from single images",
            stacklevel=2,
        )
        return np.arange(len(labels))

    def _merged(
        self,
        found: tuple[np.ndarray, np.ndarray],
        features: torch.Tensor,
        labels: np.ndarray,
        target: int,
        full: bool,
    ) -> tuple[Merging, float]:
        W, sigma2 = affinity_graph(found, self.n_neighbors, self.rule.scale)
        options = self.rule.options(int(labels.max()) + 1, self.n_clusters)
        merging = merge_without_small_clusters(
            W, labels, target, criterion="jule", features=features.numpy(), full=full, **options
        )
        return merging, sigma2


def few_images(n_images: int, n_clusters: int) -> bool:
    """Whether a cluster has fewer than 100 images on average."""
    return n_images < FEW_IMAGES * n_clusters


def by_group_size(n_images: int, n_clusters: int, found: dict[str, Any]) -> list[str]:
    """A line for `ImageEstimator._choices`: what the mean size of a group decides; no line where it decides nothing."""
    named = ", ".join(f"{name}={value}" for name, value in found.items())
    size = f"{'fewer than' if few_images(n_images, n_clusters) else 'at least'} {FEW_IMAGES} images"
    return [f"{named}, as a group has {size} on average"] if found else []


def neighbors_for(n_neighbors: int | None, n_images: int, n_clusters: int, few: int = N_NEIGHBORS // 2) -> int:
    """K_s: as asked, or by the mean number of images of a cluster; ``few`` where that is small."""
    return n_neighbors or (few if few_images(n_images, n_clusters) else N_NEIGHBORS)


def mean_image(images: ImageSource) -> torch.Tensor:
    """Mean (C, H, W) of all images."""
    device, starts = capable_device(images.pixels.device), range(0, len(images), 1024)
    sums = [images.batch(slice(i, i + 1024), device).sum(0, dtype=torch.float64) for i in starts]
    return (torch.stack(sums).sum(0) / len(images)).float()


def principal_map(features: torch.Tensor) -> torch.Tensor:
    """First three principal components (N, 3) of features (N, D), float32; 0 beyond N or D (Fig. 1)."""
    centered = (features - features.mean(0)).numpy()
    n_components = min(MAP_DIMENSIONS, *centered.shape)
    left, values, _ = randomized_svd(centered, n_components, random_state=0)
    found = torch.zeros(len(features), MAP_DIMENSIONS)
    found[:, :n_components] = torch.from_numpy(left * values)
    return found


@torch.no_grad()
def batch_statistics_features(network: ConvNetwork, images: ImageSource, run: Run, period: int) -> torch.Tensor:
    """Features (N, D) whose batch norm uses each batch's own statistics (docs/papers/jule.md); batches are drawn at
    random.

    The running statistics move too, as in the Torch code. Every process computes all of them.
    """
    features = torch.empty(len(images), network.n_features)
    order = torch.randperm(len(images), generator=run.generator("batch statistics", period))
    for indices in order.tensor_split(-(-len(images) // STATISTICS_BATCH)):
        features[indices] = network(images.batch(indices, run.runtime.device)).float().cpu()
    return features
