"""How groups merge: the end of the tree, the most stable levels, and the images at three stages (JULE's Fig. 1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from asterism.clustering.linkage_tree import nodes_after
from asterism.report.material import Material
from asterism.report.palette import palette
from asterism.report.section import Section, counted

FEWEST_LEAVES, MOST_LEAVES = 24, 120  # of the tree; between them twice as many as clusters
MOST_POINTS = 2000  # of a stage's map: more are drawn at random
COLORS = 36  # of a stage with more clusters, which share them
BOX = 100.0  # drawings live in a box of 100 × 100, which the page stretches


def merge_tree(material: Material) -> Section | None:
    """The tree over groups, the levels that were found, and the maps of a method that keeps ``stage_maps_``."""
    images, history = material.estimator.tree()
    n_groups = len(np.unique(material.clusters[images]))
    n_merged = int((history[:, 2] > 0).sum())  # from the initial clusters to one
    n_leaves = min(n_merged + 1, MOST_LEAVES, max(FEWEST_LEAVES, 2 * n_groups))
    number, is_tree = material.content.get("number"), n_leaves >= 3  # of two groups there is nothing to see
    if not is_tree and number is None:
        return None
    n_samples = len(images)
    leaves, clusters = nodes_after(history, n_samples, n_samples - n_leaves), material.clusters[images]
    commonest = {int(leaf): int(np.bincount(clusters[leaves == leaf]).argmax()) for leaf in np.unique(leaves)}
    is_cut = 1 < n_groups < n_merged + 1 and n_groups <= n_leaves
    values: dict[str, Any] = {
        "branches": branches(history, n_leaves, commonest, material.colors) if is_tree else [],
        "cut": f"{BOX * (n_groups - 1 - 0.5) / (n_leaves - 1):.2f}" if is_cut else None,
        "k": n_groups,
        "n_leaves": n_leaves,
        "n_initial": n_merged + 1,
        "is_own": n_merged + 1 > n_groups,
        "says": None if number is None else number["says"],
        "levels": [] if number is None else number["levels"],
        "stages": stages(material),
    }
    return Section("merge_tree", "Groups within groups", values)


def branches(history: np.ndarray, n_leaves: int, cluster_of: dict[int, int], colors: list[str]) -> list[dict[str, Any]]:
    """The last merges as SVG paths, bottom to top: one unit of height a merge, leaves side by side.

    Parameters
    ----------
    history : ndarray of shape (N − 1, 4)
    n_leaves : int
    cluster_of : dict
        Cluster of each leaf's node; a branch has its colour while both its sides have the same.
    colors : list of str
    """
    n_samples = len(history) + 1
    first = n_samples - n_leaves
    children = {n_samples + t: (int(history[t, 0]), int(history[t, 1])) for t in range(first, len(history))}
    order, waiting = [], [n_samples + len(history) - 1]
    while waiting:
        node = waiting.pop()
        if node in children:
            waiting.extend(reversed(children[node]))
        else:
            order.append(node)
    x = {node: BOX * (i + 0.5) / n_leaves for i, node in enumerate(order)}
    y = dict.fromkeys(order, BOX)
    cluster: dict[int, int | None] = {node: cluster_of[node] for node in order}
    drawn = []
    for t in range(first, len(history)):
        node = n_samples + t
        a, b = children[node]
        x[node], y[node] = (x[a] + x[b]) / 2, BOX - BOX * (t - first + 1) / (n_leaves - 1)
        cluster[node] = cluster[a] if cluster[a] == cluster[b] else None
        sides = sorted((a, b), key=x.__getitem__)
        for side, other in (sides, sides[::-1]):
            of = cluster[side]
            drawn.append(
                {
                    "path": f"M{x[side]:.2f} {y[side]:.2f}V{y[node]:.2f}H{(x[side] + x[other]) / 2:.2f}",
                    "color": None if of is None else colors[of],
                    "title": counted(1 if side < n_samples else int(history[side - n_samples, 3]), "image")
                    + ("" if of is None else f", group {of}"),
                }
            )
    return drawn


def stages(material: Material) -> list[dict[str, Any]]:
    """The first, middle and last stage: two principal components of the features and the clusters found with them."""
    maps = getattr(material.estimator, "stage_maps_", None)
    labels = getattr(material.estimator, "stage_labels_", None)
    if maps is None or labels is None:
        return []
    last = len(maps) - 1
    n = len(labels[0])  # of the images that were fitted
    shown = np.arange(n)
    if n > MOST_POINTS:
        shown = np.sort(np.random.default_rng(material.seed).choice(n, MOST_POINTS, replace=False))
    found = []
    for name, at in {"Initial": 0, "Middle": last // 2, "Final": last}.items():
        if name == "Middle" and at in (0, last):
            continue
        n_clusters = int(labels[at].max()) + 1
        found.append(
            {
                "name": f"{name} stage",
                "clusters": counted(n_clusters, "group"),
                "dots": dots(maps[at][shown, :2], labels[at][shown], palette(min(n_clusters, COLORS))),
            }
        )
    return found


def dots(points: np.ndarray, labels: np.ndarray, colors: list[str]) -> list[dict[str, str]]:
    """Points (n, 2) as SVG paths, one a colour: steps of length 0, which round line ends make dots."""
    low, span = points.min(0), np.ptp(points, axis=0)
    places = 2 + (BOX - 4) * (points - low) / np.where(span > 0, span, 1)
    groups = labels % len(colors)
    return [
        {"color": color, "path": "".join(f"M{x:.1f} {BOX - y:.1f}h0" for x, y in places[groups == number])}
        for number, color in enumerate(colors)
        if (groups == number).any()
    ]
