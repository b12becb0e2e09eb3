"""The shared mechanics of learning: runs that resume, epochs of gradient steps, auto-encoders."""

from asterism.training.epoch import Training, minibatches, train_epoch
from asterism.training.run import Run

__all__ = ["Run", "Training", "minibatches", "train_epoch"]
