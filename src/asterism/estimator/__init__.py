"""The contract that every method keeps: scikit-learn's, with images, run folders and saving beside it."""

from asterism.estimator.base import COMPUTING, ImageEstimator
from asterism.estimator.clusterer import Fitted, ImageClusterer

__all__ = ["COMPUTING", "Fitted", "ImageClusterer", "ImageEstimator"]
