"""`ConvNet`: which network a method trains from scratch, as parameters."""

from __future__ import annotations

import torch

from asterism.errors import InputError
from asterism.images import ImageSource
from asterism.networks.alexnet_vgg import ConvolutionalBody, alexnet_layers, vgg16_layers
from asterism.networks.initialise import build, gaussian_weights
from asterism.networks.residual import ResidualBody
from asterism.networks.torchvision_net import TorchvisionBody
from asterism.parameters import Interval, Parameters, parameter
from asterism.parameters.constraints import FRACTION_BELOW_1, POSITIVE_INT

SMALL_RESNET = "small-resnet"
_OWN = {
    "alexnet": ("width", "n_features", "dropout"),
    "vgg16": ("width", "n_features", "dropout"),
    SMALL_RESNET: ("width",),
}
TrainedBody = ConvolutionalBody | ResidualBody | TorchvisionBody
MEASURED = 4096  # images that the mean and deviation of the channels are taken from


class ConvNet(Parameters, kw_only=False):
    """A convolutional network to be trained from scratch."""

    architecture: str = parameter(str, default="alexnet")
    """``"alexnet"`` or ``"vgg16"``, both with batch norm and for images of any size (small ones lose strides and
    poolings, not layers); ``"small-resnet"``, which a processor trains in minutes (`ResidualBody`); or the name of a
    torchvision network, ``"resnet18"`` say, without its weights."""
    sobel: bool = parameter(bool, default=True)
    """Show the network edges instead of colours (DeepCluster §3.4), by a fixed layer inside it. Not for vectors."""
    width: float = parameter(Interval(float, 0, 16, closed="right"), default=1.0)
    """Scales the numbers of filters, and of units of AlexNet and VGG: 0.25 is for a laptop. The small residual network
    has 32, 64 and 128 filters, times ``width``."""
    n_features: int | None = parameter(POSITIVE_INT, default=None)
    """Units of fc6 and fc7; by default 4096 · ``width``."""
    dropout: float = parameter(FRACTION_BELOW_1, default=0.5)
    """In the fully connected layers of AlexNet and VGG; vectors have none."""

    def construct(self, shape: tuple[int, int, int]) -> TrainedBody:
        """The network for images of a shape (C, H, W); its weights are torch's business, see `drawn`."""
        _, height, width = shape
        vectors = height == width == 1
        n_features = self.n_features or max(1, round(4096 * self.width))
        edges = self.sobel and not vectors
        if self.architecture in ("alexnet", "vgg16") or vectors:
            # one dropout in VGG, two in AlexNet (docs/papers/deepcluster.md)
            first = self.dropout if self.architecture != "vgg16" else 0.0
            layers_of = vgg16_layers if self.architecture == "vgg16" else alexnet_layers
            layers = [] if vectors else layers_of(height, width, self.width)
            dropout = (0.0, 0.0) if vectors else (first, self.dropout)
            return ConvolutionalBody(shape, layers, edges=edges, n_features=n_features, dropout=dropout)
        usual, own = ConvNet(), _OWN.get(self.architecture, ())
        for name in ("width", "n_features", "dropout"):
            if name not in own and getattr(self, name) != getattr(usual, name):
                takers = " and ".join(one for one, names in _OWN.items() if name in names)
                raise InputError(f"network.{name} is for {takers}; {self.architecture!r} has it fixed: leave it out")
        if self.architecture == SMALL_RESNET:
            return ResidualBody(shape, edges=edges, width=self.width)
        return TorchvisionBody(self.architecture, shape, edges=edges)

    def drawn(self, shape: tuple[int, int, int], generator: torch.Generator) -> TrainedBody:
        """The network with weights as DeepCluster draws them (`gaussian_weights`)."""
        return build(lambda: self.construct(shape), generator, gaussian_weights)

    def drawn_for(self, images: ImageSource, generator: torch.Generator) -> TrainedBody:
        """The same, with the images' own mean and deviation in its front."""
        body = self.drawn(images.shape, generator)
        spread = torch.linspace(0, len(images) - 1, min(MEASURED, len(images))).long()
        body.front.measure(images.batch(spread))
        return body
