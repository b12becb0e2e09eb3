"""What a fit keeps for the pages of its run: thumbnails, hashes, and the features that the map is drawn from.

It is written when the fit ends, also where no page is wanted: the images may be moved, changed or deleted later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA

from asterism.images import ImageSource
from asterism.images.changes import pixel_hashes
from asterism.images.sprites import make_sprites, morton_order
from asterism.runs.pictures import WIDEST_FEATURES, Kept, Stack, chosen_for_map, keep

MOST_CARDS = 1000  # of more groups the largest are shown
CERTAIN, UNCERTAIN = 24, 12  # members of a card …
FEWEST_CERTAIN, FEWEST_UNCERTAIN = 6, 3  # … and of one among very many
BUDGET = 3600  # pictures on all cards together, as long as no card has fewer than that
SIDES = ((2000, 96), (5000, 64), (10**9, 48))  # up to so many pictures on cards: pixels a side
THUMBNAIL, SMALL_THUMBNAIL = 48, 32  # pixels a side on the map; the smaller where more than MANY points have one
MANY = 10_000
TRIED = 32  # images whose features are timed …
PATIENCE, SHARE = 10.0, 0.1  # … and all are computed if that takes so many seconds at most, or this share of the fit's


class Members(NamedTuple):
    """A group as the page shows it: its number, and indices of its surest and its least sure images."""

    group: int
    certain: np.ndarray
    uncertain: np.ndarray


def shown_members(groups: np.ndarray, confidence: np.ndarray, n_groups: int) -> list[Members]:
    """The members of each group that the page shows, in the order of the groups; of very many groups the largest."""
    sizes = np.bincount(groups, minlength=n_groups)
    chosen = np.sort(np.argsort(-sizes, kind="stable")[:MOST_CARDS])
    share = BUDGET / len(chosen) / (CERTAIN + UNCERTAIN)
    n_certain = int(np.clip(CERTAIN * share, FEWEST_CERTAIN, CERTAIN))
    n_uncertain = int(np.clip(UNCERTAIN * share, FEWEST_UNCERTAIN, UNCERTAIN))
    order, ends = np.lexsort((-confidence, groups)), np.cumsum(sizes)  # group by group, surest first
    found = []
    for group in chosen.tolist():
        members = order[ends[group] - sizes[group] : ends[group]]
        found.append(Members(group, members[:n_certain], members[n_certain:][::-1][:n_uncertain]))
    return found


def on_cards(shown: list[Members]) -> np.ndarray:
    """The images of the groups' cards, in the order of their pictures."""
    return np.concatenate([np.concatenate([one.certain, one.uncertain]) for one in shown])


def card_side(n_pictures: int) -> int:
    """Longest side of so many pictures on cards, in pixels."""
    return next(side for limit, side in SIDES if n_pictures <= limit)


def map_side(n_points: int) -> int:
    """Longest side of a picture of so many on the map, in pixels."""
    return THUMBNAIL if n_points <= MANY else SMALL_THUMBNAIL


def shown_groups(clusterer: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Groups (N,) that a fitted clusterer found, confidence (N,), and the number of groups, empty ones too.

    Images that belong nowhere are a group of their own, the last one.
    """
    labels = clusterer.labels_
    n_groups = max(len(clusterer.cluster_centers_), int(labels.max(initial=-1)) + 1)  # not always n_clusters
    groups = np.where(labels < 0, n_groups, labels)
    return groups, np.nan_to_num(clusterer.confidence_), n_groups + bool((labels < 0).any())


def reduced(features: np.ndarray, seed: int) -> np.ndarray:
    """Features (n, D) as the map is drawn from them: their first principal components, (n, up to 50), float32."""
    features = np.nan_to_num(np.asarray(features, dtype=np.float64), posinf=0.0, neginf=0.0)
    centred = features - features.mean(0)
    width = min(WIDEST_FEATURES, *features.shape)
    if np.abs(centred).max(initial=0.0) > 0:
        pca = PCA(width, random_state=seed % 2**32).set_output(transform="default")
        found = pca.fit_transform(centred).astype(np.float32)
        return np.nan_to_num(found, posinf=0.0, neginf=0.0)
    return np.zeros((len(features), width), np.float32)


def keep_pictures(clusterer: Any, images: ImageSource, folder: Path, fingerprint: str, alone: bool) -> None:
    """Write what the pages of a run need of its images.

    Parameters
    ----------
    clusterer : ImageClusterer
        Fitted to the images.
    images : ImageSource
    folder : Path
        The run's.
    fingerprint : str
        Of the images.
    alone : bool
        Whether no other processes would have to help with the features, which are left out else.
    """
    shown, stacks = chosen_for_map(len(images), clusterer.seed_), {}
    part = images if len(shown) == len(images) else images.subset(shown)
    found = _in_time(clusterer.map_features, part, clusterer.fit_seconds_) if alone else None
    features = None if found is None else reduced(found, clusterer.seed_)
    if not images.for_the_eye.is_table:
        groups, confidence, n_groups = shown_groups(clusterer)
        members = on_cards(shown_members(groups, confidence, n_groups))
        on_map = shown if features is None else shown[morton_order(features)]  # the map begins as their first two axes
        sides = (("gallery", members, card_side(len(members))), ("map", on_map, map_side(len(on_map))))
        for name, chosen, side in sides:
            stacks[name] = Stack(chosen, make_sprites(images.for_the_eye, chosen, side))
    keep(folder, Kept(fingerprint, shown, None, features, pixel_hashes(images), stacks))


def _in_time(
    compute: Callable[[ImageSource], np.ndarray], images: ImageSource, fit_seconds: float
) -> np.ndarray | None:
    """Features of images, (n, D); None where a few of them say that all would take long."""
    began = time.monotonic()
    compute(images.part(0, TRIED))
    if (time.monotonic() - began) * len(images) / min(TRIED, len(images)) > max(PATIENCE, SHARE * fit_seconds):
        return None
    return compute(images)
