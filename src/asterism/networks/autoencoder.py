"""The base of the auto-encoder networks."""

import torch
from torch import nn

from asterism.networks.body import Body


class FeatureEncoder(Body):
    """Images (B, C, H, W) → features (B, D), the first half of an auto-encoder."""

    def feature_layers(self) -> list[nn.Module]:
        """The layers that make the features of the maps before them, in order; the last scales all of them."""
        raise NotImplementedError

    @torch.no_grad()
    def scale_features(self, factor: float) -> None:
        """Make all features ``factor`` > 0 times as large."""
        for values in self.feature_layers()[-1].parameters():
            values.mul_(factor)


class AutoEncoderNetwork(nn.Module):
    """Images (B, C, H, W) → reconstructions of the same shape.

    Attributes
    ----------
    encoder : FeatureEncoder
    """

    encoder: FeatureEncoder

    def look_inside(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps and filters that the page shows, for a few images; none for fully connected networks."""
        return {}

    @property
    def loss_scale(self) -> float:
        """What the squared error is multiplied by."""
        return 1.0
