"""Training on labelled images that are decoded batch by batch, in steps and not epochs, as the released scripts do."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from asterism.errors import DivergenceError, InputError
from asterism.machine import available_cores
from asterism.networks.alexnet_vgg import seed_dropout
from asterism.parameters import Parameters, parameter
from asterism.parameters.constraints import FRACTION_BELOW_1, NON_NEGATIVE, POSITIVE, POSITIVE_INT
from asterism.runtime import derived_seed
from asterism.training import Run
from asterism_papers.transfer.backbone import LEARN

STEPS_A_ROUND = 50  # between two looks at the clock for a checkpoint
AHEAD = 2  # batches that are decoded while one is learnt from
MOMENTUM = 0.9

Item = TypeVar("Item")
Job = TypeVar("Job")


@dataclass(frozen=True)
class Recipe:
    """Steps, batch, rate, its decay by ``decay`` every ``decay_every`` steps, weight decay, longest gradient."""

    n_steps: int
    batch_size: int
    lr: float
    decay_every: int
    decay: float
    weight_decay: float
    max_grad_norm: float | None = None


class FineTuning(Parameters, kw_only=False):
    """How a network is trained on a labelled task."""

    learn: str = parameter(set(LEARN), default="fc6-8")
    """What is trained: what stands behind the convolutions; that and batch norm's scale and shift, to which
    DeepCluster's 72.0 % belong (docs/papers/deepcluster.md); everything."""
    n_steps: int | None = parameter(POSITIVE_INT, default=None)
    """Steps; by default what `RECIPES` has for ``learn``."""
    batch_size: int | None = parameter(POSITIVE_INT, default=None)
    """Images a step; by default the recipe's."""
    lr: float | None = parameter(POSITIVE, default=None)
    """First learning rate; by default the recipe's."""
    decay_every: int | None = parameter(POSITIVE_INT, default=None)
    """Steps after which the rate is multiplied by the recipe's decay; by default the recipe's."""
    weight_decay: float | None = parameter(NON_NEGATIVE, default=None)
    """By default the recipe's."""
    dropout: float = parameter(FRACTION_BELOW_1, default=0.5)
    """Before fc6 and fc7."""
    RECIPES: ClassVar[dict[str, Recipe]] = {}

    @property
    def recipe(self) -> Recipe:
        """The class's recipe with what was set."""
        base = self.RECIPES["all" if self.learn == "all" else "fc6-8"]
        names = ("n_steps", "batch_size", "lr", "decay_every", "weight_decay")
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(base, **chosen)


def prefetched(load: Callable[[Job], Item], batches: Iterable[Sequence[Job]]) -> Iterator[list[Item]]:
    """``[load(job) for job in batch]`` for each batch in turn, by threads, a few batches ahead.

    Memory: ``AHEAD`` + 1 batches. The first exception is raised, and what has not begun by then never begins.
    """
    pool, waiting = ThreadPoolExecutor(available_cores()), deque[list[Future[Item]]]()
    try:
        for batch in batches:
            waiting.append([pool.submit(load, job) for job in batch])
            if len(waiting) > AHEAD:
                yield [one.result() for one in waiting.popleft()]
        while waiting:
            yield [one.result() for one in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def fine_tune(
    model: nn.Module,
    learnt: nn.Module,
    recipe: Recipe,
    run: Run,
    stage: str,
    n: int,
    load: Callable[[tuple[int, torch.Generator]], Item],
    loss_of: Callable[[list[Item]], torch.Tensor],
) -> None:
    """SGD with momentum .9 over images in random order, pass after pass.

    Parameters
    ----------
    model : nn.Module
        On the run's device; parameters without ``requires_grad`` stay. Its mode is the caller's business.
    learnt : nn.Module
        The part of it that changes, which checkpoints hold.
    recipe : Recipe
    run : Run
        With a folder a killed training goes on where its last checkpoint was.
    stage : str
    n : int
        Images.
    load : callable
        ``load((index, generator))`` → what one image gives; called in threads. The generator is the image's own for
        this step: what is drawn depends on the seed, the step and the place in the batch alone.
    loss_of : callable
        ``loss_of(items)`` → scalar.

    Raises
    ------
    DivergenceError
        If the loss is infinite or no number.
    InputError
        Under several processes: the tasks are small, and their batches too.
    """
    if run.runtime.world_size > 1:
        raise InputError("transfer to PASCAL VOC runs in one process; start it without torchrun")
    free = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.SGD(free, recipe.lr, MOMENTUM, weight_decay=recipe.weight_decay)
    for t in run.rounds(stage, -(-recipe.n_steps // STEPS_A_ROUND), learnt=learnt, optimizer=optimizer):
        steps = range(t * STEPS_A_ROUND, min((t + 1) * STEPS_A_ROUND, recipe.n_steps))
        seed_dropout(model, derived_seed(run.seed, (stage, "dropout", t)), run.runtime.device)
        losses = []
        jobs = (_jobs(step, recipe.batch_size, n, run, stage) for step in steps)
        with run.runtime.global_draws(derived_seed(run.seed, (stage, "layers", t))):
            for step, items in zip(steps, prefetched(load, jobs), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr * recipe.decay ** (step // recipe.decay_every)
                with run.runtime.autocast():
                    loss = loss_of(items)
                optimizer.zero_grad(set_to_none=True)
                run.runtime.backward(loss)
                if recipe.max_grad_norm is not None:
                    nn.utils.clip_grad_norm_(free, recipe.max_grad_norm)
                optimizer.step()
                losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise DivergenceError(f"the loss of {stage} is {mean} after step {steps.stop}: lower lr={recipe.lr:g}")
        run.record(loss=mean)


def _jobs(step: int, batch_size: int, n: int, run: Run, stage: str) -> list[tuple[int, torch.Generator]]:
    """The images of a step, from permutations of all that follow one another, each with its source of draws."""
    places = range(step * batch_size, (step + 1) * batch_size)
    orders = {k: torch.randperm(n, generator=run.generator(stage, "order", k)) for k in {p // n for p in places}}
    return [(int(orders[p // n][p % n]), run.generator(stage, "draws", p)) for p in places]


def drawn_linear(n_inputs: int, n_outputs: int, generator: torch.Generator, std: float, bias: float) -> nn.Linear:
    """A linear layer with weights N(0, std) and one bias, drawn without torch's global random state."""
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs)
    nn.init.normal_(layer.weight, 0, std, generator=generator)
    nn.init.constant_(layer.bias, bias)
    return layer


def settings_of(settings: FineTuning) -> dict[str, Any]:
    """Every number that decides a training, for the record."""
    return {**settings.get_params(), **settings.recipe.__dict__}
