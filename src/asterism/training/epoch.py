"""The epoch of gradient steps: one loop for every method, so that order, ranks and augmentation are right once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from asterism.errors import DivergenceError, InputError, MissingDependencyError
from asterism.images import ImageSource, RandomTransform
from asterism.parameters import Interval, Parameters, attribute, parameter
from asterism.parameters.constraints import FRACTION_BELOW_1, NON_NEGATIVE, NON_NEGATIVE_INT, POSITIVE, POSITIVE_INT
from asterism.training.run import Run

SMALLEST_BATCH, STEPS_OF_SMALL_SETS = 32, 32
TRUST = 1e-3  # LARS's coefficient (docs/papers/deepcluster.md)


class GradientDescent(Parameters):
    """Base of how a network is trained: what `train_epoch` goes by."""

    n_epochs: int = attribute()
    batch_size: int = attribute()
    lr: float = attribute()
    max_steps: int | None = attribute(None)  # of an epoch; None is a whole pass
    max_grad_norm: float | None = attribute(None)
    schedule: str = attribute("constant")

    def batch_size_for(self, n: int) -> int:
        """Images a step for a set of n."""
        return self.batch_size

    def make_optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        """The optimizer of these settings."""
        raise NotImplementedError

    def rate(self, epoch: float) -> float:
        """Learning rate of an epoch."""
        return self.lr


class Training(GradientDescent, kw_only=False):
    """How a network is trained."""

    n_epochs: int = parameter(NON_NEGATIVE_INT, default=50)
    """Passes over the images (see ``max_steps``)."""
    batch_size: int = parameter(Interval(int, 2, None), default=256)
    """Images a step (over all processes together). Small sets get smaller batches, so that an epoch has about 32 steps,
    but none below 32 images; see `batch_size_for`."""
    optimizer: str = parameter({"sgd", "adam", "adamw", "lars"}, default="sgd")
    """LARS, for batches of thousands of images, is timm's (``pip install timm``), each layer's step at most a
    thousandth of its weights' length times ``lr``, as in DeepCluster-v2 (docs/papers/deepcluster.md)."""
    lr: float = parameter(POSITIVE, default=0.01)
    """Learning rate."""
    momentum: float = parameter(FRACTION_BELOW_1, default=0.9)
    """Of SGD; Adam's β₁."""
    weight_decay: float = parameter(NON_NEGATIVE, default=0.0)
    """Pull of all weights to 0."""
    schedule: str = parameter({"constant", "cosine", "cosine-steps"}, default="constant")
    """``"cosine"`` lets the rate fall to 0 over the epochs, ``"cosine-steps"`` within them too, step by step: for few
    epochs."""
    max_steps: int | None = parameter(POSITIVE_INT, default=None)
    """Steps an epoch at most (B of DBC's Algorithm 2): of a large set, an epoch is then that many batches drawn anew,
    not a whole pass."""
    max_grad_norm: float | None = parameter(POSITIVE, default=None)
    """Longer gradients are shortened to this length: images in unusual units then slow the training instead of breaking
    it."""
    drop_interval: int | None = parameter(POSITIVE_INT, default=None)
    """The rate falls to a tenth each time so many epochs are over, as in DEC; never by default."""

    def batch_size_for(self, n: int) -> int:
        """Images a step for a set of n: ``batch_size``, or a 32nd of the set if that is less, but at least 32."""
        return min(self.batch_size, max(SMALLEST_BATCH, n // STEPS_OF_SMALL_SETS))

    def make_optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        """The optimizer of these settings; its fused step where torch has one.

        Raises
        ------
        MissingDependencyError
            If LARS is asked for and timm is not installed.
        """
        settings: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer == "lars":
            try:
                from timm.optim import Lars
            except ImportError as error:
                raise MissingDependencyError("training.optimizer='lars' is timm's: pip install timm") from error
            # biases are adapted too, as the released LARC does
            return Lars(parameters, momentum=self.momentum, trust_coeff=TRUST, always_adapt=True, **settings)
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, momentum=self.momentum, fused=True, **settings)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, betas=(self.momentum, 0.999), fused=True, **settings)

    def rate(self, epoch: float) -> float:
        """Learning rate of an epoch; 1.5 is the middle of the second."""
        lr = self.lr
        if self.drop_interval is not None:  # of rounds of several epochs it is a fraction, which may be rounded
            lr *= 0.1 ** math.floor(epoch / self.drop_interval + 1e-6)
        if self.schedule == "constant":
            return lr
        return lr * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * epoch / max(1, self.n_epochs)))))


def _set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def minibatches(
    images: ImageSource, order: torch.Tensor, batch_size: int, run: Run
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """This rank's share of each of the `batches`: indices (B,) and images (B, C, H, W) on the device."""
    for chunk in batches(order, batch_size, run):
        indices = run.runtime.shard(chunk)
        yield indices, images.batch(indices, run.runtime.device)


def batches(order: torch.Tensor, batch_size: int, run: Run) -> tuple[torch.Tensor, ...]:
    """The order of the images, cut into ⌈N / batch_size⌉ batches whose sizes differ by at most one.

    So every image is seen, and no process gets a batch of one image, for which batch norm has no variance.

    Raises
    ------
    InputError
        If there are not two images for each process.
    """
    least = 2 * run.runtime.world_size
    if len(order) < least and run.runtime.world_size > 1:
        raise InputError(f"{len(order)} images are too few for {run.runtime.world_size} processes: start fewer")
    return order.tensor_split(min(-(-len(order) // batch_size), max(1, len(order) // least)))


def train_epoch(
    images: ImageSource,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    training: GradientDescent,
    run: Run,
    key: tuple[str, int],
    augmentation: RandomTransform | None = None,
    lr: float | Callable[[float], float] | None = None,
    order: torch.Tensor | None = None,
    batch_size: int | None = None,
) -> float:
    """One pass over the images in random order (or ``training.max_steps`` batches of it), one step a batch.

    Parameters
    ----------
    images : ImageSource
        N images; on the device if they fit (`ImageSource.resident`).
    loss_of : callable
        ``loss_of(batch, indices)`` → scalar; batch is (B, C, H, W), indices (B,) on the CPU.
    optimizer : torch.optim.Optimizer
    training : Training
    run : Run
    key : tuple of (str, int)
        Stage and epoch: the order and the augmentation depend on the run's seed and this.
    augmentation : RandomTransform, optional
    lr : float or callable, optional
        Learning rate, or that of an epoch; by default ``training.rate``. With the schedule "cosine-steps" it is asked
        before every step: 1.5 is the middle of the second epoch.
    order : torch.Tensor of shape (n,), optional
        Which images are seen, one after the other; by default all, in random order.
    batch_size : int, optional
        By default `Training.batch_size_for` of the images.

    Returns
    -------
    float
        Mean loss of the batches of all processes, the same in each.

    Raises
    ------
    DivergenceError
        If the loss is infinite or no number.
    """
    if batch_size is None:
        batch_size = training.batch_size_for(len(images))
    if order is None:
        order = torch.randperm(len(images), generator=run.generator(*key, "order"))
    if training.max_steps is not None:
        order = order[: training.max_steps * batch_size]
    noise = run.generator(*key, "augmentation", run.runtime.rank)
    rate = lr if callable(lr) else training.rate if lr is None else lambda _: lr
    per_step = training.schedule == "cosine-steps"
    _set_rate(optimizer, rate(key[1]))
    total, n_seen = torch.zeros((), device=run.runtime.device), 0
    sizes = [len(chunk) for chunk in batches(order, batch_size, run)]  # of all processes, whose rates must be the same
    with run.runtime.global_draws(run.generator(*key, "layers", run.runtime.rank).initial_seed()):
        for (indices, batch), size in zip(minibatches(images, order, batch_size, run), sizes, strict=True):
            if per_step:
                _set_rate(optimizer, rate(key[1] + n_seen / len(order)))
                n_seen += size
            loss = loss_of(batch if augmentation is None else augmentation(batch, noise, images.ground), indices)
            optimizer.zero_grad(set_to_none=True)
            run.runtime.backward(loss)
            if training.max_grad_norm is not None:
                run.runtime.clip_gradients(optimizer, training.max_grad_norm)
            optimizer.step()
            total += loss.detach()  # stays on the device: reading it each step would wait for the GPU
    mean = float(run.runtime.sum_over_ranks(total)) / (len(sizes) * run.runtime.world_size)
    if not math.isfinite(mean):
        raise DivergenceError(
            f"the loss of {key[0]} is {mean} after epoch {key[1] + 1}: lower training.lr={training.lr:g}, set "
            "training.max_grad_norm=1, or bring the images to the range 0 to 1"
        )
    return mean
