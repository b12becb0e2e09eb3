"""WebDataset shards, plain ``.tar`` files of samples -> `ImageSource`.

Only the headers are read to list the images (`asterism.images.shard_members`); an image is read from its place in the
shard when it is decoded, as the file of a folder is.
"""

from __future__ import annotations

from dataclasses import replace

from asterism.images.folder import open_listed
from asterism.images.options import Options
from asterism.images.paths import Listing
from asterism.images.shard_members import list_members, list_shards, member_labels
from asterism.images.source import ImageSource


def open_shards(path: str, options: Options) -> ImageSource:
    """Open the images of shards.

    Parameters
    ----------
    path : str
        See `asterism.images.shard_names.is_shards`.
    options : Options
        Size and colour as for a folder (`open_folder`).

    Returns
    -------
    ImageSource
        uint8. Shards stand in natural order, samples as they lie in them, so that a shard is read from its beginning to
        its end; names are ``SHARD/member.jpg``. Labels are those of the members ``.cls``, where every image has one.

    Raises
    ------
    MissingDataError
        If a shard that a pattern names does not exist.
    InputError
        If no shard holds an image; with ``strict`` if a shard or an image is damaged.
    StorageError
        If the images fit neither into memory nor into the cache folder.

    Notes
    -----
    Cost: the headers of all members at every opening; then as for a folder.
    """
    return open_listed_shards(list_shards(path), options)


def open_listed_shards(shards: Listing, options: Options) -> ImageSource:
    """Open the images of shards that were listed; see `open_shards`."""
    opened, kept = open_listed(list_members(shards, options.strict), options)
    found = member_labels(kept)
    return opened if found is None else replace(opened, labels=found[0], label_names=found[1])
