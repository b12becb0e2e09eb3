"""The one-vs-all support vector machine with squared hinge, as Coates' pipeline and the papers' probes use it."""

from __future__ import annotations

import numpy as np
import scipy.optimize
import torch

from asterism.errors import InputError

VARIANCE = 0.01  # added to the variance of a feature before its root is divided by
INSIDE = 0.3  # ρ, the share of rows taken to lie inside a class's margin, for preconditioning alone


class SquaredHingeSVM:
    """Minimise ½‖θ‖² + C · mean_i Σ_c max(0, 1 − y_ic θ_c·x_i)² by L-BFGS, y_ic = 1 for the class of x_i, else −1.

    Parameters
    ----------
    C : float, default=100
        Weight of the loss (Coates' 100).
    max_iter : int, default=1000
    standardise : bool, default=True
        Subtract the training mean of each feature and divide by √(variance + 0.01).

    Attributes
    ----------
    coef_ : torch.Tensor of shape (D + 1, classes)
        The last row is the bias, a feature of constant 1 that is penalised like the others.
    n_iter_ : int

    Notes
    -----
    The curvature is I + (2C/N) Σ x_i x_iᵀ over the rows inside the margin; pooled features are so correlated that its
    condition is about 10⁵, and plain L-BFGS has not converged in 1000 iterations. Here the variable is φ = Lᵀθ with
    L Lᵀ = I + ρ (2C/N) XᵀX, the curvature if a share ρ of the rows lay inside: the same minimum, in some 30
    iterations. L costs N·D² + D³/3 FLOP once and 12·D² bytes; an iteration costs two products with the features,
    4·N·D·classes FLOP, in float32, and two triangular solves. A copy of the features is held.
    """

    def __init__(self, C: float = 100.0, max_iter: int = 1000, standardise: bool = True) -> None:
        self.C = C
        self.max_iter = max_iter
        self.standardise = standardise

    def fit(self, X: torch.Tensor, y: np.ndarray) -> SquaredHingeSVM:
        """Learn from features (N, D) and their classes (N,), any integers.

        Raises
        ------
        InputError
            With fewer than two classes.
        """
        self.classes_, target = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y holds {len(self.classes_)} class; a classifier needs two")
        X = torch.as_tensor(X, dtype=torch.float32)
        variance, self.mean_ = torch.var_mean(X, dim=0)
        self.scale_ = (variance + VARIANCE).sqrt()
        X = self._prepared(X)
        signs = torch.full((len(X), len(self.classes_)), -1.0)
        signs[torch.arange(len(X)), torch.as_tensor(target)] = 1.0
        shape = (X.shape[1], len(self.classes_))

        factor = _factor(X, 2 * self.C / len(X))

        def theta_of(flat: np.ndarray) -> torch.Tensor:
            phi = torch.from_numpy(flat).float().view(shape)
            return torch.linalg.solve_triangular(factor.T, phi, upper=True)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            theta = theta_of(flat)
            margin = (1 - signs * (X @ theta)).clamp_min_(0)  # (N, classes)
            gradient = theta - (2 * self.C / len(X)) * (X.T @ (signs * margin))
            loss = 0.5 * float(theta.double().square().sum()) + self.C / len(X) * float(margin.double().square().sum())
            by_phi = torch.linalg.solve_triangular(factor, gradient, upper=False)
            return loss, by_phi.double().numpy().ravel()

        start = np.zeros(shape[0] * shape[1])
        options = {"maxiter": self.max_iter, "maxcor": 10, "ftol": 1e-7}  # what float32 sums can tell
        found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        self.coef_ = theta_of(found.x)
        self.n_iter_ = int(found.nit)
        return self

    def _prepared(self, X: torch.Tensor) -> torch.Tensor:
        """Standardised features with a column of ones, (N, D + 1)."""
        prepared = torch.ones(X.shape[0], X.shape[1] + 1)
        prepared[:, :-1] = (X - self.mean_) / self.scale_ if self.standardise else X
        return prepared

    def decision_function(self, X: torch.Tensor) -> torch.Tensor:
        """Scores (N, classes) of features (N, D)."""
        parts = torch.as_tensor(X, dtype=torch.float32).split(8192)
        return torch.cat([self._prepared(part) @ self.coef_ for part in parts])

    def predict(self, X: torch.Tensor) -> np.ndarray:
        """Classes (N,) of features (N, D)."""
        return self.classes_[self.decision_function(X).argmax(1).numpy()]

    def score(self, X: torch.Tensor, y: np.ndarray) -> float:
        """Share of features (N, D) whose class is found."""
        return float(np.mean(self.predict(X) == np.asarray(y)))


def _factor(X: torch.Tensor, weight: float) -> torch.Tensor:
    """Lower triangular L (D, D) with L Lᵀ = I + ρ · weight · XᵀX."""
    curvature = (X.T @ X).double() * (INSIDE * weight)
    curvature.diagonal().add_(1.0)
    return torch.linalg.cholesky(curvature).float()
