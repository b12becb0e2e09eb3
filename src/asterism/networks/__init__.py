"""The networks: `torch.nn.Module` objects and how they are built, nothing about data or training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.networks.autoencoder import AutoEncoderNetwork
    from asterism.networks.backbones import Backbone, PretrainedNetwork
    from asterism.networks.fcae import FullyConvolutionalAutoEncoder, fcae_blocks
    from asterism.networks.stacked import StackedAutoEncoderNetwork

# Looked up when they are first used: to list networks must not wait for torch.
__getattr__, __all__ = lazy_names(
    __name__,
    {
        "autoencoder": ("AutoEncoderNetwork",),
        "backbones": ("Backbone", "PretrainedNetwork"),
        "fcae": ("FullyConvolutionalAutoEncoder", "fcae_blocks"),
        "stacked": ("StackedAutoEncoderNetwork",),
    },
)
