"""The contract that every method keeps: scikit-learn's, with images, run folders and saving beside it.

``base`` is `ImageEstimator` (fit, transform, save), ``clusterer`` adds groups (predict, score). Each is put together
with what they take (``inputs``), which images count (``screening``), groups cut or divided afterwards (``regrouping``),
and what a run keeps for its page (``keeping``).
"""

from asterism.estimator.base import COMPUTING, ImageEstimator
from asterism.estimator.clusterer import Fitted, ImageClusterer

__all__ = ["COMPUTING", "Fitted", "ImageClusterer", "ImageEstimator"]
