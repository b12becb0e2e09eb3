"""The networks: `torch.nn.Module` objects and how they are built, nothing about data or training."""

from asterism.networks.autoencoder import AutoEncoderNetwork
from asterism.networks.backbones import Backbone, PretrainedNetwork
from asterism.networks.fcae import FullyConvolutionalAutoEncoder, fcae_blocks
from asterism.networks.stacked import StackedAutoEncoderNetwork

__all__ = [
    "AutoEncoderNetwork",
    "Backbone",
    "FullyConvolutionalAutoEncoder",
    "PretrainedNetwork",
    "StackedAutoEncoderNetwork",
    "fcae_blocks",
]
