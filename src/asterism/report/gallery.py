"""Each cluster's most and least certain members."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asterism.report.material import Material
from asterism.report.section import Section
from asterism.report.words import grouped, shortened

MOST_CARDS = 1000  # of more clusters the largest are shown
CERTAIN, UNCERTAIN = 24, 12  # members of a card …
FEWEST_CERTAIN, FEWEST_UNCERTAIN = 6, 3  # … and of one among very many
BUDGET = 3600  # pictures on all cards together, as long as no card has fewer than that
SIDES = ((2000, 96), (5000, 64), (10**9, 48))  # up to so many pictures: pixels a side
BINS = 20


@dataclass
class Card:
    """A cluster as the gallery shows it: indices of members, surest first."""

    cluster: int
    certain: np.ndarray
    uncertain: np.ndarray
    histogram: np.ndarray


def gallery(material: Material) -> Section:
    """A card for each cluster: size, confidence, most and least certain members."""
    cards = make_cards(material)
    members = members_of(cards)
    shown = {
        "cards": [
            {
                "cluster": card.cluster,
                "certain": len(card.certain),
                "uncertain": len(card.uncertain),
                "histogram": card.histogram.tolist(),
                "confidence": round(float(material.mean_confidence[card.cluster]), 3),
            }
            for card in cards
        ],
        "names": [shortened(material.names[i]) for i in members],
        "confidence": [round(float(one), 3) for one in material.confidence[members]],
        "classes": None if material.classes is None else material.classes[members].tolist(),
        "wrong": material.wrong[members].astype(int).tolist(),
    }
    sprites = None
    if material.has_pictures:
        sprites = material.sprites(members, next(side for limit, side in SIDES if len(members) <= limit))
    values = {
        "n_cards": grouped(len(cards)),
        "k": grouped(material.k),
        "is_part": len(cards) < material.k,
        "many": len(cards) > 12,
        "has_classes": material.classes is not None,
    }
    return Section("gallery", "Groups", values, shown, sprites)


def members_of(cards: list[Card]) -> np.ndarray:
    """The images on cards, in the order of their pictures."""
    return np.concatenate([np.concatenate([card.certain, card.uncertain]) for card in cards])


def make_cards(material: Material) -> list[Card]:
    """Cards of the clusters, in their order; of more than `MOST_CARDS` the largest."""
    chosen = np.sort(np.argsort(-material.sizes, kind="stable")[:MOST_CARDS])
    share = BUDGET / len(chosen) / (CERTAIN + UNCERTAIN)
    n_certain = int(np.clip(CERTAIN * share, FEWEST_CERTAIN, CERTAIN))
    n_uncertain = int(np.clip(UNCERTAIN * share, FEWEST_UNCERTAIN, UNCERTAIN))
    order = np.lexsort((-material.confidence, material.clusters))  # cluster by cluster, surest first
    ends = np.cumsum(material.sizes)
    cards = []
    for cluster in chosen.tolist():
        members = order[ends[cluster] - material.sizes[cluster] : ends[cluster]]
        certain, rest = members[:n_certain], members[n_certain:]
        histogram, _ = np.histogram(material.confidence[members], BINS, (0, 1))
        cards.append(Card(cluster, certain, rest[::-1][:n_uncertain], histogram))
    return cards
