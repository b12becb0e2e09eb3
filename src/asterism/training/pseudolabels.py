"""Learning from pseudo-labels: draw images evenly over the clusters, put a new classifier on the network, an epoch of
eq. (1) of DeepCluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from asterism.images import ImageSource, RandomTransform
from asterism.networks.alexnet_vgg import seed_dropout
from asterism.networks.initialise import build, gaussian_weights
from asterism.training.epoch import Training, train_epoch
from asterism.training.run import Run

SAMPLERS = ("uniform", "legacy", "natural")


def classifying(body: nn.Module, head: nn.Linear) -> nn.Sequential:
    """g_W ∘ f_θ: images (B, C, H, W) → logits (B, k), of a body f_θ, images → (B, D), and a head g_W, D → k.

    The ReLU after the last fully connected layer stands here: clustered are the features before it
    (docs/papers/deepcluster.md).
    """
    return nn.Sequential(body, nn.ReLU(), head)


def draw_images(labels: torch.Tensor, n_draws: int, sampler: str, generator: torch.Generator) -> torch.Tensor:
    """Which images an epoch sees, one after the other.

    Parameters
    ----------
    labels : torch.Tensor of shape (N,)
        Pseudo-labels.
    n_draws : int
        Length of the epoch.
    sampler : {"uniform", "legacy", "natural"}
        ``"uniform"``: every cluster equally often (§3.3), with replacement where it is too small. ``"legacy"``: what
        the released code does: its uniform sampler gives numbers of images, which are then taken for places in the
        list sorted by cluster, so that the draws follow the clusters' sizes after all (docs/papers/deepcluster.md).
        ``"natural"``: a random order.
    generator : torch.Generator

    Returns
    -------
    torch.Tensor of shape (n_draws,), int64
    """
    if sampler == "natural":
        passes = -(-n_draws // len(labels))
        return torch.cat([torch.randperm(len(labels), generator=generator) for _ in range(passes)])[:n_draws]
    by_cluster = labels.argsort(stable=True)  # image numbers, sorted by cluster
    members = [part for part in by_cluster.split(torch.bincount(labels).tolist()) if len(part)]
    each = n_draws // len(members) + 1
    draws = torch.cat([_draw(part, each, generator) for part in members])
    draws = draws[torch.randperm(len(draws), generator=generator)][:n_draws]
    return by_cluster[draws] if sampler == "legacy" else draws


def _draw(members: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
    """n of a cluster's images, with replacement if it has no more than that."""
    if len(members) <= n:
        return members[torch.randint(len(members), (n,), generator=generator)]
    return members[torch.randperm(len(members), generator=generator)[:n]]


def new_head(n_features: int, n_clusters: int, run: Run, key: tuple[str, int]) -> nn.Linear:
    """A new classifier, weights N(0, 0.01), bias 0: cluster 3 of a new round is not cluster 3 of the last."""
    head = build(lambda: nn.Linear(n_features, n_clusters), run.generator(*key, "head"), gaussian_weights)
    return head.to(run.runtime.device)


@contextmanager
def also_training(
    optimizer: torch.optim.Optimizer, head: nn.Module, momentum: float | None
) -> Iterator[torch.optim.Optimizer]:
    """Let the network's optimizer train the head too, within the ``with`` block.

    The network's momentum is kept from round to round, the head's is dropped with the head. ``momentum`` is that of the
    head; the released code has 0 (docs/papers/deepcluster.md), the paper says nothing.
    """
    own: dict[str, Any] = {}
    if momentum is not None:
        betas = optimizer.defaults.get("betas")
        own = {"momentum": momentum} if betas is None else {"betas": (momentum, betas[1])}
    optimizer.add_param_group({"params": list(head.parameters()), **own})
    try:
        yield optimizer
    finally:
        optimizer.param_groups.pop()
        for parameter in head.parameters():
            optimizer.state.pop(parameter, None)


def train_on_pseudo_labels(
    body: nn.Module,
    images: ImageSource,
    labels: torch.Tensor,
    n_clusters: int,
    optimizer: torch.optim.Optimizer,
    training: Training,
    run: Run,
    key: tuple[str, int],
    *,
    sampler: str = "uniform",
    n_draws: int | None = None,
    head_momentum: float | None = None,
    augmentation: RandomTransform | None = None,
) -> float:
    """Minimise eq. (1), −1/N Σ log softmax(g_W(f_θ(x_n)))[y_n], for an epoch, with a new g_W.

    Parameters
    ----------
    body : nn.Module
        f_θ with ``n_features``, on the device; changed in place.
    images : ImageSource
    labels : torch.Tensor of shape (N,)
        y, pseudo-labels below ``n_clusters``.
    n_clusters : int
        k.
    optimizer : torch.optim.Optimizer
        Of the body's parameters.
    training : Training
    run : Run
    key : tuple of (str, int)
        Stage and round.
    sampler, n_draws
        See `draw_images`; by default N draws.
    head_momentum : float, optional
        See `also_training`.
    augmentation : RandomTransform, optional

    Returns
    -------
    float
        Mean loss of the batches.
    """
    head = new_head(body.n_features, n_clusters, run, key)  # type: ignore[arg-type]
    order = draw_images(labels, n_draws or len(images), sampler, run.generator(*key, "draws"))
    seed_dropout(body, run.generator(*key, "dropout", run.runtime.rank).initial_seed(), run.runtime.device)
    body.train()
    with also_training(optimizer, head, head_momentum):
        model, stepping = run.runtime.setup(classifying(body, head), optimizer)

        def loss_of(batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(model(batch), labels[indices].to(batch.device))

        return train_epoch(images, loss_of, stepping, training, run, key, augmentation, order=order)
