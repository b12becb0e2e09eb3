"""Sparse coding unrolled into layers: LISTA (Gregor & LeCun 2010), the encoder of task-specific deep clustering."""

from __future__ import annotations

import torch
from torch import nn


class SparseCoder(nn.Module):
    """Iterations z ← h_θ(W x + S z) of iterative shrinkage, from z = 0, with W, S and θ free to be learned.

    h_θ(u) = sign(u) · max(0, |u| − θ). With W = Dᵀ/c, S = I − DᵀD/c and θ = λ/c the stages are those of ISTA for the
    dictionary D, which minimises ½‖x − Dz‖² + λ‖z‖₁; that is where learning starts (`set_dictionary`).

    Parameters
    ----------
    n_inputs : int
        D, length of the vectors.
    n_atoms : int
        p, length of the codes.
    n_stages : int
        Iterations beyond the first; 2 in the paper of Wang et al.
    """

    def __init__(self, n_inputs: int, n_atoms: int, n_stages: int = 2) -> None:
        super().__init__()
        self.n_stages = n_stages
        self.W = nn.Parameter(torch.zeros(n_atoms, n_inputs))
        self.S = nn.Parameter(torch.zeros(n_atoms, n_atoms))
        self.theta = nn.Parameter(torch.zeros(n_atoms))

    @torch.no_grad()
    def set_dictionary(self, atoms: torch.Tensor, sparsity: float) -> None:
        """Start from a dictionary: atoms (p, D), one a row, and λ; c is the largest eigenvalue of DᵀD."""
        products = atoms @ atoms.T  # (p, p)
        c = torch.linalg.eigvalsh(products.double())[-1].clamp_min(1e-12).float()
        self.W.copy_(atoms / c)
        self.S.copy_(torch.eye(len(atoms)) - products / c)
        self.theta.fill_(float(sparsity / c))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Codes (B, p) of vectors (B, D)."""
        drive = vectors @ self.W.T
        z = nn.functional.relu(drive.abs() - self.theta) * drive.sign()
        for _ in range(self.n_stages):
            u = drive + z @ self.S.T
            z = nn.functional.relu(u.abs() - self.theta) * u.sign()
        return z
