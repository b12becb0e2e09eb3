"""Parametric t-SNE: a network that places images so that neighbours stay neighbours.

Van der Maaten, "Learning a parametric embedding by preserving local structure", AISTATS 2009, whose figures JULE's
slides 13 and 14 quote.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from openTSNE.affinity import PerplexityBasedNN
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from asterism.networks.initialise import build
from asterism.runtime import usual_torch

ROWS = 4096  # placed at once
TINY = 1e-12


class ParametricTSNE(TransformerMixin, BaseEstimator):
    """A network f of rectified layers that is trained on the divergence of t-SNE.

    In each batch p_ij are the affinities of t-SNE among the batch's own samples, and
    q_ij ∝ (1 + ‖f(x_i) − f(x_j)‖² / α)^(−(α + 1)/2) (eq. 4); KL(P‖Q) is made small (eq. 3).

    Parameters
    ----------
    n_components : int, default=2
    perplexity : float, default=30
    degrees_of_freedom : float, optional
        α; default n_components − 1, at least 1: the tails are the lighter, the more room there is (§3.1).
    hidden : tuple of int, default=(500, 500, 2000)
        Units of the layers before the embedding (§4.1).
    batch_size : int, default=1000
        The paper has 5000.
    n_epochs : int, default=30
    learning_rate : float, default=0.001
        Of Adam, falling along a cosine. The paper pre-trains restricted Boltzmann machines with logistic units and goes
        on by conjugate gradients; rectified layers need neither.
    random_state : int, RandomState or None

    Attributes
    ----------
    network_ : torch.nn.Module
        (B, D) → (B, n_components).
    kl_divergences_ : list of float
        Mean over the batches of each epoch, in nats.
    """

    def __init__(
        self,
        n_components: int = 2,
        perplexity: float = 30.0,
        degrees_of_freedom: float | None = None,
        hidden: tuple[int, ...] = (500, 500, 2000),
        batch_size: int = 1000,
        n_epochs: int = 30,
        learning_rate: float = 0.001,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.degrees_of_freedom = degrees_of_freedom
        self.hidden = hidden
        self.batch_size = batch_size
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.random_state = random_state

    @usual_torch()
    def fit(self, X: Any, y: Any = None) -> ParametricTSNE:
        """Train the network on samples (N, D)."""
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=4)
        random_state = check_random_state(self.random_state)
        generator = torch.Generator().manual_seed(int(random_state.randint(2**31)))
        self.network_ = build(lambda: self._network(X.shape[1]), generator)
        n_batches = max(1, len(X) // self.batch_size)
        optimizer = torch.optim.Adam(self.network_.parameters(), lr=self.learning_rate)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.n_epochs * n_batches)
        alpha = max(1.0, self.n_components - 1.0) if self.degrees_of_freedom is None else self.degrees_of_freedom
        self.kl_divergences_ = []
        for _ in range(self.n_epochs):
            losses = []
            for chosen in np.array_split(random_state.permutation(len(X)), n_batches):
                P = affinities(X[chosen], self.perplexity, random_state)
                loss = divergence(P, self.network_(torch.from_numpy(X[chosen])), alpha)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                falling.step()
                losses.append(loss.item())
            self.kl_divergences_.append(float(np.mean(losses)))
        return self

    def _network(self, n_features: int) -> nn.Sequential:
        widths = (n_features, *self.hidden)
        layers = [(nn.Linear(before, after), nn.ReLU()) for before, after in zip(widths, widths[1:], strict=False)]
        return nn.Sequential(*(one for pair in layers for one in pair), nn.Linear(widths[-1], self.n_components))

    @usual_torch()
    @torch.no_grad()
    def transform(self, X: Any) -> np.ndarray:
        """Places (N, n_components) of samples (N, D)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        return torch.cat([self.network_(part) for part in torch.from_numpy(X).split(ROWS)]).numpy()


def affinities(X: np.ndarray, perplexity: float, random_state: np.random.RandomState) -> torch.Tensor:
    """p_ij of t-SNE among samples: tensor of shape (B, B), symmetric, of sum 1."""
    perplexity = min(perplexity, (len(X) - 1) / 3)
    found = PerplexityBasedNN(X, perplexity=perplexity, method="exact", n_jobs=1, random_state=random_state)
    return torch.from_numpy(np.asarray(found.P.todense(), np.float32))


def divergence(P: torch.Tensor, places: torch.Tensor, alpha: float) -> torch.Tensor:
    """KL(P‖Q), a scalar, of places (B, d) whose q_ij fall as Student's t with α degrees of freedom (eqs. 3 and 4)."""
    squared = torch.cdist(places, places).square()
    logits = -(alpha + 1) / 2 * torch.log1p(squared / alpha)
    logits = logits.masked_fill(torch.eye(len(places), dtype=torch.bool), -torch.inf)
    log_q = logits.flatten().log_softmax(0).view_as(P)
    there = P > 0
    return (P[there] * (P[there].clamp_min(TINY).log() - log_q[there])).sum()
