"""TEMI: Adaloglou, Michels, Kalisch and Kollmann, "Exploring the limits of deep image clustering using pretrained
models", BMVC 2023, arXiv 2303.17896.

A modern head on frozen features, beside FCN in the same tables. An image and its nearest neighbours are to get the same
cluster; what is raised is the pointwise mutual information between the two.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import gelu, normalize

from asterism.clustering.graph import knn
from asterism.images import ImageSource
from asterism.methods.pretrained import PretrainedClusterer, Representation, principal
from asterism.parameters import parameter
from asterism.parameters.constraints import FRACTION_ABOVE_0, POSITIVE_INT
from asterism.runtime import Runtime
from asterism.training import Run, Training, train_epoch

TEMPERATURE = 0.1  # of student and teacher
PRIOR_MOMENTUM = 0.9
TEACHER_SPAN, TEACHER_SHARE = 250, 1 / 40  # see `teacher_momentum`
DIM = 256  # principal components of the features that heads see
STEPS_AN_EPOCH = 4  # at least
# The paper: AdamW at 1e-4, batches of 512, 100 epochs; sets of thousands get a rate and epochs of their own.
TEMI_TRAINING = Training(n_epochs=200, batch_size=512, optimizer="adamw", lr=1e-3, weight_decay=1e-4)


def teacher_momentum(n_steps: int) -> float:
    """Momentum of the teacher, a running mean of the student's weights, for a training of so many steps.

    The paper's 0.996 is a mean over the last 250 steps of some 10 000 (CIFAR), a fortieth of them. A small set has 800
    steps; with 0.996 its teacher, which the student learns from, would still be the random start: on Flowers images
    were .06 sure of their cluster after 400 steps. So here it is a fortieth of any training, 250 steps at most.
    """
    return 1 - 1 / min(TEACHER_SPAN, max(2.0, TEACHER_SHARE * n_steps))


def temi_loss(
    student: torch.Tensor, teacher: torch.Tensor, prior: torch.Tensor, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted multi-head loss of the paper (its eqs. 5 to 8).

    pmi(x, x') = log Σ_c (q_s(c|x) q_t(c|x'))^β / q_t(c), made symmetric; each pair weighs as much as the teachers think
    that it shares a cluster, w = mean over heads of Σ_c q_t(c|x) q_t(c|x').

    Parameters
    ----------
    student, teacher : torch.Tensor of shape (2, H, B, k)
        Probabilities for the images and for their neighbours, of H heads.
    prior : torch.Tensor of shape (H, k)
        q_t(c), the teacher's mean.
    beta : float
        Above 0.5 pairs are pulled together, and below 1 clusters are kept equally large.

    Returns
    -------
    loss : torch.Tensor of shape ()
    per_head : torch.Tensor of shape (H,)
    """
    weights = (teacher[0] * teacher[1]).sum(-1).mean(0)  # (B,)

    def pmi(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:  # (H, B)
        return ((a * b).clamp_min(1e-20).pow(beta) / prior[:, None].clamp_min(1e-12)).sum(-1).log()

    information = 0.5 * (pmi(student[0], teacher[1]) + pmi(student[1], teacher[0]))
    per_head = -(weights * information).mean(1)
    return per_head.mean(), per_head.detach()


class Heads(nn.Module):
    """H perceptrons of one hidden layer side by side: features (B, M) → probabilities (H, B, k)."""

    def __init__(self, n_heads: int, n_features: int, hidden: int, n_clusters: int, generator: torch.Generator) -> None:
        super().__init__()

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) * shape[1] ** -0.5)

        self.first = drawn(n_heads, n_features, hidden)
        self.second = drawn(n_heads, hidden, n_clusters)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities (H, B, k)."""
        return _probabilities(features, self.first, self.second)


def _probabilities(features: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    hidden = gelu(features @ first)
    return ((normalize(hidden, dim=-1) @ normalize(second, dim=-2)) / TEMPERATURE).softmax(-1)


class Head(Representation):
    """The head that was chosen: features → its probabilities for each cluster."""

    mean: torch.Tensor  # (M,)
    first: torch.Tensor  # (M, hidden), the principal axes multiplied in
    second: torch.Tensor  # (hidden, k)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities (B, k)."""
        return _probabilities(normalize(features) - self.mean, self.first, self.second)


class TEMI(PretrainedClusterer):
    """Self-distillation of small heads over nearest neighbours in a pre-trained network's features.

    The network is frozen. A small layer on its features learns that an image and one of its near neighbours belong to
    the same group.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`. `transform` gives the probabilities of the k clusters, whose corners are the centers.

    Notes
    -----
    Beside the paper, for sets of hundreds and thousands: neighbours at most N/2k, batches of at most a quarter of the
    images, the teacher's momentum by the length of the training (`teacher_momentum`), and heads that see the features
    centred and reduced to 256 principal components.
    """

    REPRESENTATION = Head
    _goes_by_neighbors = True
    n_neighbors: int = parameter(POSITIVE_INT, default=50)
    """Of each image, by cosine (the paper's 50, for ImageNet's 1 300 images a class); at most half of what a cluster
    holds on average, N/2k."""
    n_heads: int = parameter(POSITIVE_INT, default=16)
    """H; the paper has 50, its code's example 16. The head with the lowest loss is kept."""
    hidden: int = parameter(POSITIVE_INT, default=256)
    """Width of a head's hidden layer; the paper has heads of two layers, 512 and 256 wide."""
    beta: float = parameter(FRACTION_ABOVE_0, default=0.6)
    """The paper's."""
    training: Training | None = parameter(Training, default=None, when_none=TEMI_TRAINING)
    """Of the heads."""

    def _choices(self, images: ImageSource, runtime: Runtime) -> list[str]:
        n = len(images)
        width, momentum = self._width(n), teacher_momentum(self._n_steps(n))
        said = [f"n_neighbors={width}, half as many as a group has images"] if width < self.n_neighbors else []
        if momentum < 1 - 1 / TEACHER_SPAN:
            said.append(f"the teacher's momentum={momentum:.4g}, as the training has {self._n_steps(n)} steps")
        return [*said, *super()._choices(images, runtime)]

    def _smaller_batches(self, n: int) -> dict[str, int]:
        size = self._batch_size(n)
        return {"training": size} if size < self.resolved("training").batch_size else {}

    def _batch_size(self, n: int) -> int:
        """Images a step: at most a quarter of n."""
        return min(self.resolved("training").batch_size, max(2, n // STEPS_AN_EPOCH))

    def _n_steps(self, n: int) -> int:
        """Steps of the whole training on n images."""
        training = self.resolved("training")
        return training.n_epochs * min(-(-n // self._batch_size(n)), training.max_steps or n)

    def _width(self, n: int) -> int:
        """Neighbours of an image that are taken as such."""
        return max(1, min(self.n_neighbors, n // (2 * self.n_clusters)))

    def _memory_to_learn(self, n: int, n_numbers: int) -> int:
        """Features of length 1 and centred, principal components, neighbours."""
        return 5 * 4 * n * n_numbers + 12 * n * DIM + 24 * n * self.n_neighbors

    def _learn(self, features: torch.Tensor, network: nn.Module, images: ImageSource, run: Run) -> Head:
        X = normalize(features)
        n, training, device = len(X), self.resolved("training"), run.runtime.device
        width = self._width(n)
        nearest = torch.as_tensor(knn(X.numpy(), width)[0]).long()  # (N, K)
        mean, axes = _axes(X, run)
        rows = ImageSource(((X - mean) @ axes)[:, None, None, :], images.names[:n]).resident(run.runtime)
        momentum = teacher_momentum(self._n_steps(n))
        student = Heads(self.n_heads, axes.shape[1], self.hidden, self.n_clusters, run.generator("heads")).to(device)
        teacher = copy.deepcopy(student).requires_grad_(False)
        wrapped, optimizer = run.runtime.setup(student, training.make_optimizer(student.parameters()))
        prior = torch.full((self.n_heads, self.n_clusters), 1 / self.n_clusters, device=device)
        losses = torch.zeros(self.n_heads, device=device)
        state: dict[str, Any] = {"student": student, "teacher": teacher, "prior": prior, "losses": losses}
        for epoch in run.rounds("heads", training.n_epochs, optimizer=optimizer.optimizer, **state):
            draws = run.generator("neighbours", epoch, run.runtime.rank)
            losses.zero_()

            def loss_of(batch: torch.Tensor, indices: torch.Tensor, draws: torch.Generator = draws) -> torch.Tensor:
                partner = nearest[indices, torch.randint(nearest.shape[1], (len(indices),), generator=draws)]
                both = torch.cat([batch.flatten(1), rows.batch(partner, device).flatten(1)])
                with torch.no_grad():
                    follow(teacher, student, momentum)
                    q_t = _pairs(teacher(both))
                    seen = run.runtime.sum_over_ranks(q_t.mean((0, 2))) / run.runtime.world_size
                    prior.lerp_(seen, 1 - PRIOR_MOMENTUM)
                loss, per_head = temi_loss(_pairs(wrapped(both)), q_t, prior, self.beta)
                losses.add_(per_head * len(indices) / n)
                return loss

            loss = train_epoch(
                rows, loss_of, optimizer, training, run, ("heads", epoch), batch_size=self._batch_size(n)
            )
            losses.copy_(run.runtime.sum_over_ranks(losses))  # here, so that a resumed run chooses the same head
            run.record(loss=loss, smallest=float(prior.min()) * self.n_clusters)
        best = int(losses.argmin())
        return Head(mean=mean, first=axes @ teacher.first[best].cpu(), second=teacher.second[best])

    def _grouped(self, codes: torch.Tensor, random_state: np.random.RandomState) -> dict[str, torch.Tensor]:
        return {"labels": codes.argmax(1), "centers": torch.eye(self.n_clusters), "spread": torch.ones(())}

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def group(self, codes: np.ndarray) -> np.ndarray:
        """The likeliest cluster of each image by its probabilities (N, k)."""
        return codes.argmax(1)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """The teacher's weights move a little towards the student's (exponential moving average)."""
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)


def _axes(X: torch.Tensor, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (M,) and principal axes (M, D) of unit-length features, scaled to components of variance 1 on average.

    Not in the paper. Features after a ReLU share a large mean, before which all images look alike to a new head.
    """
    found = principal(X, DIM, run)
    scale = found.code(X).square().mean().sqrt().clamp_min(1e-6)
    return found.mean, found.A / scale


def _pairs(probabilities: torch.Tensor) -> torch.Tensor:
    """(H, 2·B, k), images before their neighbours → (2, H, B, k)."""
    return torch.stack(probabilities.chunk(2, dim=1))
