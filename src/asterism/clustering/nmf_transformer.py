"""`GSNMF`: `asterism.clustering.nmf` as a scikit-learn transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, validate_data

from asterism.clustering import nmf
from asterism.networks.pixels import unit_length
from asterism.parameters import Parameters, parameter
from asterism.parameters.constraints import NON_NEGATIVE, NON_NEGATIVE_INT, POSITIVE_INT
from asterism.parameters.contract import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from asterism.runtime import Runtime, capable_device, usual_torch

ONLINE_PASSES = 20


class GSNMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Parameters):
    """Group-sparse non-negative matrix factorisation; plain NMF with ``l1 = l2 = 0``.

    Attributes
    ----------
    components_ : ndarray of shape (L, M)
        W, the bases.
    objective_ : list of float
        f after each iteration; empty where learnt online.
    ridge_ : ndarray of shape (L,)
        λ₁ and the ℓ2,1 penalty's part, by which new samples are coded.
    n_iter_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from asterism.clustering.nmf_transformer import GSNMF
    >>> X = np.random.default_rng(0).random((50, 20))
    >>> GSNMF(5, random_state=0).fit_transform(X).shape
    (50, 5)
    """

    n_components: int = parameter(POSITIVE_INT, default=1024, kw_only=False)
    """L (the paper's for 4 096 features)."""
    l1: float = parameter(NON_NEGATIVE, default=0.05)
    """λ₂, on Σ h; the paper's choice, made with the labels of Scene-15."""
    l2: float = parameter(NON_NEGATIVE, default=0.02)
    """λ₁, on ½ Σ h²."""
    l21: float = parameter(NON_NEGATIVE, default=0.0)
    """On Σ_l ‖h_l‖, the alternative of the paper's Table 4."""
    init: str = parameter(set(nmf.INITS), default="nndsvda")
    """How the bases begin."""
    normalise: bool = parameter(bool, default=True)
    """Samples and bases of length 1 (§3.3); without, X is taken as it is and bases have any length, but those learnt
    online have length 1 all the same."""
    max_iter: int = parameter(POSITIVE_INT, default=200)
    """Iterations at most; with ``batch_size`` a tenth of it, and at most 20, is the number of passes."""
    tol: float = parameter(NON_NEGATIVE, default=1e-4)
    """Stop when ten iterations lowered the objective by less than this share of it; not with ``batch_size``."""
    batch_size: int | None = parameter(POSITIVE_INT, default=None)
    """Learn the bases online, a batch at a time, for samples whose coefficients do not fit."""
    device: str = parameter(str, default="cpu")
    """Where it computes."""
    random_state: Any = parameter([NON_NEGATIVE_INT, np.random.RandomState], default=None)
    """Seed of what is drawn."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]

    def _open(self, X: Any, reset: bool) -> torch.Tensor:
        checked = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])
        device = Runtime(self.device).device
        rows = torch.tensor(
            np.ascontiguousarray(checked), device=device if checked.dtype == np.float32 else capable_device(device)
        )
        nmf.check_non_negative(rows, type(self).__name__)
        return unit_length(rows) if self.normalise else rows

    def fit(self, X: Any, y: Any = None) -> GSNMF:
        """Learn the bases of samples X (N, M), all of them non-negative.

        Raises
        ------
        InputError
            For parameters out of range or negative samples.
        """
        self.fit_transform(X)
        return self

    @usual_torch()
    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """`fit`, then `transform`: the last H is not handed out, so that old and new samples are coded alike.

        Returns
        -------
        ndarray of shape (N, L)
        """
        self.check()
        rows = self._open(X, reset=True)
        penalty = nmf.Penalty(self.l1, self.l2, self.l21)
        if self.batch_size is None:
            start = nmf.initialise(rows, self.n_components, self.init, self.random_state)
            found = nmf.factorise(rows, *start, penalty, n_iter=self.max_iter, tol=self.tol, unit=self.normalise)
            W, ridge = found.W, penalty.ridge(found.H)
            self.objective_, self.n_iter_ = found.objective, found.n_iter
        else:
            first = rows[: max(self.batch_size, self.n_components)]
            online = nmf.OnlineBases(nmf.initialise(first, self.n_components, self.init, self.random_state)[0], penalty)
            self.objective_, self.n_iter_ = [], max(1, min(ONLINE_PASSES, self.max_iter // 10))
            for _ in range(self.n_iter_):
                for batch in rows.split(self.batch_size):
                    online.see(batch, len(rows))
            W, ridge = online.W, online.ridge
        self.components_ = W.cpu().numpy()
        self.ridge_ = np.broadcast_to(torch.as_tensor(ridge).cpu().numpy(), len(W)).copy()
        return self._coded(rows)

    @usual_torch()
    def transform(self, X: Any) -> np.ndarray:
        """Coefficients of samples, the bases fixed.

        Returns
        -------
        ndarray of shape (N, L)
        """
        check_is_fitted(self)
        return self._coded(self._open(X, reset=False))

    def _coded(self, rows: torch.Tensor) -> np.ndarray:
        W, ridge = (torch.tensor(one, dtype=rows.dtype, device=rows.device) for one in (self.components_, self.ridge_))
        return nmf.coefficients(rows, W, l1=self.l1, ridge=ridge, n_iter=self.max_iter).cpu().numpy()

    def inverse_transform(self, X: Any) -> np.ndarray:
        """HW (N, M) of coefficients H (N, L)."""
        check_is_fitted(self)
        return np.asarray(X) @ self.components_
