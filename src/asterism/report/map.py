"""The map of the images: what the learned features put side by side (the DBC paper's Fig. 7).

It is drawn by t-SNE, the same for the same features and seed on every machine of a kind.
"""

from __future__ import annotations

import numpy as np

from asterism.estimator.keeping import map_side, reduced
from asterism.images.sprites import morton_order
from asterism.report.material import Material
from asterism.report.section import Section, shortened
from asterism.runs.pictures import chosen_for_map

PERPLEXITY = 30.0  # a tenth of the points where they are few: a group smaller than this collapses to a dot
# openTSNE's own 250 and 250, on a grid of width 1, keep as many of each image's 30 nearest among its 30 nearest on the
# map (51 % of 10 000 images) and take six times as long.
EARLY_ITERATIONS, ITERATIONS = 75, 100
FEWEST = 12  # images that t-SNE places
FFT_FROM = 2500  # below it a tree is as quick as the interpolated gradient (FIt-SNE)
GRID = {"ints_in_interval": 2, "min_num_intervals": 30}  # of that interpolation
COARSENESS = 1.0  # of the tree: cells count as one point whose width is this part of their distance (usually .5)
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
        **_counts(material),
    }
    sprites = material.sprites(shown, map_side(len(shown)))
    values = {
        "n_shown": len(shown),
        "n": material.n,
        "is_few": len(shown) < FEWEST,
        "has_classes": material.classes is not None,
        "has_pictures": sprites is not None,
    }
    return Section("map", "Map", values, data, sprites)


def _counts(material: Material) -> dict[str, list[int]]:
    """How many images the legend tells of: of all, as it does for groups, also where a sample is drawn."""
    if material.classes is None:
        return {}
    known, scored, wrong = (int(one.sum()) for one in (material.known, material.scored, material.wrong))
    of_classes = np.bincount(material.classes[material.known], minlength=len(material.class_names)).tolist()
    return {"perClass": [*of_classes, material.n - known], "verdicts": [scored - wrong, wrong, material.n - scored]}


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


def embed(features: np.ndarray, seed: int) -> np.ndarray:
    """Place features in the plane by t-SNE (the DBC paper's Fig. 7).

    Parameters
    ----------
    features : ndarray of shape (n, D)
        Reduced to 50 dimensions by PCA first.
    seed : int

    Returns
    -------
    ndarray of shape (n, 2)
        In [0, 1]², proportions kept. Fewer than a dozen images, or images without any difference, are placed by
        their first two principal components.

    Notes
    -----
    Exact neighbours by brute force, O(n²·50): 2 s for 10 000, faster than an approximate index. The gradient is O(n)
    by interpolation, O(n log n) by a tree for few points. All on one thread: the result of several depends on their
    number, and threads that wait for each other make a busy machine a hundred times slower than one.
    """
    points = reduced(features, seed).astype(np.float64)
    points = np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1]))))
    if len(points) >= FEWEST and float(points.std()) > 0:
        points = _tsne(points, seed)
    return _into_unit_square(points[:, :2])


def _tsne(points: np.ndarray, seed: int) -> np.ndarray:
    from openTSNE import TSNEEmbedding, affinity, initialization  # a second to import: only when a map is drawn

    seed = seed % 2**32
    perplexity = min(PERPLEXITY, max(2.0, len(points) / 10))
    affinities = affinity.PerplexityBasedNN(points, perplexity=perplexity, method="exact", n_jobs=1, random_state=seed)
    embedding = TSNEEmbedding(
        initialization.rescale(points[:, :2].copy()),
        affinities,
        negative_gradient_method="fft" if len(points) >= FFT_FROM else "bh",
        n_jobs=1,
        random_state=seed,
        theta=COARSENESS,
        **GRID,
    )
    embedding = embedding.optimize(n_iter=EARLY_ITERATIONS, exaggeration=12, momentum=0.5)
    return np.asarray(embedding.optimize(n_iter=ITERATIONS, momentum=0.8))


def _into_unit_square(points: np.ndarray) -> np.ndarray:
    low, high = points.min(0), points.max(0)
    side = float((high - low).max())
    return 0.5 + (points - (low + high) / 2) / (side if side > 0 else 1.0)
