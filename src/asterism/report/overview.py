"""The head of the page: what was clustered, how well, and how large the groups are."""

from __future__ import annotations

from typing import Any

import numpy as np

from asterism.clustering.stability import WEAK, stability_words
from asterism.images.options import source_words
from asterism.report.material import Material
from asterism.report.section import Section, counted, duration, grouped, rounded, short, shortened, without_home

SCORES = {
    "acc": ("ACC", "accuracy: images in the group that their class is matched to, one to one (Hungarian method)"),
    "nmi_max": ("NMI max", "normalised mutual information, divided by the larger entropy"),
    "nmi_sqrt": ("NMI sqrt", "normalised mutual information, divided by the geometric mean of the entropies"),
    "nmi_arith": ("NMI arith", "normalised mutual information, divided by the mean of the entropies"),
    "ari": ("ARI", "adjusted Rand index"),
    "purity": ("Purity", "images that belong to the commonest class of their group"),
}
MOST_BARS = 120  # more clusters than this are drawn as one outline of the sorted sizes


def headline(material: Material) -> dict[str, Any]:
    """What stands above all sections: title, facts, scores, warnings."""
    content = material.content
    in_groups = material.confidence[material.clusters != (-1 if material.none is None else material.none)]
    facts = [
        ("Images", grouped(material.n)),
        ("Groups", grouped(material.n_groups)),
        ("Method", content["method"]),
        ("Size", _shape(material)),
        ("Time", duration(float(content["seconds"]))),
        ("Mean confidence", f"{float(in_groups.mean()):.3f}"),
    ]
    stability = getattr(material.estimator, "stability_", None)
    warnings = [without_home(one) for one in material.warnings]
    if material.none is not None:
        facts.append(("In no group", grouped(int(material.sizes[-1]))))
        if material.scores:
            warnings.append("Images in no group are left out of the scores.")
    if stability is not None and np.isfinite(stability):
        facts.append(("Stability", f"{float(stability):.2f}"))
        if stability < WEAK:
            warnings.append(f"Stability {stability_words(float(stability))}.")
    return {
        "title": f"{counted(material.n, 'image')} in {counted(material.n_groups, 'group')}",
        "source": shortened(without_home(source_words(content["images"].get("origin")))),
        "facts": facts,
        "scores": [(*SCORES[key], rounded(material.scores[key])) for key in SCORES if key in material.scores],
        "warnings": warnings,
    }


def sizes(material: Material) -> Section:
    """How many images each cluster holds."""
    of_groups = material.sizes if material.none is None else material.sizes[:-1]
    largest = max(1, int(of_groups.max()))
    bars = [
        {
            "cluster": cluster,
            "count": int(count),
            "share": count / largest,
            "color": material.colors[cluster],
            "name": material.class_of_cluster(cluster),
        }
        for cluster, count in enumerate(material.sizes)
        if cluster != material.none
    ]
    many = material.k > MOST_BARS
    values = {
        "bars": [] if many else bars,
        "outline": _outline(sorted((bar["share"] for bar in bars), reverse=True)) if many else None,
        "numbered": material.k <= 40,
        "largest": largest,
        "smallest": int(of_groups.min()),
        "median": short(float(np.median(of_groups))),
        "n_empty": int((of_groups == 0).sum()),
    }
    return Section("sizes", "Sizes", values)


def _outline(shares: list[float]) -> str:
    """A filled staircase of falling shares, in a box of 100 × 100."""
    width = 100 / len(shares)
    steps = "".join(f"V{100 - 100 * one:.2f}h{width:.4f}" for one in shares)
    return f"M0 100{steps}V100Z"


def _shape(material: Material) -> str:
    """Size and colour of the images in words."""
    channels, height, width = material.estimator.image_shape_
    if material.content["images"].get("is_table"):
        return counted(channels, "value")
    return f"{width}×{height} " + {1: "grey", 3: "RGB"}.get(
        channels, f"{counted(channels, 'channel')}, the first {min(channels, 3)} shown as false colours"
    )
