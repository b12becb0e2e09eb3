"""PCA, whitening and unit length: what features go through before they are clustered (DeepCluster §3.4).

One pass over the rows adds up the mean and the covariance, in memory, from shards or over processes: O(N·D²) time,
O(D²) memory whatever N is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import nn

from asterism.errors import InputError
from asterism.runtime import capable_device

NEGLIGIBLE = 1e-6  # of the largest eigenvalue: directions below it hold rounding, which whitening would blow up

Reduce = Callable[[torch.Tensor], torch.Tensor]


class Reduction(nn.Module):
    """x ↦ (x − mean)·A, scaled to length 1 if ``normalise``.

    Parameters
    ----------
    n_features, n_components : int
        D and d.
    normalise : bool
    """

    mean: torch.Tensor
    projection: torch.Tensor

    def __init__(self, n_features: int, n_components: int, normalise: bool = True) -> None:
        super().__init__()
        self.normalise = normalise
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("projection", torch.zeros(n_features, n_components))  # A (D, d)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Reduced rows (B, d) of features (B, D)."""
        with torch.autocast(features.device.type, enabled=False):  # whitening magnifies the error of half precision
            reduced = (features.float() - self.mean) @ self.projection
        return F.normalize(reduced) if self.normalise else reduced


def fit_reduction(
    blocks: Callable[[], Iterable[torch.Tensor]],
    n_components: int = 256,
    *,
    whiten: bool = True,
    normalise: bool = True,
    floor: float | None = None,
    reduce: Reduce | None = None,
    rank: int = 0,
) -> Reduction:
    """Find mean, principal directions and their scales.

    Parameters
    ----------
    blocks : callable
        Gives an iterator over (B, D) blocks of this process's rows, one pass each time.
    n_components : int, default=256
        d; at most D are there.
    whiten : bool, default=True
        Divide each component by its standard deviation: faiss's ``eigen_power = −1/2`` (docs/papers/deepcluster.md).
    normalise : bool, default=True
        Scale the reduced rows to length 1.
    floor : float, optional
        Share of the largest variance that a smaller one is raised to before it divides: R-MAC's 1e-5
        (docs/papers/deepcluster.md). By default none is raised, and directions of less than a millionth of the largest
        stay 0.
    reduce : callable, optional
        Sums a tensor over processes (`Runtime.sum_over_ranks`).
    rank : int
        Number of this process: the first one's directions are everybody's.

    Returns
    -------
    Reduction
        On the device of the rows.

    Raises
    ------
    InputError
        If a feature is infinite or no number.
    """
    summed: Reduce = reduce or (lambda value: value)
    first = next(iter(blocks()))
    home, device, dim = first.device, capable_device(first.device), first.shape[1]
    first = first.to(device)
    # Sums are taken from about the mean, so that float32 products lose nothing to a large offset.
    start = summed(torch.cat([first.double().sum(0), first.new_tensor([len(first)], dtype=torch.float64)]))
    origin = (start[:-1] / start[-1]).float()  # (D,)
    total = torch.zeros(dim * dim + dim + 1, dtype=torch.float64, device=device)
    second, linear = total[: dim * dim].view(dim, dim), total[dim * dim : -1]
    for block in blocks():
        shifted = block.to(device).float() - origin
        second += shifted.T @ shifted
        linear += shifted.sum(0, dtype=torch.float64)
        total[-1] += len(block)
    total = summed(total)
    n, offset = total[-1], total[dim * dim : -1] / total[-1]
    covariance = total[: dim * dim].view(dim, dim) / n - torch.outer(offset, offset)
    if not torch.isfinite(covariance).all():
        raise InputError("the features hold NaN or infinity, whose covariance cannot be taken: lower training.lr")
    reduction = Reduction(dim, min(n_components, dim), normalise).to(device)
    reduction.mean.copy_(origin.double() + offset)
    projection = principal_directions(covariance, reduction.projection.shape[1], whiten, floor)
    # Another processor may round, and so turn the directions, otherwise.
    reduction.projection.copy_(summed(projection if rank == 0 else torch.zeros_like(projection)))
    return reduction.to(home)


def principal_directions(
    covariance: torch.Tensor, n_components: int, whiten: bool, floor: float | None = None
) -> torch.Tensor:
    """A (D, d): eigenvectors of the largest eigenvalues λ as columns, divided by √λ if ``whiten``.

    ``floor`` is that of `fit_reduction`. The entry of largest size in each column is positive, so that the signs do not
    depend on the solver.
    """
    values, vectors = torch.linalg.eigh(covariance)  # ascending
    values, vectors = values.flip(0)[:n_components], vectors.flip(1)[:, :n_components]
    signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()  # (1, d)
    largest = values[0].clamp_min(1e-30)
    values = values if floor is None else values.clamp_min(floor * largest)
    kept = values > NEGLIGIBLE * largest
    scales = values.clamp_min(1e-30).rsqrt() if whiten else torch.ones_like(values)
    return vectors * signs * torch.where(kept, scales, 0)
