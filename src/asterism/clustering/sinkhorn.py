"""Sinkhorn–Knopp: soft groups of equal size from scores, as SwAV assigns its crops.

Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments", NeurIPS 2020, §3.1, after
Cuturi, "Sinkhorn distances", NeurIPS 2013.
"""

from __future__ import annotations

from collections.abc import Callable

import torch


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
    codes = torch.exp((scores.double() - 1) / epsilon)  # at least e^-400, which double precision holds
    for _ in range(n_iterations):
        codes = codes / reduce(codes.sum(0))
        codes = codes / codes.sum(1, keepdim=True)
    return codes.float()
