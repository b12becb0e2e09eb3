"""DICOM and RAW photographs, by the extras ``dicom`` and ``raw`` -> `Raster`."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from asterism.images.containers import stream_of
from asterism.images.depth import Scale
from asterism.images.io_errors import Unreadable, is_machine_error
from asterism.images.raster import How, Note, Planes, Raster, channels_after, check_values, pages_note, planes_of

_DEFLATED = "1.2.840.10008.1.2.1.99"
MAX_DEFLATED = 2**19  # bytes of a deflated file: it may become a thousand times as much
WINDOW: Note = ("are DICOM", "seen through the window that each names; scale=(low, high) sets one for all")
RESCALED: Note = ("are DICOM", "in the units of their rescale slope and intercept")
RAW = "a RAW photograph (DNG, NEF, ARW or the like)"
_BALANCED = "developed with the camera's white balance, without brightening each by itself"
DEVELOPED: Note = ("are RAW photographs", _BALANCED)


def open_dicom(file: str | bytes, how: How) -> Raster:
    """What a DICOM file holds; raises `Unreadable`."""
    with _damage_told():
        data = _read_dicom(file, pixels=False)
        if "Rows" not in data or "Columns" not in data:
            raise Unreadable("DICOM without an image is not read: move it out")
        height, width = int(data.Rows), int(data.Columns)
        samples, frames = int(data.get("SamplesPerPixel", 1)), int(data.get("NumberOfFrames", 1) or 1)
        n_read = 1 if how.pages == "first" else max(1, frames)
        check_values(height * width * max(1, samples) * n_read, 8 if samples == 1 else 1)  # rescaled they are doubles
        colors = data.get("PhotometricInterpretation")
        is_palette = colors == "PALETTE COLOR"
        taken = channels_after((frames, 3 if is_palette else samples), how)
        window = None if how.declared or samples > 1 or is_palette else _window(data)
    plain = samples == 3 or is_palette or window is not None
    notes = [pages_note(how.pages)] if frames > 1 else []
    notes += [] if samples > 1 or is_palette else [WINDOW if window else RESCALED]

    def read() -> Planes:
        from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

        with _damage_told():
            data = _read_dicom(file, pixels=True)
            array = pixel_array(data, index=0 if how.pages == "first" and frames > 1 else None)
            if is_palette:
                array = _eight_bits(apply_color_lut(array, data))
            elif samples == 1:
                is_mask = int(data.BitsAllocated) == 1 and window is None
                array = array.astype(bool) if is_mask else apply_modality_lut(array, data)
            else:
                array = _eight_bits(array, int(data.get("BitsStored", 16)))
        channels = array.shape[-1] if samples > 1 or array.ndim == 4 or is_palette else 1
        stack = array.reshape(-1, height, width, channels)
        if stack.dtype == np.float64:
            stack = stack.astype(np.float32)
        return planes_of(stack, how, inverted=colors == "MONOCHROME1", window=window)

    return Raster((height, width), taken, not plain, tuple(notes), read)


def _eight_bits(array: np.ndarray, stored: int = 16) -> np.ndarray:
    return array if array.dtype == np.uint8 else (array >> max(0, stored - 8)).clip(0, 255).astype(np.uint8)


def _read_dicom(file: str | bytes, pixels: bool) -> Any:
    try:
        import pydicom
    except ImportError:
        raise Unreadable("DICOM is not read: pip install 'asterism-clustering[dicom]'") from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # what matters is raised
    with stream_of(file) as stream:
        reader: Any = pydicom.filereader
        meta = reader.read_preamble(stream, False) and reader._read_file_meta_info(stream)
        length = stream.seek(0, 2)
        if str(meta.get("TransferSyntaxUID", "")) == _DEFLATED and length > MAX_DEFLATED:
            raise Unreadable("a deflated DICOM file of this length is not read: save it with another transfer syntax")
        stream.seek(0)
        return pydicom.dcmread(stream, stop_before_pixels=not pixels)


def _window(data: Any) -> Scale | None:
    """Black and white of a window, the first of several; by PS3.3 C.11.2.1.2."""
    centre, width = (_first(data.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or not width >= 1 or not math.isfinite(centre + width):
        return None
    low = centre - 0.5 - (width - 1) / 2
    return Scale((low,), (low + max(width - 1, 1e-3),))


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value if isinstance(value, (str, int, float)) else value[0])


@contextmanager
def _damage_told() -> Iterator[None]:
    """Whatever damaged files make pydicom raise becomes `Unreadable`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, Unreadable) or is_machine_error(error):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        needs = " (pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg may help)" if "plugin" in text else ""
        raise Unreadable(f"DICOM of this kind is not read: {text}{needs}") from error


def open_raw(file: str | bytes, how: How, name: str = RAW) -> Raster:
    """A photograph as its sensor saw it; raises `Unreadable`."""
    how = How(bands=how.bands)
    with _opened_raw(file, name) as raw:
        sizes = raw.sizes
        size = (sizes.width, sizes.height) if sizes.flip in (5, 6) else (sizes.height, sizes.width)
        check_values(3 * size[0] * size[1])

    def read() -> Planes:
        with _opened_raw(file, name) as raw:
            developed = raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=8)
        return planes_of(developed[None], how)

    return Raster(size, channels_after((1, 3), how), False, (DEVELOPED,), read)


@contextmanager
def _opened_raw(file: str | bytes, name: str) -> Iterator[Any]:
    """A photograph that LibRaw has opened; raises `Unreadable`, in its words."""
    try:
        import rawpy
    except ImportError:
        raise Unreadable(
            f"{name} is not read: pip install 'asterism-clustering[raw]', or develop it to JPEG, PNG or TIFF"
        ) from None
    try:
        with rawpy.imread(io.BytesIO(file) if isinstance(file, bytes) else file) as raw:
            yield raw
    except Unreadable:
        raise
    except Exception as error:
        said = error.args[0] if error.args else ""
        words = said.decode(errors="replace") if isinstance(said, bytes) else str(error)
        raise Unreadable(f"{name} is not read: {words}") from error
