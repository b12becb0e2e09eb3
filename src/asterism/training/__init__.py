"""The shared mechanics of learning: runs that resume, epochs of gradient steps, auto-encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.training.epoch import GradientDescent, Training, minibatches, train_epoch
    from asterism.training.run import Run

__getattr__, __all__ = lazy_names(
    __name__, {"epoch": ("GradientDescent", "Training", "minibatches", "train_epoch"), "run": ("Run",)}
)
