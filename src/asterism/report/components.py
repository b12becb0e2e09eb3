"""Which images use each component of W most: what the bases of a factorisation stand for."""

from __future__ import annotations

import numpy as np

from asterism.report.material import Material
from asterism.report.section import Section
from asterism.report.words import shortened


def components(material: Material) -> Section | None:
    """The busiest components, each with its images; None for methods without any, and where there are no pictures."""
    examples = material.estimator.examples_
    if "component_images" not in examples or not material.has_pictures:
        return None
    chosen, weights = (examples[f"component_{name}"].numpy() for name in ("images", "weights"))  # (components, images)
    rows = [
        {
            "number": int(number),
            "pictures": [
                {
                    "name": shortened(material.names[image]),
                    "weight": f"{weight:.2f}",
                    "cluster": int(material.clusters[image]),
                    "sprite": i * chosen.shape[1] + j,
                }
                for j, (image, weight) in enumerate(zip(chosen[i], weights[i], strict=True))
                if weight > 0
            ],
        }
        for i, number in enumerate(examples["components"].tolist())
    ]
    if (sprites := material.sprites(np.asarray(chosen).reshape(-1), 64)) is None:
        return None
    total = len(dict(material.estimator.encoder_.named_buffers())["1.W"])
    return Section("components", "Components", {"rows": rows, "n_shown": len(rows), "total": total}, sprites=sprites)
