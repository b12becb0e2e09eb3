"""With known classes: which cluster holds what, class by class, and what was wrong with great certainty."""

from __future__ import annotations

from typing import Any

import numpy as np

from asterism.report.material import Material
from asterism.report.section import Section, shortened

LARGEST_TABLE = 25  # clusters or classes; larger confusions are drawn as a picture
MOST_MISTAKES = 100  # as many as the DBC paper's Fig. 8 shows


def confusion(material: Material) -> Section | None:
    """Clusters × classes, each cluster in the row of the class that it stands for; None without labels."""
    if material.classes is None:
        return None
    rows = ordered_clusters(material)
    rows = rows[rows != (-1 if material.none is None else material.none)]
    counts = material.counts[rows]  # (k, classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    as_table = max(counts.shape) <= LARGEST_TABLE
    values = {
        "classes": material.class_names,
        "rows": [
            {
                "cluster": int(cluster),
                "matched": int(material.matched[cluster]),
                "cells": list(zip(counts[i].tolist(), shares[i].tolist(), strict=True)),
            }
            for i, cluster in enumerate(rows)
        ]
        if as_table
        else [],
        "per_class": per_class(material),
        "n_left": int((material.matched[rows] < 0).sum()),
        "n": len(rows),
    }
    at = np.argwhere(counts)
    data = None
    if not as_table:
        cells = [[int(i), int(j), int(counts[i, j]), _drawn(shares[i, j])] for i, j in at]
        data = {"clusters": rows.tolist(), "matched": material.matched[rows].tolist(), "cells": cells}
    return Section("confusion", "Confusion", values, data)


def _drawn(share: float) -> float:
    """A share in three digits; 1 is only what is so."""
    return 1.0 if share == 1 else min(max(round(float(share), 3), 0.001), 0.999)


def ordered_clusters(material: Material) -> np.ndarray:
    """Clusters in the order of their classes; those left without a class stand last, by their commonest class."""
    return np.lexsort((np.arange(material.k), material.stands_for, material.matched < 0))


def per_class(material: Material) -> list[dict[str, Any]]:
    """Figures of each class, the worst first: found (recall), pure (precision), and where most of the rest went."""
    owner = {int(of_class): cluster for cluster, of_class in enumerate(material.matched) if of_class >= 0}
    found = []
    for number, name in enumerate(material.class_names):
        column = material.counts[:, number]
        total, cluster = int(column.sum()), owner.get(number)
        if total == 0:
            continue
        hits = 0 if cluster is None else int(column[cluster])
        elsewhere = column.copy()
        if cluster is not None:
            elsewhere[cluster] = 0
        other = int(elsewhere.argmax())
        found.append(
            {
                "name": name,
                "images": total,
                "cluster": cluster,
                "found": hits / total,
                "pure": None if cluster is None else hits / int(material.counts[cluster].sum()),
                "other": other if elsewhere[other] else None,
                "other_name": None if material.stands_for[other] == number else material.class_of_cluster(other),
                "other_count": int(elsewhere[other]),
            }
        )
    return sorted(found, key=lambda one: one["found"])


def mistakes(material: Material) -> Section | None:
    """Images in the wrong group with the highest confidence (Fig. 8); None without labels, pictures or mistakes."""
    wrong = np.flatnonzero(material.wrong)
    chosen = wrong[np.argsort(-material.confidence[wrong], kind="stable")[:MOST_MISTAKES]]
    sprites = material.sprites(chosen, 96) if len(chosen) else None
    if material.classes is None or sprites is None:
        return None
    pictures = [
        {
            "name": shortened(material.names[i]),
            "confidence": f"{material.confidence[i]:.3f}",
            "cluster": int(material.clusters[i]),
            "taken_for": material.class_of_cluster(int(material.clusters[i])),
            "truth": material.class_names[int(material.classes[i])],
        }
        for i in chosen
    ]
    values = {
        "pictures": pictures,
        "n": len(wrong),
        "share": 100 * len(wrong) / material.scored.sum(),
        "lowest": f"{material.confidence[chosen[-1]]:.2f}",
    }
    return Section("mistakes", "Confidently wrong", values, sprites=sprites)
