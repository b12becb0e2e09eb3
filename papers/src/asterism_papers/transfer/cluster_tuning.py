"""Fine-tuning a network on the clusters that were found with it, as JULE's §4.2.2 does before face verification; and
with a narrow last layer, for features of few dimensions."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from asterism.images import ImageSource
from asterism.networks.body import network_of
from asterism.networks.jule_net import UNIT_LENGTH, ConvNetwork, build_conv
from asterism.training import Run, Training, train_epoch
from asterism.training.pseudolabels import new_head

# The paper is silent on all of it; these are its settings for clustering.
TUNING = Training(n_epochs=20, batch_size=100, lr=0.01, momentum=0.9, weight_decay=5e-5)


def fine_tuned(
    encoder: nn.Module, images: ImageSource, labels: torch.Tensor, run: Run, training: Training | None = None
) -> nn.Module:
    """A copy of a network trained with a softmax layer to tell clusters, or classes, apart; without that layer.

    Parameters
    ----------
    encoder : nn.Module
        Images (B, C, H, W) → (B, D), on the run's device; left as it is.
    images : ImageSource
        N images.
    labels : torch.Tensor of shape (N,)
        Clusters, from 0.
    run : Run
        With a folder, a killed run goes on where it was.
    training : Training, optional
        Default `TUNING`.

    Returns
    -------
    nn.Module
        On the run's device, its features of any length.
    """
    training = TUNING if training is None else training
    network = copy.deepcopy(encoder)
    steps = network_of(network).steps()
    scaled = steps.pop(UNIT_LENGTH, None)  # "we remove the L2-normalization layer"
    features = network if scaled is None else nn.Sequential(*steps.values())
    resident = images.resident(run.runtime)
    with torch.no_grad():
        width = features.eval()(resident.batch(slice(0, 1), run.runtime.device)).shape[1]
    head = new_head(width, int(labels.max()) + 1, run, ("fine-tuning", 0))
    features.train()
    model, optimizer = run.runtime.setup(
        nn.Sequential(features, head), training.make_optimizer([*features.parameters(), *head.parameters()])
    )

    def loss_of(batch: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(batch), labels[indices].to(batch.device))

    state = {"network": network, "head": head, "optimizer": optimizer.optimizer}
    for t in run.rounds("fine-tuning", training.n_epochs, **state):
        run.record(loss=train_epoch(resident, loss_of, optimizer, training, run, ("fine-tuning", t)))
    return features.eval()


def narrowed(
    encoder: ConvNetwork, shape: tuple[int, int, int], n_features: int, generator: torch.Generator
) -> ConvNetwork:
    """JULE's network with a new last layer of few units in place of its own, to be fine-tuned on what it found.

    A network that is narrow from the start has to find the clusters by neighbours in few dimensions, which on a circle
    tell nothing. Here the wide one finds them, and the narrow layer lays them out. Ours: the slides' Tables 13 and 14
    do not say how their embeddings were made.

    Parameters
    ----------
    encoder : ConvNetwork
        Left as it is.
    shape : tuple of int
        (C, H, W) of its images.
    n_features : int
        Units of the new layer.
    generator : torch.Generator
        Of its first weights; on the CPU.

    Returns
    -------
    ConvNetwork
        On the CPU, its convolutions and mean image the encoder's.
    """
    network = build_conv(shape, generator, n_features)
    others = {name: value for name, value in encoder.state_dict().items() if not name.startswith("linear")}
    network.load_state_dict(others, strict=False)
    return network
