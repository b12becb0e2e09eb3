"""The engine that DBC and DEC share: an auto-encoder, groups of its features, then encoder and centers trained
together towards a target distribution made from their own soft assignments (DBC, Algorithms 1 and 2).

They differ in the target, the auto-encoder and when they stop; each method's file has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot

from asterism.clustering.soft import kl_loss, soft_scores
from asterism.estimator import Fitted, ImageClusterer
from asterism.features import extract
from asterism.images import ImageSource
from asterism.methods.autoencoders import AutoEncoder, reconstruction_examples, resolve_augmentation
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.methods.joint_training import JointTraining, measure_batch_norm, soft_reset
from asterism.networks.autoencoder import FeatureEncoder
from asterism.parameters import attribute, parameter
from asterism.parameters.constraints import FRACTION
from asterism.training import Run, Training, train_epoch

START_SHARE = {"trained": 1.0, "half-trained": 0.5, "random": 0.0}
ROUNDING = 1e-6  # share of the features' size that is no spread
HISTOGRAM_BINS = 20  # of the scores of the first cluster, the paper's Fig. 6


class SoftAssignment(nn.Module):
    """The unified model (M2): x → z → s, with the cluster centers μ among its parameters.

    Parameters
    ----------
    encoder : FeatureEncoder
        f_θ.
    centers : torch.Tensor of shape (k, D)
        First μ.
    """

    encoder: FeatureEncoder

    def __init__(self, encoder: FeatureEncoder, centers: torch.Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.centers = nn.Parameter(centers.clone())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Soft scores (B, k) of images (B, C, H, W)."""
        return soft_scores(self.encoder(images), self.centers)


class SoftClusterer(ImageClusterer):
    """Base of DBC and DEC."""

    start: str = parameter(set(START_SHARE), default="trained")
    """How far the auto-encoder is trained before (Fig. 9c of DBC): all, half or none of its epochs."""
    tol: float = parameter(FRACTION, default=0.0)
    """Stop when at most this share of hard assignments changed in an epoch: 0 in DBC (Algorithm 2), .001 in DEC."""
    autoencoder: AutoEncoder | None = attribute()
    training: Training | None = attribute()

    def _recipe(self, n_images: int) -> tuple[AutoEncoder, ClusterInitialisation]:
        """The auto-encoder, and what groups its features, for so many images."""
        return self.resolved("autoencoder"), self._first_groups()

    def _first_groups(self) -> ClusterInitialisation:
        """How the features of the auto-encoder are grouped."""
        raise NotImplementedError

    def _targets(self, scores: torch.Tensor) -> torch.Tensor:
        """R (N, k) from S (N, k), constant during a round."""
        raise NotImplementedError

    def _memory_needed(self, n: int, n_numbers: int) -> int:
        """With the scores S, their targets R, and the one-hot groups that come before them."""
        return super()._memory_needed(n, n_numbers) + 3 * 4 * n * self.n_clusters

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        # Stage I (Algorithm 1): 1. train the auto-encoder; 2. extract features; 3. group them (papers: k-means).
        autoencoder, first = self._recipe(len(images))
        network = autoencoder.train_network(images, run, START_SHARE[self.start])
        examples = reconstruction_examples(network, images, run)

        resident = images.resident(run.runtime)
        centers = self._group(network.encoder, resident, first, run)
        # Stage II (Algorithm 2): 4.–5. the unified model starts from both; the decoder is thrown away.
        model = SoftAssignment(network.encoder, centers)
        scores = self._learn_jointly(run.runtime.place(model), resident, run)
        confidence, labels = scores.max(1)
        return Fitted(
            encoder=model.encoder,
            labels=labels.numpy(),
            centers=model.centers.detach().cpu().numpy(),
            confidence=confidence.numpy(),
            examples=examples,
        )

    def _group(
        self, encoder: FeatureEncoder, images: ImageSource, first: ClusterInitialisation, run: Run
    ) -> torch.Tensor:
        """Centers (k, D) to start from. The encoder may learn groups first, if ``first`` says so."""
        training, augmentation = self.resolved("training"), resolve_augmentation(first)
        for phase, n_groups in enumerate(first.learnt(len(images), self.n_clusters)):
            stage = f"groups-{phase}"
            groups, means = first.find(extract(encoder, images, run.runtime), n_groups, run, f"first-{stage}")
            targets = one_hot(groups, n_groups).float()
            model = run.runtime.place(SoftAssignment(encoder, means)).train()
            wrapped, optimizer = run.runtime.setup(model, training.make_optimizer(model.parameters()))
            loss_of = _loss_towards(targets, wrapped)
            for epoch in run.rounds(stage, first.rounds, model=model, optimizer=optimizer.optimizer):
                key = (stage, epoch)
                loss = train_epoch(images, loss_of, optimizer, training, run, key, augmentation, lr=training.lr)
                run.record(loss=loss, n_groups=n_groups)
        return self._centers(encoder, images, first, run)

    def _centers(
        self,
        encoder: FeatureEncoder,
        images: ImageSource,
        first: ClusterInitialisation,
        run: Run,
        stage: str = "first-groups",
    ) -> torch.Tensor:
        """Means (k, D) of the k groups of the features, which are scaled to a spread of 1 if they are to be."""
        features = extract(encoder, images, run.runtime)
        labels, centers = first.find(features, self.n_clusters, run, stage)
        if JointTraining.of(self.resolved("training")).distance_scale == "unit":
            return centers
        spread = float((features - centers[labels]).square().sum(1, dtype=torch.float64).mean()) ** 0.5
        if spread <= ROUNDING * float(features.square().sum(1, dtype=torch.float64).mean()) ** 0.5:
            return centers  # each image is a group, or copies are
        factor = 1 / spread
        encoder.scale_features(factor)
        return centers * factor

    def _learn_jointly(self, model: SoftAssignment, images: ImageSource, run: Run) -> torch.Tensor:
        """Algorithm 2, lines 6–15. Returns the last soft scores (N, k)."""
        training, augmentation = JointTraining.of(self.resolved("training")), resolve_augmentation(self)
        model.train()
        wrapped, optimizer = run.runtime.setup(model, training.make_optimizer(model.parameters()))
        assigned = torch.full((len(images),), -1)  # hard assignments of the round before
        state: dict[str, Any] = {"model": model, "optimizer": optimizer.optimizer, "assigned": assigned}
        for epoch in run.rounds("joint", training.n_epochs, **state):
            if training.resets_at(epoch):
                self._reset_softly(model, images, training, run, epoch)
                optimizer.optimizer.state.clear()
            scores = extract(model, images, run.runtime)  # 7. S, in evaluation mode
            targets = self._targets(scores)  # 8. R
            changed = int((scores.argmax(1) != assigned).sum())
            assigned.copy_(scores.argmax(1))
            run.record(changed=changed, **_score_figures(scores))
            run.callback(assigned)
            if changed <= self.tol * len(images) and not training.resets_after(epoch):  # 14. the hard assignments rest
                run.finish_stage()
                continue
            key = ("joint", epoch)  # 9.–13.
            loss = train_epoch(images, _loss_towards(targets, wrapped), optimizer, training, run, key, augmentation)
            run.record(loss=loss)
        return extract(model, images, run.runtime)

    def _reset_softly(
        self, model: SoftAssignment, images: ImageSource, training: JointTraining, run: Run, epoch: int
    ) -> None:
        """BRB (`JointTraining.reset_interval`): weights towards fresh ones, then groups and centers anew."""
        autoencoder, first = self._recipe(len(images))
        key = f"reset-{epoch}"
        fresh = autoencoder.drawn(images.shape, run.generator(key)).encoder
        soft_reset(model.encoder, fresh, training.reset_share)
        measure_batch_norm(model.encoder, images, training.batch_size_for(len(images)), run, key)
        with torch.no_grad():
            model.centers.copy_(self._centers(model.encoder, images, first, run, key))

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Module:
        return self.resolved("autoencoder").drawn(shape).encoder


def _loss_towards(targets: torch.Tensor, model: nn.Module) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Eq. 3 for a batch and its indices: KL(R‖S) with S of the model, R its rows of ``targets`` (N, k)."""
    return lambda batch, indices: kl_loss(targets[indices].to(batch.device), model(batch))


def _score_figures(scores: torch.Tensor) -> dict[str, Any]:
    """What the page shows of a round: Fig. 6's histogram, mean confidence, smallest and largest cluster."""
    sizes = np.bincount(scores.argmax(1).numpy(), minlength=scores.shape[1])
    histogram = torch.histc(scores[:, 0], HISTOGRAM_BINS, 0.0, 1.0).int().tolist()
    return {
        "confidence": float(scores.max(1).values.mean()),
        "smallest_cluster": int(sizes.min()),
        "largest_cluster": int(sizes.max()),
        "score_histogram": histogram,
    }
