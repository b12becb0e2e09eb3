"""The stacked auto-encoder of DEC (Xie, Girshick and Farhadi, ICML 2016, §4.3): d–500–500–2000–10 and its mirror."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from asterism.networks.autoencoder import AutoEncoderNetwork, FeatureEncoder

DEC_WIDTHS = (500, 500, 2000, 10)


class StackedAutoEncoderNetwork(AutoEncoderNetwork):
    """Fully connected encoder and its mirror; ReLU after every layer but the feature layer and the output.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) of the images.
    widths : tuple of int
        Units of the encoder's layers; the last is the number of features.

    Attributes
    ----------
    encoder : PerceptronEncoder
        Images (B, C, H, W) → features (B, D).
    """

    encoder: PerceptronEncoder

    def __init__(self, shape: tuple[int, int, int], widths: tuple[int, ...] = DEC_WIDTHS) -> None:
        super().__init__()
        self.shape = shape
        self.widths = widths
        sizes = [shape[0] * shape[1] * shape[2], *widths]
        self.encoder = PerceptronEncoder(sizes)
        self.decoder = nn.ModuleList(nn.Linear(b, a) for a, b in reversed(list(zip(sizes, sizes[1:], strict=False))))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Reconstructions (B, C, H, W)."""
        hidden = self.encoder(images)
        for i, layer in enumerate(self.decoder):
            hidden = layer(hidden) if i == len(self.decoder) - 1 else F.relu(layer(hidden))
        return hidden.view(-1, *self.shape) / self.encoder.input_scale

    def layer(self, number: int) -> LayerAutoEncoder:
        """Encoder layer ``number`` (from 0) and its mirror, as a denoising auto-encoder that shares their weights."""
        depth = len(self.decoder)
        return LayerAutoEncoder(self.encoder.layers[number], self.decoder[depth - 1 - number], number, depth)


class LayerAutoEncoder(nn.Module):
    """One layer as a denoising auto-encoder of its own (DEC eqs. 4–5): dropout, encode, dropout, decode."""

    def __init__(self, encode: nn.Module, decode: nn.Module, number: int, depth: int) -> None:
        super().__init__()
        self.encode, self.decode = encode, decode
        self.rectified_code = number < depth - 1  # the feature layer is linear
        self.rectified_output = number > 0  # the first layer reconstructs the image, the others rectified maps

    def forward(self, hidden: torch.Tensor, input_mask: torch.Tensor, code_mask: torch.Tensor) -> torch.Tensor:
        """Reconstruction (B, d) of what the layers below give (B, d).

        The dropout masks (B, d) and (B, width) are 0 or 1 / (share that is kept).
        """
        code = self.encode(hidden * input_mask)
        code = F.relu(code) if self.rectified_code else code
        output = self.decode(code * code_mask)
        return F.relu(output) if self.rectified_output else output


class PerceptronEncoder(FeatureEncoder):
    """Images (B, C, H, W) → features (B, D) by linear layers, ReLU between them.

    Attributes
    ----------
    input_scale : torch.Tensor
        Images are multiplied by it, so that a value's mean square is 1 (DEC §4.1: ‖x‖²/d ≈ 1); set from the
        images that the network is trained on.
    """

    input_scale: torch.Tensor

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.register_buffer("input_scale", torch.ones(()))

    def reset_buffers(self) -> None:
        """Pixels as they are."""
        self.input_scale.fill_(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, D)."""
        return self.hidden(images, len(self.layers))

    def feature_layers(self) -> list[nn.Module]:
        """The last linear layer."""
        return [self.layers[-1]]

    def hidden(self, images: torch.Tensor, depth: int) -> torch.Tensor:
        """Output (B, width) of the first ``depth`` layers; of none, the scaled pixels."""
        maps = images.flatten(1) * self.input_scale
        for i, layer in enumerate(self.layers[:depth]):
            maps = layer(maps) if i == len(self.layers) - 1 else F.relu(layer(maps))
        return maps
