"""The weighted triplet loss of JULE (Yang, Parikh and Batra, CVPR 2016, §3.5.2) and what its codes make of it.

The paper's eq. 11 compares affinities of each sample with those of its nearest neighbours in other clusters. Both of
the authors' codes have a hinge on squared distances with negatives drawn at random instead (docs/papers/jule.md).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from asterism.parameters import Parameters, parameter
from asterism.parameters.constraints import NON_NEGATIVE, POSITIVE, POSITIVE_INT

NEAREST = 1e-6  # squared distances of unit vectors that float32 tells from 0


class Triplets(NamedTuple):
    """T triplets of a batch, as indices into it: anchor i, positive j of its cluster, negative k of another."""

    anchors: torch.Tensor
    positives: torch.Tensor
    negatives: torch.Tensor


class TripletLoss(Parameters, kw_only=False):
    """Which triplets a batch has, and what they cost."""

    form: str = parameter({"hinge", "affinity"}, default="hinge")
    """"hinge": mean of max(0, γ‖x_i − x_j‖² − ‖x_i − x_k‖² + margin), as in both codes. "affinity": eq. 11, mean of
    −λ/(K_c − 1) (γ A(x_i, x_j) − A(x_i, x_k)) with A of eq. 4."""
    gamma: float = parameter(POSITIVE, default=1.0)
    """γ, weight of the positive. Table 2 has 2 (for eq. 11), the codes 1."""
    margin: float = parameter(NON_NEGATIVE, default=0.2)
    """Of the hinge: 0.2 in the Torch code, 0.1 or 0.2 in the Caffe code; the paper has none."""
    negatives: str = parameter({"random", "nearest"}, default="random")
    """Distinct samples of other clusters: drawn at random for each pair as in the codes, or the nearest to the anchor,
    as the paper says."""
    n_negatives: int = parameter(POSITIVE_INT, default=20)
    """At most this many a pair: 20 in the Torch code, 10 in the Caffe code, both never more than the batch has other
    clusters, which holds for "random" here; K_c = 5 in the paper."""
    pairs: str = parameter({"unordered", "ordered"}, default="unordered")
    """Each pair of a cluster once, its earlier sample the anchor (Torch code), or both ways (Caffe code)."""
    gradient: str = parameter({"anchor", "all"}, default="anchor")
    """"anchor" keeps positives and negatives still. The Torch code at γ = 1 amounts to that: in-place products spoil
    the gradients of the other two (docs/papers/jule.md). "all" is the loss's own gradient; it holds clusters apart that
    ought to merge, and reaches the paper's figures on fewer sets (docs/methods/jule.md)."""
    local_weight: float = parameter(POSITIVE, default=1.0)
    """λ of eq. 11, a factor on the loss of "affinity"."""

    def __call__(
        self, embeddings: torch.Tensor, labels: torch.Tensor, sigma2: float, generator: torch.Generator
    ) -> torch.Tensor:
        """Loss of a batch.

        Parameters
        ----------
        embeddings : torch.Tensor of shape (B, D)
            x, rows of length 1.
        labels : integer tensor of shape (B,), on the CPU
            Clusters.
        sigma2 : float
            σ² of eq. 4, for "affinity".
        generator : torch.Generator
            Draws the negatives; on the CPU.

        Returns
        -------
        torch.Tensor
            Scalar; 0 where no two samples share a cluster, or all do. O(B²·D + T).
        """
        distances = squared_distances(embeddings, anchors_only=self.gradient == "anchor")
        nearness = distances.detach().cpu() if self.negatives == "nearest" else None
        found = draw_triplets(labels, self.n_negatives, generator, nearness, ordered=self.pairs == "ordered")
        if len(found.anchors) == 0:
            return distances.sum() * 0.0
        i, j, k = (one.to(embeddings.device) for one in found)
        width = distances.shape[1]
        to_positive, to_negative = distances.view(-1)[i * width + j], distances.view(-1)[i * width + k]
        if self.form == "hinge":
            return hinge_loss(to_positive, to_negative, self.gamma, self.margin)
        weight = self.local_weight / max(1, self.n_negatives - 1)
        return weight * affinity_loss(to_positive, to_negative, self.gamma, sigma2)


def squared_distances(embeddings: torch.Tensor, anchors_only: bool = False) -> torch.Tensor:
    """‖x_i − x_j‖² = 2 − 2⟨x_i, x_j⟩ of unit vectors (B, D): (B, B), rows are anchors.

    With ``anchors_only`` gradients reach x_i and not x_j. What is left out, the gradient of ‖x‖², points along x, and
    scaling to length 1 takes it away.
    """
    # Under mixed precision the product must stay in float32: squared distances are a small difference.
    with torch.autocast(embeddings.device.type, enabled=False):
        x = embeddings.float()
        return 2 - 2 * x @ (x.detach() if anchors_only else x).T


def hinge_loss(
    to_positive: torch.Tensor, to_negative: torch.Tensor, gamma: float = 1.0, margin: float = 0.2
) -> torch.Tensor:
    """Mean of max(0, γ‖x_i − x_j‖² − ‖x_i − x_k‖² + margin) over T triplets, from their squared distances (T,)."""
    return (gamma * to_positive - to_negative + margin).clamp_min(0).mean()


def affinity_loss(
    to_positive: torch.Tensor, to_negative: torch.Tensor, gamma: float = 2.0, sigma2: float = 1.0
) -> torch.Tensor:
    """Mean of −(γ A(x_i, x_j) − A(x_i, x_k)), eq. 11 without its factor, A = exp(−d²/σ²) of eq. 4; (T,) distances.

    The mean instead of the sum keeps one learning rate for all numbers of triplets. σ² is 0 where all neighbours in the
    graph are copies.
    """
    sigma2 = max(sigma2, NEAREST)
    return -(gamma * torch.exp(-to_positive / sigma2) - torch.exp(-to_negative / sigma2)).mean()


def draw_triplets(
    labels: torch.Tensor,
    n_negatives: int,
    generator: torch.Generator,
    nearness: torch.Tensor | None = None,
    ordered: bool = False,
) -> Triplets:
    """All pairs of a batch that share a cluster, each with distinct negatives of other clusters.

    Parameters
    ----------
    labels : integer tensor of shape (B,)
        Clusters of the batch.
    n_negatives : int
        At most this many a pair, of which drawn ones are no more than the batch has other clusters
        (docs/papers/jule.md), nearest ones no more than it has samples in them.
    generator : torch.Generator
        Draws the negatives.
    nearness : torch.Tensor of shape (B, B), optional
        Distances by which the nearest negatives of each anchor are taken instead.
    ordered : bool
        Pairs both ways; else i < j.

    Returns
    -------
    Triplets
        O(P·B) for P pairs.
    """
    same = labels[:, None] == labels[None]  # (B, B)
    paired = same & ~torch.eye(len(labels), dtype=torch.bool) if ordered else same.triu(1)
    i, j = paired.nonzero(as_tuple=True)  # (P,)
    n_others = len(labels.unique()) - 1
    if len(i) == 0 or n_others < 1:
        none = torch.empty(0, dtype=torch.int64)
        return Triplets(none, none, none)
    if nearness is None:
        wanted = min(n_negatives, n_others)
        keys = torch.rand(len(i), len(labels), generator=generator)
        keys[same[i]] = 2.0
        k = keys.topk(wanted, dim=1, largest=False, sorted=False).indices  # (P, m), distinct and uniform
        return Triplets(i.repeat_interleave(wanted), j.repeat_interleave(wanted), k.flatten())
    wanted = min(n_negatives, len(labels))
    distances, nearest = nearness.masked_fill(same, torch.inf).topk(wanted, dim=1, largest=False)
    there = distances[i].isfinite()  # (P, m): a large cluster leaves fewer samples of others
    pair, place = there.nonzero(as_tuple=True)
    return Triplets(i[pair], j[pair], nearest[i[pair], place])
