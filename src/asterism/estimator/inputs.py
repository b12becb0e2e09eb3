"""What an estimator takes for X: told apart, opened, and seen in the units of the fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.utils.validation import validate_data

from asterism.errors import InputError, RunError, reason_of
from asterism.images import ImageSource, open_images
from asterism.images.arrays import NotNumbersError, as_numpy, open_array
from asterism.images.depth import Scale
from asterism.images.items import arrays_of, as_list, open_list, stacked
from asterism.images.options import Options, color_of
from asterism.images.paths import as_paths
from asterism.images.source import Skipped
from asterism.images.units import Units, in_units_of
from asterism.runs import RunFolder
from asterism.training.progress import decoding_bar


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Leave an estimator as it was where its fit fails: what was found before can still be used."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class OpensImages:
    """Mixin that opens X for `fit` and for what follows it.

    Attributes
    ----------
    units_ : Units or None
        What the pixels of the fit meant; None of vectors, and of runs of older versions.
    names_ : list of str or None
        Of the images that were fitted, in the order of ``labels_``: paths, or numbers of the rows. None of a loaded
        run that has none.
    skipped_ : list of Skipped
        Files that were left out of the fit, and why.
    """

    _layout: str | None = None
    verbose: int
    image_shape_: tuple[int, int, int]
    units_: Units | None
    _reading: dict[str, Any] = {}  # scale, pages and channels of the files of the fit
    skipped_: list[Skipped]
    _names: list[str] | None
    _names_in: RunFolder | None = None  # the run that was loaded, whose names are read when they are asked for

    @property
    def _opening(self) -> dict[str, Any]:
        """How `open_images` opens what the user says nothing of."""
        return {}

    @property
    def names_(self) -> list[str] | None:  # noqa: D102  (see the class)
        if not hasattr(self, "_names"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'names_': it is not fitted")
        labels = getattr(self, "labels_", None)
        if self._names is None and self._names_in is not None and labels is not None:
            self._names = self._names_in.read_names(labels)
        return self._names

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle has the names: the run that was loaded may be gone when it is opened."""
        with suppress(AttributeError, RunError):
            self.names_  # noqa: B018
        return super().__getstate__()  # type: ignore[return-value]

    def _open(self, X: Any, reset: bool, layout: str | None = None) -> ImageSource:
        """Open what came in; in fitted estimators, as images of the fitted shape and units."""
        if reset:
            vars(self).pop("feature_names_in_", None)  # of a frame that was fitted before
        images = self._opened(X, reset, layout)
        if images is not X and images.skipped:
            _warn_of_skipped(images, self._how_again(X, reset))
        if reset:
            self.units_ = None if images.is_table else Units.of(images)
            self._names, self.skipped_, self._layout = images.names, images.skipped, layout
            return images
        self._check_shape(images, X)
        return images if self.units_ is None or images.is_table else self.units_.seen(images)

    def _opened(self, X: Any, reset: bool, layout: str | None) -> ImageSource:
        if isinstance(X, ImageSource):
            return X
        if isinstance(X, Image.Image):
            raise InputError("X is one image: pass a list of images, [X]")
        X = list(X) if isinstance(X, Iterator) else X
        paths = as_paths(X)
        if paths is not None:
            with decoding_bar(bool(self.verbose)) as progress:
                how = self._opening if reset else self._as_fitted()
                return open_images(paths, layout=layout, progress=progress, **how)
        _check_dates(X)
        parts = as_list(X)
        if parts is not None:
            arrays = None if any(isinstance(one, Image.Image) for one in parts) else stacked(arrays_of(parts))
            if arrays is None:
                return self._open_list(parts, reset, layout)
            X = arrays
        elif isinstance(X, (list, tuple)) and not len(X):
            raise InputError("X is an empty list: Found array with 0 sample(s) while a minimum of 1 is required.")
        elif isinstance(X, (torch.Tensor, np.ma.MaskedArray, list, tuple)) or _is_no_number(X):
            X = as_numpy(X)
        if _looks_like_a_table(X) and layout in (None, "ND"):
            return self._open_table(X, reset)
        if not isinstance(X, (np.ndarray, list, tuple)):
            return open_images(X, layout=layout, **(self._opening if reset else self._reading))
        array = as_numpy(X)
        if reset:
            return open_images(array, layout=layout, **self._opening)
        options = Options.checked(layout=layout or self._layout_of(array.shape), scale=self._reading.get("scale"))
        return open_array(array, options, full_scale=None if self.units_ is None else self.units_.full_scale)

    def _as_fitted(self) -> dict[str, Any]:
        """How other files are opened, to look like those of the fit."""
        channels, height, width = self.image_shape_
        crop = self._opening.get("crop", True)
        return {"size": (height, width), "color": color_of(channels), "crop": crop, **self._reading}

    def _open_list(self, parts: list[Any], reset: bool, layout: str | None) -> ImageSource:
        options = Options.checked(**(self._opening if reset else self._as_fitted()), layout=layout)
        arrays = [one for one in parts if isinstance(one, np.ndarray)]
        if not reset and arrays and isinstance(options.scale, Scale) and not in_units_of(options.scale, arrays):
            options = replace(options, scale=None)  # not the fit's: `Units` tells what they are in
        if not reset and not any(isinstance(one, Image.Image) for one in parts):
            options = replace(options, bands=None)  # as of one array: it has the channels of the fit
        full_scale = None if reset or self.units_ is None else self.units_.full_scale
        return open_list(parts, options, full_scale=full_scale)

    def _open_table(self, X: Any, reset: bool) -> ImageSource:
        if not reset and not self._is_for_vectors:
            shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
            channels, height, width = self.image_shape_
            if shape == (height, width) and channels == 1:
                raise InputError(self._one_image(shape))
            raise InputError(
                f"X of shape {shape} holds vectors; {self._fitted_on()}: pass X.reshape(-1, …) in the layout of the fit"
            )
        if hasattr(X, "iloc") and 0 in X.shape:  # scikit-learn asks what kind of numbers the columns have, first of all
            raise InputError(f"X is a {type(X).__name__} of shape {X.shape}: it holds no vector")
        try:
            short = getattr(getattr(X, "dtype", None), "itemsize", 8) <= 2  # float32 has all their digits
            dtype = np.float32 if short else [np.float64, np.float32]
            X = validate_data(self, X, reset=reset, dtype=dtype, ensure_min_samples=1)
        except TypeError as error:
            raise NotNumbersError(reason_of(error)) from error
        except ValueError as error:
            raise InputError(reason_of(error)) from error
        return open_images(X)

    # ---------------------------------------------------------------- in fitted estimators

    @property
    def _is_for_vectors(self) -> bool:
        return self.image_shape_[1:] == (1, 1) and self.units_ is None

    def _layout_of(self, shape: tuple[int, ...]) -> str | None:
        """The layout in which an array has images of the fitted shape; None leaves it to the array.

        Raises
        ------
        InputError
            If it is one such image.
        """
        channels, height, width = self.image_shape_
        rgba = 4 if channels == 3 else channels
        fits = {
            "NHW": len(shape) == 3 and (1, *shape[1:]) == self.image_shape_,
            "NHWC": len(shape) == 4 and shape[1:3] == (height, width) and shape[3] in (channels, rgba),
            "NCHW": len(shape) == 4 and shape[1:] == self.image_shape_,
        }
        found = [name for name, does in fits.items() if does]
        if found:
            return found[0] if len(found) == 1 else self._layout
        if shape in (self.image_shape_, (height, width, channels), (height, width, rgba)):
            raise InputError(self._one_image(shape))
        return None

    def _one_image(self, shape: tuple[int, ...]) -> str:
        return f"X of shape {shape} looks like one image without a batch axis: pass X[None]; {self._fitted_on()}"

    def _fitted_on(self) -> str:
        channels, height, width = self.image_shape_
        name = type(self).__name__
        if self._is_for_vectors:
            return f"this {name} was fitted on vectors of {channels} numbers"
        return (
            f"this {name} was fitted on images of {height}x{width} pixels and {channels} channel{'s'[: channels - 1]}"
        )

    def _check_shape(self, images: ImageSource, X: Any) -> None:
        if images.shape == tuple(self.image_shape_):
            return
        channels, height, width = self.image_shape_
        if self._is_for_vectors or images.is_table:
            raise InputError(
                f"X holds {'vectors' if images.is_table else 'images'} of shape {images.shape} "
                f"(C, H, W); {self._fitted_on()}: pass such"
            )
        color = color_of(channels)
        what = "the same again" if isinstance(X, ImageSource) else "X"
        raise InputError(
            f"X holds images of shape {images.shape} (C, H, W) and the fit had {tuple(self.image_shape_)}; "
            f"{self._fitted_on()}: open {what} with open_images(…, size=({height}, {width}), color={color!r})"
        )

    def _how_again(self, X: Any, reset: bool) -> str:
        if reset:
            return "see skipped_; names_ has the others, in the order of labels_"
        what = repr(X) if isinstance(X, str) else "…"
        channels, height, width = self.image_shape_
        size = f"size=({height}, {width}), color={color_of(channels)!r}"
        return f"images = open_images({what}, {size}) has the names of the others, and can be passed instead"


def _warn_of_skipped(images: ImageSource, how: str) -> None:
    n, first = len(images.skipped), images.skipped[0]
    total = n + len(images)
    more = f" and {n - 1} more" if n > 1 else ""
    warnings.warn(
        f"{n} of {total} files {'were' if n > 1 else 'was'} left out: {first.name!r} ({first.reason}){more}; {how}",
        UserWarning,
        stacklevel=4,
    )


def _is_no_number(X: Any) -> bool:
    """Whether X holds dates, complex numbers or records, which scikit-learn's validation casts or prints whole."""
    return any(getattr(one, "kind", "f") in "mMcV" for one in _dtypes(X))


def _dtypes(X: Any) -> list[Any]:
    """Of all, or of the columns of a frame; what is not read yet (polars' LazyFrame) has none."""
    if hasattr(X, "dtype"):
        return [X.dtype]
    return list(getattr(X, "dtypes", [])) if hasattr(X, "__array__") else []


def _check_dates(X: Any) -> None:
    """Refuse dates of polars, which it would cast to the number of days or microseconds."""
    found = [one for one in _dtypes(X) if hasattr(one, "is_temporal") and one.is_temporal()]
    if found:
        raise NotNumbersError(
            f"X has values of dtype {found[0]}; expected numbers: leave dates out, or make them numbers"
        )


def _looks_like_a_table(X: Any) -> bool:
    """Two axes or fewer, a data frame or a sparse matrix: scikit-learn's validation speaks for those."""
    if hasattr(X, "iloc") or hasattr(X, "tocsr"):
        return True
    if hasattr(X, "__getitem__") and hasattr(X, "__len__") and not isinstance(X, (list, tuple, np.ndarray)):
        return False
    try:
        return 1 <= np.asarray(X).ndim <= 2 or np.isscalar(X)  # no axis: an object that numpy knows nothing of
    except ValueError:  # ragged
        return True
