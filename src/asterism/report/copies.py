"""Copies of pictures: each kept image with those that are the same again."""

from __future__ import annotations

from typing import Any

import numpy as np

from asterism.report.material import Material
from asterism.report.section import Section
from asterism.report.words import counted, shortened

MOST_SHOWN = 200  # pictures


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
        if sets and len(shown) + len(members) > MOST_SHOWN:
            break
        sets.append([(len(shown) + i, shortened(material.names[one])) for i, one in enumerate(members[:MOST_SHOWN])])
        shown += members[:MOST_SHOWN]
    sprites = material.sprites(np.array(shown), 96) if material.has_pictures else None
    content = material.content
    dropped = {**content["params"], **content.get("screening", {})}.get("drop_duplicates")
    n_copies = int(are_copies.sum())
    values: dict[str, Any] = {
        "total": counted(n_copies, "image"),
        "one": n_copies == 1,
        "kept": counted(len(kept), "other"),
        "sets": sets,
        "is_part": len(sets) < len(kept),
        "dropped": bool(dropped),
        "has_pictures": sprites is not None,
    }
    return Section("copies", "Copies", values, sprites=sprites)
