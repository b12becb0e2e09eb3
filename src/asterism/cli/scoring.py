"""Scores of groups against known classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from asterism.errors import InputError
from asterism.metrics import scores


def scored(y: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All scores of groups against known classes; images without one (−1), or in no group (−1), are left out.

    How many are in no group stands as ``n_outliers``, where there are any.

    Raises
    ------
    InputError
        If they are not one an image.
    """
    if len(y) != len(labels):
        raise InputError(f"{len(y)} labels for {len(labels)} images: the images have changed since the run was made")
    scored = (y >= 0) & (labels >= 0)
    if not scored.any():
        raise InputError("no image has both a known class and a group: there is nothing to score")
    outliers = int((labels < 0).sum())
    return scores(y[scored], labels[scored]) | ({"n_outliers": outliers} if outliers else {})
