"""FCN: Gui, Gui, Wang, Morency and Moura, "Factorized convolutional networks: unsupervised fine-tuning for image
clustering", WACV 2018.

Group-sparse non-negative matrix factorisation on a pre-trained network's last non-negative layer; the coefficients are
the new features. With ``n_components=0.25``, the paper's number of bases (the default is ours), and without fine-tuning
this is the paper's GSNMF-FCN-OTS ("off the shelf"), with ``l1 = l2 = 0`` its NMF-FCN, with ``fine_tune=1`` its
GSNMF-FCN-FT.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from asterism.clustering.nmf import OnlineBases, Penalty, coefficients, factorise, initialise
from asterism.images import ImageSource
from asterism.methods.last_layers import train_last_layers
from asterism.methods.pretrained import Representation, RepresentationClusterer
from asterism.parameters import parameter
from asterism.parameters.constraints import NON_NEGATIVE, NON_NEGATIVE_INT, OPEN_FRACTION, POSITIVE_INT
from asterism.runtime import Runtime
from asterism.training import Run, Training

# Bases where none are asked for: the paper's M/4 whatever k spread what belongs together over more bases than there are
# kinds of things; with three a cluster NMF is above the features alone on all four sets (docs/methods/fcn.md).
BASES_PER_CLUSTER, FEWEST_BASES = 3, 32
N_ITER = 300  # of the factorisation at most; the paper is silent
N_CODING = 200  # of H's rule for images with the bases fixed (silent; docs/papers/fcn.md)
N_INNER = 10  # updates of W and H a mini-batch while the network is tuned (silent; docs/papers/fcn.md)
N_AGAIN = 50  # of the factorisation after tuning, from the bases that tuning left
# The mini-batch is the paper's, smaller for sets below 8 192 images (`Training.batch_size_for`), whose epochs would
# be of a few steps; optimiser, rate and epochs are silent there.
FCN_TRAINING = Training(n_epochs=10, batch_size=256, optimizer="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4)
TOP_IMAGES = 8  # shown on the page for each of the busiest components
TOP_COMPONENTS = 24


class Coefficients(Representation):
    """Features → coefficients h of x ≈ hW with the bases W fixed, found by H's rule of eq. 6."""

    W: torch.Tensor
    ridge: torch.Tensor
    l1: torch.Tensor
    signed: torch.Tensor

    def code(self, features: torch.Tensor) -> torch.Tensor:
        """Coefficients (B, L) of features (B, M) of length 1."""
        X = non_negative(features, bool(self.signed)).to(self.W.dtype)
        return coefficients(X, self.W, l1=float(self.l1), ridge=self.ridge, n_iter=N_CODING)


def n_bases(n_components: float | None, n_clusters: int, n_samples: int, n_features: int) -> int:
    """L: an integer as asked for, a share of the features, or three a cluster (None)."""
    if n_components is None:
        most = max(2, n_samples // 3)  # of a single base all codes have the same direction
        return max(1, min(max(FEWEST_BASES, BASES_PER_CLUSTER * n_clusters), most, n_features))
    if n_components < 1:
        return max(1, min(round(n_components * n_features), n_samples // 2))
    return int(n_components)


def non_negative(features: torch.Tensor, signed: bool) -> torch.Tensor:
    """Features (N, M) for NMF, which takes no negative ones: signed features become two parts, (N, 2M).

    The positive parts stand before the negative ones. Ours: the paper has networks with a ReLU at the end alone.
    """
    return torch.cat([features, -features], 1).clamp_min(0) if signed else features.clamp_min(0)


class FCN(RepresentationClusterer):
    """Group-sparse NMF on a pre-trained network, fine-tuned without labels if asked.

    Features are written as sums of few common parts, none of them negative, and images with the same parts are grouped.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`. `transform` gives the coefficients, scaled to length 1.

    Notes
    -----
    Cost: a feature pass (none where the cache has the features), 300 iterations of O(N·M·L), and with ``fine_tune``
    the training of the last layers on activations that are kept in memory if they fit. A network without a
    non-negative last layer is factorised by its positive and negative parts.

    Examples
    --------
    >>> from asterism import FCN, Backbone
    >>> model = FCN(20, backbone=Backbone("mobilenet_v2")).fit("photos/")  # doctest: +SKIP
    >>> model.predict("new_photos/")  # doctest: +SKIP
    """

    REPRESENTATION = Coefficients
    n_components: float | None = parameter([POSITIVE_INT, OPEN_FRACTION], default=None)
    """L, number of bases; a number below 1 is a share of the M features (the paper's: 1 024 of VGG's 4 096, .25), at
    most half as many as images. By default three a cluster, at least 32, at most a third as many as images (two of
    fewer than nine): a code that has a base for each image says nothing about others."""
    l1: float = parameter(NON_NEGATIVE, default=0.02)
    """λ₂, on Σ h. The paper has .05 and .02 for l1 and l2, chosen by the classes of Scene-15. For samples and bases of
    length 1 that is too weak a ridge (docs/methods/fcn.md; ours too is chosen with classes at hand)."""
    l2: float = parameter(NON_NEGATIVE, default=0.1)
    """λ₁, on ½ Σ h². The paper's text exchanges the names; its equations are followed."""
    l21: float = parameter(NON_NEGATIVE, default=0.0)
    """On Σ_l ‖h_l‖, the mixed norm of Table 4."""
    fine_tune: int = parameter(NON_NEGATIVE_INT, default=0)
    """How many of the network's last layers are trained on (1 is the paper's fc7)."""
    training: Training | None = parameter(Training, default=None, when_none=FCN_TRAINING)
    """Of these layers."""

    def _memory_to_learn(self, n: int, n_numbers: int) -> int:
        """Features of length 1, and as NMF takes them: twice as many, and copies of both, where they have signs."""
        return 7 * 4 * n * n_numbers + 16 * n * n_bases(self.n_components, self.n_clusters, n, n_numbers)

    @property
    def _penalty(self) -> Penalty:
        return Penalty(self.l1, self.l2, self.l21)

    def _choices(self, images: ImageSource, runtime: Runtime) -> list[str]:
        said = super()._choices(images, runtime)
        if self.n_components is not None:
            return said
        number = n_bases(None, self.n_clusters, len(images), sys.maxsize)
        most = f"at most {max(2, len(images) // 3)} and the number of features"
        return [f"n_components={number}, three a group, but at least {FEWEST_BASES} and {most}", *said]

    def _smaller_batches(self, n: int) -> dict[str, int]:
        return super()._smaller_batches(n) if self.fine_tune else {}

    def _learn(self, features: torch.Tensor, network: nn.Module, images: ImageSource, run: Run) -> Coefficients:
        signed = bool((features < 0).any())
        X = non_negative(normalize(features), signed).to(run.runtime.device)  # (N, M), samples of length 1: §3.3
        L = n_bases(self.n_components, self.n_clusters, *X.shape)

        def factors() -> dict[str, torch.Tensor]:  # off the shelf: the bases of all images
            W, H = initialise(X, L, "nndsvda", run.random_state("start"))
            return _kept(factorise(X, W, H, self._penalty, n_iter=N_ITER), self._penalty)

        found = run.cached("factors", factors)
        if self.fine_tune:
            found = self._tune(found, X, network, images, run, signed)
        l1 = torch.tensor(self.l1)
        return Coefficients(W=found["W"], ridge=found["ridge"], l1=l1, signed=torch.tensor(signed))

    def _tune(
        self,
        found: dict[str, torch.Tensor],
        X: torch.Tensor,
        network: nn.Module,
        images: ImageSource,
        run: Run,
        signed: bool,
    ) -> dict[str, torch.Tensor]:
        """§3.3: on each mini-batch W and H by eq. 6, then ½‖X − HW‖² back through the network, W and H fixed.

        The paper does not say whether W outlives a mini-batch of 256, fewer samples than its bases. Here it is one for
        all, moved by the products HᵀX and HᵀH of all batches so far (docs/papers/fcn.md).
        """
        device = run.runtime.device
        bases = OnlineBases(found["W"].to(device), self._penalty, n_inner=N_INNER, reduce=run.runtime.sum_over_ranks)
        bases.see(run.runtime.shard(X), len(X))  # the sums begin with all images, not with the first batch's few

        def loss_of(features: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
            X = non_negative(normalize(features), signed)  # the ℓ2 layer keeps the features from shrinking to 0
            with torch.no_grad():
                H = bases.see(X.detach().float(), len(images))
                target = H @ bases.W
            return 0.5 * (X - target).square().sum(1).mean()

        state = {name: getattr(bases, name) for name in ("W", "HtX", "HtH", "sums", "weight")}
        train_last_layers(network, self.fine_tune, images, loss_of, self.resolved("training"), run, **state)

        def factors() -> dict[str, torch.Tensor]:  # once more with the features that came out
            X = non_negative(normalize(self._pass(network, images, run.runtime)), signed).to(device)
            H = coefficients(X, bases.W, l1=self.l1, ridge=bases.ridge, n_iter=N_AGAIN)
            return _kept(factorise(X, bases.W, H, self._penalty, n_iter=N_AGAIN), self._penalty)

        return run.cached("factors-tuned", factors)

    def _examples(self, codes: torch.Tensor) -> dict[str, torch.Tensor]:
        """For the page: which images use each of the busiest components most."""
        if self.l1 and not codes.any():
            warnings.warn(f"every coefficient is 0, and nothing tells images apart: lower l1={self.l1:g}", stacklevel=2)
        busiest = codes.sum(0).argsort(descending=True, stable=True)[:TOP_COMPONENTS]
        weights, images = codes[:, busiest].topk(min(TOP_IMAGES, len(codes)), dim=0)
        return {"components": busiest, "component_images": images.T.clone(), "component_weights": weights.T.clone()}


def _kept(found: Any, penalty: Penalty) -> dict[str, torch.Tensor]:
    """What new samples are coded by."""
    ridge = torch.as_tensor(penalty.ridge(found.H), dtype=found.W.dtype, device=found.W.device)
    return {"W": found.W.cpu(), "ridge": ridge.expand(len(found.W)).clone().cpu()}
