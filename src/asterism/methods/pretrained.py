"""`PretrainedClusterer`: what FCN and the methods that its paper compares with share.

A pre-trained network gives features, a representation is learnt from them without labels, and its unit-length vectors
are grouped by k-means or spectral clustering.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from torch import nn
from torch.nn.functional import normalize, pad

from asterism.clustering.kmeans import kmeans
from asterism.clustering.spectral import njw
from asterism.clustering.units import power_of_two
from asterism.estimator import Fitted, ImageClusterer
from asterism.estimator.clusterer import SCORE_ROWS
from asterism.features import cached_extract
from asterism.features.extract import Progress
from asterism.features.store import IN_MEMORY, feature_array, gathered, picked, release
from asterism.images import ImageSource
from asterism.images.catalogue import named_set
from asterism.images.pack import from_numpy
from asterism.machine import available_memory
from asterism.methods.last_layers import features_above
from asterism.networks import Backbone
from asterism.networks.weights import PAPERS
from asterism.parameters import attribute, parameter, to_json
from asterism.runtime import Runtime, usual_torch
from asterism.training import Run
from asterism.training.progress import ProgressBars

N_INIT = 10  # restarts of k-means, also of that in spectral clustering (§4.3)
PHOTO_SIDE = 224  # pixels that photos of a folder become (§4.3), unless the network takes others …
FOR_THE_EYE = 128  # … and at least so many, for the page
ONE_DIRECTION, DIRECTIONS = 1e-4, 10_000  # variance of so many unit-length vectors that says that none differ
FEW_NUMBERS = 32  # vectors of fewer have their length count
LARGEST_NEED, FEW = 10 * 4 * 4096, 2**30  # bytes an image, and of so few images that their memory is no question
LARGE, LARGEST_UNIT = 2.0**40, 2.0**126  # numbers from which, or 1 over it, squares come near float32's ends; its own
ROWS = 128  # features that a representation is computed of at once: always so many, so that none depends on the others
# NJW's kernel is exp(−d²/s); the paper gives none. s = the mean of all d² (docs/methods/fcn.md).
KERNEL_SCALE = 1.0


class Representation(nn.Module):
    """Features (B, M) → vectors (B, D) of length 1; it is made of the tensors that were learnt."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, value in tensors.items():
            self.register_buffer(name, value.detach().cpu().contiguous())

    def code(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors (B, D) of any length."""
        return features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors (B, D) of length 1: "we perform ℓ2 normalization on the feature representations", §4.3."""
        return normalize(self.code(normalize(features)))


class Linear(Representation):
    """x → (x − mean) A."""

    A: torch.Tensor  # (M, D)
    mean: torch.Tensor  # (M,)

    def code(self, features: torch.Tensor) -> torch.Tensor:
        """(B, M) → (B, D)."""
        return (features - self.mean) @ self.A


def principal(X: torch.Tensor, n_components: int, run: Run) -> Linear:
    """PCA of features (N, M): the first ``n_components`` directions, at most min(N, M)."""
    width = min(n_components, *X.shape)
    with np.errstate(invalid="ignore"):  # of vectors that are all the same no share of variance can be told
        found = PCA(width, random_state=run.random_state("pca")).fit(X.numpy())
    A, mean = (torch.from_numpy(np.asarray(one, np.float32)) for one in (found.components_.T, found.mean_))
    return Linear(A=A, mean=mean)


class PretrainedClusterer(ImageClusterer):
    """Base of the methods on pre-trained features.

    A subclass defines ``_learn`` and names its representation.

    Attributes
    ----------
    spread_ : ndarray of shape ()
        Scale of the confidences: the mean, over the images, of how much farther their second-nearest center is than
        their nearest, in squared distance.
    unit_ : ndarray of shape ()
        What vectors are multiplied with, a power of two, where their squares would not be float32 numbers; else 1.
    """

    REPRESENTATION: ClassVar[type[Representation]] = Representation
    _kept: ClassVar[tuple[str, ...]] = ("spread", "unit")  # attributes that are saved with the groups
    backbone: Backbone | None = parameter(Backbone, default=None, when_none=Backbone())
    """The pre-trained network; by default the first whose weights are here, see `Backbone`. Vectors are taken as
    features."""
    _photo_side: int = attribute(PHOTO_SIDE)
    assign = "kmeans"
    spread_: np.ndarray = attribute()
    unit_: np.ndarray = attribute(np.ones((), np.float32))

    def _learn(self, features: torch.Tensor, network: nn.Module, images: ImageSource, run: Run) -> Representation:
        """The representation, from features (N, M) of the network; may train the network further."""
        raise NotImplementedError

    # ---------------------------------------------------------------- fitting

    def _check_needs(self, X: Any) -> None:
        self._photo_side = PHOTO_SIDE
        if _are_files(X):  # a network that cannot be had is told first, and how large it needs its images
            network = self.resolved("backbone").build((3, PHOTO_SIDE, PHOTO_SIDE))
            side = PHOTO_SIDE if network.input_shape is None else network.input_shape[-1]
            self._photo_side = max(side, FOR_THE_EYE)

    @property
    def _opening(self) -> dict[str, Any]:
        return {"photo_side": self._photo_side, "crop": False}  # the whole image, §4.3

    def _n_numbers(self, shape: tuple[int, int, int]) -> int:
        """Features of an image: of a network without its weights, which need not be here yet."""
        network = self.resolved("backbone").build(shape, pretrained=False)
        with torch.no_grad():
            return network(torch.zeros(1, *shape)).shape[1]

    def _check_memory(self, images: ImageSource) -> str | None:
        if LARGEST_NEED * len(images) <= min(FEW, available_memory()):  # whatever the network
            return None
        return super()._check_memory(images)

    def _memory_needed(self, n: int, n_numbers: int) -> int:
        """Features and codes, which are mapped where they are large, and what learning and grouping take besides."""
        rows = 4 * n * n_numbers
        affinities = 12 * n * n if self.assign == "spectral" else 0
        return 2 * min(rows, IN_MEMORY) + self._memory_to_learn(n, n_numbers) + affinities + 16 * n * self.n_clusters

    def _memory_to_learn(self, n: int, n_numbers: int) -> int:
        """Bytes that `_learn` takes for features (n, n_numbers): nothing where they are taken as they are."""
        return 0

    def _plain_params(self) -> dict[str, Any]:
        """With the network's name: on another machine another one would be the default."""
        backbone = clone(self.resolved("backbone"))
        return super()._plain_params() | {"backbone": to_json(backbone.set_params(name=backbone.network))}

    def _fit(self, images: ImageSource, run: Run) -> Fitted:
        images, backbone = self._as_seen(images, tell=True), clone(self.resolved("backbone"))
        # Where none is named: when the model is saved, another network may be the default.
        self._of_fit.backbone = backbone.set_params(name=backbone.network)
        network = run.runtime.place(self.resolved("backbone").build(images.shape))
        features = self._pass(network, images, run.runtime, run.progress)  # (N, M)
        self.unit_ = unit_of(features) if images.is_table else np.ones((), np.float32)
        features = self._screened(self._in_unit(features))  # (F, M)
        if images.is_table and self._scales_to_unit_length and run.runtime.is_main:
            _tell_of_one_direction(features, type(self).__name__)
        counted = self._screen.images(images) if self.fine_tune else images
        representation = self._learn(features, network, counted, run)
        if self.fine_tune:
            features = self._pass(network, counted, run.runtime, run.progress)
        self._screen.keep(features, self._compared)
        codes = self._codes(representation, features, run.runtime)  # (F, D)
        # Not "groups": a run that an earlier version began may hold those of another map.
        found = run.cached("grouping", lambda: self._grouped(codes, run.random_state("groups")))
        self.cluster_centers_ = found["centers"].numpy()
        self._keep_scale(found)
        run.callback(found["labels"])
        scored = zip(codes.split(SCORE_ROWS), found["labels"].split(SCORE_ROWS), strict=True)
        confidence = gathered((self._scores(part).gather(1, own[:, None])[:, 0] for part, own in scored), len(codes))
        return Fitted(
            nn.Sequential(network, representation),
            found["labels"].numpy(),
            self.cluster_centers_,
            confidence.numpy(),
            self._examples(codes),
            {name: getattr(self, name + "_") for name in self._kept if name != "unit" or self.unit_ != 1},
        )

    def _in_unit(self, features: torch.Tensor) -> torch.Tensor:
        """Features times `unit_`."""
        return features if self.unit_ == 1 else features * float(self.unit_)

    def _screened(self, features: torch.Tensor) -> torch.Tensor:
        """Of features (N, M) those (F, M) of the images that count."""
        features = self._screen.of(features)
        inside = self._screen.judge(features, self._compared)
        return features if inside.all() else picked(features, np.flatnonzero(inside))

    def _by_angles(self, n_features: int) -> bool:
        """Whether the angles between features count, not their lengths."""
        return n_features >= FEW_NUMBERS

    def _compared(self, features: torch.Tensor) -> torch.Tensor:
        """Features whose distances tell what belongs nowhere: of length 1 where angles count, not centred.

        What all images have in common is what others lack: of features seen from their mean it would be lost.
        """
        return normalize(features) if self._by_angles(features.shape[1]) else features

    def _untaught_rows(self) -> np.ndarray | None:
        if self.fine_tune or not hasattr(self, "reference_"):
            return None
        rows = self.reference_ - self.reference_.mean(0)
        return normalize(torch.from_numpy(rows)).numpy() if self._by_angles(rows.shape[1]) else rows

    def _as_seen(self, images: ImageSource, tell: bool = False) -> ImageSource:
        """The images from 0 to 1, as the network was trained on."""
        return images if self.units_ is None or images.is_table else self.units_.from_zero_to_one(images, tell)

    _screens_features = True
    _scales_to_unit_length = True  # so that only the directions of vectors count
    fine_tune: int = attribute(0)  # how many of the network's last layers `_learn` trains

    def _pass(
        self, network: nn.Module, images: ImageSource, runtime: Runtime, progress: Progress | None = None
    ) -> torch.Tensor:
        """Features (N, M) of the network as it is now."""
        if self.fine_tune:
            return features_above(network, self.fine_tune, images, runtime, progress)
        return cached_extract(network, images, runtime, progress)

    def _codes(self, representation: Representation, features: torch.Tensor, runtime: Runtime) -> torch.Tensor:
        """Vectors (F, D) of the features (F, M) of the fit."""
        return represent(representation, features, runtime)

    def _examples(self, codes: torch.Tensor) -> dict[str, torch.Tensor]:
        return {}

    def _grouped(self, codes: torch.Tensor, random_state: np.random.RandomState) -> dict[str, torch.Tensor]:
        labels = torch.as_tensor(group(codes, self.n_clusters, self.assign, random_state))
        counts = torch.bincount(labels, minlength=self.n_clusters).clamp_min(1)
        centers = torch.zeros(self.n_clusters, codes.shape[1]).index_add_(0, labels, codes) / counts[:, None]
        two = min(2, self.n_clusters)
        nearest, own = torch.empty(len(codes), two), torch.empty(len(codes), two, dtype=torch.int64)
        for start in range(0, len(codes), SCORE_ROWS):
            part = slice(start, start + SCORE_ROWS)
            nearest[part], own[part] = torch.cdist(codes[part], centers).square().topk(two, largest=False)
        spread = (nearest[:, -1] - nearest[:, 0]).mean().clamp_min(1e-6)
        if self.assign == "kmeans":  # a new image goes to the nearest center, and so do those of the fit
            labels = own[:, 0].clone()
        return {"labels": labels, "centers": centers, "spread": spread}

    @usual_torch()
    def group(self, codes: np.ndarray) -> np.ndarray:
        """Group vectors of `transform` anew, as the paper does with the test images (§4.3).

        Parameters
        ----------
        codes : ndarray of shape (N, D)

        Returns
        -------
        ndarray of shape (N,), int64
            Other groups than those of the fit, which `predict` knows.
        """
        self._check_fitted()
        rng = np.random.RandomState(self.seed_ % 2**32)
        return np.asarray(group(torch.from_numpy(np.ascontiguousarray(codes)), self.n_clusters, self.assign, rng))

    # ---------------------------------------------------------------- using

    def _keep_scale(self, found: dict[str, torch.Tensor]) -> None:
        """What `_scores` needs, of what `_grouped` found."""
        self.spread_ = found["spread"].numpy()

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        """exp(−‖z − μ_j‖² / spread), scaled to the sum 1: an image of ordinary margin is e times surer of its group."""
        return torch.softmax(-self._squared_distances(features) / float(self.spread_), dim=1)

    def _squared_distances(self, features: torch.Tensor) -> torch.Tensor:
        """Of vectors (N, D) to the centers, (N, k)."""
        return torch.cdist(features, from_numpy(self.cluster_centers_)).square()

    def _image_blocks(self, images: ImageSource) -> Iterator[tuple[slice, ImageSource]]:
        """Blocks of images, seen by the network all in one pass: for each block anew the cache would be looked through,
        and there are the more files in it the more blocks are done."""
        if len(images) and not images.is_table:
            with ProgressBars(int(self.verbose)) as progress:
                vectors = self._vectors(images, progress)
            images = ImageSource(vectors[:, None, None, :], images.names, is_table=True)
        yield from super()._image_blocks(images)

    def _vectors(self, images: ImageSource, progress: Progress | None = None) -> torch.Tensor:
        """Features (B, M) of images, which the network gives; of vectors these themselves, in the unit of the fit."""
        if images.is_table:
            return self._in_unit(images.batch(slice(None)).flatten(1))
        network, runtime = self.encoder_.get_submodule("0"), Runtime(self.device, self.precision)
        features = self._pass(runtime.place(network), self._as_seen(images), runtime, progress)
        self.encoder_.to("cpu")
        return features

    def _features(self, images: ImageSource) -> torch.Tensor:
        return self._features_and_rows(images)[0]

    def _features_and_rows(self, images: ImageSource) -> tuple[torch.Tensor, torch.Tensor]:
        features = self._vectors(images)
        codes = represent(self.encoder_.get_submodule("1"), features, Runtime(self.device, self.precision))
        self.encoder_.to("cpu")
        return codes, self._compared(features)

    # ---------------------------------------------------------------- the run folder

    def _encoder_for(self, shape: tuple[int, int, int]) -> nn.Module:
        """Of a fitted estimator only: the representation is what was saved."""
        backbone = self.backbone or Backbone(PAPERS)  # runs that name none are of a version that had this one
        network = backbone.build(shape, pretrained=False)
        return nn.Sequential(network, self.REPRESENTATION(**self._saved))

    def _restore_state(self, state: dict[str, Any]) -> None:
        encoder = state["encoder"].items()
        self._saved = {name.removeprefix("1."): value for name, value in encoder if name.startswith("1.")}
        super()._restore_state(state)
        del self._saved


class RepresentationClusterer(PretrainedClusterer):
    """Base of those whose vectors are grouped by k-means or by spectral clustering, as asked."""

    assign: str = parameter({"kmeans", "spectral"}, default="kmeans")
    """How the vectors are grouped. Spectral clustering holds all N² affinities: at most 20 000 images; new images go to
    the group whose mean is nearest."""


def _tell_of_one_direction(vectors: torch.Tensor, method: str) -> None:
    """Warn where nothing is left of vectors (N, M) that are scaled to length 1: all lie far from 0 on one side."""
    some = normalize(vectors[:DIRECTIONS].double())
    differ = 1 - float(some.mean(0).square().sum())  # the variance of the directions
    if 0 < differ < ONE_DIRECTION:
        warnings.warn(
            f"all vectors point in nearly the same direction, by which {method} tells them apart: take their mean off, "
            "or take a method that goes by distances (Diffusion, KMeans)",
            stacklevel=2,
        )


def unit_of(vectors: torch.Tensor) -> np.ndarray:
    """The power of two that brings vectors (N, M) near 1 where the largest number is far from that; else 1."""
    peak = max(abs(float(one)) for one in vectors.aminmax()) if len(vectors) else 0.0
    far = peak > LARGE or 0 < peak < 1 / LARGE
    return np.array(min(power_of_two(peak), LARGEST_UNIT) if far else 1.0, np.float32)


def _are_files(X: Any) -> bool:
    """Whether images are to be decoded, which may take long: not arrays, nor files of them."""
    if isinstance(X, (list, tuple)):
        return bool(X) and isinstance(X[0], (str, os.PathLike))
    if not isinstance(X, (str, os.PathLike)):
        return False
    named = named_set(str(X))
    path = Path(X).expanduser() if named is None or named.path is None else named.path
    return path.is_dir() or path.suffix == ".tar"


@torch.no_grad()
def represent(representation: nn.Module, features: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    """Vectors (N, D) of features (N, M), on the CPU."""
    place, codes = representation.to(runtime.device), np.zeros((0, 0), np.float32)
    at_once = getattr(representation, "at_once", ROWS)
    for start in range(0, len(features), at_once):
        block = features[start : start + at_once]
        filled = pad(block, (0, 0, 0, -len(block) % ROWS))
        found = place(filled.to(runtime.device))[: len(block)].float().cpu()
        if not start:
            codes = feature_array((len(features), *found.shape[1:]))
        codes[start : start + len(found)] = found.numpy()
        release(codes)
    return torch.from_numpy(codes)


def group(codes: torch.Tensor, n_clusters: int, assign: str, random_state: np.random.RandomState) -> np.ndarray:
    """Labels (N,) of vectors (N, D): k-means, or spectral clustering of Ng, Jordan and Weiss; 10 restarts.

    The affinities keep their diagonal of 1, as in JULE's baselines; Ng, Jordan and Weiss have 0.
    """
    if assign == "kmeans":
        return np.asarray(kmeans(codes, n_clusters, n_init=N_INIT, random_state=random_state).labels, dtype=np.int64)
    found = njw(codes.numpy(), n_clusters, scale=KERNEL_SCALE, n_init=N_INIT, random_state=random_state)
    return np.asarray(found, dtype=np.int64)
