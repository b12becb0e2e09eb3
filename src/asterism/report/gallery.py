"""Each cluster's most and least certain members."""

from __future__ import annotations

import numpy as np

from asterism.estimator.keeping import card_side, on_cards, shown_members
from asterism.report.material import Material
from asterism.report.section import Section
from asterism.report.words import grouped, shortened

BINS = 20


def gallery(material: Material) -> Section:
    """A card for each cluster: size, confidence, most and least certain members."""
    cards = shown_members(material.clusters, material.confidence, material.k)
    members = on_cards(cards)
    places = np.clip(material.confidence * BINS, 0, BINS - 1).astype(np.int64)
    bins = np.bincount(material.clusters * BINS + places, minlength=material.k * BINS).reshape(material.k, BINS)
    shown = {
        "cards": [
            {
                "cluster": card.group,
                "certain": len(card.certain),
                "uncertain": len(card.uncertain),
                "histogram": bins[card.group].tolist(),
                "confidence": round(float(material.mean_confidence[card.group]), 3),
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
        sprites = material.sprites(members, card_side(len(members)))
    values = {
        "n_cards": grouped(len(cards)),
        "k": grouped(material.k),
        "is_part": len(cards) < material.k,
        "many": len(cards) > 12,
        "calibrated": hasattr(material.estimator, "agreement_"),
        "has_classes": material.classes is not None,
    }
    return Section("gallery", "Groups", values, shown, sprites)
