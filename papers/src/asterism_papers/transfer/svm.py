"""The one-vs-all support vector machine with squared hinge, as Coates' pipeline and the papers' probes use it."""

from __future__ import annotations

from collections.abc import Sequence

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
    C : float or sequence of float, default=100
        Weight of the loss (Coates' 100). Of several, the one that classifies the last fifth of the rows best after
        learning from the others; the rows must be in random order then.
    max_iter : int, default=1000
    standardise : bool, default=True
        Subtract the training mean of each feature and divide by √(variance + 0.01).

    Attributes
    ----------
    coef_ : torch.Tensor of shape (D + 1, classes)
        The last row is the bias, a feature of constant 1 that is penalised like the others.
    C_ : float
        C, or the one chosen.
    n_iter_ : int

    Notes
    -----
    The curvature is I + (2C/N) Σ x_i x_iᵀ over the rows inside the margin; pooled features are so correlated that its
    condition is about 10⁵, and plain L-BFGS has not converged in 1000 iterations. Here the variable is φ = Lᵀθ with
    L Lᵀ = I + ρ (2C/N) XᵀX, the curvature if a share ρ of the rows lay inside: the same minimum, in 20 to 75
    iterations. XᵀX costs N·D² FLOP once, L D³/3 for each C; they take 16·D² bytes. An iteration costs two products with
    the features, 4·N·D·classes FLOP, in float32, and two triangular solves. A copy of the features is held. A larger C
    starts where the smaller one ended.
    """

    def __init__(self, C: float | Sequence[float] = 100.0, max_iter: int = 1000, standardise: bool = True) -> None:
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
        candidates = np.sort(np.atleast_1d(np.asarray(self.C, float)))
        n = len(X) if len(candidates) == 1 else max(len(X) * 4 // 5, 1)  # the others choose C
        squares, theta, found = X[:n].T @ X[:n], torch.zeros(X.shape[1], len(self.classes_)), []
        for C in candidates.tolist() if n < len(X) else ():
            theta, _ = self._minimise(X[:n], signs[:n], squares, C, theta)
            right = (X[n:] @ theta).argmax(1) == signs[n:].argmax(1)
            found.append((float(right.double().mean()), -C, theta))
        _, negative, theta = max(found, key=lambda one: one[:2]) if found else (0.0, -float(candidates[0]), theta)
        self.C_ = -negative
        squares += X[n:].T @ X[n:]
        self.coef_, self.n_iter_ = self._minimise(X, signs, squares, self.C_, theta)
        return self

    def _minimise(
        self, X: torch.Tensor, signs: torch.Tensor, squares: torch.Tensor, C: float, theta: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        """θ (D + 1, classes) and the iterations from a first θ, for rows with their signs (N, classes) and XᵀX."""
        curvature = squares.double() * (INSIDE * 2 * C / len(X))
        curvature.diagonal().add_(1.0)
        factor = torch.linalg.cholesky(curvature).float()
        del curvature

        def theta_of(flat: np.ndarray) -> torch.Tensor:
            phi = torch.from_numpy(flat).float().view(theta.shape)
            return torch.linalg.solve_triangular(factor.T, phi, upper=True)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            theta = theta_of(flat)
            margin = (1 - signs * (X @ theta)).clamp_min_(0)  # (N, classes)
            gradient = theta - (2 * C / len(X)) * (X.T @ (signs * margin))
            loss = 0.5 * float(theta.double().square().sum()) + C / len(X) * float(margin.double().square().sum())
            by_phi = torch.linalg.solve_triangular(factor, gradient, upper=False)
            return loss, by_phi.double().numpy().ravel()

        options = {"maxiter": self.max_iter, "maxcor": 10, "ftol": 1e-7}  # what float32 sums can tell
        start = (factor.T @ theta).double().numpy().ravel()
        found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        return theta_of(found.x), int(found.nit)

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
