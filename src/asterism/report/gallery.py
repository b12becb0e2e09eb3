"""Pictures of the groups' members, of the images that are in no group, and of copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from asterism.estimator.keeping import card_side, on_cards, shown_members
from asterism.report.material import Material
from asterism.report.section import Section, shortened

BINS = 20  # of a group's confidences
OUTLIERS_SHOWN, COPIES_SHOWN = 100, 200  # pictures, at most


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
    sprites = material.sprites(members, card_side(len(members)))
    values = {
        "n_cards": sum(card.group != material.none for card in cards),
        "k": material.n_groups,
        "is_part": len(cards) < material.k,
        "many": len(cards) > 12,
        "calibrated": bool(np.isfinite(getattr(material.estimator, "agreement_", np.nan))),  # by halves
        "has_classes": material.classes is not None,
    }
    return Section("gallery", "Groups", values, shown, sprites)


def outliers(material: Material) -> Section | None:
    """Images with the label −1, those that are the least like all others first; None where there are none."""
    if material.none is None:
        return None
    found = np.flatnonzero(material.clusters == material.none)
    shown = found[np.argsort(-material.confidence[found], kind="stable")[:OUTLIERS_SHOWN]]
    sprites = material.sprites(shown, 96)
    values: dict[str, Any] = {
        "n": len(found),
        "share": 100 * len(found) / material.n,
        "names": [shortened(material.names[i]) for i in shown],
        "confidence": [f"{material.confidence[i]:.3f}" for i in shown],
        "has_pictures": sprites is not None,
    }
    return Section("outliers", "In no group", values, sprites=sprites)


def copies(material: Material) -> Section | None:
    """Kept images and their copies, most copies first; None where there are none."""
    of = getattr(material.estimator, "duplicate_of_", np.arange(material.n))
    are_copies = of != np.arange(material.n)
    if not are_copies.any():
        return None
    kept, counts = np.unique(of[are_copies], return_counts=True)
    sets: list[list[tuple[int, str]]] = []
    shown: list[int] = []
    for image in kept[np.argsort(-counts, kind="stable")].tolist():
        members = [image, *np.flatnonzero(are_copies & (of == image)).tolist()]
        if sets and len(shown) + len(members) > COPIES_SHOWN:
            break
        sets.append([(len(shown) + i, shortened(material.names[one])) for i, one in enumerate(members[:COPIES_SHOWN])])
        shown += members[:COPIES_SHOWN]
    sprites = material.sprites(np.array(shown), 96)
    content = material.content
    dropped = {**content["params"], **content.get("screening", {})}.get("drop_duplicates")
    values: dict[str, Any] = {
        "n": int(are_copies.sum()),
        "n_kept": len(kept),
        "sets": sets,
        "is_cut": len(sets[0]) < 1 + counts.max(),
        "dropped": bool(dropped),
        "has_pictures": sprites is not None,
    }
    return Section("copies", "Copies", values, sprites=sprites)
