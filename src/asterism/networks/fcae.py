"""The fully convolutional auto-encoder (FCAE) of Li, Qiao, Zhang and Xi, "Discriminatively boosted image clustering
with fully convolutional auto-encoders", 2017, §3.1 and Table 2.

Encoder: (convolution, batch norm, ReLU, max-pooling) × n, then one convolution as large as the map that is left, so
that the feature layer is 1×1. The decoder is its mirror: transposed convolutions, and un-pooling that puts each value
back where the paired max-pooling took it from (its *switches*). Other un-poolings need no switches, so that all that
the decoder knows of an image stands in its features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from asterism.networks.autoencoder import AutoEncoderNetwork, FeatureEncoder

# Of a pooling: where its values came from (B, C, h/2, w/2), and the size (B, C, h, w) before it.
Switches = tuple[torch.Tensor, torch.Size]


@dataclass(frozen=True)
class Block:
    """One convolution: kernel (height, width), padding, filters, and whether a 2×2 max-pooling follows."""

    kernel: tuple[int, int]
    padding: int
    channels: int
    pool: bool

    def step(self, convolve: nn.Module, normalise: nn.Module, *, ceil_mode: bool, rectify: bool) -> nn.Sequential:
        """Its convolution, batch norm, pooling and ReLU as one module.

        ReLU is monotone, so that it may follow the pooling instead of preceding it: a quarter of the work.
        """
        pool = [nn.MaxPool2d(2, ceil_mode=ceil_mode)] if self.pool else []
        return nn.Sequential(convolve, normalise, *pool, *([nn.ReLU()] if rectify else []))

    def after(self, side: int, axis: int, *, ceil_mode: bool = False) -> int:
        """Height (axis 0) or width of the maps of images with such a side."""
        side = side - self.kernel[axis] + 1 + 2 * self.padding
        return side if not self.pool else -(-side // 2) if ceil_mode else side // 2


def keep_sizes(convolutions: Iterable[nn.Module], blocks: Iterable[Block]) -> None:
    """Give convolutions as much padding as keeps the size of their maps, in place.

    Ours: without any, the maps of images that are larger than those learnt from lie beside what they show.
    """
    for convolve, block in zip(convolutions, blocks, strict=True):
        convolve.padding = tuple(side // 2 for side in block.kernel)  # type: ignore[assignment]


def _pooled(kernel: int, padding: int, channels: int) -> Block:
    return Block((kernel, kernel), padding, channels, pool=True)


UNPOOLINGS = ("switches", "repeat", "corner")
FEATURE_LAYERS = ("relu", "bn", "linear")

# Table 2, by image size: the blocks before the feature layer and the number of features.
TABLE_2: dict[tuple[int, int], tuple[list[Block], int]] = {
    (28, 28): ([_pooled(5, 0, 6), _pooled(5, 0, 16)], 120),  # MNIST
    # The text says padding 1 for USPS; the 4×4 feature layer must have none to give 1×1 (docs/papers/dbc.md).
    (16, 16): ([_pooled(3, 1, 20), _pooled(3, 1, 20)], 160),  # USPS
    (128, 128): ([_pooled(9, 0, 20), _pooled(5, 0, 20), _pooled(5, 0, 20), _pooled(5, 0, 40)], 320),  # COIL
}


def fcae_blocks(height: int, width: int, n_features: int | None = None) -> list[Block]:
    """The encoder for an image size: Table 2 where it has the size, else a rule that continues it.

    Parameters
    ----------
    height, width : int
        Image size in pixels.
    n_features : int, optional
        Filters of the feature layer; by default Table 2's, or 160 up to 24 pixels and 320 above.

    Returns
    -------
    list of Block
        The last one is the feature layer, whose kernel covers the whole remaining map.

    Notes
    -----
    The rule (ours, the paper gives only three sizes): while the smaller side is 8 or more, a convolution and a
    pooling. Kernels shrink with the map as in Table 2: 9 from 96 pixels, 5 from 28, else 3 with padding 1. Filters:
    20 a layer, 40 from the fourth on. Vectors (1×1 images) get two 1×1 convolutions: a one-hidden-layer perceptron.
    """
    if (height, width) in TABLE_2:
        blocks, default = TABLE_2[height, width]
        for block in blocks:
            height, width = block.after(height, 0), block.after(width, 1)
    else:
        blocks, default = [], 160 if max(height, width) <= 24 else 320
        if height == width == 1:
            blocks.append(Block((1, 1), 0, 64, pool=False))
            default = 10
        while min(height, width) >= 8:
            side = min(height, width)
            kernel, padding = (9, 0) if side >= 96 else (5, 0) if side >= 28 else (3, 1)
            blocks.append(_pooled(kernel, padding, 20 if len(blocks) < 3 else 40))
            height, width = blocks[-1].after(height, 0), blocks[-1].after(width, 1)
    return [*blocks, Block((height, width), 0, n_features or default, pool=False)]


class InputNormalisation(nn.Module):
    """Input normalisation: pixels (B, C, H, W) as (x − background level) · scale.

    Ours: it changes nothing of light things on black in [0, 1], the paper's sets. Ink on white paper, and floats of
    other units, are brought to that.
    """

    ground: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ground", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def reset_buffers(self) -> None:
        """Pixels as they are."""
        self.ground.zero_()
        self.scale.fill_(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Moved and scaled pixels."""
        return (images - self.ground) * self.scale


class Encoder(FeatureEncoder):
    """f_θ: images (B, C, H, W) → features (B, D). Batch norm and ReLU after every convolution.

    The paper does not name the activation. ReLU after each batch norm, the feature layer too, fits its Fig. 4
    ("the activations in the feature layer are very sparse") and Fig. 6 (first scores near 1/k) (docs/papers/dbc.md).
    With ``feature_layer`` "bn" the features have no ReLU, with "linear" no batch norm either.
    """

    def __init__(self, in_channels: int, blocks: list[Block], feature_layer: str = "relu") -> None:
        super().__init__()
        widths = [in_channels, *(block.channels for block in blocks)]
        self.blocks = blocks
        self.feature_layer = feature_layer
        self.convolutions = nn.ModuleList(
            nn.Conv2d(widths[i], block.channels, block.kernel, padding=block.padding) for i, block in enumerate(blocks)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(block.channels) for block in blocks)
        if feature_layer == "linear":
            self.norms[-1] = nn.Identity()
        self.seen = InputNormalisation()
        if blocks[-1].kernel != (1, 1):  # else of vectors, which have no maps
            self.layer_names = tuple(f"conv{i}" for i in range(1, len(blocks)))

    def layers(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[Switches]]:
        """Output (B, channels, h, w) of each block, the features (B, D, 1, 1) last, and the switches of each pooling.

        What `steps` does one after the other; those tell no switches.
        """
        maps, found, switches = self.seen(images), [], []
        for block, convolve, normalise in zip(self.blocks, self.convolutions, self.norms, strict=True):
            maps = normalise(convolve(maps))
            if block.pool:
                before = maps.shape
                maps, where = F.max_pool2d(maps, 2, return_indices=True)
                switches.append((where, before))
            if block is not self.blocks[-1] or self.feature_layer == "relu":
                maps = F.relu(maps)
            found.append(maps)
        return found, switches

    def steps(self) -> dict[str, nn.Module]:
        """Input normalisation, the blocks, ``features`` the last of them, and the maps of that one, 1×1, as vectors."""
        found: dict[str, nn.Module] = {"seen": self.seen}
        names = [*(f"conv{i}" for i in range(1, len(self.blocks))), "features"]
        for name, block, convolve, normalise in zip(names, self.blocks, self.convolutions, self.norms, strict=True):
            rectify = name != "features" or self.feature_layer == "relu"
            found[name] = block.step(convolve, normalise, ceil_mode=False, rectify=rectify)
        return {**found, "flatten": nn.Flatten()}

    def open_to_any_size(self) -> None:
        """See `keep_sizes`."""
        keep_sizes(self.convolutions[:-1], self.blocks[:-1])

    def feature_layers(self) -> list[nn.Module]:
        """The last convolution, and its batch norm if it has one."""
        norm = self.norms[-1]
        return [self.convolutions[-1]] if isinstance(norm, nn.Identity) else [self.convolutions[-1], norm]


class Decoder(nn.Module):
    """g_θ: features (B, D) and switches → images (B, C, H, W), the mirror of an `Encoder`.

    Batch norm and ReLU after every transposed convolution but the last, whose output is linear (the paper: batch norm
    "except for the last output layer"; un-pooling with switches after Noh et al., the paper's [29]). Un-pooling by
    "repeat" or "corner" takes nothing of the switches but the maps' sizes.
    """

    def __init__(self, out_channels: int, blocks: list[Block], unpooling: str = "switches") -> None:
        super().__init__()
        widths = [out_channels, *(block.channels for block in blocks)]
        self.blocks = blocks
        self.unpooling = unpooling
        mirror = list(reversed(range(len(blocks))))
        self.deconvolutions = nn.ModuleList(
            nn.ConvTranspose2d(widths[i + 1], widths[i], blocks[i].kernel, padding=blocks[i].padding) for i in mirror
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(widths[i]) for i in mirror[:-1])

    def forward(self, features: torch.Tensor, switches: list[Switches]) -> list[torch.Tensor]:
        """Output (B, channels, h, w) of each transposed convolution, from features (B, D) and the encoder's switches;
        the last is the images (B, C, H, W)."""
        maps = features[:, :, None, None]  # (B, D, 1, 1)
        found, remaining, last = [], list(switches), len(self.deconvolutions) - 1
        for i, deconvolve in enumerate(self.deconvolutions):
            if self.blocks[last - i].pool:
                where, before = remaining.pop()
                maps = unpool(maps, where, before, self.unpooling)
            maps = deconvolve(maps)
            if i < last:
                maps = F.relu(self.norms[i](maps), inplace=True)
            found.append(maps)
        return found


def unpool(maps: torch.Tensor, where: torch.Tensor, before: torch.Size, unpooling: str) -> torch.Tensor:
    """Undo a 2×2 max-pooling.

    Parameters
    ----------
    maps : torch.Tensor of shape (B, C, h, w)
    where : int64 torch.Tensor of shape (B, C, h, w)
        The switches: of each maximum, its place in the H×W map before the pooling.
    before : torch.Size
        (B, C, H, W), the size before the pooling; an odd H or W has one row or column that was not pooled.
    unpooling : {"switches", "repeat", "corner"}
        Where a value goes: back to its own place, to all four places of its window, or to the first of them. The other
        places get 0.

    Returns
    -------
    torch.Tensor of shape (B, C, H, W)
    """
    if unpooling == "switches":
        if torch.are_deterministic_algorithms_enabled():  # torch's own is refused then, as places might be equal
            flat = maps.new_zeros((*before[:2], before[2] * before[3]))
            return flat.scatter(2, where.flatten(2), maps.flatten(2)).view(before)
        return F.max_unpool2d(maps, where, [2, 2], output_size=before)
    height, width = maps.shape[2:]
    if unpooling == "repeat":
        maps = F.interpolate(maps, scale_factor=2)
        return F.pad(maps, (0, before[3] - 2 * width, 0, before[2] - 2 * height))
    corners = maps.new_zeros(before)
    corners[:, :, : 2 * height : 2, : 2 * width : 2] = maps
    return corners


class FullyConvolutionalAutoEncoder(AutoEncoderNetwork):
    """Encoder and decoder together.

    Parameters
    ----------
    shape : tuple of int
        (C, H, W) of the images.
    n_features : int, optional
        D, see `fcae_blocks`.
    unpooling : {"switches", "repeat", "corner"}, default="switches"
        See `unpool`.
    feature_layer : {"relu", "bn", "linear"}, default="relu"
        What follows the feature layer's convolution: batch norm and ReLU, batch norm, or nothing.
    """

    encoder: Encoder

    def __init__(
        self,
        shape: tuple[int, int, int],
        n_features: int | None = None,
        unpooling: str = "switches",
        feature_layer: str = "relu",
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.blocks = fcae_blocks(height, width, n_features)
        self.encoder = Encoder(channels, self.blocks, feature_layer)
        self.decoder = Decoder(channels, self.blocks, unpooling)

    @property
    def n_features(self) -> int:
        """D, the width of the feature layer."""
        return self.blocks[-1].channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """x̂ = g(f(x)), (B, C, H, W)."""
        maps, switches = self.encoder.layers(images)
        return self.decoder(maps[-1].flatten(1), switches)[-1] / self.encoder.seen.scale + self.encoder.seen.ground

    def measure(self, ground: float, largest: float) -> None:
        """Set the input normalisation: the background level and the largest distance from it; about 1 is kept."""
        self.encoder.seen.ground.fill_(ground)
        self.encoder.seen.scale.fill_(1.0 if 0.5 <= largest <= 1 or largest == 0 else 1 / largest)

    @property
    def loss_scale(self) -> float:
        """What the squared error is multiplied by, to be one of pixels as they are seen."""
        return float(self.encoder.seen.scale) ** 2

    def inner_activations(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Output (B, channels, h, w) of every layer, as the paper's Fig. 4 draws them, in order.

        ``conv1`` …, ``features`` (B, D, 1, 1), ``deconv1`` … without the last, which is the reconstruction.
        """
        (*before, features), switches = self.encoder.layers(images)
        *after, _ = self.decoder(features.flatten(1), switches)
        found = {f"conv{i}": maps for i, maps in enumerate(before, 1)}
        return {**found, "features": features, **{f"deconv{i}": maps for i, maps in enumerate(after, 1)}}

    def look_inside(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """What DBC's Figs. 4 and 5 show: ``inner_00_conv1`` …, each layer's output for a few images, and
        ``filters_first`` and ``filters_last``, (filters, C, k, k); nothing of vectors."""
        if not self.encoder.layer_names:
            return {}
        inner = enumerate(self.inner_activations(images).items())
        return {
            **{f"inner_{i:02d}_{name}": maps for i, (name, maps) in inner},
            "filters_first": cast(nn.Conv2d, self.encoder.convolutions[0]).weight,
            "filters_last": cast(nn.ConvTranspose2d, self.decoder.deconvolutions[-1]).weight,
        }
