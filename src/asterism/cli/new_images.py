"""Images for a run that lies on disk, as a command is given them."""

from __future__ import annotations

import os
import warnings

import numpy as np

from asterism.cli.errors import list_skipped
from asterism.clustering.outliers import ALPHA
from asterism.errors import InputError
from asterism.estimator import ImageClusterer
from asterism.images import ImageSource, open_images
from asterism.images.options import color_of, reading_of
from asterism.images.paths import is_list_file
from asterism.report.fitted import FittedRun
from asterism.training.progress import decoding_bar


def open_new_images(
    run: FittedRun,
    images: str,
    layout: str | None = None,
    strict: bool = False,
    features: str | None = None,
    scale: str | tuple[float, float] | None = None,
) -> ImageSource:
    """Open other images as the run's own were opened: same size, colour and scale, unless another scale is declared.

    Raises
    ------
    InputError
        If they cannot be made to fit the run.
    """
    origin = run.content["images"]["origin"]
    channels, height, width = run.estimator.image_shape_
    is_table = run.content["images"].get("is_table", height == width == 1)
    if os.path.isfile(images) and not is_list_file(images):
        layout = layout or origin.get("layout")
    size, color = (None, None) if is_table else ((height, width), color_of(channels))
    needed = _described(channels, height, width)
    reading = reading_of(origin)
    if scale is not None:
        reading = {key: one for key, one in reading.items() if key != "white"} | {"scale": scale}
    try:
        with decoding_bar() as progress:
            opened = open_images(
                images,
                size=size,
                color=color,
                crop=origin.get("crop", True),
                layout=layout,
                strict=strict,
                features=features,
                progress=progress,
                **reading,
            )
    except InputError:
        if not is_table and os.path.isfile(images) and open_images(images, layout=layout).is_table:
            raise InputError(f"{images} holds vectors; {run.folder.path} was made from {needed}: give such") from None
        raise
    if opened.shape != (channels, height, width):
        found = _described(*opened.shape)
        raise InputError(f"{images} holds {found}; {run.folder.path} was made from {needed}: give such")
    list_skipped(opened.skipped)
    return opened


def placed(clusterer: ImageClusterer, images: ImageSource, alpha: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidences (N,) of new images.

    Where none is to be refused, says how many are like none of the fit's, if they are more than chance makes so.
    """
    if alpha is not None or not hasattr(clusterer, "reference_"):
        return clusterer.predict_with_confidence(images, outliers=alpha)
    labels, confidence, p = clusterer._placed(images, None, True)
    n_strange = int((p < ALPHA).sum())
    expected = ALPHA * len(images)  # three deviations above it: of chance in them, and in those of the fit
    if n_strange > expected + 3 * (expected * (1 + len(images) / len(clusterer.reference_))) ** 0.5:
        warnings.warn(
            f"like none of the run's images: {n_strange} of {len(images)}; groups of these mean nothing, and "
            "--outliers gives them none",
            stacklevel=2,
        )
    return labels, confidence


def _described(channels: int, height: int, width: int) -> str:
    if height == width == 1:
        return f"vectors of {channels} numbers"
    return f"images of {height}x{width} with {channels} channel{'s' if channels > 1 else ''}"
