"""Auto-encoders as scikit-learn transformers: `FCAE` (DBC's stage I) and `SAE` (DEC's stacked auto-encoder).

``make_pipeline(FCAE(), KMeans(10)).fit(X)`` is the paper's FCAE-KMS in scikit-learn's words.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from asterism.estimator import ImageEstimator
from asterism.images import Augmentation, ImageSource, RandomTransform
from asterism.images.augment import AUGMENTATIONS
from asterism.networks import AutoEncoderNetwork, FullyConvolutionalAutoEncoder, StackedAutoEncoderNetwork
from asterism.networks.fcae import FEATURE_LAYERS, UNPOOLINGS
from asterism.networks.initialise import build, normal_weights, uniform_weights
from asterism.networks.stacked import DEC_WIDTHS
from asterism.parameters import Each, attribute, parameter
from asterism.parameters.constraints import FRACTION_ABOVE_0, FRACTION_BELOW_1, POSITIVE, POSITIVE_INT
from asterism.runtime import usual_torch
from asterism.training import Run, Training
from asterism.training.autoencoder import pixel_variance, pretrain_layers, train_autoencoder

N_EXAMPLES = 16  # images whose reconstructions are kept for the page
N_LOOKED_INTO = 3  # of them, with every layer's output, as in Fig. 4 of DBC

# The paper is silent on optimiser, rate, epochs and batch. Plain SGD gave features that cluster far better than Adam's
# at 1e-3 (USPS, k-means after 10 epochs: ACC .55 against .38), although both reconstruct well; docs/methods/dbc.md has
# the trials. The loss is a mean over values, so that the rate fits every image size.
FCAE_TRAINING = Training(n_epochs=20, batch_size=256, optimizer="sgd", lr=0.5, max_steps=48, max_grad_norm=1.0)
# How Adam goes on where that leaves too much (`FCAE.max_unexplained`): for few images, whose epochs have few steps, and
# large ones, on which SGD's rate does not learn at all; docs/methods/dbc.md.
FCAE_MORE = {"optimizer": "adam", "lr": 0.001}
N_MEASURED = 4096  # images that tell the largest pixel
FCAE_MORE_EPOCHS = 5  # times ``training.n_epochs`` at most
# DEC §4.3: SGD at 0.1 for 50 000 iterations a layer and 100 000 end to end, 183 and 366 epochs of MNIST, from weights
# N(0, 0.01). Ours: Adam in a tenth of that, from torch's U(±1/√inputs), and a mean as the loss (docs/methods/dbc.md).
SAE_TRAINING = Training(n_epochs=40, batch_size=256, optimizer="adam", lr=0.001)
SAE_LAYER_TRAINING = Training(n_epochs=10, batch_size=256, optimizer="adam", lr=0.001)


class AutoEncoder(ImageEstimator):
    """Base of the auto-encoder transformers: train a network to reconstruct images, keep its features."""

    training: Training | None = attribute()
    augmentation: RandomTransform | str | None = attribute()

    def _build(self, shape: tuple[int, int, int]) -> AutoEncoderNetwork:
        raise NotImplementedError

    def drawn(self, shape: tuple[int, int, int], generator: torch.Generator | None = None) -> AutoEncoderNetwork:
        """The network for images of a shape (C, H, W), its weights drawn; without a generator others will be loaded."""
        return build(lambda: self._build(shape), generator or torch.Generator().manual_seed(0), self._draw)

    def _draw(self, layer: nn.Module, generator: torch.Generator) -> None:
        uniform_weights(layer, generator)

    def train_network(self, images: ImageSource, run: Run, share: float = 1.0) -> AutoEncoderNetwork:
        """Draw a network and train it.

        Parameters
        ----------
        images : ImageSource
        run : Run
        share : float, default=1.0
            Part of the epochs to train: 1 is trained, 0.5 half-trained, 0 random.

        Returns
        -------
        AutoEncoderNetwork
            On the run's device.
        """
        network = run.runtime.place(self.drawn(images.shape, run.generator("weights")))
        self._prepare(network, images, run, share)
        part = _part(self.resolved("training"), share)
        train_autoencoder(network, images, part, run, augmentation=resolve_augmentation(self))
        if share == 1.0:
            self._train_on(network, images, part, run)
        return network

    def _prepare(self, network: AutoEncoderNetwork, images: ImageSource, run: Run, share: float) -> None:
        """What comes before the training from the first layer to the last."""

    def _train_on(self, network: AutoEncoderNetwork, images: ImageSource, training: Training, run: Run) -> None:
        """Where the training was not enough."""

    def _fit_images(self, images: ImageSource, run: Run) -> None:
        self.network_ = self.train_network(images, run)
        self.examples_ = reconstruction_examples(self.network_, images, run)
        self.network_.to("cpu").eval()
        self.encoder_ = self.network_.encoder

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Module:
        self.network_ = self.drawn(shape)
        return self.network_.encoder

    def _fitted_state(self) -> dict[str, Any]:
        return {**super()._fitted_state(), "network": self.network_.state_dict()}

    def _restore_state(self, state: dict[str, Any]) -> None:
        super()._restore_state(state)
        self.network_.load_state_dict(state["network"])
        self.network_.eval()

    @usual_torch()
    @torch.no_grad()
    def reconstruct(self, X: Any, *, layout: str | None = None) -> np.ndarray:
        """Reconstructions of images.

        Returns
        -------
        ndarray of shape (N, C, H, W), float32
            In the units of the network's input: uint8 images come back in [0, 1].
        """
        self._check_fitted()
        images = self._open(X, False, layout)
        parts = [self.network_(images.batch(slice(i, i + 256))) for i in range(0, len(images), 256)]
        return torch.cat(parts).numpy()

    @usual_torch()
    @torch.no_grad()
    def score(self, X: Any, y: Any = None, *, layout: str | None = None) -> float:
        """Minus the mean squared error of the reconstructions, a mean over images and pixels: higher is better.

        Parameters
        ----------
        X : see `transform`
        y : ignored
        layout : optional
            See `fit`.
        """
        self._check_fitted()
        images, total = self._open(X, False, layout), 0.0
        for start in range(0, len(images), 256):
            batch = images.batch(slice(start, start + 256))
            total += float((self.network_(batch) - batch).square().mean(dtype=torch.float64)) * len(batch)
        return -total / len(images)


class FCAE(AutoEncoder):
    """Fully convolutional auto-encoder (Li et al. 2017, §3.1), trained end to end.

    Attributes
    ----------
    network_ : FullyConvolutionalAutoEncoder
    encoder_ : nn.Module
        Its first half: what `transform` computes.
    history_ : list of dict
        Loss of each epoch.
    """

    n_features: int | None = parameter(POSITIVE_INT, default=None, kw_only=False)
    """D, width of the feature layer; by default Table 2's for the image size (120, 160, 320), see `fcae_blocks`."""
    training: Training | None = parameter(Training, default=None, when_none=FCAE_TRAINING)
    """From the first layer to the last; the paper is silent."""
    augmentation: RandomTransform | str | None = parameter(AUGMENTATIONS, default=None, when_none=Augmentation())
    """Small random shifts and rotations; ``"none"`` as in the paper. `DBC` has none of its own accord where a group has
    fewer than 100 images on average."""
    max_unexplained: float = parameter(FRACTION_ABOVE_0, default=0.25)
    """Ours: the share of the pixels' variance that reconstructions may miss after ``training``. Where they miss more,
    as those of few or large images do, Adam at .001 goes on, or begins anew where they are worse than the mean image,
    until they miss half of this share, or no longer gain, for at most five times as many epochs; 1 never goes on.
    Vectors (1×1 images) are left as they are."""
    unpooling: str = parameter(set(UNPOOLINGS), default="switches")
    """Where the decoder's un-pooling puts a value: back where the max-pooling took it from, as inferred of the paper,
    to all four places of its window, or to the first of them. The switches tell the decoder much of the image past the
    features; the others, ours, leave it the features alone (docs/papers/dbc.md)."""
    feature_layer: str = parameter(set(FEATURE_LAYERS), default="relu")
    """What follows the feature layer's convolution: batch norm and ReLU, batch norm alone, or nothing."""

    def _build(self, shape: tuple[int, int, int]) -> AutoEncoderNetwork:
        return FullyConvolutionalAutoEncoder(shape, self.n_features, self.unpooling, self.feature_layer)

    def _prepare(self, network: AutoEncoderNetwork, images: ImageSource, run: Run, share: float) -> None:
        chosen = torch.linspace(0, len(images) - 1, min(N_MEASURED, len(images))).long()
        largest = float((images.batch(chosen) - images.ground).abs().max())
        cast(FullyConvolutionalAutoEncoder, network).measure(images.ground, largest)

    def _train_on(self, network: AutoEncoderNetwork, images: ImageSource, training: Training, run: Run) -> None:
        losses = [entry["loss"] for entry in run.history if entry["stage"] == "autoencoder"]
        variance = network.loss_scale * pixel_variance(images)
        most = self.max_unexplained * variance
        if not losses or losses[-1] <= most or self.max_unexplained == 1 or images.shape[1:] == (1, 1):
            return
        if losses[-1] > variance:  # not even the mean image was learnt: nothing to go on from
            network.load_state_dict(self.drawn(images.shape, run.generator("weights")).state_dict())
            self._prepare(network, images, run, 1.0)
        more = clone(training).set_params(n_epochs=FCAE_MORE_EPOCHS * training.n_epochs, **FCAE_MORE)
        changed, stage = resolve_augmentation(self), "autoencoder-adam"
        train_autoencoder(network, images, more, run, augmentation=changed, stage=stage, target=most / 2)


class SAE(AutoEncoder):
    """Stacked auto-encoder of DEC (Xie et al. 2016, §3.2): greedy denoising layers, then training end to end."""

    widths: tuple[int, ...] = parameter(Each(POSITIVE_INT), default=DEC_WIDTHS, kw_only=False)
    """Units of the encoder's layers."""
    dropout: float = parameter(FRACTION_BELOW_1, default=0.2)
    """In the layer-wise pre-training."""
    weight_std: float | None = parameter(POSITIVE, default=None)
    """Standard deviation of the first weights, drawn around 0 with biases 0: 0.01 in the paper (§4.3). By default they
    are torch's, U(±1/√inputs)."""
    layer_training: Training | None = parameter(Training, default=None, when_none=SAE_LAYER_TRAINING)
    """Of each layer; ``n_epochs=0`` skips the layer-wise pre-training."""
    training: Training | None = parameter(Training, default=None, when_none=SAE_TRAINING)
    """From the first layer to the last."""
    augmentation: RandomTransform | str | None = parameter(AUGMENTATIONS, default=None, when_none="none")
    """Of the images; none in the paper."""

    def _build(self, shape: tuple[int, int, int]) -> AutoEncoderNetwork:
        return StackedAutoEncoderNetwork(shape, tuple(self.widths))

    def _draw(self, layer: nn.Module, generator: torch.Generator) -> None:
        if self.weight_std is None:
            super()._draw(layer, generator)
        else:
            normal_weights(layer, generator, self.weight_std)

    def _prepare(self, network: AutoEncoderNetwork, images: ImageSource, run: Run, share: float) -> None:
        mean_square = torch.stack(
            [images.batch(slice(i, i + 4096)).square().mean((1, 2, 3)).sum() for i in range(0, len(images), 4096)]
        ).sum() / len(images)
        stacked = cast(StackedAutoEncoderNetwork, network)
        stacked.encoder.input_scale.copy_(mean_square.clamp_min(1e-12).rsqrt())
        layers = _part(self.resolved("layer_training"), share)
        if layers.n_epochs:
            pretrain_layers(stacked, images, layers, run, dropout=self.dropout)


def _part(training: Training, share: float) -> Training:
    """The same training for a part of its epochs."""
    return clone(training).set_params(n_epochs=round(training.n_epochs * share))


def resolve_augmentation(estimator: Any) -> RandomTransform | None:
    """The augmentation that an estimator's parameter means: an object, the class default, or none."""
    found = estimator.resolved("augmentation")
    return None if found == "none" else found


@torch.no_grad()
def reconstruction_examples(network: AutoEncoderNetwork, images: ImageSource, run: Run) -> dict[str, torch.Tensor]:
    """A few images, spread over the source, and what the auto-encoder makes of them: (16, C, H, W) each.

    Of the first three of them also what `AutoEncoderNetwork.look_inside` shows.
    """
    chosen = torch.linspace(0, len(images) - 1, min(N_EXAMPLES, len(images))).long()
    batch = images.batch(chosen, run.runtime.device)
    training = network.training
    network.eval()
    found = {"originals": batch, "reconstructions": network(batch)}
    found |= network.look_inside(batch[:N_LOOKED_INTO])
    network.train(training)
    return {name: value.detach().cpu().contiguous() for name, value in found.items()}
