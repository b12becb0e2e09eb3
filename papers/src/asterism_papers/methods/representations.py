"""What FCN's paper compares with, §4.2, as functions from unit-length features: learnt once, applied to new images.

Each takes features X (N, M) of length 1 and gives a `Representation`.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import eigh
from sklearn.linear_model import LogisticRegression
from torch import nn

from asterism.clustering.graph import neighbors
from asterism.errors import InputError
from asterism.images import ImageSource
from asterism.methods.pretrained import Linear, Representation
from asterism.networks.initialise import build
from asterism.training import Run, Training, train_epoch

LLE_NEIGHBORS = 12  # §4.2
LLE_RIDGE = 1e-3  # of the trace of the local Gram matrix, without which more neighbours than dimensions have no weights
LLE_SAMPLES = 10_000  # whose dense eigenproblem is solved, 800 MB
VALIDATION = 0.1  # §4.2
# §4.2: 200 epochs, batches of 128; optimiser and rate are silent.
AE_TRAINING = Training(n_epochs=200, batch_size=128, optimizer="adam", lr=0.001)
# Ensemble projection (Dai and Van Gool, ICCV 2013); sets × prototypes is the width.
EP_PROTOTYPES, EP_NEIGHBORS, EP_HYPOTHESES = 30, 6, 50


def width_for(n_components: int | None, n_samples: int, n_features: int) -> int:
    """L: as asked for, else M/4 (the paper's 1 024 of 4 096), but at least 256 and at most N/2 and M.

    The paper has 1 024 for all sets, more than Flowers' 1 020 training images; on the 512 and 1 280 features of smaller
    networks 256 to 320 were best (docs/papers/fcn.md).
    """
    if n_components is not None:
        return n_components
    return max(1, min(max(256, n_features // 4), n_samples // 2, n_features))


def linear_autoencoder(X: torch.Tensor, n_components: int, run: Run, training: Training, positive: bool) -> Linear:
    """A linear encoder and decoder trained to reconstruct; with ``positive``, all weights are set to 0 where negative
    after each step (NNAE).

    A tenth of the images is kept from training ("to avoid over-fitting"); the weights of the epoch that reconstructs
    them best are taken.
    """
    order = torch.randperm(len(X), generator=run.generator("validation"))
    n_kept = max(1, int(VALIDATION * len(X)))
    kept, rest = X[order[:n_kept]], X[order[n_kept:]] if len(X) > n_kept else X
    layers = build(lambda: _Layers(X.shape[1], n_components), run.generator("weights"))
    if positive:
        layers.start_positive(rest)
    run.runtime.place(layers)
    wrapped, optimizer = run.runtime.setup(layers, training.make_optimizer(layers.parameters()))
    best = {"A": layers.encoder.weight.detach().cpu().clone(), "error": torch.tensor(float("inf"))}

    def loss_of(batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        if positive:
            layers.clip()
        x = batch.flatten(1)
        return (wrapped(x) - x).square().sum(1).mean()

    rows = ImageSource(rest[:, None, None, :], [""] * len(rest))
    for epoch in run.rounds("autoencoder", training.n_epochs, layers=layers, optimizer=optimizer.optimizer, **best):
        loss = train_epoch(rows, loss_of, optimizer, training, run, ("autoencoder", epoch))
        if positive:
            layers.clip()
        with torch.no_grad():
            x = kept.to(run.runtime.device)
            error = (layers(x) - x).square().sum(1).mean().cpu()
        if error < best["error"]:
            best["error"].copy_(error)
            best["A"].copy_(layers.encoder.weight.detach().cpu())
        run.record(loss=loss, validation=float(error))
    return Linear(A=best["A"].T, mean=torch.zeros(X.shape[1]))


class _Layers(nn.Module):
    def __init__(self, n_features: int, n_components: int) -> None:
        super().__init__()
        # "linear activations as the transition functions"; without biases a weight matrix is all there is
        self.encoder = nn.Linear(n_features, n_components, bias=False)
        self.decoder = nn.Linear(n_components, n_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))

    @torch.no_grad()
    def clip(self) -> None:
        """Weights non-negative."""
        for weight in self.parameters():
            weight.clamp_min_(0)

    @torch.no_grad()
    def start_positive(self, X: torch.Tensor) -> None:
        """Weights non-negative, and both layers scaled by the same, so that the images' reconstructions are as long as
        they should be.

        Non-negative weights of a usual size give reconstructions many times too long: the first epochs then shrink
        all weights together, and the codes of all images end alike (docs/methods/fcn.md).
        """
        self.clip()
        found = self(X)
        times = (found * X).sum() / found.square().sum().clamp_min(1e-12)  # the best multiple
        if times > 0:  # not so where most features are negative, which no such weights can give
            for weight in self.parameters():
                weight.mul_(times.sqrt())


class LocallyLinear(Representation):
    """LLE of new points (Saul and Roweis 2003): what rebuilds a point from others rebuilds its code from theirs."""

    X: torch.Tensor  # (N, M)
    Y: torch.Tensor  # (N, D)

    def code(self, features: torch.Tensor) -> torch.Tensor:
        """(B, M) → (B, D)."""
        nearest = torch.cdist(features, self.X).topk(min(LLE_NEIGHBORS, len(self.X)), largest=False).indices  # (B, K)
        weights = barycenters(features, self.X[nearest])
        return torch.einsum("bk,bkd->bd", weights, self.Y[nearest])


def barycenters(points: torch.Tensor, around: torch.Tensor) -> torch.Tensor:
    """Weights (B, K), summing to 1, by which neighbours (B, K, M) best rebuild points (B, M)."""
    offsets = around - points[:, None]
    gram = offsets @ offsets.mT  # (B, K, K)
    trace = gram.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-12)
    gram = gram + LLE_RIDGE * trace[:, None, None] * torch.eye(gram.shape[1], device=gram.device)
    weights = torch.linalg.solve(gram, torch.ones_like(gram[..., 0]))
    return weights / weights.sum(1, keepdim=True)


def locally_linear(X: torch.Tensor, n_components: int, run: Run) -> LocallyLinear:
    """Locally linear embedding, 12 neighbours (Roweis and Saul 2000): the least eigenvectors of (I − B)ᵀ(I − B).

    Raises
    ------
    InputError
        Above `LLE_SAMPLES` images: the eigenproblem is solved densely.
    """
    n = len(X)
    if n > LLE_SAMPLES:
        raise InputError(f"LLE solves a dense {n}×{n} eigenproblem; give at most {LLE_SAMPLES} images to fit")
    found, _ = neighbors(X.numpy(), X.numpy(), min(LLE_NEIGHBORS, n - 1), exclude=np.arange(n))
    nearest = torch.as_tensor(np.asarray(found)).long()
    B = torch.zeros(n, n, dtype=torch.float64).scatter_(1, nearest, barycenters(X.double(), X[nearest].double()))
    left = torch.eye(n, dtype=torch.float64) - B
    width = min(n_components, n - 2)
    vectors = eigh((left.T @ left).numpy(), subset_by_index=(1, max(1, width)))[1]  # the constant one is left out
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    return LocallyLinear(X=X, Y=torch.from_numpy(np.asarray(vectors * signs * n**0.5, np.float32)))


class Ensemble(Representation):
    """x → the classes' probabilities under each of T classifiers, one after the other."""

    A: torch.Tensor  # (M, T·r)
    bias: torch.Tensor  # (T·r,)
    sizes: torch.Tensor  # (T,)

    def code(self, features: torch.Tensor) -> torch.Tensor:
        """(B, M) → (B, T·r)."""
        scores = (features @ self.A + self.bias).split(self.sizes.tolist(), dim=1)
        return torch.cat([part.softmax(1) for part in scores], 1)


def ensemble_projection(X: torch.Tensor, n_sets: int, run: Run) -> Ensemble:
    """Ensemble projection of features (N, M): T times, r prototypes far from each other with their nearest neighbours
    as classes, and a logistic regression that tells them apart; what it says of each is T·r numbers an image.

    A set of prototypes is the one of 50 random draws whose members lie farthest apart, as in Dai and Van Gool; their
    regularisation is silent in FCN's paper, scikit-learn's default is taken.
    """
    rng, points = run.random_state("prototypes"), X.numpy()
    r = min(EP_PROTOTYPES, len(points))
    weights, biases = [], []
    for _ in range(n_sets):
        draws = [rng.choice(len(points), r, replace=False) for _ in range(EP_HYPOTHESES)]
        spreads = [float(torch.cdist(X[one], X[one]).sum()) for one in draws]
        chosen = draws[int(np.argmax(spreads))]
        members = torch.cdist(X[chosen], X).topk(min(EP_NEIGHBORS, len(points)), largest=False).indices.numpy()
        classes = np.repeat(np.arange(r), members.shape[1])
        model = LogisticRegression(max_iter=200).fit(points[members.ravel()], classes) if r > 1 else None
        two = model is not None and len(model.coef_) == 1 and r == 2
        weights.append(np.zeros((1, points.shape[1])) if model is None else _both(model.coef_, two))
        biases.append(np.zeros(1) if model is None else _both(model.intercept_, two))
    return Ensemble(
        A=torch.from_numpy(np.concatenate(weights).T.astype(np.float32)),
        bias=torch.from_numpy(np.concatenate(biases).astype(np.float32)),
        sizes=torch.tensor([len(one) for one in biases]),
    )


def _both(values: np.ndarray, two: bool) -> np.ndarray:
    """Of two classes scikit-learn keeps one score; the other's is 0."""
    return np.concatenate([np.zeros_like(values), values]) if two else values
