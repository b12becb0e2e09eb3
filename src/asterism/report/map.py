"""The map of the images: what the learned features put side by side (the DBC paper's Fig. 7)."""

from __future__ import annotations

import numpy as np

from asterism.estimator.keeping import map_side, reduced
from asterism.images.sprites import morton_order
from asterism.report.embed import embed
from asterism.report.material import Material
from asterism.report.section import Section
from asterism.report.words import grouped, shortened
from asterism.runs.pictures import chosen_for_map

UNITS = 65535  # positions are whole numbers up to this: short in the page, finer than any screen


def map_(material: Material) -> Section | None:
    """Every image as a point, or a sample of them; None where neither the images nor their places are there."""
    shown = chosen_for_map(material.n, material.seed)
    points = material.points = _places(material, shown)
    if points is None:
        return None
    order = _order(material, shown, points)
    points, shown = points[order], shown[order]
    material.on_map = shown
    data = {
        "x": np.rint(points[:, 0] * UNITS).astype(int).tolist(),
        "y": np.rint(points[:, 1] * UNITS).astype(int).tolist(),
        "units": UNITS,
        "clusters": material.clusters[shown].tolist(),
        "confidence": [round(float(one), 3) for one in material.confidence[shown]],
        "names": [shortened(material.names[i]) for i in shown],
        "classes": None if material.classes is None else material.classes[shown].tolist(),
    }
    sprites = material.sprites(shown, map_side(len(shown)))
    values = {
        "n_shown": grouped(len(shown)),
        "n": grouped(material.n),
        "is_sample": len(shown) < material.n,
        "has_classes": material.classes is not None,
        "has_pictures": sprites is not None,
    }
    return Section("map", "Map", values, data, sprites)


def _order(material: Material, shown: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The order in which the pictures lie on their sheets: as the run keeps them, else by their places."""
    stack = None if material.kept is None else material.kept.stacks.get("map")
    if stack is not None and np.array_equal(np.sort(stack.indices), shown):
        return np.searchsorted(shown, stack.indices)
    return morton_order(points)


def _places(material: Material, shown: np.ndarray) -> np.ndarray | None:
    """Where the images lie, (m, 2) in the unit square: as the run keeps it, from features that it keeps, or from such
    of a pass over the images."""
    kept = material.kept if material.kept is not None and np.array_equal(material.kept.shown, shown) else None
    if kept is not None and kept.points is not None:
        return kept.points
    if kept is not None and kept.features is not None:
        return embed(kept.features, material.seed)
    if material.images is None:
        return None
    images = material.images if len(shown) == material.n else material.images.subset(shown)
    return embed(reduced(material.estimator.map_features(images), material.seed), material.seed)
