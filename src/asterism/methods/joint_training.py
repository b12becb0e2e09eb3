"""How DBC and DEC train encoder and centers together: what `Training` says, the unit of the distances, soft resets."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from asterism.images import ImageSource
from asterism.networks.autoencoder import FeatureEncoder
from asterism.parameters import parameter
from asterism.parameters.constraints import FRACTION, POSITIVE_INT
from asterism.training import Run, Training

N_MEASURED = 64  # batches that tell the running statistics of batch norm


class JointTraining(Training):
    """A `Training` of encoder and centers together."""

    distance_scale: str = parameter({"unit", "spread"}, default="unit")
    """σ² of the scores, s_ij ∝ 1 / (1 + ‖z_i − μ_j‖² / σ²). ``"unit"``: 1, as in the papers. ``"spread"``: the mean
    squared distance of an image to its own center when the stage begins, and after each soft reset. With 1 it is up to
    the features' size whether all scores are equal or all are 0 and 1; with the spread it is not (docs/methods/dbc.md).
    """
    reset_interval: int | None = parameter(POSITIVE_INT, default=None)
    """Epochs from one soft reset to the next; by default there is none. A soft reset (BRB: Miklautz et al., "Breaking
    the reclustering barrier in centroid-based deep clustering", ICLR 2025) moves the encoder's weights, but for those
    of the feature layer, towards freshly drawn ones, groups the features anew, takes the groups' means as centers and
    lets the optimizer forget. The paper has 20. None is done when fewer epochs are left, and only after the last may
    the stage end early."""
    reset_share: float = parameter(FRACTION, default=0.2)
    """1 − α: share of the fresh weights in the new ones. The paper has 0.2 (α = 0.8)."""

    @classmethod
    def of(cls, training: Training) -> JointTraining:
        """The same as a `JointTraining`, with the papers' unit and no reset where it says nothing of them."""
        return training if isinstance(training, JointTraining) else cls(**training.get_params())

    def resets_at(self, epoch: int) -> bool:
        """Whether an epoch, counted from 0, begins with a soft reset."""
        every = self.reset_interval
        return every is not None and epoch > 0 and epoch % every == 0 and epoch + every <= self.n_epochs

    def resets_after(self, epoch: int) -> bool:
        """Whether a later epoch begins with one."""
        return any(self.resets_at(later) for later in range(epoch + 1, self.n_epochs))


@torch.no_grad()
def soft_reset(encoder: FeatureEncoder, fresh: FeatureEncoder, share: float) -> None:
    """Move all weights but the feature layer's towards freshly drawn ones: θ ← (1 − share)·θ + share·φ.

    Parameters
    ----------
    encoder, fresh : FeatureEncoder
        Of the same kind; ``encoder`` is changed in place.
    share : float
        0 keeps, 1 draws anew.
    """
    kept = {id(values) for layer in encoder.feature_layers() for values in layer.parameters()}
    for values, drawn in zip(encoder.parameters(), fresh.parameters(), strict=True):
        if id(values) not in kept:
            values.lerp_(drawn.to(values.device), share)


def measure_batch_norm(encoder: nn.Module, images: ImageSource, batch_size: int, run: Run, key: str) -> None:
    """Set the running statistics of batch norm to the means over some batches, after weights were changed by hand."""
    order = torch.randperm(len(images), generator=run.generator(key, "batch-norm"))[: N_MEASURED * batch_size]
    batches = order.tensor_split(max(1, len(order) // batch_size))
    update_bn((images.batch(indices, run.runtime.device) for indices in batches), encoder)
