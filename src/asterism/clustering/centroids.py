"""The mean of each cluster."""

from __future__ import annotations

import torch


def cluster_means(features: torch.Tensor, labels: torch.Tensor, n_clusters: int = 0) -> torch.Tensor:
    """Mean feature (k, D) of each cluster, of ``n_clusters`` at least; 0 of an empty one."""
    counts = torch.bincount(labels, minlength=n_clusters)
    sums = features.new_zeros(len(counts), features.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels, features.double())
    return (sums / counts.clamp_min(1)[:, None]).float()
