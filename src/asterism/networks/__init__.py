"""The networks: `torch.nn.Module` objects and how they are built, nothing about data or training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
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

# Looked up when they are first used: to list networks must not wait for torch.
__getattr__ = lazy_names(
    __name__,
    {
        "AutoEncoderNetwork": "asterism.networks.autoencoder",
        "Backbone": "asterism.networks.backbones",
        "PretrainedNetwork": "asterism.networks.backbones",
        "FullyConvolutionalAutoEncoder": "asterism.networks.fcae",
        "fcae_blocks": "asterism.networks.fcae",
        "StackedAutoEncoderNetwork": "asterism.networks.stacked",
    },
)
