"""Collapse detection: a few numbers for each round of learning from own clusters, and a warning where it fails.

A network that learns from its own clusters can fail in two ways: all images end in one cluster, or the clusters cannot
be told apart (DeepCluster §3.3). Both show in these numbers long before anyone looks at the features.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch

from asterism.metrics import nmi
from asterism.training.run import Run

FEW_CLUSTERS = 0.1  # share of k below which the clusters in effect are called a collapse
NOT_LEARNING = 0.99  # of ln k: a loss above it is no better than guessing
PATIENCE = 10  # rounds in which the loss may stay there


class CollapseWarning(UserWarning):
    """Clusters or network are of no use any more; the message says why, and what to try."""


def examine(labels: torch.Tensor, previous: torch.Tensor, n_clusters: int) -> dict[str, Any]:
    """Figures of a clustering.

    Parameters
    ----------
    labels, previous : torch.Tensor of shape (N,)
        Of this round and of the one before (−1 where there was none).
    n_clusters : int
        k.

    Returns
    -------
    dict
        ``nmi_to_previous``, √-normalised as in §4.1 (Fig. 2b), from the second round on; ``empty_clusters``,
        ``smallest_cluster`` and ``largest_cluster``; ``entropy`` of the sizes, 1 where all are equal, and
        ``effective_clusters``, its exponential: how many equal clusters would have that entropy.
    """
    sizes = np.bincount(labels.numpy(), minlength=n_clusters)
    shares = sizes[sizes > 0] / len(labels)
    entropy = float(-(shares * np.log(shares)).sum()) + 0.0
    found: dict[str, Any] = {
        "empty_clusters": int((sizes == 0).sum()),
        "smallest_cluster": int(sizes.min()),
        "largest_cluster": int(sizes.max()),
        "entropy": entropy / math.log(n_clusters) if n_clusters > 1 else 1.0,
        "effective_clusters": math.exp(entropy),
    }
    if int(previous[0]) >= 0:
        found["nmi_to_previous"] = nmi(previous.numpy(), labels.numpy(), "sqrt")
    return found


def diagnosis(rounds: list[dict[str, Any]], n_clusters: int) -> str | None:
    """What is wrong after these rounds, in one line, or None.

    Parameters
    ----------
    rounds : list of dict
        Figures of `examine` with ``loss``, oldest first.
    n_clusters : int
        k.
    """
    last = rounds[-1]
    if n_clusters >= 10 and last["effective_clusters"] < FEW_CLUSTERS * n_clusters:
        return (
            f"collapse in round {len(rounds)}: the images lie in {last['effective_clusters']:.1f} clusters in effect "
            f"of {n_clusters}, the largest has {last['largest_cluster']}; try sampler='uniform', a smaller "
            "training.lr, or fewer clusters"
        )
    chance = math.log(n_clusters) if n_clusters > 1 else 0.0
    losses = [one["loss"] for one in rounds if "loss" in one]
    if chance and len(losses) >= PATIENCE and min(losses) > NOT_LEARNING * chance:
        return (
            f"after {len(losses)} rounds the loss is {losses[-1]:.3f}, that of guessing among {n_clusters} clusters "
            f"(ln k = {chance:.3f}): the network does not learn its pseudo-labels; try a larger training.lr or "
            "reassign_every, or fewer clusters"
        )
    return None


def watch(
    run: Run, stage: str, labels: torch.Tensor, previous: torch.Tensor, n_clusters: int, loss: float, **more: Any
) -> None:
    """Record a round's figures, and warn of what they tell: of each kind of collapse once in a stage.

    Parameters
    ----------
    run : Run
    stage : str
        Whose lines of the history are looked at.
    labels, previous, n_clusters
        See `examine`.
    loss : float
        Beside it that of guessing is recorded, ln k.
    **more
        Other figures of the round.
    """
    chance = {"loss": loss, "loss_of_guessing": math.log(n_clusters)}
    figures = {**chance, **more, **examine(labels, previous, n_clusters)}
    run.record(**figures)
    before = [entry for entry in run.history if entry["stage"] == stage]
    found = diagnosis([*before, figures], n_clusters)
    said = {str(entry["warning"]).partition(" ")[0] for entry in before if "warning" in entry}
    if found is not None and found.partition(" ")[0] not in said:  # nor by an earlier life of the run
        run.record(warning=found)
        if run.runtime.is_main:
            warnings.warn(found, CollapseWarning, stacklevel=2)
