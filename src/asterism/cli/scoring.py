"""Scores of groups against known classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from asterism.errors import InputError
from asterism.metrics import scores


def scored(y: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All scores of groups against known classes; images without one (−1) are left out.

    Raises
    ------
    InputError
        If they are not one an image.
    """
    if len(y) != len(labels):
        raise InputError(f"{len(y)} labels for {len(labels)} images: the images have changed since the run was made")
    return scores(y[y >= 0], labels[y >= 0])
