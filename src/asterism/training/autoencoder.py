"""Training of auto-encoders: end to end (FCAE), and layer by layer before (stacked auto-encoders)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from asterism.features import extract
from asterism.images import ImageSource, RandomTransform
from asterism.images.pack import memory_budget
from asterism.networks.autoencoder import AutoEncoderNetwork
from asterism.networks.stacked import StackedAutoEncoderNetwork
from asterism.training.epoch import Training, train_epoch
from asterism.training.run import Run

RESTS, REST_EPOCHS = 0.95, 20  # a loss rests where so many epochs have left so much of the least before them
N_VARIANCE = 4096  # images that tell the variance of all


def euclidean_loss(images: torch.Tensor, reconstructions: torch.Tensor) -> torch.Tensor:
    """‖x − x̂‖² (DBC, Algorithm 1, M1), as the mean over a batch's images and their values.

    The paper sums; the mean only rescales the learning rate, and makes one rate fit images of every size.
    """
    return (images - reconstructions).square().mean()


def pixel_variance(images: ImageSource) -> float:
    """Mean over the pixels of their variance over the images: the loss of always giving the mean image.

    Estimated from 4 096 images, spread over the set.
    """
    chosen = torch.linspace(0, len(images) - 1, min(N_VARIANCE, len(images))).long()
    return float(images.batch(chosen).var(0, correction=0).mean())


def train_autoencoder(
    network: AutoEncoderNetwork,
    images: ImageSource,
    training: Training,
    run: Run,
    *,
    augmentation: RandomTransform | None = None,
    stage: str = "autoencoder",
    target: float | None = None,
) -> None:
    """Minimise the Euclidean loss by back-propagation through encoder and decoder (DBC, Algorithm 1, line 1).

    Parameters
    ----------
    network : nn.Module
        Images (B, C, H, W) → reconstructions of the same shape; on the runtime's device; changed in place.
    images : ImageSource
    training : Training
    run : Run
    augmentation : RandomTransform, optional
        The changed image is both input and target.
    stage : str
        Name in the history and of the checkpoint.
    target : float, optional
        Training ends early once the loss is below this, or when twenty epochs have lowered it by less than 5 %.
    """
    network.train()
    wrapped, optimizer = run.runtime.setup(network, training.make_optimizer(network.parameters()))
    images = images.resident(run.runtime)

    loss_scale = network.loss_scale

    def loss_of(batch: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return loss_scale * euclidean_loss(batch, wrapped(batch))

    losses = torch.zeros(training.n_epochs)
    state: dict[str, Any] = {"network": network, "optimizer": optimizer.optimizer}
    for epoch in run.rounds(stage, training.n_epochs, **state, **({} if target is None else {"losses": losses})):
        losses[epoch] = loss = train_epoch(images, loss_of, optimizer, training, run, (stage, epoch), augmentation)
        run.record(loss=loss)
        if target is not None and (loss <= target or _rests(losses[: epoch + 1])):
            run.finish_stage()


def _rests(losses: torch.Tensor) -> bool:
    before, last = losses[:-REST_EPOCHS], losses[-REST_EPOCHS:]
    return len(before) > 0 and bool(last.min() > RESTS * before.min())


def pretrain_layers(
    network: StackedAutoEncoderNetwork,
    images: ImageSource,
    training: Training,
    run: Run,
    *,
    dropout: float = 0.2,
) -> None:
    """Greedy pre-training of a stacked auto-encoder, each layer a denoising auto-encoder (DEC §3.2).

    Parameters
    ----------
    network : StackedAutoEncoderNetwork
        Changed in place.
    images : ImageSource
    training : Training
        Of each layer; n_epochs epochs a layer.
    run : Run
    dropout : float, default=0.2
        Share of a layer's input and code that is set to 0 (DEC §4.3).
    """
    widths = network.widths
    for number in range(len(widths)):
        stage = f"layer-{number + 1}"
        pair = network.layer(number)
        wrapped, optimizer = run.runtime.setup(pair, training.make_optimizer(pair.parameters()))
        inputs, maps_of = _inputs_of(network, number, images, run)
        for epoch in run.rounds(stage, training.n_epochs, layer=pair, optimizer=optimizer.optimizer):
            noise = run.generator(stage, epoch, "dropout", run.runtime.rank)
            loss_of = _layer_loss(maps_of, wrapped, widths[number], dropout, noise)
            loss = train_epoch(inputs, loss_of, optimizer, training, run, (stage, epoch))
            run.record(loss=loss)


Maps = Callable[[torch.Tensor], torch.Tensor]


def _inputs_of(
    network: StackedAutoEncoderNetwork, number: int, images: ImageSource, run: Run
) -> tuple[ImageSource, Maps]:
    """What a layer is trained on, and what makes its input (B, d) of a batch of that.

    The layers below are trained, so their outputs stay as they are: computed once, and held as images of one pixel,
    where they fit into memory; else computed anew for each batch.
    """
    maps_of = partial(network.encoder.hidden, depth=number)
    if number == 0 or 4 * len(images) * network.widths[number - 1] > memory_budget():
        return images.resident(run.runtime), maps_of
    maps = extract(network, images, run.runtime, forward=maps_of)  # (N, d)
    return ImageSource(maps[:, None, None, :], images.names).resident(run.runtime), partial(torch.flatten, start_dim=1)


def _layer_loss(
    maps_of: Maps, pair: Any, width: int, dropout: float, noise: torch.Generator
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    def mask(rows: int, columns: int, device: torch.device) -> torch.Tensor:
        kept = torch.rand(rows, columns, generator=noise) >= dropout
        return (kept / (1 - dropout)).to(device)

    def loss_of(batch: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            maps = maps_of(batch)  # (B, d)
        rows, columns = maps.shape
        reconstruction = pair(maps, mask(rows, columns, maps.device), mask(rows, width, maps.device))
        return euclidean_loss(maps, reconstruction)

    return loss_of
