"""Lists of images that lie in memory: PIL images, arrays, tensors, of one size or several -> `ImageSource`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from asterism.errors import InputError
from asterism.images.arrays import as_numpy, open_array
from asterism.images.convert import is_grey_mode
from asterism.images.datasets import open_items
from asterism.images.folder import DEFAULT_SIDE
from asterism.images.options import Options
from asterism.images.source import ImageSource


def as_list(X: Any) -> list[Any] | None:
    """Its parts, if X is a sequence of images and not of numbers: a list, or an array or column that holds objects."""
    if hasattr(X, "iloc") and getattr(X, "ndim", 0) == 1:  # a column of a table
        X = X.to_numpy()
    if isinstance(X, np.ndarray) and X.dtype.kind == "O" and X.ndim == 1:
        X = X.tolist()
    if not isinstance(X, (list, tuple)) or not len(X):
        return None
    is_image = [isinstance(one, (Image.Image, np.ndarray, torch.Tensor)) and _n_axes(one) > 0 for one in X]
    return list(X) if any(is_image) else None


def _n_axes(one: Any) -> int:
    return 2 if isinstance(one, Image.Image) else one.ndim


def open_list(images: Sequence[Any], options: Options, full_scale: float | None = None) -> ImageSource:
    """Open a list of images.

    Parameters
    ----------
    images : sequence of PIL image, ndarray or tensor
        PIL images are seen as files are. Arrays (H, W), (H, W, C) and tensors (H, W), (C, H, W); 1-D ones are vectors.
    options : Options
        Without a size images of one size keep it, and others become squares of 64 pixels a side, as those of a folder
        do; where some have colour all get it.
    full_scale : float, optional
        See `open_array`.

    Raises
    ------
    InputError
        As `open_array`; names the image by its index.
    """
    if not any(isinstance(one, Image.Image) for one in images):
        arrays = arrays_of(images)
        if (array := stacked(arrays)) is not None:
            return open_array(array, options, full_scale=full_scale)
        if any(one.ndim < 2 for one in arrays):
            raise InputError("X cannot be made one array: its parts differ in shape; make all rows as long")
    _check_images(images)
    shapes = {_shape(one, options.layout) for one in images}
    if options.size is None and len({size for size, _ in shapes}) > 1:
        side = options.photo_side or DEFAULT_SIDE
        options = replace(options, size=(side, side))
    if options.color is None and len({is_grey for _, is_grey in shapes}) > 1:
        options = replace(options, color="rgb")
    return open_items(lambda index: (images[index], None), len(images), options, None)


def arrays_of(images: Sequence[Any]) -> list[np.ndarray]:
    """Each part of a list as an array.

    Raises
    ------
    InputError
        For a part that is no image; names it.
    """
    _check_images(images)
    return [as_numpy(one, f"X[{i}]") for i, one in enumerate(images)]


def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray | None:
    """One array of several; None where they differ in shape.

    Raises
    ------
    InputError
        For images of unlike numbers: one array of them would give the values of some another meaning.
    """
    if any(one.shape != arrays[0].shape for one in arrays):
        return None
    kinds = ["f" if one.dtype.kind == "f" else str(one.dtype) for one in arrays]
    if arrays[0].ndim > 1 and len(set(kinds)) > 1:
        odd = next(i for i, kind in enumerate(kinds) if kind != kinds[0])
        raise InputError(f"X[{odd}] has dtype {arrays[odd].dtype} and X[0] {arrays[0].dtype}; make them one")
    return np.stack(arrays)


def _check_images(images: Sequence[Any]) -> None:
    for i, one in enumerate(images):
        if not isinstance(one, (Image.Image, np.ndarray, torch.Tensor, list, tuple)) and not hasattr(one, "__array__"):
            raise InputError(f"X[{i}] is a {type(one).__name__}; expected an image: PIL, array or tensor")


def _shape(image: Any, layout: str | None) -> tuple[tuple[int, int], bool]:
    """(H, W), and whether it is grey."""
    if isinstance(image, Image.Image):
        return (image.height, image.width), is_grey_mode(image.mode)
    shape = tuple(image.shape) if hasattr(image, "shape") else np.asarray(image).shape
    if len(shape) != 3:
        return (shape[0], shape[-1]), True
    first = layout == "NCHW" or (layout is None and isinstance(image, torch.Tensor))
    return (shape[1:], shape[0] == 1) if first else (shape[:2], shape[2] == 1)
