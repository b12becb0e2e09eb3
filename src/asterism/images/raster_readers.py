"""Which reader a file of more than grey or colours has."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import PIL
from PIL.TiffImagePlugin import TiffImageFile

from asterism.images import kinds
from asterism.images.containers import n_bytes_of, stream_of
from asterism.images.dicom import open_dicom, open_raw
from asterism.images.io_errors import Unreadable
from asterism.images.npz import check_header
from asterism.images.raster import How, Planes, Raster, array_axes, channels_after, check_values, planes_of
from asterism.images.tiff import check_tiff, is_plain, is_raw, is_whole, open_tiff

OPTIONAL = ("pillow_heif", "imagecodecs", "pydicom", "pylibjpeg", "libjpeg", "openjpeg", "gdcm", "rawpy")


def readers_here() -> tuple[str, ...]:
    """What decides which files are read: Pillow's version, and the optional packages that are installed."""
    return PIL.__version__, *(name for name in OPTIONAL if find_spec(name) is not None)


def raster_of_tiff(image: TiffImageFile, file: str | bytes, how: How) -> Raster | None:
    """A TIFF that Pillow would read in part, or without its channels; None where Pillow does well."""
    if is_raw(image):
        return open_raw(file, how)
    as_it_is = how.bands is None and (how.pages == "first" or not image.tag_v2.next)
    if as_it_is and is_plain(image):
        return None
    check_tiff(image)
    try:
        return open_tiff(file, how)
    except Unreadable:
        if as_it_is and is_whole(image):
            return None  # packed in a way that only Pillow's library knows here
        raise


def raster_of(kind: kinds.Kind, file: str | bytes, how: How) -> Raster | None:
    """An image that Pillow does not open; None if it is not read at all."""
    if kind.name == kinds.TIFF:
        return open_tiff(file, how)
    if kind.name == kinds.DICOM:
        return open_dicom(file, how)
    if kind.name == kinds.NUMPY and how.arrays:
        return open_array_file(file, how)
    return open_raw(file, how, kind.name) if kind.is_raw else None


def open_array_file(file: str | bytes, how: How) -> Raster:
    """An ``.npy`` file as one image."""
    with stream_of(file) as stream:
        found = check_header(stream, n_bytes_of(file))
    if found is None:
        raise Unreadable("a damaged numpy array")
    shape, _, dtype = found
    axes = array_axes(shape, how.layout)
    height, width, *channels = (shape[axis] for axis in axes)
    check_values(math.prod(shape), dtype.itemsize)

    def read() -> Planes:
        with stream_of(file) as stream:
            array = np.load(stream, allow_pickle=False).transpose(axes)
        return planes_of(array.reshape(1, height, width, -1), how)

    n = channels_after((1, math.prod(channels)), how)
    return Raster((height, width), n, dtype.kind != "b" and dtype != np.uint8, (), read)
