"""Soft k-means: Student-t scores, boosted target distributions, and the loss between them; fuzzy memberships.

Equations (1)–(3) of the DBC paper (Li et al. 2017) and of DEC (Xie, Girshick and Farhadi, ICML 2016).
"""

from __future__ import annotations

import math

import torch

FAR = 1e3  # times the centers' variance: beyond this squared offset float32 would lose three digits of a distance
LEAST = 1e-3  # what is added to squared distances of vectors of length 1: nearer than that is as near as can be told


def soft_scores(features: torch.Tensor, centers: torch.Tensor, v: float = 1.0) -> torch.Tensor:
    """Soft assignment of features to centers, eq. (1): s_ij ∝ (1 + ‖z_i − μ_j‖² / v)^(−(v+1)/2), Σ_j s_ij = 1.

    Parameters
    ----------
    features : torch.Tensor of shape (B, D)
        z.
    centers : torch.Tensor of shape (k, D)
        μ.
    v : float, default=1.0
        Degrees of freedom of the t distribution; the paper sets 1.

    Returns
    -------
    torch.Tensor of shape (B, k)
        Rows sum to 1. Cost O(B·k·D).
    """
    # Under mixed precision the product must stay in float32: squared distances are a small difference of large sums.
    with torch.autocast(features.device.type, enabled=False):
        offset = _far_mean(centers)
        features, centers = features.to(centers.dtype) - offset, centers - offset
        products = features @ centers.T  # (B, k)
    squared = features.square().sum(1, keepdim=True) - 2 * products + centers.square().sum(1)
    longer = 1 + squared.clamp_min(0) / v
    if v != 1:  # else a higher power of it may be too small for float32 with all centers
        longer = longer / longer.detach().amin(1, keepdim=True)
    kernel = longer.pow(-(v + 1) / 2)
    return kernel / kernel.sum(1, keepdim=True)


def _far_mean(centers: torch.Tensor) -> torch.Tensor:
    """Mean (D,) of the centers where it is far from 0, else 0: products of large numbers would lose the distances."""
    centers = centers.detach()
    mean = centers.mean(0)
    far = mean.square().sum() > FAR * (centers - mean).square().sum(1).mean()
    return torch.where(far, mean, torch.zeros_like(mean))


def temperature_for(squared: torch.Tensor, mean_confidence: float) -> float:
    """T for which softmax(−d²/T) is as sure as wanted on average: the mean over rows of its largest entry.

    Parameters
    ----------
    squared : torch.Tensor of shape (N, k)
        d², squared distances to the centers.
    mean_confidence : float
        Wanted, in (1/k, 1); what cannot be reached is come near to.

    Returns
    -------
    float
        Between a thousandth and a thousand times the mean of d².
    """
    above = (squared - squared.amin(1, keepdim=True)).double()
    low, high = (math.log(max(float(squared.mean()), 1e-12)) + one * math.log(1e3) for one in (-1, 1))
    for _ in range(40):  # halvings of the logarithm; the mean falls as T grows
        middle = (low + high) / 2
        mean = float((1 / torch.exp(-above / math.exp(middle)).sum(1)).mean())
        low, high = (middle, high) if mean > mean_confidence else (low, middle)
    return math.exp((low + high) / 2)


def memberships(squared: torch.Tensor, fuzzifier: float) -> torch.Tensor:
    """Memberships of fuzzy c-means: u_ij ∝ (d²_ij + .001)^(−1/(m−1)), Σ_j u_ij = 1.

    Parameters
    ----------
    squared : torch.Tensor of shape (N, k)
        d², squared distances of vectors of length 1 to the centers.
    fuzzifier : float
        m > 1; the larger, the less sure. 2 is customary.

    Returns
    -------
    torch.Tensor of shape (N, k)

    References
    ----------
    J. C. Bezdek, *Pattern recognition with fuzzy objective function algorithms*, 1981. There nothing is added to d².
    """
    return torch.softmax(-(squared + LEAST).log() / (fuzzifier - 1), dim=1)


def fuzzifier_for(squared: torch.Tensor, mean_confidence: float) -> float:
    """m for which `memberships` of d² (N, k) are as sure as wanted on average, see `temperature_for`."""
    return 1 + temperature_for((squared / LEAST).log1p(), mean_confidence)


def boosted_targets(scores: torch.Tensor, boost: float = 2.0, balance: str = "boosted") -> torch.Tensor:
    """Target distribution, eq. (2) with the balance of Algorithm 2, line 8: r_ij ∝ s_ij^α / n_j, Σ_j r_ij = 1.

    Parameters
    ----------
    scores : torch.Tensor of shape (N, k)
        s; all N images, since n_j sums over them.
    boost : float, default=2.0
        α > 1: high scores are raised, low ones lowered.
    balance : {"boosted", "soft", "none"}, default="boosted"
        n_j = Σ_i s_ij^α (the paper; §3.2.2's Σ r_ij is circular, Algorithm 2 and §4.3.2 define this one), Σ_i s_ij
        (DEC), or 1.

    Returns
    -------
    torch.Tensor of shape (N, k)
        A constant: no gradient flows through it.
    """
    with torch.no_grad():
        boosted = scores.pow(boost)
        number = torch.finfo(scores.dtype)
        sums = boosted.sum(1) if balance != "boosted" else torch.cat([boosted.sum(1), boosted.sum(0)])
        if sums.min() < number.tiny / number.eps:  # digits are lost
            return _targets_by_logarithms(scores, boost, balance)
        if balance != "none":
            sizes = (boosted if balance == "boosted" else scores).sum(0)
            boosted = boosted / sizes.clamp_min(torch.finfo(scores.dtype).tiny)
        return boosted / boosted.sum(1, keepdim=True)


def _targets_by_logarithms(scores: torch.Tensor, boost: float, balance: str) -> torch.Tensor:
    """`boosted_targets` where powers of the scores are too small."""
    logs = scores.log()
    powers = boost * logs
    if balance != "none":
        powers = powers - (powers if balance == "boosted" else logs).logsumexp(0)
    return torch.softmax(powers.masked_fill(scores == 0, -torch.inf), 1)


def kl_loss(targets: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """KL(R‖S) of a batch, eq. (3): Σ_ij r_ij log(r_ij / s_ij), divided by the B images of the batch.

    The paper sums over the images; the mean only rescales the learning rate and keeps it independent of B. The
    gradients (4) and (5) follow by automatic differentiation (a test holds them against the formulas).
    """
    return torch.nn.functional.kl_div(scores.clamp_min(1e-12).log(), targets, reduction="batchmean")
