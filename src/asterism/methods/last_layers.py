"""The last layers of a pre-trained network, trained on: what lies below them is computed once, and kept.

Groups teach them as clusters teach JULE's network (Yang, Parikh and Batra, CVPR 2016), by triplets; of each batch the
hardest (Hermans, Beyer and Leibe, "In defense of the triplet loss for person re-identification", arXiv 1703.07737).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import normalize

from asterism.features import cached_extract, extract
from asterism.features.extract import Progress
from asterism.images import ImageSource
from asterism.images.pack import memory_budget
from asterism.networks.body import network_of
from asterism.networks.foreign import weighted_layers
from asterism.networks.freezing import Cut, cut
from asterism.runtime import Runtime
from asterism.training import Run, Training, train_epoch

# Chosen with the classes of six parts of sets at hand (docs/photographs.md). Few small steps: groups are not classes.
GROUP_TRAINING = Training(n_epochs=4, optimizer="adam", lr=1e-4, schedule="cosine-steps")
BATCH, OF_EACH_GROUP, LARGEST_BATCH = 64, 2, 256  # images a step: so many, or on average so many of each group
MARGIN = 0.2  # by which an image's cosine with its own group is to be above that with others


def features_above(
    network: nn.Module, n_layers: int, images: ImageSource, runtime: Runtime, progress: Progress | None = None
) -> torch.Tensor:
    """Features (N, M) of a network whose last layers are trained: what lies below them comes from the cache."""
    parts = cut(network_of(network), n_layers, images.shape)
    activations = activations_below(parts, images, runtime, progress)
    return extract(network, images, runtime) if activations is None else extract(parts.top, activations, runtime)


def activations_below(
    parts: Cut, images: ImageSource, runtime: Runtime, progress: Progress | None = None
) -> ImageSource | None:
    """Activations below the tuned layers, as images of one pixel, so that epochs, orders and ranks are those of
    `train_epoch`; None where they do not fit into memory, or no layer lies below."""
    if not weighted_layers(parts.bottom) or 4 * len(images) * parts.top.shape.numel() > memory_budget():
        return None
    flat = cached_extract(parts.bottom, images, runtime, progress)  # (N, P)
    return ImageSource(flat[:, None, None, :], images.names)


def batch_size_for(n_clusters: int) -> int:
    """Images a step of `train_on_groups`: enough for pairs of a group among them."""
    return min(max(BATCH, OF_EACH_GROUP * n_clusters), LARGEST_BATCH)


def train_last_layers(
    network: nn.Module,
    n_layers: int,
    images: ImageSource,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    training: Training,
    run: Run,
    batch_size: int | None = None,
    **state: torch.Tensor,
) -> None:
    """Train a network's last layers, in place.

    Parameters
    ----------
    network : nn.Module
        On the device.
    n_layers : int
        How many of its layers with weights.
    images : ImageSource
    loss_of : callable
        Of features (B, M) and the numbers of their images (B,), a scalar.
    training : Training
    run : Run
    batch_size : int, optional
        Images a step; by default as ``training`` says.
    **state
        What the loss changes beside the layers, see `Run.rounds`.

    Notes
    -----
    Cost of an epoch: these layers forward and back; where the activations below them do not fit into memory, or the
    network cannot be cut, the whole network.
    """
    parts = cut(network_of(network), n_layers, images.shape)
    activations = activations_below(parts, images, run.runtime, run.progress)
    top: nn.Module = network if activations is None else parts.top
    for weight in parts.tuned:
        weight.requires_grad_(True)
    wrapped, optimizer = run.runtime.setup(top, training.make_optimizer(parts.tuned))
    wrapped.eval()  # batch norm and dropout as in the forward pass that gave the features

    def loss_of_batch(batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return loss_of(wrapped(batch), indices)

    for epoch in run.rounds("fine-tuning", training.n_epochs, top=top, optimizer=optimizer.optimizer, **state):
        key = ("fine-tuning", epoch)
        loss = train_epoch(activations or images, loss_of_batch, optimizer, training, run, key, batch_size=batch_size)
        run.record(loss=loss)
    network.requires_grad_(False)


def train_on_groups(
    network: nn.Module, n_layers: int, images: ImageSource, features: torch.Tensor, labels: torch.Tensor, run: Run
) -> None:
    """`train_last_layers` so that images of a group come closer than those of others.

    Parameters
    ----------
    network, n_layers, images, run
        See there.
    features : torch.Tensor of shape (N, M)
        Of the network as it is; angles are seen from their mean.
    labels : torch.Tensor of shape (N,), int64
        Groups.
    """
    device = run.runtime.device
    mean = normalize(features).mean(0).to(device)

    def loss_of(features: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        rows = normalize(normalize(features.float()) - mean)
        return hardest_triplets(rows, labels[indices].to(device))

    train_last_layers(network, n_layers, images, loss_of, GROUP_TRAINING, run, batch_size_for(int(labels.max()) + 1))


def hardest_triplets(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean of max(0, margin + cosine with the likest of other groups − cosine with the unlikest of the own).

    Parameters
    ----------
    rows : torch.Tensor of shape (B, D)
        Of length 1.
    labels : torch.Tensor of shape (B,)

    Returns
    -------
    torch.Tensor of shape ()
        0 where no two rows share a group.
    """
    cosines, same = rows @ rows.T, labels[:, None] == labels
    pairs = same & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    own = cosines.masked_fill(~pairs, 2).min(1).values
    others = cosines.masked_fill(same, -2).max(1).values
    losses = (MARGIN + others - own).clamp_min(0)[pairs.any(1)]
    return losses.mean() if len(losses) else rows.sum() * 0
