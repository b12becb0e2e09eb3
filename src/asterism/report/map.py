"""The map of the images: what the learned features put side by side (the DBC paper's Fig. 7)."""

from __future__ import annotations

import numpy as np

from asterism.report.embed import chosen_for_map, embed, morton_order
from asterism.report.material import Material
from asterism.report.section import Section
from asterism.report.words import grouped, shortened

UNITS = 65535  # positions are whole numbers up to this: short in the page, finer than any screen
THUMBNAIL, SMALL_THUMBNAIL = 48, 32  # pixels a side; the smaller where more than MANY points have one
MANY = 10_000


def map_(material: Material) -> Section | None:
    """Every image as a point, or a sample of them; None where neither the images nor their places are there."""
    shown = chosen_for_map(material.n, material.seed)
    points = material.points = _places(material, shown)
    if points is None:
        return None
    order = morton_order(points)
    points, shown = points[order], shown[order]
    data = {
        "x": np.rint(points[:, 0] * UNITS).astype(int).tolist(),
        "y": np.rint(points[:, 1] * UNITS).astype(int).tolist(),
        "units": UNITS,
        "clusters": material.clusters[shown].tolist(),
        "confidence": [round(float(one), 3) for one in material.confidence[shown]],
        "names": [shortened(material.names[i]) for i in shown],
        "classes": None if material.classes is None else material.classes[shown].tolist(),
    }
    sprites = material.sprites(shown, THUMBNAIL if len(shown) <= MANY else SMALL_THUMBNAIL)
    values = {
        "n_shown": grouped(len(shown)),
        "n": grouped(material.n),
        "is_sample": len(shown) < material.n,
        "has_classes": material.classes is not None,
        "has_pictures": sprites is not None,
    }
    return Section("map", "Map", values, data, sprites)


def _places(material: Material, shown: np.ndarray) -> np.ndarray | None:
    """Where the images lie, (m, 2) in the unit square: as the run keeps it, else by a pass over the images."""
    if material.kept is not None and np.array_equal(material.kept.shown, shown):
        return material.kept.points
    if material.images is None:
        return None
    images = material.images if len(shown) == material.n else material.images.subset(shown)
    return embed(material.estimator.map_features(images), material.seed)
