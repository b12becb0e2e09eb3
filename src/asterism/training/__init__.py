"""The shared mechanics of learning: runs that resume, epochs of gradient steps, auto-encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.training.epoch import GradientDescent, Training, minibatches, train_epoch
    from asterism.training.run import Run

__all__ = ["GradientDescent", "Run", "Training", "minibatches", "train_epoch"]

__getattr__ = lazy_names(
    __name__,
    {
        "GradientDescent": "asterism.training.epoch",
        "Run": "asterism.training.run",
        "Training": "asterism.training.epoch",
        "minibatches": "asterism.training.epoch",
        "train_epoch": "asterism.training.epoch",
    },
)
