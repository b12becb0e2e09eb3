"""What FCN's paper compares with, §4.2, as functions from unit-length features: learnt once, applied to new images.

Each takes features X (N, M) of length 1 and gives a `Representation`.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA

from asterism.methods.pretrained import Representation
from asterism.training import Run


class Linear(Representation):
    """x → (x − mean) A."""

    A: torch.Tensor  # (M, D)
    mean: torch.Tensor  # (M,)

    def code(self, features: torch.Tensor) -> torch.Tensor:
        """(B, M) → (B, D)."""
        return (features - self.mean) @ self.A


def principal(X: torch.Tensor, n_components: int, run: Run) -> Linear:
    """PCA of features (N, M): the first ``n_components`` directions, at most min(N, M)."""
    width = min(n_components, *X.shape)
    found = PCA(width, random_state=run.random_state("pca")).fit(X.numpy())
    A, mean = (torch.from_numpy(np.asarray(one, np.float32)) for one in (found.components_.T, found.mean_))
    return Linear(A=A, mean=mean)
