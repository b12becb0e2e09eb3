"""What DeepCluster-v2 can learn beside k-means: SwAV's prototypes, whose groups of one crop are predicted from another
and spread evenly (Sinkhorn–Knopp), and, before there are groups, SimCLR's contrastive loss.

Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments", NeurIPS 2020, §3.1, after
Cuturi, "Sinkhorn distances", NeurIPS 2013. Chen, Kornblith, Norouzi and Hinton, "A simple framework for contrastive
learning of visual representations", ICML 2020: two crops of an image are to be nearer to each other than to all others.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from asterism.methods.deepcluster_settings import Assignment, MultiCrop
from asterism.runtime import capable_device


class Prototypes(nn.Module):
    """Unit vectors z (B, d) → cosines (B, heads, k) with the prototypes of each head, which are learnt."""

    def __init__(self, n_heads: int, n_clusters: int, n_dims: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_heads, n_clusters, n_dims))

    @torch.no_grad()
    def set(self, centers: torch.Tensor) -> None:
        """Take centers (heads, k, d) as prototypes."""
        self.weight.copy_(centers)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Cosines (B, heads, k)."""
        return torch.einsum("bd,hkd->bhk", vectors, F.normalize(self.weight, dim=2))


class WithPrototypes(nn.Module):
    """Images (B, C, H, W) → z (B, d) and its cosines with the prototypes (B, heads, k).

    Parameters
    ----------
    embedding : nn.Module
        Images → z.
    prototypes : Prototypes
    """

    def __init__(self, embedding: nn.Module, prototypes: Prototypes) -> None:
        super().__init__()
        self.embedding = embedding
        self.prototypes = prototypes

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors and cosines."""
        vectors = self.embedding(images)
        return vectors, self.prototypes(vectors)


@torch.no_grad()
def sinkhorn(
    scores: torch.Tensor,
    epsilon: float = 0.05,
    n_iterations: int = 3,
    reduce: Callable[[torch.Tensor], torch.Tensor] = lambda values: values,
) -> torch.Tensor:
    """Soft assignment that spreads the rows evenly over the columns: exp(scores / ε), scaled to equal sums.

    Parameters
    ----------
    scores : torch.Tensor of shape (B, k)
        Cosines of each row with each group.
    epsilon : float, default=0.05
        How soft: near 0 each row has one group; at least .005.
    n_iterations : int, default=3
        Scalings of the columns, then of the rows.
    reduce : callable, optional
        Sums a tensor over processes that hold other rows.

    Returns
    -------
    torch.Tensor of shape (B, k), float32
        Rows sum to 1, columns to about B / k. Cost O(n_iterations·B·k).
    """
    exact = scores.to(capable_device(scores.device)).double()
    codes = torch.exp((exact - 1) / epsilon)  # at least e^-400, which double precision holds
    for _ in range(n_iterations):
        codes = codes / reduce(codes.sum(0))
        codes = codes / codes.sum(1, keepdim=True)
    return codes.float().to(scores.device)


@torch.no_grad()
def crop_groups(
    cosines: torch.Tensor,
    queued: torch.Tensor,
    settings: Assignment,
    reduce: Callable[[torch.Tensor], torch.Tensor] = lambda values: values,
) -> torch.Tensor:
    """Soft groups of each large crop and head, spread evenly over the groups by Sinkhorn.

    Parameters
    ----------
    cosines : torch.Tensor of shape (2, B, heads, k)
        Of the two large crops.
    queued : torch.Tensor of shape (2, n, heads, k)
        Of earlier vectors, which are spread together with the batch; n may be 0.
    settings : Assignment
    reduce : callable, optional
        Sums over processes.

    Returns
    -------
    torch.Tensor of shape (2, B, heads, k)
    """
    both = torch.cat([cosines, queued], 1)
    spread = [  # of each crop and head, (B + n, k)
        torch.stack([sinkhorn(head, settings.epsilon, settings.n_iterations, reduce) for head in crop.unbind(1)])
        for crop in both
    ]
    return torch.stack(spread).transpose(1, 2)[:, : cosines.shape[1]]


def swapped_loss(cosines: torch.Tensor, groups: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean over heads, large crops v and the other crops u of −Σ groups_v · log softmax(cosines_u / τ).

    Parameters
    ----------
    cosines : torch.Tensor of shape (crops, B, heads, k)
        The large crops first.
    groups : torch.Tensor of shape (2, B, heads, k)
        Constants, see `crop_groups`.
    temperature : float

    Returns
    -------
    torch.Tensor, scalar
    """
    found = F.log_softmax(cosines.float() / temperature, dim=3)
    pairs = [(v, u) for v in range(len(groups)) for u in range(len(cosines)) if u != v]
    return -torch.stack([(groups[v] * found[u]).sum(2).mean() for v, u in pairs]).mean()


def contrastive_loss(vectors: torch.Tensor, temperature: float) -> torch.Tensor:
    """NT-Xent: each crop is to find its partner among all other crops, by softmax(cosine / τ); the mean of −log p.

    Parameters
    ----------
    vectors : torch.Tensor of shape (2·B, d)
        Unit vectors of the first crops of B images, then of the second crops in the same order.
    temperature : float
        τ.

    Returns
    -------
    torch.Tensor, scalar
        ln(2·B − 1) before anything is learnt. Cost O(B²·d). Each process compares its own crops only.
    """
    n = len(vectors)
    with torch.autocast(vectors.device.type, enabled=False):
        similarities = vectors.float() @ vectors.float().T / temperature  # (2B, 2B)
    itself = torch.eye(n, dtype=torch.bool, device=vectors.device)
    partner = (torch.arange(n, device=vectors.device) + n // 2) % n
    return F.cross_entropy(similarities.masked_fill(itself, float("-inf")), partner)


class Queue:
    """The last vectors of each large crop: (2, length, d), newest first; not used until it is full.

    Every process holds those of all, and spreads its share of them: so one checkpoint has them for any number.

    Parameters
    ----------
    length, n_dims : int
    device : torch.device
    """

    def __init__(self, length: int, n_dims: int, device: torch.device) -> None:
        self.vectors = torch.zeros(MultiCrop.N_LARGE, length, n_dims, device=device)
        self.filled = torch.zeros((), dtype=torch.int64)

    @property
    def full(self) -> torch.Tensor:
        """The vectors (2, length, d), or none of them (2, 0, d)."""
        there = self.vectors.shape[1] if int(self.filled) >= self.vectors.shape[1] else 0
        return self.vectors[:, :there]

    @torch.no_grad()
    def push(self, vectors: torch.Tensor) -> None:
        """Put a batch's vectors (2, B, d) before the others."""
        length = self.vectors.shape[1]
        self.vectors.copy_(torch.cat([vectors, self.vectors], 1)[:, :length])
        self.filled += vectors.shape[1]
