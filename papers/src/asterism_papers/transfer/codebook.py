"""Images → codes of a codebook of patches: Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised
feature learning", AISTATS 2011. JULE's Table 8 puts its own patch features in the place of the patches.

    random patches → contrast normalisation → ZCA whitening → (patch features) → k-means = the codebook
    image → all its patches, the same way → "triangle" code of each → summed over the four quadrants → 4·K numbers

Constants are those of the authors' code (docs/papers/jule.md), figures from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from asterism.clustering.compiled import compiled
from asterism.clustering.kmeans import kmeans
from asterism.errors import InputError
from asterism.images import ImageSource

CONTRAST = 10.0  # added to a patch's variance, in squared grey levels of 0 … 255
WHITENING = 0.1  # added to the eigenvalues of the patches' covariance
START = 0.1  # standard deviation of the first centers around the mean
BLOCK_VALUES = 2**21  # distances held at once: 8 MiB

PatchFeatures = Callable[[torch.Tensor], torch.Tensor]


def random_patches(images: ImageSource, n_patches: int, side: int, generator: torch.Generator) -> torch.Tensor:
    """Square patches at uniform places, from the images in turn, in random order.

    Parameters
    ----------
    images : ImageSource
        N images of shape (C, H, W).
    n_patches : int
    side : int
        Pixels.
    generator : torch.Generator

    Returns
    -------
    torch.Tensor of shape (n_patches, C·side·side)
        Grey levels, 0 … 255 for uint8 images.

    Raises
    ------
    InputError
        If the patches are larger than the images.
    """
    _, height, width = images.shape
    _check_side(images, side)
    taken = []
    order = torch.randperm(len(images), generator=generator)
    for start in range(0, n_patches, len(images)):
        batch = _levels(images, order[: n_patches - start])  # (B, C, H, W)
        rows = torch.randint(height - side + 1, (len(batch),), generator=generator)
        columns = torch.randint(width - side + 1, (len(batch),), generator=generator)
        reach = torch.arange(side)
        at = (
            torch.arange(len(batch))[:, None, None],
            rows[:, None, None] + reach[:, None],
            columns[:, None, None] + reach,
        )
        taken.append(batch.permute(0, 2, 3, 1)[at].permute(0, 3, 1, 2).flatten(1))
    return torch.cat(taken)


def _check_side(images: ImageSource, side: int) -> None:
    if side > min(images.shape[1:]):
        raise InputError(f"side={side}: patches are larger than the images, {images.shape[1]}x{images.shape[2]}")


def _levels(images: ImageSource, indices: torch.Tensor) -> torch.Tensor:
    return images.batch(indices) * (255.0 if images.pixels.dtype == torch.uint8 else 1.0)


def normalise_contrast(patches: torch.Tensor) -> torch.Tensor:
    """(x − mean) / √(variance + 10) of each row (n, d); the variance is divided by d − 1."""
    centered = patches - patches.mean(1, keepdim=True)
    # torch.var_mean takes three times as long
    variance = centered.square().sum(1, keepdim=True) / max(patches.shape[1] - 1, 1)
    return centered * (variance + CONTRAST).rsqrt()


@dataclass
class Whitening:
    """ZCA: x → (x − M) P with P = V diag((λ + 0.1)^−½) Vᵀ of the covariance V diag(λ) Vᵀ.

    Attributes
    ----------
    mean : torch.Tensor of shape (d,)
    projection : torch.Tensor of shape (d, d)
    """

    mean: torch.Tensor
    projection: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor) -> Whitening:
        """Fitted to rows (n, d)."""
        mean = rows.double().mean(0)
        values, vectors = torch.linalg.eigh(torch.cov((rows.double() - mean).T))
        projection = vectors * (values.clamp_min(0) + WHITENING).rsqrt() @ vectors.T
        return cls(mean.float(), projection.float())

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Whitened rows (n, d)."""
        return (rows - self.mean) @ self.projection


@compiled(nogil=True, fastmath=True)
def _add_triangle_codes(products, row_norms, center_norms, cells, codes):
    """Add max(0, mean_k z_k − z_k) of each row, z its Euclidean distances to the centers, to its cell of ``codes``.

    ``products`` (n, K) holds −2 x·c and is overwritten by z: a row stays in the first cache from one loop to the next.
    """
    for r in range(products.shape[0]):
        z, code = products[r], codes[cells[r]]
        total = np.float32(0)
        for k in range(z.size):
            z[k] = np.sqrt(max(np.float32(0), z[k] + row_norms[r] + center_norms[k]))
            total += z[k]
        mean = total / np.float32(z.size)
        for k in range(z.size):
            code[k] += max(np.float32(0), mean - z[k])


class Codebook:
    """Patches' centers, and how an image is coded by them.

    Parameters
    ----------
    n_centers : int, default=1600
        K.
    side : int, default=6
        Pixels of a patch's side.
    n_patches : int, default=400_000
        Patches that whitening and centers are learned from; JULE's Table 8 has 40 000.
    n_iter : int, default=50
        Iterations of k-means.
    features : callable, optional
        Whitened patches (n, C, side, side) → what is clustered and coded instead of them (n, D): JULE's patch network.
        Each feature is then scaled to unit variance over the patches, so that layers weigh alike.

    Attributes
    ----------
    whitening_ : Whitening
    centers_ : torch.Tensor of shape (K, d)

    Notes
    -----
    k-means starts from centers close together around the mean, as Coates' does, not from patches: these are far apart,
    and of 1600 that began on one of 40 000 patches 272 kept it alone, against 17. Emptied centers are split here and
    set to zero there, where they code nothing (`asterism.clustering.kmeans`).
    """

    def __init__(
        self,
        n_centers: int = 1600,
        side: int = 6,
        n_patches: int = 400_000,
        n_iter: int = 50,
        features: PatchFeatures | None = None,
    ) -> None:
        self.n_centers = n_centers
        self.side = side
        self.n_patches = n_patches
        self.n_iter = n_iter
        self.features = features

    def fit(self, images: ImageSource, seed: int = 0) -> Codebook:
        """Learn whitening and centers from N images.

        Raises
        ------
        InputError
            If there are fewer patches than centers, or images smaller than a patch.
        """
        if self.n_patches < self.n_centers:
            raise InputError(f"n_patches={self.n_patches} are fewer than n_centers={self.n_centers}: raise the first")
        generator = torch.Generator().manual_seed(seed)
        patches = normalise_contrast(random_patches(images, self.n_patches, self.side, generator))
        self.channels_ = images.shape[0]
        self.whitening_ = Whitening.of(patches)
        rows = self._represent(patches, scale=None)
        self.scale_ = rows.std(0).clamp_min(1e-6) if self.features is not None else torch.ones(rows.shape[1])
        rows /= self.scale_
        start = rows.mean(0) + START * torch.randn(self.n_centers, rows.shape[1], generator=generator)
        rng = np.random.RandomState(seed % 2**32)
        found = kmeans(rows, self.n_centers, init=start, max_iter=self.n_iter, empty="split", random_state=rng)
        self.centers_ = torch.as_tensor(found.centers)
        return self

    def _represent(self, normalised: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        """Whitened patches, or the features of them, (n, d)."""
        white = self.whitening_(normalised)
        if self.features is None:
            return white
        found = self.features(white.view(-1, self.channels_, self.side, self.side))
        return found if scale is None else found / scale

    @torch.no_grad()
    def transform(self, images: ImageSource) -> torch.Tensor:
        """Codes of N images, (N, 4·K): triangle codes of all patches, summed over quadrants.

        Notes
        -----
        For 32×32 images, 729 patches an image: 252 MFLOP for 108 dimensions and 1600 centers, and 1.2 million roots.
        """
        _check_side(images, self.side)
        down, across = images.shape[1] - self.side + 1, images.shape[2] - self.side + 1
        quadrants = _quadrants(down, across)
        step = max(1, BLOCK_VALUES // (down * across * self.n_centers))
        codes = torch.zeros(len(images), 4, self.n_centers)
        doubled, norms = (-2 * self.centers_).T.contiguous(), self.centers_.square().sum(1)
        for start in range(0, len(images), step):
            batch = _levels(images, torch.arange(start, min(start + step, len(images))))
            columns = F.unfold(batch, self.side).transpose(1, 2)  # (B, positions, C·side²)
            rows = self._represent(normalise_contrast(columns.reshape(-1, columns.shape[2])), self.scale_)
            cells = (4 * torch.arange(len(batch))[:, None] + quadrants).flatten()
            part = codes[start : start + len(batch)].view(-1, self.n_centers)
            arrays = (rows @ doubled, rows.square().sum(1), norms, cells, part)
            _add_triangle_codes(*(one.numpy() for one in arrays))
        return codes.flatten(1)


def _quadrants(down: int, across: int) -> torch.Tensor:
    """Which quadrant each position of a map lies in, (down·across,): the first halves are the larger."""
    below = (torch.arange(down) >= (down + 1) // 2).long()
    right = (torch.arange(across) >= (across + 1) // 2).long()
    return (below[:, None] + 2 * right).flatten()
