"""Arrays, tensors and nested lists -> `ImageSource`: layout, dtype and values are checked, never guessed."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from asterism.errors import InputError, reason_of
from asterism.images.depth import ASKED, SAMPLED, Scale, SetWhite, to_eight_bits
from asterism.images.io_errors import Unreadable
from asterism.images.options import Options
from asterism.images.pack import block_length, from_numpy, in_blocks, pack
from asterism.images.raster import MOST_CHANNELS
from asterism.images.resample import fit_array, recolor
from asterism.images.source import ImageSource
from asterism.images.text_tables import tell_of_rounding
from asterism.images.units import BYTE, SIXTEEN, in_units_of

SHORT = 2**14
_CHUNK = 4096  # images looked at together: keeps the temporary arrays of the checks small


class NotNumbersError(InputError, TypeError):
    """Values that are no numbers; also a TypeError, as scikit-learn's own check raises."""


def open_array(
    X: Any, options: Options, source: str | None = None, name: str = "X", full_scale: float | None = None
) -> ImageSource:
    """Open an array.

    Parameters
    ----------
    X : array-like, torch.Tensor or nested list
        (N, H, W), (N, H, W, C), (N, C, H, W) or (N, D); C is 1 or 3, or 4 in (N, H, W, 4), whose alpha is dropped.
        A 2-D array is always a table of N vectors.
    options : Options
        Without a size images stay as large as they are.
    source : str, optional
        What ``origin`` holds.
    name : str
        What messages call the array.
    full_scale : float, optional
        White of integers, where a model knows it from its fit; by default it is told by the dtype and all values.

    Returns
    -------
    ImageSource
        uint8 and bool become uint8 (True is 255), other integers too if they lie in 0–255; uint16 is scaled from its
        full range, or from 10, 12 or 14 bits where no value has more, which a warning says; floats become float32 as
        they are. Tables become float32 as they are. Pixels that need no change are shared with X, not copied. Where
        the options give a scale, values of more than 8 bits become uint8 by it.

    Raises
    ------
    InputError
        For a layout that can be read in two ways, for NaN or infinity, for no images at all, for masked values, for
        integers outside 0–255; the message names the fix.
    """
    array = as_numpy(X, name)
    layout = find_layout(array.shape, options.layout, name)
    if layout == "ND":
        check_vectors(options, f"{name} of shape {array.shape} holds vectors")
        if options.scale is not None:
            raise InputError(f"scale changes images; {name} of shape {array.shape} holds vectors: leave it out")
        pixels = from_numpy(_checked_floats(array, name, 0))[:, None, None, :]  # (N, 1, 1, D)
        tell_of_rounding(array, name)
        scale, declared = BYTE, None
    else:
        images = channels_last(array, layout, options.color if options.bands is None else "bands")
        if images.shape[3] == 3 and array.shape[3:] == (4,) and (array[..., 3] != array.flat[3]).any():
            warnings.warn(
                f"{name} has 4 channels: the last is taken for an alpha and left out (color='bands' keeps it)",
                stacklevel=4,
            )
        whole = images
        images, declared = _of_scale(picked(whole, options, name), options, name)
        known = full_scale
        if not known and whole.dtype == np.uint16 and options.white is not None and options.white.integer:
            known = float(options.white.integer)
        scale = BYTE if declared is not None else known or white_of_integers(whole, name)
        pixels = _open_images(images, options, name, scale)
    shape = (int(pixels.shape[1]), int(pixels.shape[2]), int(pixels.shape[3]))
    origin = options.origin(source, shape, is_table=layout == "ND", white=declared)
    names = [str(i) for i in range(len(pixels))]
    return ImageSource(pixels, names, origin=origin, is_table=layout == "ND", full_scale=scale)


def picked(images: np.ndarray, options: Options, name: str) -> np.ndarray:
    """The channels that were asked for, of images (N, H, W, C); an InputError where there are fewer."""
    if options.bands is None:
        return images
    if max(options.bands) > images.shape[3]:
        n = images.shape[3]
        raise InputError(f"{name} has {n} channel{'s'[: n - 1]}, and bands={options.bands} were asked for")
    return images[..., [one - 1 for one in options.bands]]


def _of_scale(images: np.ndarray, options: Options, name: str) -> tuple[np.ndarray, Scale | None]:
    """Images (N, H, W, C) as uint8 by the scale that is asked for, and that scale; bytes stay as they are."""
    if options.scale is None and options.white is not None and options.white.floating and images.dtype.kind == "f":
        options = replace(options, scale=Scale((0.0,), (options.white.floating,), of_fit=True))
    if options.scale is None or images.dtype in (np.uint8, np.bool_):
        return images, None
    if isinstance(options.scale, Scale) and options.scale.of_fit and not in_units_of(options.scale, [images]):
        return images, None
    n = len(images)

    def samples() -> list[np.ndarray]:
        chosen = images[:: max(1, n // ASKED)].reshape(-1, images.shape[1] * images.shape[2], images.shape[3])
        pixels = chosen[:, :: -(-chosen.shape[1] // SAMPLED)].astype(np.float64)
        return list(np.where(np.isfinite(pixels), pixels, np.nan))

    settled = SetWhite(options.level if isinstance(options.scale, Scale) else None, list, n, samples, percentile=True)
    found = settled()
    if not isinstance(found, Scale):
        raise InputError(f"{name} has no pixel with a value, by which it could be scaled")
    try:
        blocks = map(np.stack, in_blocks(lambda i: found.apply(images[i]), n, block_length(images.shape[1:])))
        scaled = pack(blocks, n, images.shape[1:]).numpy()
    except Unreadable as error:
        raise InputError(f"{name} cannot be used: {error.reason}") from error
    for line in settled.lines:
        warnings.warn(f"{name}: {line}", stacklevel=5)
    return scaled, found


def _open_images(images: np.ndarray, options: Options, name: str, full_scale: float) -> torch.Tensor:
    """Pixels (N, H', W', C') of images (N, H, W, C) in any numeric dtype."""
    pixels = to_pixels(images, name, full_scale=full_scale)  # as a whole: a block's values must not tell their scale
    size = options.size or (pixels.shape[1], pixels.shape[2])
    check_color(pixels.shape[3], options, name)
    n_channels = options.n_channels or pixels.shape[3]
    if (*size, n_channels) == pixels.shape[1:]:
        return from_numpy(np.ascontiguousarray(pixels))

    def fit(index: int) -> np.ndarray:
        return fit_array(recolor(pixels[index], n_channels), size, options.crop)

    blocks = map(np.stack, in_blocks(fit, len(pixels), block_length((*size, n_channels), pixels.itemsize)))
    return pack(blocks, len(pixels), (*size, n_channels), pixels.dtype)


def check_color(n_channels: int, options: Options, name: str) -> None:
    """Refuse to make grey or colours of other channels than these."""
    if options.n_channels not in (None, n_channels) and n_channels not in (1, 3):
        raise InputError(
            f"{name} has {n_channels} channels and cannot become {options.color}: bands=(3, 2, 1) picks by number"
        )


def as_numpy(X: Any, name: str = "X") -> np.ndarray:
    """A numeric array of whatever can be one, in the machine's byte order.

    Raises
    ------
    InputError
        For sparse, complex, ragged, masked and textual data.
    """
    if isinstance(X, torch.Tensor):
        X = _from_torch(X, name)
    elif hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise InputError(f"{name} is a sparse matrix and sparse input is not supported: pass {name}.toarray()")
    elif isinstance(X, (list, tuple)) and any(isinstance(one, (torch.Tensor, np.ma.MaskedArray)) for one in X):
        X = [as_numpy(one, f"{name}[{i}]") for i, one in enumerate(X)]
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        n = int(np.ma.getmaskarray(X).sum())
        raise InputError(
            f"{name} is a masked array with {n} masked value{'s' if n > 1 else ''}: fill them in, as in "
            f"{name}.filled(0), or leave their images out"
        )
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise InputError(f"{name} cannot be made one array: its parts differ in shape; resize them to one") from error
    except (TypeError, RuntimeError) as error:  # an array of another library, which says why
        why = f"that cannot be made an array: {reason_of(error)}"
        raise NotNumbersError(f"{name} is a {type(X).__name__} {why}") from error
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    if array.dtype.kind == "c":
        raise InputError(f"Complex data not supported: {name} has dtype {array.dtype}; pass {name}.real or abs({name})")
    if array.dtype.kind not in "fiub":
        raise NotNumbersError(f"{name} has dtype {array.dtype}; expected numbers (for files, pass their folder)")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _from_torch(X: torch.Tensor, name: str) -> np.ndarray:
    """The numbers of a tensor, whatever it is for and wherever it lies."""
    if X.layout != torch.strided:
        raise InputError(f"{name} is a sparse tensor and sparse input is not supported: pass {name}.to_dense()")
    try:
        X = X.detach().cpu()
        if X.is_quantized:
            X = X.dequantize()
        if X.is_floating_point() and X.dtype != torch.float64:
            X = X.float()  # numpy knows none of the short floats
        if hasattr(X, "rename"):  # names of axes, which torch up to 2.12 has
            X = X.rename(None)
        return X.resolve_conj().resolve_neg().numpy()
    except (TypeError, ValueError, RuntimeError) as error:  # NotImplementedError too: a tensor without data
        raise InputError(f"{name} is a tensor on {X.device} that cannot be read: {reason_of(error)}") from error


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Numbers that numpy holds as objects: one by one, or an array each."""
    parts = array.ravel()
    if len(parts) and all(isinstance(one, (np.ndarray, torch.Tensor)) for one in parts):
        held = [as_numpy(one, f"{name}[{i}]") for i, one in enumerate(parts)]
        if any(one.shape != held[0].shape for one in held):
            raise InputError(f"{name} cannot be made one array: its parts differ in shape; resize them to one")
        return np.stack(held).reshape(*array.shape, *held[0].shape)
    kinds = {bool if isinstance(one, (bool, np.bool_)) else isinstance(one, (int, np.integer)) for one in parts}
    with suppress(OverflowError):  # beyond 64 bits
        if kinds in ({bool}, {True}):  # whose white is another than that of floats
            return array.astype(bool if kinds == {bool} else np.int64)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise NotNumbersError(f"{name} has dtype object and cannot be made numbers: {error}") from error


def find_layout(shape: tuple[int, ...], layout: str | None = None, name: str = "X") -> str:
    """Which axis is what.

    Parameters
    ----------
    shape : tuple of int
    layout : {"NHW", "NHWC", "NCHW", "ND"}, optional
        What the caller says it is.
    name : str
        What messages call the array.

    Returns
    -------
    str
        One of the four.

    Raises
    ------
    InputError
        If the shape fits none, or two, or not the one given.
    """
    if layout is not None and len(layout) != len(shape):
        raise InputError(f"layout={layout!r} has {len(layout)} axes and {name} has {len(shape)}: shape {shape}")
    found = layout or _guessed_layout(shape, name)
    if shape[0] == 0:
        raise InputError(f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required.")
    if found == "ND" and shape[1] == 0:
        raise InputError(f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    if 0 in shape:
        raise InputError(f"{name} of shape {shape} holds images of zero size")
    return found


def _guessed_layout(shape: tuple[int, ...], name: str) -> str:
    if len(shape) == 2:
        return "ND"
    if len(shape) == 3:
        if shape[-1] in (1, 3, 4) and min(shape[:2]) > shape[-1]:
            raise InputError(
                f"{name} of shape {shape} looks like one image without a batch axis: pass {name}[None]; "
                f"if it is {shape[0]} images of {shape[1]}x{shape[2]}, pass layout='NHW'{_where(name)}"
            )
        return "NHW"
    if len(shape) == 4:
        last, first = shape[3] in (1, 3), shape[1] in (1, 3)
        if last and first and set(shape[1:]) != {1}:
            raise InputError(
                f"{name} of shape {shape} can be read in two ways: pass layout='NHWC' or layout='NCHW'{_where(name)}"
            )
        if last or first:
            return "NHWC" if last else "NCHW"
        # RGBA, for behind 1 or 3 rows it is a width, and images so low do not occur; or empty, as the caller will hear.
        if shape[3] == 4 or 0 in shape:
            return "NHWC"
        for layout, channels, sides in (("NHWC", shape[3], shape[1:3]), ("NCHW", shape[1], shape[2:])):
            if channels <= MOST_CHANNELS and 2 * channels <= min(sides):
                return layout
        raise InputError(
            f"{name} of shape {shape} has no axis of at most {MOST_CHANNELS} channels, fewer than rows and columns; "
            f"expected (N, H, W, C) or (N, C, H, W): pass layout='NHWC' or layout='NCHW'{_where(name)}"
        )
    raise InputError(
        f"Expected 2D to 4D array, got {len(shape)}D array instead: {name} has shape {shape}. Reshape your data: "
        "(N, H, W), (N, H, W, C) or (N, C, H, W) for images, (N, D) for vectors"
    )


def _where(name: str) -> str:
    """Who takes a layout; a file that was named on the command line has an option for it."""
    return " to open_images, or here" if name == "X" else ""


def check_vectors(options: Options, what: str) -> None:
    """Refuse options that are for images, where there are vectors."""
    if options.size is not None or options.color is not None:
        raise InputError(f"size and color change images; {what}: leave them out")
    if options.bands is not None:
        raise InputError(f"bands are channels of images; {what}: leave them out")


def channels_last(array: np.ndarray, layout: str, color: str | None = None) -> np.ndarray:
    """A view of shape (N, H, W, C); of four channels the last is taken for an alpha and left out, unless all count."""
    if layout == "NHW":
        return array[..., None]
    images = array.transpose(0, 2, 3, 1) if layout == "NCHW" else array
    return images[..., :3] if layout == "NHWC" and images.shape[3] == 4 and color != "bands" else images


def white_of_integers(images: np.ndarray, name: str) -> float:
    """Which value is white in a whole set of integers: 255, or that of 10, 12, 14 or 16 bits.

    Fewer than 16 bits are said in a warning: cameras and scanners store 10 to 14 in files of 16.
    """
    high = int(images.max()) if images.dtype == np.uint16 else 0
    if high <= BYTE:
        return BYTE
    bits = next(bits for bits in (10, 12, 14, 16) if high < 2**bits)
    white = float(2**bits - 1)
    if bits < 16:
        warnings.warn(
            f"{name} has dtype uint16 and no value above {high}: read as {bits} bits, of which {white:g} is white; "
            f"if 65535 is, pass {name}.astype('float32') / 65535",
            stacklevel=6,
        )
    return white


def to_pixels(images: np.ndarray, name: str, first: int = 0, full_scale: float = BYTE) -> np.ndarray:
    """uint8 or float32 of the same shape; the very same array where it is that already.

    Parameters
    ----------
    images : ndarray of shape (N, H, W, C)
        Any numeric dtype; see `open_array` for what becomes of it.
    name : str
        What messages call the array.
    first : int
        Index of the first image, for messages.
    full_scale : float
        White of uint16, where it is more than 255; else their values tell whether it is 65535.

    Raises
    ------
    InputError
        For NaN, infinity, or integers whose scale is not clear.
    """
    kind = images.dtype.kind
    if kind == "f":
        return _checked_floats(images, name, first)
    if images.dtype == np.uint8:
        return images
    if kind == "b":
        return images.astype(np.uint8) * np.uint8(255)
    low, high = int(images.min()), int(images.max())
    if images.dtype == np.uint16 and full_scale > BYTE:
        if high > full_scale:
            raise InputError(f"{name} has values up to {high} where {full_scale:g} is white: scale them")
        if 0 < 16 * high <= full_scale:
            warnings.warn(
                f"{name} has no value above {high}: it is nearly black if {full_scale:g} is white",
                stacklevel=6,
            )
        return to_eight_bits(images, full_scale)
    if images.dtype == np.uint16 and high > BYTE:
        if full_scale == BYTE and high < SHORT:  # asked by a model that was fitted on other integers
            raise InputError(
                f"{name} has dtype uint16 and values up to {high}: which is white would be a guess; pass "
                f"{name}.astype('float32') / 4095 if 4095 is, / 65535 if 65535 is"
            )
        return to_eight_bits(images, SIXTEEN)
    if images.dtype == np.uint16 and high > 0:  # white may be 255 or 65535: nobody but the caller knows
        raise InputError(
            f"{name} has dtype uint16 but no value above {high}: pass {name}.astype('uint8') if 255 is white, "
            f"{name}.astype('float32') / 65535 if 65535 is"
        )
    if low < 0 or high > 255:
        raise InputError(
            f"{name} has dtype {images.dtype} and values from {low} to {high}; integers must lie in 0 to 255: scale "
            f"them and pass {name}.astype('uint8'), or pass {name}.astype('float32') to have them taken as they are"
        )
    if high > 1 and full_scale > BYTE:
        raise InputError(
            f"{name} has dtype {images.dtype} and the model was fitted on uint16: pass {name}.astype('uint8') if 255 "
            f"is white, {name}.astype('uint16') if {full_scale:g} is"
        )
    return images.astype(np.uint8)


def _checked_floats(array: np.ndarray, name: str, first: int) -> np.ndarray:
    """float32 of the same shape, finite."""
    with np.errstate(over="ignore"):  # what does not fit becomes infinite and is refused below
        floats = np.ascontiguousarray(array, dtype=np.float32)
    for start in range(0, len(floats), _CHUNK):
        rows = floats[start : start + _CHUNK].reshape(min(_CHUNK, len(floats) - start), -1)
        if np.isfinite(rows).all():
            continue
        missing = np.isnan(rows).any(axis=1)
        what = "NaN" if missing.any() else "infinity or a value too large for dtype('float32')"
        worst = missing if missing.any() else ~np.isfinite(rows).all(axis=1)
        where = f"First in image {first + start + int(worst.argmax())}"
        raise InputError(f"Input {name} contains {what}. {where}: fill it in or leave the image out")
    return floats
