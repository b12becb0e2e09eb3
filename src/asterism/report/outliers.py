"""The images that belong to no group."""

from __future__ import annotations

from typing import Any

import numpy as np

from asterism.report.material import Material
from asterism.report.section import Section
from asterism.report.words import counted, shortened

MOST_SHOWN = 100


def outliers(material: Material) -> Section | None:
    """Images with the label −1, those that are the least like all others first; None where there are none."""
    if material.none is None:
        return None
    found = np.flatnonzero(material.clusters == material.none)
    shown = found[np.argsort(-material.confidence[found], kind="stable")[:MOST_SHOWN]]
    sprites = material.sprites(shown, 96) if material.has_pictures else None
    values: dict[str, Any] = {
        "total": counted(len(found), "image"),
        "share": f"{100 * len(found) / material.n:.1f} %",
        "n_shown": len(shown) if len(shown) < len(found) else None,
        "one": len(found) == 1,
        "names": [shortened(material.names[i]) for i in shown],
        "confidence": [f"{material.confidence[i]:.3f}" for i in shown],
        "has_pictures": sprites is not None,
    }
    return Section("outliers", "In no group", values, sprites=sprites)
