"""Images that come one by one: lists in memory, data sets of torch (map-style) and of Hugging Face -> `ImageSource`."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from asterism.errors import AsterismError, InputError, reason_of
from asterism.images import depth
from asterism.images.arrays import (
    as_numpy,
    channels_last,
    check_color,
    check_vectors,
    find_layout,
    open_array,
    picked,
    to_pixels,
)
from asterism.images.convert import image_pixels, is_grey_mode, upright_size
from asterism.images.decode import MAX_BYTES, read_image, read_range
from asterism.images.depth import Range, Scale, SetWhite
from asterism.images.folder import DEFAULT_SIDE
from asterism.images.io_errors import Unreadable
from asterism.images.labels import encode_labels
from asterism.images.options import Options
from asterism.images.pack import block_length, pack
from asterism.images.paths import as_column
from asterism.images.resample import fit_array, recolor
from asterism.images.source import ImageSource

Item = tuple[Any, Any]  # image, label or None
_IMAGE_FIELDS = ("image", "img", "images", "pixel_values")
_LABEL_FIELDS = ("label", "labels", "fine_label", "target")
_UNKNOWN = object()  # the class of an image that has none


def as_list(X: Any) -> list[Any] | None:
    """Its parts, if X is a sequence of images and not of numbers: a list, or an array or column that holds objects."""
    X = as_column(X)
    if isinstance(X, np.ndarray) and X.dtype.kind == "O" and X.ndim == 1:
        X = [as_numpy(one, f"X[{i}]") if isinstance(one, (list, tuple)) else one for i, one in enumerate(X)]
    if not isinstance(X, (list, tuple)) or not len(X):
        return None
    arrays = [one for one in X if isinstance(one, (np.ndarray, torch.Tensor)) and one.ndim > 0]
    return list(X) if arrays or any(isinstance(one, Image.Image) for one in X) else None


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
        return upright_size(image), is_grey_mode(image.mode)
    shape = tuple(image.shape) if hasattr(image, "shape") else np.asarray(image).shape
    if len(shape) != 3:
        return (shape[0], shape[-1]), True
    first = layout == "NCHW" or (layout is None and isinstance(image, torch.Tensor))
    return (shape[1:], shape[0] == 1) if first else (shape[:2], shape[2] == 1)


def open_dataset(dataset: Any, options: Options) -> ImageSource:
    """Open a map-style torch Dataset.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        With ``len``. An item is an image, a tuple or list (image, label, …), or a dict with ``image`` and perhaps
        ``label``. An image is a PIL image, a tensor (C, H, W) or (H, W), or an array (H, W, C) or (H, W); a 1-D one is
        a vector. All must have one size, which they keep, unless ``options.size`` is given. Items are read in the
        calling thread, one after the other: nothing is known of a data set's safety under threads.
    options : Options
        ``layout`` overrules the customs of tensors and arrays.

    Raises
    ------
    InputError
        If items cannot be read, or differ in size, kind of pixels or number of channels; names the item.
    """
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise InputError(f"X is a {type(dataset).__name__} without length; expected a map-style Dataset with __len__")

    def read(index: int) -> Item:
        item = dataset[index]
        if isinstance(item, dict):
            image = next((item[field] for field in _IMAGE_FIELDS if field in item), None)
            return image, next((item[field] for field in _LABEL_FIELDS if field in item), None)
        if isinstance(item, (tuple, list)):
            return item[0], item[1] if len(item) > 1 else None
        return item, None

    return open_items(read, len(dataset), options, getattr(dataset, "classes", None))


def is_hugging_face(X: Any) -> bool:
    """Whether it is a Hugging Face data set or a dict of them, told by its members: the package need not be there."""
    if isinstance(X, dict):
        return bool(X) and all(is_hugging_face(one) for one in X.values())
    return hasattr(X, "features") and hasattr(X, "column_names") and hasattr(X, "__getitem__")


def open_hugging_face(dataset: Any, options: Options) -> ImageSource:
    """Open a Hugging Face ``Dataset``.

    Parameters
    ----------
    dataset : datasets.Dataset
        Its first column of type ``Image`` is read; a column of type ``ClassLabel`` gives labels and their names.
    options : Options

    Raises
    ------
    InputError
        If it is a dict of splits, streams, or has no column of images; as `open_dataset` otherwise.
    """
    if isinstance(dataset, dict):
        splits = ", ".join(map(repr, dataset))
        raise InputError(f"X is a dict of data sets; pass one of its splits: {splits}")
    if not hasattr(dataset, "__len__") or not dataset.features:
        raise InputError("X is a streaming data set; expected a map-style Dataset: load it without streaming=True")
    kinds = {column: type(feature).__name__ for column, feature in dataset.features.items()}
    columns = [column for column, kind in kinds.items() if kind == "Image"]
    if not columns:
        about = ", ".join(f"{column} ({kind})" for column, kind in kinds.items())
        raise InputError(f"X has no column of type Image; its columns are {about}")
    label = next((column for column, kind in kinds.items() if kind == "ClassLabel"), None)

    def read(index: int) -> Item:
        row = dataset[index]
        return row[columns[0]], None if label is None else row[label]

    names = None if label is None else getattr(dataset.features[label], "names", None)
    return open_items(read, len(dataset), options, names)


def open_items(read: Callable[[int], Item], n: int, options: Options, class_names: Any) -> ImageSource:
    """Open n items that ``read`` gives by their index: images of one size, unless the options give one."""
    if n == 0:
        raise InputError("Found array with 0 sample(s): the data set X is empty while a minimum of 1 is required.")
    if options.scale == "percentile":
        raise InputError("scale='percentile' is for files and arrays of one shape: declare scale=(low, high) for X")
    white = SetWhite(options.level, lambda: _ranges(read, n), n)
    first, _ = _read_pixels(read, 0, options, white)
    labels: list[Any] = []

    def blocks() -> Iterator[np.ndarray]:
        length = block_length(first.shape, first.itemsize)
        for start in range(0, n, length):
            block = np.empty((min(length, n - start), *first.shape), first.dtype)
            for row in range(len(block)):
                pixels, label = _read_pixels(read, start + row, options, white)
                if pixels.shape != first.shape or pixels.dtype != first.dtype:
                    raise InputError(_difference(start + row, pixels, first))
                block[row] = pixels
                labels.append(_UNKNOWN if _is_missing(label) else _plain_label(label))
            yield block

    is_table = first.ndim == 1
    pixels = pack(blocks(), n, first.shape, first.dtype)
    if is_table:
        pixels = pixels[:, None, None, :]
    for line in white.lines:
        warnings.warn(f"X: {line}", stacklevel=2)
    shape = (int(pixels.shape[1]), int(pixels.shape[2]), int(pixels.shape[3]))
    origin = options.origin(None, shape, is_table, white.found)
    opened = ImageSource(pixels, [str(i) for i in range(n)], origin=origin, is_table=is_table)
    known = [label for label in labels if label is not _UNKNOWN]
    if not known or any(label is None for label in known):
        return opened
    names = None
    if isinstance(class_names, (list, tuple)):  # of ImageNet's classes each is a tuple of words
        names = [", ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in class_names]
    fits = names is not None and all(isinstance(label, int) and -1 <= label < len(names) for label in known)
    if fits and max(known) < 0:  # as a test part's have it
        return opened
    found, label_names = encode_labels(known, names if fits else None)
    numbered = np.full(n, -1, np.int64)
    numbered[[label is not _UNKNOWN for label in labels]] = found
    return replace(opened, labels=numbered, label_names=label_names)


def _ranges(read: Callable[[int], Item], n: int) -> Iterator[Range]:
    """The ranges of all images of more than 8 bits; what cannot be read is said where it is packed."""
    for index in range(n):
        with suppress(Exception):
            image, _ = read(index)
            if (content := _deep_file(image)) is not None:
                yield read_range(content)  # type: ignore[misc]  # it is deep
            elif isinstance(image, Image.Image):
                if depth.is_deep_mode(image.mode):
                    yield depth.value_range(image)
            elif _is_short(array := as_numpy(image)):
                yield Range(False, float(array.min()), float(array.max()))


def _deep_file(image: Any) -> bytes | None:
    """The file behind an image that Pillow opened and did not load, if Pillow would drop half of its 16 bits."""
    file = getattr(image, "fp", None)
    if not isinstance(image, Image.Image) or file is None or not depth.is_deep_color(image):
        return None
    place = file.tell()
    file.seek(0)
    content = file.read(MAX_BYTES + 1)
    file.seek(place)
    return content


def _decoded(image: Image.Image, white: SetWhite) -> np.ndarray:
    """Pixels (H, W, C) of an image of Pillow's, whose file may be cut off by now, or closed."""
    try:
        if (content := _deep_file(image)) is not None:
            return read_image(content, white=white)[1]
        return image_pixels(image, white() if depth.is_deep_mode(image.mode) else None)
    except (Unreadable, AsterismError, MemoryError):
        raise
    except Exception as error:  # of damaged files anything comes
        reason = f"Pillow cannot decode it ({reason_of(error, 200)}): is its file cut off, or was it closed too soon?"
        raise Unreadable(reason) from error


def _is_short(array: np.ndarray) -> bool:
    """Whether it is an image of integers of 16 bits."""
    return array.dtype.kind == "u" and array.dtype.itemsize == 2 and array.ndim > 1


def _read_pixels(read: Callable[[int], Item], index: int, options: Options, white: SetWhite) -> tuple[np.ndarray, Any]:
    """One item as pixels (H, W, C), or (D,) for a vector, and its label."""
    try:
        image, label = read(index)
    except AsterismError:
        raise
    except Exception as error:  # whatever a data set of the user's may raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"X[{index}] cannot be read: {reason}") from error
    try:
        return _pixels(image, index, options, white), label
    except Unreadable as error:
        raise InputError(f"X[{index}] cannot be used: {error.reason}") from error


def _pixels(image: Any, index: int, options: Options, white: SetWhite) -> np.ndarray:
    """An image of any kind as pixels (H, W, C), or (D,) for a vector."""
    name = f"X[{index}]"
    if isinstance(image, Image.Image):
        array = _decoded(image, white)
    elif image is None or isinstance(image, (str, bytes, dict)):
        raise InputError(f"{name} holds a {type(image).__name__} where an image was expected (PIL, tensor or array)")
    else:
        array = as_numpy(image, name)
    if _is_short(array) and not isinstance(options.scale, Scale):
        array = _to_bytes(array, white)
    if array.ndim == 1:
        return _vector(array, name, index, options)
    layouts = {2: "NHW", 3: options.layout or ("NCHW" if isinstance(image, torch.Tensor) else "NHWC")}
    layout = find_layout((1, *array.shape), layouts.get(array.ndim), f"{name}[None]")
    images = channels_last(array[None], layout, options.color if options.bands is None else "bands")
    if options.layout is None and images.shape[3] > 4 and 2 * images.shape[3] > min(images.shape[1:3]):
        raise InputError(
            f"{name} of shape {array.shape} has {images.shape[3]} channels in layout {layout!r}: give layout"
        )
    if isinstance(options.scale, Scale) and images.dtype not in (np.uint8, np.bool_):
        images = _to_bytes(images[0], white)[None]
    images = picked(images, options, name)
    check_color(images.shape[3], options, name)
    pixels = to_pixels(images, name, index)[0]
    return fit_array(recolor(pixels, options.n_channels), options.size, options.crop)


def _to_bytes(array: np.ndarray, white: SetWhite) -> np.ndarray:
    """Integers of 16 bits by the white of the set, or any numbers by its scale."""
    return white().scaling(lambda: Range(False, float(array.min()), float(array.max())))(array)


def _vector(array: np.ndarray, name: str, index: int, options: Options) -> np.ndarray:
    """A row of a table (D,)."""
    find_layout((1, len(array)), "ND", name)
    check_vectors(options, f"{name} is a vector")
    return to_pixels(array[None].astype(np.float32), name, index)[0]


def _difference(index: int, pixels: np.ndarray, first: np.ndarray) -> str:
    if pixels.dtype != first.dtype:
        return f"X[{index}] has pixels of dtype {pixels.dtype} and X[0] of {first.dtype}; make them one"
    if pixels.shape[-1] != first.shape[-1] and pixels.ndim == 3:
        return f"X[{index}] has {pixels.shape[-1]} channels and X[0] has {first.shape[-1]}: give color='rgb' or 'grey'"
    return f"X[{index}] has shape {pixels.shape} and X[0] {first.shape}: give a size, as in size=64"


def _is_missing(label: Any) -> bool:
    """Whether a data set says that it does not know the class: None, NaN, pandas' NA."""
    return label is None or (isinstance(label, numbers.Real) and label != label) or type(label).__name__ == "NAType"


def _plain_label(label: Any) -> int | str | None:
    """A whole number or text, or None for what is no class: boxes, masks, several labels."""
    if isinstance(label, (torch.Tensor, np.ndarray)) and label.ndim < 2:
        label = label.item() if len(label.reshape(-1)) == 1 else None
    if isinstance(label, numbers.Integral):
        return int(label)  # a float has no room for those beyond 2^53
    if isinstance(label, numbers.Real) and float(label).is_integer():
        return int(float(label))
    return label if isinstance(label, str) else None
