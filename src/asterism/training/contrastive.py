"""The contrastive loss of SimCLR: two crops of an image are to be nearer to each other than to all other crops.

Chen, Kornblith, Norouzi and Hinton, "A simple framework for contrastive learning of visual representations", ICML 2020.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


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
