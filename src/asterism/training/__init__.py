"""The shared mechanics of learning.

``run`` is one fit: rounds that resume, seeds, history (``checkpoint``: state on disk, ``progress``: what a person
sees). ``epoch`` is the loop of gradient steps that all methods share; ``autoencoder``, ``pseudolabels`` and
``triplets`` are what is learnt in it, ``collapse`` warns where that fails.
"""

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.training.epoch import GradientDescent, Training, minibatches, train_epoch
    from asterism.training.run import Run

__getattr__, __all__ = lazy_names(
    __name__, {"epoch": ("GradientDescent", "Training", "minibatches", "train_epoch"), "run": ("Run",)}
)
