"""Non-negative matrix factorisation with group sparsity (GSNMF): Gui, Gui, Wang, Morency and Moura, "Factorized
convolutional networks: unsupervised fine-tuning for image clustering", WACV 2018, §3.1 and §3.2, eqs. 1 to 6.

The paper has samples in columns, X ≈ W H with W (M, L) the bases and H (L, N) the coefficients. Here samples are rows,
as everywhere in Python, and everything is its transpose: X (N, M) ≈ H (N, L) W (L, M).

    f(W, H) = ½ ‖X − HW‖² + (λ₁/2) ‖H‖² + λ₂ ‖H‖₁          (2)
    W ← W ∘ HᵀX / HᵀHW,   H ← H ∘ XWᵀ / (HWWᵀ + λ₁H + λ₂)     (6)

The paper's sentence on sensitivity exchanges the roles of λ₁ and λ₂; its four formulas agree, and are followed
(docs/papers/fcn.md): ``l2`` = λ₁, ``l1`` = λ₂.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.extmath import randomized_svd

from asterism.errors import InputError
from asterism.runtime import capable_device

INITS = ("nndsvd", "nndsvda", "nndsvdar", "random")
FORGET = 0.7  # what a pass over the data leaves of the sums of the pass before; of a batch, to the power of its share
SMALLEST = 1e-12  # added to denominators: a numerator of 0 over a denominator of 0 stays 0
TINY = 1e-18  # smaller coefficients become 0: on their way there they reach numbers that processors are slow with
GRAM_FROM = 256  # components: below, four small products cost more than one
ROWS = 8192  # coefficients of so many samples are found at once


@dataclass(frozen=True)
class Penalty:
    """What is added to the squared error, on the coefficients H.

    Attributes
    ----------
    l1 : float
        λ₂ of eq. 2, on Σ h.
    l2 : float
        λ₁ of eq. 2, on ½ Σ h².
    l21 : float
        On Σ_l ‖h_l‖, h_l being component l's coefficients of all samples: the mixed norm of Table 4. A component that
        little needs is pushed out as a whole.
    """

    l1: float = 0.0
    l2: float = 0.0
    l21: float = 0.0

    def ridge(self, H: torch.Tensor) -> torch.Tensor | float:
        """Coefficient of h in the gradient: λ₁, and for ℓ2,1 λ/‖h_l‖ beside it, (L,).

        ‖h‖ ≤ (‖h‖²/‖h'‖ + ‖h'‖)/2 with equality at h = h', so this quadratic bound keeps f from rising.
        """
        return self.l2 + self.l21 / H.norm(dim=0).clamp_min(SMALLEST) if self.l21 else self.l2

    def value(self, sums: torch.Tensor, squares: torch.Tensor) -> float:
        """The penalty's part of f, from each component's Σ h and Σ h², (L,) both."""
        found = self.l1 * sums.sum() + 0.5 * self.l2 * squares.sum() + self.l21 * squares.clamp_min(0).sqrt().sum()
        return float(found)

    def of_length(self, sums: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        """What the penalty grows by with each basis's length, d/ds of its part for s·h_l at s = 1, (L,)."""
        return self.l1 * sums + self.l2 * squares + self.l21 * squares.clamp_min(0).sqrt()


NO_PENALTY = Penalty()


class Factors(NamedTuple):
    """What `factorise` found."""

    H: torch.Tensor  # (N, L) coefficients
    W: torch.Tensor  # (L, M) bases
    objective: list[float]  # f after each iteration, the start first
    n_iter: int


# ---------------------------------------------------------------- the rules


def step_h(
    H: torch.Tensor, XWt: torch.Tensor, WWt: torch.Tensor, l1: float, ridge: torch.Tensor | float
) -> torch.Tensor:
    """H's rule of eq. 6: H ∘ XWᵀ / (HWWᵀ + λ₁H + λ₂), (N, L)."""
    return _step_h(H, XWt, _with_ridge(WWt, ridge), l1)


def _with_ridge(WWt: torch.Tensor, ridge: torch.Tensor | float) -> torch.Tensor:
    """WWᵀ + λ₁, (L, L)."""
    return WWt + torch.as_tensor(ridge, dtype=WWt.dtype, device=WWt.device).expand(len(WWt)).diag()


def _step_h(H: torch.Tensor, XWt: torch.Tensor, curved: torch.Tensor, l1: float) -> torch.Tensor:
    below = torch.addmm(H.new_full((1,), l1 + SMALLEST), H, curved)  # one pass: H(WWᵀ + λ₁) + λ₂
    return _without_tiny(torch.div(XWt, below, out=below).mul_(H))


def step_w(
    W: torch.Tensor, HtX: torch.Tensor, HtH: torch.Tensor, of_length: torch.Tensor | None = None
) -> torch.Tensor:
    """W's rule of eq. 6: W ∘ HᵀX / HᵀHW, (L, M).

    With bases that are brought to length 1, and their length given to H, eq. 6 alone raises f: it does not see that a
    longer basis makes for larger coefficients and a larger penalty. ``of_length`` (L,), what the penalty grows by with
    each basis's length, is added here as c_l w_l to the denominator (0 without penalties; not in the paper). As for
    H, ‖w‖ ≤ (‖w‖² + 1)/2 at length 1 makes that a bound on f, which therefore never rises.
    """
    curved = HtH if of_length is None else HtH + of_length.diag()
    below = torch.addmm(W.new_full((1,), SMALLEST), curved, W)
    return _without_tiny(torch.div(HtX, below, out=below).mul_(W))


def gram(A: torch.Tensor) -> torch.Tensor:
    """A Aᵀ (L, L), its lower half only, in blocks: 5/8 of the product's operations; torch has no such routine."""
    if len(A) < GRAM_FROM:
        return A @ A.T
    found = A.new_empty(len(A), len(A))
    edges = [len(A) * i // 4 for i in range(5)]
    for start, stop in itertools.pairwise(edges):
        torch.matmul(A[start:stop], A[:stop].T, out=found[start:stop, :stop])
        found[:start, start:stop] = found[start:stop, :start].T
    return found


def unit_bases(W: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bases of length 1, and their lengths (L,) before: H times these keeps HW. A basis of 0 stays, its length 1."""
    lengths = W.norm(dim=1)
    lengths = torch.where(lengths > 0, lengths, torch.ones_like(lengths))
    return W / lengths[:, None], lengths


def factorise(
    X: torch.Tensor,
    W: torch.Tensor,
    H: torch.Tensor,
    penalty: Penalty = NO_PENALTY,
    *,
    n_iter: int = 200,
    tol: float = 1e-4,
    unit: bool = True,
) -> Factors:
    """Alternate the two rules of eq. 6 from a start.

    Parameters
    ----------
    X : torch.Tensor of shape (N, M)
        Non-negative; its device and type are computed on and in.
    W : torch.Tensor of shape (L, M)
    H : torch.Tensor of shape (N, L)
    penalty : Penalty, optional
    n_iter : int, default=200
        Iterations at most.
    tol : float, default=1e-4
        Stop when ten iterations lowered f by less than this share of it; 0 never. (scikit-learn's is a share of the
        first f: NNDSVDa begins a hundred times too high, and it would stop too early.)
    unit : bool, default=True
        Keep bases at length 1, what they lose being given to H ("ℓ2 normalization layers to X and W", §3.3): without,
        a penalty on H is undone by larger bases.

    Returns
    -------
    Factors
        ``objective`` never rises.

    Notes
    -----
    An iteration costs 4·N·M·L + 4·N·L² + 4·M·L² operations, all but O(N·L + M·L) of them in matrix products; f costs
    nothing beside. Memory: X, three times H, twice W.
    """
    if unit:
        W, lengths = unit_bases(W)
        H = H * lengths
    XX, XWt, WWt = _dot(X, X), X @ W.T, gram(W)
    HtH, sums = gram(H.T), H.sum(0)

    def objective() -> float:
        """f by ‖X‖² − 2⟨XWᵀ, H⟩ + ⟨HᵀH, WWᵀ⟩: no product of the size of X."""
        error = XX - 2 * _dot(XWt, H) + _dot(HtH, WWt)
        return 0.5 * max(0.0, error) + penalty.value(sums, HtH.diagonal())

    values = [objective()]
    for t in range(1, n_iter + 1):
        H = step_h(H, XWt, WWt, penalty.l1, penalty.ridge(H))
        HtH, sums = gram(H.T), H.sum(0)
        W = step_w(W, H.T @ X, HtH, penalty.of_length(sums, HtH.diagonal()) if unit else None)
        if unit:
            W, lengths = unit_bases(W)
            H, HtH, sums = H * lengths, lengths[:, None] * HtH * lengths, sums * lengths
        XWt, WWt = X @ W.T, gram(W)
        values.append(objective())
        if tol and t % 10 == 0 and values[-11] - values[-1] < tol * values[-1]:
            break
    return Factors(H, W, values, len(values) - 1)


def coefficients(
    X: torch.Tensor, W: torch.Tensor, *, l1: float = 0.0, ridge: torch.Tensor | float = 0.0, n_iter: int = 200
) -> torch.Tensor:
    """Coefficients of samples with the bases fixed: H's rule alone (the paper is silent; docs/papers/fcn.md).

    Parameters
    ----------
    X : torch.Tensor of shape (N, M)
    W : torch.Tensor of shape (L, M)
    l1 : float
    ridge : float or torch.Tensor of shape (L,)
        `Penalty.ridge`.
    n_iter : int, default=200
        Always so many, so that a sample's coefficients do not depend on the others.

    Returns
    -------
    torch.Tensor of shape (N, L)

    Notes
    -----
    The start is XWᵀ, scaled to the best multiple: its zeros are where the gradient is positive whatever h, so none is
    lost by staying 0. Cost: 2·N·M·L + 2·n_iter·N·L² operations.
    """
    WWt = gram(W)
    curved = _with_ridge(WWt, ridge)
    parts = []
    for rows in X.split(ROWS):
        XWt = rows @ W.T
        H = XWt * ((XWt * XWt).sum(1) / ((XWt @ WWt) * XWt).sum(1).clamp_min(SMALLEST))[:, None]
        for _ in range(n_iter):
            H = _step_h(H, XWt, curved, l1)
        parts.append(H)
    return torch.cat(parts)


# ---------------------------------------------------------------- the start


def initialise(
    X: torch.Tensor, n_components: int, init: str = "nndsvda", random_state: int | np.random.RandomState | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """First bases W (L, M) and coefficients H (N, L).

    Parameters
    ----------
    X : torch.Tensor of shape (N, M)
    n_components : int
        L; what goes beyond the rank of X is filled with samples drawn at random (the paper's Flowers has fewer training
        images than its L, and says nothing).
    init : {"nndsvd", "nndsvda", "nndsvdar", "random"}
        NNDSVD (Boutsidis and Gallopoulos 2008): each singular pair's positive or negative half, the heavier one. Its
        zeros stay 0 under eq. 6; ``a`` fills them with the mean of X, ``ar`` with small random numbers.
    random_state : int, RandomState or None

    Returns
    -------
    W, H : torch.Tensor
    """
    rng = check_random_state(random_state)
    mean = float(X.to(capable_device(X.device)).mean(dtype=torch.float64))
    if init == "random":
        scale = (mean / n_components) ** 0.5
        W = scale * np.abs(rng.standard_normal((n_components, X.shape[1])))
        H = scale * np.abs(rng.standard_normal((X.shape[0], n_components)))
        return _like(W, X), _like(H, X)
    W, H = _nndsvd(X.cpu().numpy(), n_components, rng)
    rank = W.shape[0]
    if rank < n_components:
        drawn = rng.choice(len(X), n_components - rank, replace=n_components - rank > len(X))
        W = np.concatenate([W, X[torch.from_numpy(drawn).to(X.device)].cpu().numpy()])
        H = np.concatenate([H, np.full((len(X), n_components - rank), mean)], axis=1)
    for part in (W, H) if init != "nndsvd" else ():
        empty = part <= 0
        part[empty] = mean if init == "nndsvda" else mean * rng.random_sample(int(empty.sum())) / 100
    return _like(W, X), _like(H, X)


def _nndsvd(X: np.ndarray, n_components: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """NNDSVD of rank at most L: W (r, M), H (N, r)."""
    U, S, Vt = randomized_svd(X, min(n_components, *X.shape), random_state=rng)
    kept = S[0] * max(X.shape) * np.finfo(np.float32).eps < S if len(S) else S > 0
    U, S, Vt = U[:, kept], S[kept], Vt[kept]
    halves = [(np.maximum(sign * U, 0), np.maximum(sign * Vt, 0)) for sign in (1, -1)]
    weights = [np.linalg.norm(u, axis=0) * np.linalg.norm(v, axis=1) for u, v in halves]  # (r,) each
    first = weights[0] >= weights[1]
    u = np.where(first, halves[0][0], halves[1][0])
    v = np.where(first[:, None], halves[0][1], halves[1][1])
    scale = np.sqrt(S * np.where(first, *weights))
    H = u / np.maximum(np.linalg.norm(u, axis=0), SMALLEST) * scale
    W = v / np.maximum(np.linalg.norm(v, axis=1), SMALLEST)[:, None] * scale[:, None]
    return W, H


# ---------------------------------------------------------------- more samples than fit


class OnlineBases:
    """Bases learnt batch by batch: sums of HᵀX and HᵀH stand for all samples seen (Lefèvre, Bach and Févotte 2011).

    Parameters
    ----------
    W : torch.Tensor of shape (L, M)
        First bases, scaled to length 1.
    penalty : Penalty
    n_inner : int, default=10
        Steps of H a batch.
    reduce : callable, optional
        Sums a tensor over processes that each see their own part of a batch.
    """

    def __init__(
        self,
        W: torch.Tensor,
        penalty: Penalty,
        n_inner: int = 10,
        reduce: Callable[[torch.Tensor], torch.Tensor] = lambda part: part,
    ) -> None:
        self.W = unit_bases(W)[0]
        self.penalty, self.n_inner, self.reduce = penalty, n_inner, reduce
        self.HtX = torch.zeros_like(self.W)
        self.HtH = self.W.new_zeros(len(self.W), len(self.W))
        self.sums = self.W.new_zeros(len(self.W))
        self.weight = self.W.new_zeros(1)  # how often the sums hold the data: to 1 / (1 − FORGET) passes

    @property
    def ridge(self) -> torch.Tensor | float:
        """`Penalty.ridge` of the data, by the samples seen: HᵀH's diagonal holds the squares of the ‖h_l‖."""
        lengths = (self.HtH.diagonal() / self.weight.clamp_min(SMALLEST)).sqrt()
        return self.penalty.ridge(torch.diag(lengths)) if self.penalty.l21 and lengths.any() else self.penalty.l2

    def see(self, X: torch.Tensor, n: int) -> torch.Tensor:
        """Learn from a batch (B, M), or this process's part of it, of n samples. Returns its coefficients (B, L)."""
        share = float(self.reduce(X.new_tensor(len(X)))) / n
        H = coefficients(X, self.W, l1=self.penalty.l1, ridge=self.ridge, n_iter=self.n_inner)
        self.HtX.mul_(FORGET**share).add_(self.reduce(H.T @ X))
        self.HtH.mul_(FORGET**share).add_(self.reduce(H.T @ H))
        self.sums.mul_(FORGET**share).add_(self.reduce(H.sum(0)))
        self.weight.mul_(FORGET**share).add_(share)
        # ℓ2,1 is no sum over samples: the penalty is that of the data, as often as the products hold them
        of_length = self.weight * self.penalty.of_length(self.sums / self.weight, self.HtH.diagonal() / self.weight)
        W, lengths = unit_bases(step_w(self.W, self.HtX, self.HtH, of_length))
        self.W.copy_(W)  # in place, as the sums: what holds them sees them move
        self.HtX.mul_(lengths[:, None])  # H is H times the lengths from here on
        self.HtH.mul_(lengths[:, None]).mul_(lengths)
        self.sums.mul_(lengths)
        return H * lengths


# ---------------------------------------------------------------- small things


def check_non_negative(X: torch.Tensor, who: str) -> None:
    """Refuse negative input, and name the fix.

    Raises
    ------
    InputError
    """
    least = float(X.min()) if X.numel() else 0.0
    if least < 0:
        raise InputError(
            f"Negative values in data passed to {who} (the least is {least:.4g}): take features after a ReLU, or their "
            "positive and negative parts, np.hstack([np.maximum(X, 0), np.maximum(-X, 0)])"
        )
    if least == 0 and X.numel() and float(X.max()) == 0:
        warnings.warn(f"{who}: every value is 0, and so are all coefficients", stacklevel=3)


def _without_tiny(values: torch.Tensor) -> torch.Tensor:
    """Values in place, the smallest set to 0; under a rule that multiplies they would never grow again anyway."""
    return torch.nn.functional.threshold(values, TINY, 0.0, inplace=True)


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    """⟨a, b⟩, rows summed in the type of a, the rows' sums in float64."""
    return float(torch.linalg.vecdot(a, b).to(capable_device(a.device)).sum(dtype=torch.float64))


def _like(array: np.ndarray, X: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(array, dtype=X.dtype, device=X.device)
