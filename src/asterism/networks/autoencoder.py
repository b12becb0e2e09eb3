"""What every auto-encoder network has."""

from torch import nn


class AutoEncoderNetwork(nn.Module):
    """Images (B, C, H, W) → reconstructions of the same shape.

    Attributes
    ----------
    encoder : nn.Module
        Images (B, C, H, W) → features (B, D).
    """

    encoder: nn.Module

    @property
    def loss_scale(self) -> float:
        """What the squared error is multiplied by."""
        return 1.0
