"""Task-specific deep clustering (TSC-D): Wang, Chang, Zhou, Wang and Huang, "Learning a task-specific deep architecture
for clustering", SDM 2016, the row of JULE's Table 3 that is borrowed from its paper.

There is no public code, and JULE's paper describes it in a line. What is known is kept: sparse coding with a graph,
unrolled into a network of two stages, started from a dictionary, and trained end to end by the entropy of the clusters'
probabilities. What is not known (dictionary, rates, epochs, what keeps all images from going to one cluster) is chosen
here, and the rows of the table say so.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from asterism.clustering.centroids import cluster_means
from asterism.clustering.graph import knn
from asterism.clustering.kmeans import kmeans
from asterism.estimator import Fitted, ImageClusterer
from asterism.features import extract
from asterism.images import ImageSource
from asterism.methods.pixel_baselines import pixels_of
from asterism.networks.pixels import Pixels
from asterism.parameters import attribute, parameter
from asterism.parameters.constraints import NON_NEGATIVE, NON_NEGATIVE_INT, POSITIVE_INT
from asterism.training import Run, Training, train_epoch
from asterism_papers.methods.sparse_coding import SparseCoder


class CodesAndClusters(nn.Module):
    """Images (B, C, H, W) → sparse codes (B, p) and logits of the clusters (B, k)."""

    def __init__(self, encoder: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes and logits."""
        codes = self.encoder(images)
        return codes, self.head(codes)


class TaskSpecificClustering(ImageClusterer):
    """Sparse codes learned for clustering ("TSC-D").

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`; features are the codes, centers the clusters' means of them.
    head_weight_, head_bias_ : ndarray of shape (k, p) and (k,)
        ω: the probabilities of the clusters are softmax(ω·code), of new images too.

    Notes
    -----
    Minimises, over batches, mean H(p_i) − H(mean p_i) + α·mean ‖a_i − a_j‖², with j a neighbour of i drawn anew each
    time, which is the trace of A·L·Aᵀ in expectation. The first term is the paper's entropy loss; alone it is least
    where all images are in one cluster. The second (Krause, Perona & Gomes 2010) keeps the clusters of a size and is
    ours, as is the graph in the loss: in the paper it stands inside the stages, where a new image would need it too.
    """

    head_weight_: np.ndarray = attribute()
    head_bias_: np.ndarray = attribute()
    n_atoms: int = parameter(POSITIVE_INT, default=128)
    """p, length of the sparse codes."""
    n_stages: int = parameter(NON_NEGATIVE_INT, default=2)
    """Stages of the network beyond the first product."""
    sparsity: float = parameter(NON_NEGATIVE, default=0.1)
    """λ of the sparse coding that the network starts from."""
    graph_weight: float = parameter(NON_NEGATIVE, default=0.1)
    """α: how strongly codes of neighbouring images are drawn together."""
    n_neighbors: int = parameter(POSITIVE_INT, default=5)
    """Of the graph."""
    center: bool = parameter(bool, default=True)
    """Take the mean image off first. Codes of images that are all alike in the main would be so too, and training then
    ends with all of them 0 (seen on CMU-PIE and UMist)."""
    normalise: bool = parameter(bool, default=True)
    """Scale each image to length 1."""
    training: Training | None = parameter(
        Training, default=None, when_none=Training(n_epochs=30, optimizer="adam", lr=0.001)
    )
    """Of codes and clusters together."""

    def _coder(self, shape: tuple[int, int, int]) -> SparseCoder:
        return SparseCoder(shape[0] * shape[1] * shape[2], self.n_atoms, self.n_stages)

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Sequential:
        return nn.Sequential(Pixels(self.normalise, torch.zeros(shape) if self.center else None), self._coder(shape))

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        pixels, coder = pixels_of(images, self.center, self.normalise), self._coder(images.shape)
        start = run.cached("start", lambda: self._start(pixels, coder, images, run))
        coder.load_state_dict({name: start[name] for name in ("W", "S", "theta")})
        head = nn.utils.skip_init(nn.Linear, self.n_atoms, self.n_clusters)
        head.load_state_dict({name: start[name] for name in ("weight", "bias")})
        encoder = nn.Sequential(pixels, coder)
        model = run.runtime.place(CodesAndClusters(encoder, head))
        self._train(model, images, start["neighbors"], run)
        codes = extract(encoder, images, run.runtime)  # (N, p)
        found = {"head_weight": head.weight.detach().cpu().numpy(), "head_bias": head.bias.detach().cpu().numpy()}
        self._set_attributes(found)
        confidence, labels = self._scores(codes).max(1)
        centers = cluster_means(codes, labels, self.n_clusters)
        return Fitted(encoder, labels.numpy(), centers.numpy(), confidence.numpy(), attributes=found)

    def _start(self, pixels: Pixels, coder: SparseCoder, images: ImageSource, run: Run) -> dict[str, torch.Tensor]:
        """Dictionary, first clusters and graph: atoms are centers of k-means by direction, ω those of its codes."""
        vectors = extract(run.runtime.place(pixels), images, run.runtime)  # (N, D)
        atoms = torch.zeros(self.n_atoms, vectors.shape[1])  # with fewer images the rest stay 0
        n_atoms = min(self.n_atoms, len(vectors))
        state = run.random_state("start")
        atoms[:n_atoms] = kmeans(
            vectors, n_atoms, init="random", max_iter=20, spherical=True, random_state=state
        ).centers
        coder.set_dictionary(atoms, self.sparsity)
        with torch.no_grad():
            codes = torch.cat([coder(part) for part in vectors.split(4096)])
        first = kmeans(codes, self.n_clusters, n_init=10, random_state=state)
        scale = len(codes) / max(first.inertia, 1e-12)  # softmax(−scale·‖a − μ_j‖²), whose a² falls out
        head = {"weight": 2 * scale * first.centers, "bias": -scale * first.centers.square().sum(1)}
        neighbors = torch.from_numpy(knn(vectors, self.n_neighbors)[0])
        return {**coder.state_dict(), **head, "neighbors": neighbors}

    def _memory_needed(self, n: int, n_numbers: int) -> int:
        """The pixels as floats, whose neighbours are searched, and their codes."""
        return 4 * n * (2 * n_numbers + 2 * self.n_atoms)

    def _train(self, model: CodesAndClusters, images: ImageSource, neighbors: torch.Tensor, run: Run) -> None:
        training = self.resolved("training")
        model.train()
        wrapped, optimizer = run.runtime.setup(model, training.make_optimizer(model.parameters()))
        resident = images.resident(run.runtime)
        for epoch in run.rounds("network", training.n_epochs, model=model, optimizer=optimizer.optimizer):
            draw = run.generator("neighbors", epoch, run.runtime.rank)

            def loss_of(batch: torch.Tensor, indices: torch.Tensor, draw: torch.Generator = draw) -> torch.Tensor:
                place = torch.randint(neighbors.shape[1], (len(indices),), generator=draw)
                beside = resident.batch(neighbors[indices, place], run.runtime.device)
                codes, logits = wrapped(torch.cat([batch, beside]))
                apart = codes[: len(batch)] - codes[len(batch) :]
                return entropy_loss(logits[: len(batch)]) + self.graph_weight * apart.square().sum(1).mean()

            run.record(loss=train_epoch(resident, loss_of, optimizer, training, run, ("network", epoch)))
            run.callback(extract(model, resident, run.runtime, lambda batch: model(batch)[1]).argmax(1))

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities (N, k) of codes (N, p)."""
        return (features @ torch.from_numpy(self.head_weight_).T + torch.from_numpy(self.head_bias_)).softmax(1)


def entropy_loss(logits: torch.Tensor) -> torch.Tensor:
    """Mean entropy of the images' probabilities minus the entropy of their mean, for logits (B, k)."""
    log_p = logits.log_softmax(1)
    mean = log_p.exp().mean(0)
    return -(log_p.exp() * log_p).sum(1).mean() + (mean * mean.clamp_min(1e-12).log()).sum()
