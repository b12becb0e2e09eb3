"""The networks: `torch.nn.Module` objects and how they are built, nothing about data or training.

Each is a `Body`, a chain of named steps from images to features (``body``). Trained from scratch: ``fcae``, ``stacked``
(auto-encoders, base ``autoencoder``), ``jule_net``, and what ``convnet`` chooses: ``alexnet_vgg``, ``residual``,
``torchvision_net``, behind the front of ``sobel``; ``initialise`` draws their weights. Pre-trained: ``backbones``, by
name; ``weights`` finds or fetches them, ``recommended`` lists good ones, ``zoo`` has torchvision's models, ``towers``
opens Hugging Face's and open_clip's. Without weights: ``pixels``, ``handcrafted``. ``foreign`` cuts other libraries'
networks into steps, ``freezing`` trains the last of them, ``fusing`` and ``channels`` help the forward pass.
"""

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
