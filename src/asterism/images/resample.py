"""One way to change size and colour, for files and arrays alike, so that a folder and its array look the same."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps


def fit_image(image: Image.Image, size: tuple[int, int] | None, crop: bool) -> Image.Image:
    """Bilinear resampling over the area that each new pixel covers (Pillow's BILINEAR, which is antialiased).

    Parameters
    ----------
    image : PIL.Image.Image
        Mode L, RGB or F.
    size : (int, int) or None
        (H, W) wanted; None leaves it as it is.
    crop : bool
        Keep the proportions and cut off what stands over, else squash.
    """
    if size is None or image.size == size[::-1]:
        return image
    if crop:  # the box keeps fractions of pixels, so that odd margins stay centred
        return ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
    return image.resize(size[::-1], Image.Resampling.BILINEAR)


def fit_array(image: np.ndarray, size: tuple[int, int] | None, crop: bool) -> np.ndarray:
    """Do what `fit_image` does to an array.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
        uint8 or float32; each channel is resampled on its own.

    Returns
    -------
    ndarray of shape (size[0], size[1], C)
        Of the same dtype.
    """
    if size is None or image.shape[:2] == size:
        return image
    planes = [np.ascontiguousarray(image[:, :, channel]) for channel in range(image.shape[2])]
    return np.stack([np.asarray(fit_image(Image.fromarray(plane), size, crop)) for plane in planes], axis=2)


def recolor(images: np.ndarray, n_channels: int | None) -> np.ndarray:
    """Grey from RGB, or RGB from grey.

    Parameters
    ----------
    images : ndarray of shape (..., C)
        uint8 or float32, C is 1 or 3 where it changes.
    n_channels : int or None
        1 or 3; as many as there are, or None, leave them as they are.

    Returns
    -------
    ndarray of shape (..., n_channels)
        Grey is the luma of ITU-R 601, .299 R + .587 G + .114 B, in Pillow's own fixed-point form for uint8.
    """
    if n_channels in (None, images.shape[-1]):
        return images
    if n_channels == 3:
        return np.repeat(images, 3, axis=-1)
    if images.dtype == np.uint8:
        weights = np.array([19595, 38470, 7471], dtype=np.uint32)  # of 65536
        return ((images @ weights + 0x8000) >> 16).astype(np.uint8)[..., None]
    return (images @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
