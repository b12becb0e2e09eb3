"""Joint learning on frozen features: groups teach a linear head what to look at, and the head finds better groups.

`Diffusion` groups frozen features; linear discriminant analysis (Fisher 1936) of these groups finds the axes on which
they lie apart and each is narrow; diffusion maps along these axes join the average of those before, which gives the
next groups, and so on. JULE's alternation of grouping and learning, with a head that is solved for instead of trained
(as LDA-Km does it with k-means: Ding and Li, "Adaptive dimension reduction using discriminant analysis and k-means
clustering", ICML 2007). A head that learnt from wrong groups alone would keep to them; beside the frozen features' map
it hardly ever does harm.

With ``fine_tune`` the network's last layers then learn from the groups too (`asterism.methods.last_layers`), and all is
done once more with its new features.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from torch import nn

from asterism.clustering.diffusion import DiffusionMaps
from asterism.clustering.soft import fuzzifier_for, memberships
from asterism.images import ImageSource
from asterism.methods.diffusion import Diffusion, DiffusionMap
from asterism.methods.last_layers import GROUP_TRAINING, batch_size_for, features_above, train_on_groups
from asterism.methods.pretrained import group
from asterism.parameters import attribute, parameter
from asterism.parameters.constraints import NON_NEGATIVE_INT
from asterism.runtime import Runtime
from asterism.training import Run

# Chosen by the classes of a third of the tasks of docs/photographs.md; .1 to .7 and two to four rounds differ little.
ROUNDS = 3
SHRINKAGE = 0.3  # of the spread within groups towards a ball: groups are not classes, and are small
USUAL_FUZZIFIER = 2.0  # where there are too few images for halves: what most sets have, 1.8 to 2.9
FEWEST_GROUPS = 6  # of fewer the head has too few axes, and loses (docs/photographs.md)


class DiscriminantDiffusion(Diffusion):
    """`Diffusion` and a linear head that learns from its groups, in turns: the default for photographs and vectors.

    Better than `Diffusion` on average, in 1.6 times its time (docs/photographs.md). From fewer than six groups the head
    would learn too little; the result is then that of `Diffusion`. With ``fine_tune`` the network's last layers learn
    from the groups, too.

    Attributes
    ----------
    labels_, confidence_, cluster_centers_, history_, encoder_, image_shape_, n_features_in_
        See `ImageClusterer`.
    stability_, agreement_
        See `Diffusion`; they are those of the groups of the frozen features.
    fuzzifier_ : ndarray of shape ()
        m of the confidences, which are memberships of fuzzy c-means (`asterism.clustering.soft.memberships`): chosen so
        that their mean is ``agreement_``. The head draws each group together, so that a softmax of the distances, as
        `Diffusion` has it, would tell hardly any image from the next. NaN where groups are fewer than six, or of Ward's
        tree (`Diffusion`).

    Notes
    -----
    Cost beside that of `Diffusion`: three more maps; with ``fine_tune`` as many again and those layers' training. What
    the head and the network's last block gain, and where the head loses, stands in docs/photographs.md.

    Examples
    --------
    >>> from asterism import Backbone, DiscriminantDiffusion
    >>> model = DiscriminantDiffusion(20, backbone=Backbone("mobilenet_v2")).fit("photos/")  # doctest: +SKIP
    """

    _kept = (*Diffusion._kept, "fuzzifier")
    fuzzifier_: np.ndarray = attribute(np.array(np.nan))  # of runs of earlier versions: as `Diffusion`
    fine_tune: int = parameter(NON_NEGATIVE_INT, default=0)
    """How many of the network's last layers learn from the groups too: 4 are the last block of MobileNetV2 and the
    convolution above it (docs/photographs.md: mostly better groups, twice the time), 2 that of ResNet-18, 4 that of a
    vision transformer of timm, which cannot be cut: each step then takes the whole network."""

    def _choices(self, images: ImageSource, runtime: Runtime) -> list[str]:
        said = super()._choices(images, runtime)
        if self.n_clusters < FEWEST_GROUPS:
            same = "" if self.fine_tune else ": these are the groups of Diffusion"
            said.append(f"no head is trained, as groups are fewer than {FEWEST_GROUPS}{same}")
        if self.fine_tune and not images.is_table:
            steps = f"{GROUP_TRAINING.n_epochs} epochs, {batch_size_for(self.n_clusters)} images a step"
            said.append(f"fine_tune={self.fine_tune} trains for {steps}")
        return said

    def _grouped(self, codes: torch.Tensor, random_state: np.random.RandomState) -> dict[str, torch.Tensor]:
        found = super()._grouped(codes, random_state)
        if self.n_clusters < FEWEST_GROUPS or self._has_sizes:
            return found
        share, fuzzifier = float(self.agreement_), USUAL_FUZZIFIER
        if np.isfinite(share):
            fuzzifier = fuzzifier_for(self._some_distances(codes, found), share)
        return found | {"fuzzifier": torch.tensor(fuzzifier)}

    def _keep_scale(self, found: dict[str, torch.Tensor]) -> None:
        super()._keep_scale(found)
        self.fuzzifier_ = found.get("fuzzifier", torch.tensor(torch.nan)).numpy()

    def _scores(self, features: torch.Tensor) -> torch.Tensor:
        if np.isnan(self.fuzzifier_):
            return super()._scores(features)
        return memberships(self._squared_distances(features), float(self.fuzzifier_))

    def _taught(
        self,
        frozen: dict[str, torch.Tensor],
        drawn: torch.Tensor,
        network: nn.Module,
        images: ImageSource,
        rows: torch.Tensor,
        run: Run,
    ) -> dict[str, torch.Tensor]:
        """The head's maps; with ``fine_tune`` those of what the network gives after it has learnt from their groups."""
        few = self.n_clusters < FEWEST_GROUPS
        found = frozen if few else run.cached("discriminant maps", lambda: self._alternate(frozen, drawn, run))
        if not self.fine_tune:
            return found
        labels = group(found["positions"], self.n_clusters, "kmeans", run.random_state("taught"))
        shown = images if len(rows) == len(images) else images.subset(rows.numpy())
        train_on_groups(network, self.fine_tune, shown, drawn, torch.from_numpy(labels), run)

        def maps() -> dict[str, torch.Tensor]:
            features = features_above(network, self.fine_tune, shown, run.runtime)
            own = self._map(features, run)
            return own if few else self._alternate(own, features, run)

        return run.cached("tuned maps", maps)

    def _alternate(self, frozen: dict[str, torch.Tensor], drawn: torch.Tensor, run: Run) -> dict[str, torch.Tensor]:
        """Groups and axes in turns, from the map of the frozen features (R, M)."""
        components, found = DiffusionMap.of(frozen).components(drawn).double().numpy(), dict(frozen)
        maps, random_state = None, run.random_state("round", 0)
        for number in range(1, ROUNDS + 1):
            labels = group(found["positions"], self.n_clusters, "kmeans", random_state)
            axes = discriminant_axes(components, labels)
            if not axes.shape[1]:
                break
            found["axes"] = frozen["axes"] @ torch.from_numpy(axes).float()
            found["samples"] = DiffusionMap.of(found).rows(drawn)
            random_state = run.random_state("round", number)
            maps = DiffusionMaps(found["samples"].numpy(), self.n_clusters, random_state, maps)
            found |= self._placed_in(maps, found["average"].numpy())
        return found


def discriminant_axes(X: np.ndarray, labels: np.ndarray, shrinkage: float = SHRINKAGE) -> np.ndarray:
    """Axes on which groups lie apart, by linear discriminant analysis.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    labels : ndarray of shape (N,), int64
        Groups, from 0.
    shrinkage : float, default=0.3
        Share of a ball of the same variance in the covariance within groups.

    Returns
    -------
    ndarray of shape (D, at most K − 1)
        Of K groups; along each axis the variance within groups is 1, times λ / (1 + λ) for a variance λ between them.
        No axis where all samples of each group are equal.

    Notes
    -----
    O(N·D² + D³).
    """
    counts = np.bincount(labels).astype(float)
    means = np.zeros((len(counts), X.shape[1]))
    np.add.at(means, labels, X)
    means /= np.maximum(counts, 1)[:, None]
    rest, centered = X - means[labels], (means - X.mean(0)) * np.sqrt(counts / len(X))[:, None]
    within, between = rest.T @ rest / len(X), centered.T @ centered
    ball = np.trace(within) / len(within)
    if ball <= 1e-12 * np.trace(between):
        return np.zeros((X.shape[1], 0))
    within = (1 - shrinkage) * within + shrinkage * ball * np.eye(len(within))
    values, vectors = scipy.linalg.eigh(between, within)
    width = min(np.count_nonzero(counts) - 1, X.shape[1])
    values, vectors = np.maximum(values[::-1][:width], 0), vectors[:, ::-1][:, :width]
    return vectors[:, values > 0] * np.sqrt(values / (1 + values))[values > 0]
