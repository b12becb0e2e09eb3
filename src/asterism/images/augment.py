"""Random changes of images that keep what they show: shifts, rotations, zooms and mirror images; crops and colours.

`Crops` are what self-supervised learning on photographs uses. Every image of a batch gets draws of its own, and a whole
batch is changed by one resampling, one 3×3 matrix of colours each and one grouped convolution: no loop over images.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from asterism.parameters import Interval, Parameters, parameter
from asterism.parameters.constraints import FRACTION, FRACTION_ABOVE_0, FRACTION_BELOW_1, POSITIVE_INT

# RGB → luma and two axes of colour; hue is a rotation of the latter.
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
_JITTERED = 0.8  # probability of a change of colour, as in SimCLR and DeepCluster-v2 (docs/papers/deepcluster.md)
_BLURRED = (0.1, 2.0)  # deviations of the blur, in pixels


class RandomTransform(Parameters):
    """Base of what changes images at random, as augmentations do: called with a batch, it gives another."""

    def __call__(self, images: torch.Tensor, generator: torch.Generator, ground: float = 0.0) -> torch.Tensor:
        """Change a batch.

        Parameters
        ----------
        images : torch.Tensor of shape (B, C, H, W)
        generator : torch.Generator
            On the CPU: the draws are then the same on every device.
        ground : float, default=0.0
            Background level (`ImageSource.ground`), for what comes in from outside.

        Returns
        -------
        torch.Tensor of shape (B, C, H', W')
        """
        raise NotImplementedError


class Augmentation(RandomTransform, kw_only=False):
    """Draw a random affine change for each image of a batch.

    Notes
    -----
    The DBC paper has no augmentation. Guo et al., "Deep embedded clustering with data augmentation" (ACML 2018), use
    ±10 % and ±10° for DEC; the somewhat stronger default gave USPS ACC .80 after 60 rounds where ±10 % and ±10° gave
    .64 (docs/methods/dbc.md).
    """

    shift: float = parameter(FRACTION, default=0.15)
    """Largest shift in each direction, as a share of the image's side."""
    rotation: float = parameter(Interval(float, 0, 180), default=15.0)
    """Largest rotation, in degrees either way."""
    zoom: float = parameter(FRACTION_BELOW_1, default=0.1)
    """Largest relative change of size either way."""
    flip: bool = parameter(bool, default=False)
    """Mirror half of the images left to right (right for photographs, wrong for digits)."""

    def __call__(self, images: torch.Tensor, generator: torch.Generator, ground: float = 0.0) -> torch.Tensor:
        """Change a batch, bilinearly resampled. Ours: background comes in, for black would be learnt beside paper."""
        n, _, height, width = images.shape
        if height == width == 1:  # vectors have no geometry
            return images

        def uniform(*size: int) -> torch.Tensor:
            return torch.rand(size, generator=generator) * 2 - 1

        angle = uniform(n) * (self.rotation * math.pi / 180)
        scale = 1 + uniform(n) * self.zoom
        mirror = 1 - 2 * (uniform(n) > 0).float() if self.flip else torch.ones(n)
        grid = torch.empty(n, 2, 3)  # from output to input coordinates, each in [-1, 1]
        grid[:, 0, 0] = mirror * scale * angle.cos()
        grid[:, 0, 1] = -mirror * scale * angle.sin() * (height / width)
        grid[:, 1, 0] = scale * angle.sin() * (width / height)
        grid[:, 1, 1] = scale * angle.cos()
        grid[:, :, 2] = uniform(n, 2) * (2 * self.shift)
        points = F.affine_grid(grid.to(images.device, images.dtype), list(images.shape), align_corners=False)
        return F.grid_sample(images - ground, points, align_corners=False) + ground


class Crops(RandomTransform, kw_only=False):
    """Crops of random size, shape and place, scaled back to the image's size; then flips and, if wanted, colours."""

    smallest: float = parameter(FRACTION_ABOVE_0, default=0.08)
    """Least share of the image's area that a crop covers, uniform from it to ``largest`` (DeepCluster's
    RandomResizedCrop, docs/papers/deepcluster.md). Width over height lies between 3/4 and 4/3, uniform in the
    logarithm."""
    largest: float = parameter(FRACTION_ABOVE_0, default=1.0)
    """Largest share of the image's area that a crop covers."""
    flip: bool = parameter(bool, default=True)
    """Mirror half of the images."""
    jitter: float = parameter(FRACTION, default=0.0)
    """Strength of the change of brightness, contrast, saturation (± jitter each) and hue (± jitter / 4 of the circle),
    which 80 % of the images get; 0.8 in DeepCluster-v2."""
    grey: float = parameter(FRACTION, default=0.0)
    """Probability of losing the colours."""
    blur: float = parameter(FRACTION, default=0.0)
    """Probability of a Gaussian blur of 0.1 to 2 pixels."""
    side: int | None = parameter(POSITIVE_INT, default=None)
    """Side of the crops, where it is not the image's own (small crops of multi-crop)."""

    def __call__(self, images: torch.Tensor, generator: torch.Generator, ground: float = 0.0) -> torch.Tensor:
        """Change a batch, to the images' size or to ``side``; nothing comes in from outside."""
        if images.shape[2:] == (1, 1):  # vectors have no geometry
            return images
        images = self._cropped(images, generator)
        if images.shape[1] == 3 and (self.jitter or self.grey):
            images = self._recoloured(images, generator)
        return self._blurred(images, generator) if self.blur else images

    def _cropped(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n, channels, height, width = images.shape
        low = min(self.smallest, self.largest)
        area = low + (self.largest - low) * torch.rand(n, generator=generator)
        ratio = torch.exp((2 * torch.rand(n, generator=generator) - 1) * math.log(4 / 3))  # width / height
        # torchvision draws anew what does not fit; here it is cut to the image's side.
        spans = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp_max(1)  # (B, 2) of width, height
        centers = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - spans)  # in [-1, 1]
        mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0) if self.flip else torch.ones(n)
        grid = torch.zeros(n, 2, 3)  # from output to input coordinates
        grid[:, 0, 0], grid[:, 1, 1], grid[:, :, 2] = mirror * spans[:, 0], spans[:, 1], centers
        shape = [n, channels, self.side or height, self.side or width]
        points = F.affine_grid(grid.to(images.device, images.dtype), shape, align_corners=False)
        return F.grid_sample(images, points, padding_mode="border", align_corners=False)

    def _recoloured(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Hue, saturation, contrast and brightness as one affine map of the colours of each image.

        torchvision changes them in random order, hue in HSV, and cuts to [0, 1]; here the order is fixed, hue turns in
        YIQ, and nothing is cut, so that the map is linear.
        """
        n = len(images)
        draws = 2 * torch.rand(n, 4, generator=generator) - 1
        draws *= (torch.rand(n, 1, generator=generator) < _JITTERED) * self.jitter
        brightness, contrast, saturation = (1 + draws[:, :3]).T
        saturation = torch.where(torch.rand(n, generator=generator) < self.grey, torch.zeros(()), saturation)
        angle = draws[:, 3] * (2 * math.pi / 4)
        to_yiq = torch.tensor(_YIQ)
        turn = torch.zeros(n, 3, 3)
        turn[:, 0, 0] = 1
        turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
        turn[:, 1, 2], turn[:, 2, 1] = -saturation * angle.sin(), saturation * angle.sin()
        colours = (torch.linalg.inv(to_yiq) @ turn @ to_yiq).to(images.device, images.dtype)  # (B, 3, 3)
        scale = (brightness * contrast)[:, None, None].to(images.device, images.dtype)
        luma = to_yiq[0].to(images.device, images.dtype)
        level = torch.einsum("bchw,c->b", images, luma) / (images.shape[2] * images.shape[3])  # mean grey
        offset = level[:, None] * (brightness * (1 - contrast))[:, None].to(images.device, images.dtype)
        changed = torch.einsum("bdc,bchw->bdhw", colours * scale, images)
        return changed + offset[:, :, None, None]

    def _blurred(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Gaussian blur of a part of the images, rows then columns, each image with a kernel of its own."""
        chosen = (torch.rand(len(images), generator=generator) < self.blur).nonzero()[:, 0]
        sigma = _BLURRED[0] + (_BLURRED[1] - _BLURRED[0]) * torch.rand(len(images), generator=generator)[chosen]
        if len(chosen) == 0:
            return images
        part = images[chosen.to(images.device)]
        n, channels, height, width = part.shape
        reach = max(1, min(round(2 * _BLURRED[1]), (min(height, width) - 1) // 2))
        steps = torch.arange(-reach, reach + 1)
        kernels = torch.exp(-0.5 * (steps / sigma[:, None]) ** 2)
        kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0).to(part.device, part.dtype)
        flat = part.reshape(1, n * channels, height, width)
        for shape, padding in (((1, -1), (reach, reach, 0, 0)), ((-1, 1), (0, 0, reach, reach))):
            weight = kernels.view(n * channels, 1, *(len(steps) if one == -1 else 1 for one in shape))
            flat = F.conv2d(F.pad(flat, padding, mode="replicate"), weight, groups=n * channels)
        changed = images.clone()
        changed[chosen.to(images.device)] = flat.view_as(part)
        return changed


AUGMENTATIONS: list[Any] = [Augmentation, RandomTransform, {"none"}]
"""What a parameter that changes images may be."""
