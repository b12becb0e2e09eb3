"""`open_images`: the one door through which everything comes in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from asterism.errors import InputError, MissingDataError
from asterism.images import urls
from asterism.images.array_files import open_npy, open_npz
from asterism.images.arrays import open_array
from asterism.images.catalogue import PREFIX, named_set
from asterism.images.folder import open_listed
from asterism.images.items import as_list, is_hugging_face, open_dataset, open_hugging_face, open_list
from asterism.images.listing import IMAGE_ENDINGS, Listed, Progress, archive_reason, shown_name, silent
from asterism.images.named import open_named
from asterism.images.options import REOPENED, Options
from asterism.images.paths import TABLE_ENDINGS, Listing, as_paths, is_archive, list_images, list_paths
from asterism.images.remote import fetch_whole
from asterism.images.shards import is_pattern, is_shard, is_shards, list_members, list_shards, member_labels
from asterism.images.source import ImageSource
from asterism.images.vectors import open_table, with_features
from asterism.runtime import usual_torch

_ARRAYS: dict[str, Callable[..., ImageSource]] = {".npz": open_npz, ".npy": open_npy}
_ARRAYS |= dict.fromkeys(TABLE_ENDINGS, open_table)
_EXPECTED = (
    "a folder of images, a list or pattern of files, an .npz or .npy file, vectors as .csv, .tar shards, or data:NAME"
)


def open_images(
    X: Any,
    *,
    size: int | tuple[int, int] | None = None,
    color: str | None = None,
    crop: bool = True,
    layout: str | None = None,
    strict: bool = False,
    photo_side: int | None = None,
    white: float | tuple[int | None, float | None] | None = None,
    scale: str | tuple[Any, Any] | Mapping[str, Any] | None = None,
    pages: str = "first",
    bands: int | tuple[int, ...] | None = None,
    features: Any = None,
    progress: Progress | None = None,
) -> ImageSource:
    """Open images, whatever they are.

    Parameters
    ----------
    X : array, tensor, nested list, path, Dataset or ImageSource
        An array or tensor of shape (N, H, W), (N, H, W, C), (N, C, H, W) or (N, D); a folder, searched with its
        subfolders; a list of paths; a pattern of them, ``"photos/**/*.jpg"``; a file that lists them, ``.txt`` (one a
        line, ``#`` begins a remark) or ``.csv`` (a column ``path``), relative to where it lies or to the working
        folder; an address of an object store (``s3://``, ``gs://``, ``hf://datasets/…``), or of a list or an archive on
        the web; an ``.npz`` or ``.npy`` file; vectors as a table of numbers (``.csv``, ``.tsv``, ``.txt``,
        ``.parquet``); WebDataset shards, as a folder of ``.tar`` files or a pattern ``"train-{000..146}.tar"``;
        ``"data:NAME"`` (see `named_sets`); a map-style torch Dataset; a Hugging Face Dataset; a list of PIL images,
        arrays or tensors. An `ImageSource` is returned as it is.
    size : int or (int, int), optional
        Side, or (height, width), of every image in pixels. By default arrays and data sets keep theirs; the images of
        a folder keep theirs if they all have one of at most 128 pixels a side, else they become 64x64.
    color : {"grey", "rgb", "bands"}, optional
        By default a folder is grey if every image in it is, and images of other channels than 1 or 3 keep them;
        arrays stay as they are. "bands" keeps all channels, where the fourth of an array would be taken for an alpha.
    crop : bool, default=True
        Where the proportions change, keep the centre; False squashes instead.
    layout : {"NHW", "NHWC", "NCHW", "ND"}, optional
        For arrays whose shape can be read in two ways.
    strict : bool, default=False
        Raise at the first image or folder that cannot be read, instead of listing it in ``skipped``.
    photo_side : int, optional
        Instead of 64, what the photos of a folder become where no ``size`` is given (224 for pre-trained networks).
    white : float or (int, float), optional
        What is white in files of more than 8 bits, as 4095; a pair tells it of integers and of floats. By default the
        brightest pixel of all files of a folder tells, and a warning says what was taken.
    scale : "percentile" or (low, high), optional
        What becomes black and white in values of more than 8 bits: percentiles 0.5 and 99.5 of each channel in the
        whole set, or these numbers (or two lists of them, one number a channel). Values beyond are cut. By default
        channels other than 1 or 3, and values that have no white (negative ones, say), have percentiles. A warning
        says which.
    pages : {"first", "mean", "max", "channels"}, default="first"
        What is taken of files of several pages (TIFF, DICOM): the first, the mean or the brightest of each pixel, or
        all of them as channels.
    bands : int or tuple of int, optional
        Numbers of the channels that are taken, from 1 on, in this order: (4, 3, 2).
    features : path or array of shape (N, D), optional
        Vectors of these images, which are grouped in their stead: an ``.npz``, ``.npy``, ``.csv`` or ``.parquet`` file,
        joined by the images' names. The images are for page and export.
    progress : callable, optional
        ``progress(what, done, total)`` is called while files are looked at and decoded.

    Returns
    -------
    ImageSource
        Decoded once and packed.

    Raises
    ------
    InputError
        If X, or an option, cannot be used; the message says what to change.
    MissingDataError
        If a path does not exist, or a named set is not on this machine.
    StorageError
        If the images fit neither into memory nor into the cache folder.
    """
    progress = progress or silent
    with usual_torch():
        options = Options.checked(size, color, crop, layout, strict, photo_side, white, scale, pages, bands, progress)
        opened = _opened(X, options)
        return opened if features is None else with_features(opened, features)


def _opened(X: Any, options: Options) -> ImageSource:
    if isinstance(X, ImageSource):
        return X
    X = list(X) if isinstance(X, Iterator) else X
    paths = as_paths(X)
    if isinstance(paths, str):
        return _open_path(paths, options)
    if paths is not None:
        return _open_listing(list_paths(paths, options.progress), options)
    if is_hugging_face(X):
        return open_hugging_face(X, options)
    if isinstance(X, torch.utils.data.DataLoader):
        raise InputError("X is a DataLoader; pass its data set: X.dataset")
    if isinstance(X, torch.utils.data.Dataset):
        return open_dataset(X, options)
    if isinstance(X, Image.Image):
        raise InputError("X is one image: pass a list of images, [X]")
    parts = as_list(X)
    if parts is not None:
        return open_list(parts, options)
    if isinstance(X, (torch.Tensor, list, tuple)) or hasattr(X, "__array__") or hasattr(X, "toarray"):
        return open_array(X, options)
    raise InputError(f"X is a {type(X).__name__}; expected an array, a tensor, {_EXPECTED}, or a Dataset")


def reopen(origin: Mapping[str, Any], progress: Progress | None = None) -> ImageSource:
    """Open again what an `ImageSource` came from.

    Parameters
    ----------
    origin : mapping
        Its ``origin``, perhaps read from ``run.json``.
    progress : callable, optional
        See `open_images`.

    Raises
    ------
    InputError
        If the images were in memory only, or the origin is damaged.
    """
    source = origin.get("source")
    if source is None:
        raise InputError("these images came from memory, not from a file: pass them again")
    if as_paths(source) is None:
        raise InputError(f"the images' origin is no path and no list of paths but a {type(source).__name__}")
    return open_images(source, **{key: origin[key] for key in REOPENED if key in origin}, progress=progress)


def _open_path(path: str, options: Options) -> ImageSource:
    if path.startswith(PREFIX):
        return open_named(path[len(PREFIX) :], options)
    listing = _listing(path, options.progress)
    if listing is not None:
        return _open_listing(listing, options)
    if urls.is_url(path):
        return _ARRAYS[_ending(path)](str(fetch_whole(path, options.progress)), options, urls.shown(path))
    path = os.path.expanduser(path)
    if not os.path.exists(path):
        hint = f"; did you mean {PREFIX}{path}?" if named_set(PREFIX + path) else f"; expected {_EXPECTED}"
        raise MissingDataError(f"{shown_name(path)!r} does not exist{hint}")
    if not os.path.isfile(path):
        raise InputError(f"{shown_name(path)!r} is not a regular file; expected {_EXPECTED}")
    ending = os.path.splitext(path)[1].lower()
    if ending in _ARRAYS:
        return _ARRAYS[ending](path, options)
    if archive_reason(path) is not None:
        raise InputError(f"{path!r} is a file ending in {ending!r}, {archive_reason(path)}")
    what = "one image: pass the folder that it lies in" if ending in IMAGE_ENDINGS else f"expected {_EXPECTED}"
    raise InputError(f"{path!r} is a file ending in {ending!r}; {what}")


def list_source(path: str, progress: Progress = silent) -> Listing | None:
    """The files that a folder, pattern, list, archive or address names, before any is decoded; None for one of arrays.

    What lies in shards is listed one by one, what lies elsewhere is fetched. Raises what `open_images` raises.
    """
    listing = _listing(path, progress)
    return list_members(listing, progress=progress) if listing is not None and _holds_shards(listing) else listing


def _listing(path: str, progress: Progress) -> Listing | None:
    """As `list_source`, but with shards as they are."""
    if urls.is_url(path):
        if not is_archive(path) or _ending(path) in _ARRAYS:
            return list_images(path, progress)
        local = str(fetch_whole(path, progress))
        shard = Listed(local, shown_name(os.path.basename(urls.split(path).path)), 0, 0)
        return Listing(repr(urls.shown(path)), urls.shown(path), [shard])
    path = os.path.expanduser(path)
    if (is_pattern(path) and not os.path.exists(path)) or (is_shards(path) and os.path.exists(path)):
        return list_shards(path)
    return list_images(path, progress)


def _ending(url: str) -> str:
    return os.path.splitext(urls.split(url).path)[1].lower()


def _holds_shards(listing: Listing) -> bool:
    return bool(listing.files) and all(is_shard(one.name) for one in listing.files)


def _open_listing(listing: Listing, options: Options) -> ImageSource:
    if options.layout is not None and not any(one.name.lower().endswith(".npy") for one in listing.files):
        raise InputError(f"layout={options.layout!r} is for arrays; {listing.called} holds files: leave it out")
    if _holds_shards(listing):
        listing = list_members(listing, options.strict, options.progress)
    opened, kept = open_listed(listing, options)
    found = member_labels(kept)
    return opened if found is None else replace(opened, labels=found[0], label_names=found[1])
