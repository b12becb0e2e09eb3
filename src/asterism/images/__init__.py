"""What comes in: arrays, folders, files, named sets and data sets become an `ImageSource`.

Where to read on, as the data flow:

``open``
    tells what X is. Arrays go to ``arrays``, lists of images to ``lists``, data sets of other libraries to
    ``datasets``, ``.npy`` and ``.npz`` to ``files``, ``data:NAME`` to ``named`` (the names: ``catalogue``).
``listing``, ``paths``, ``shards``, ``remote``
    list files: of a folder, a list or pattern, ``.tar`` archives, addresses. What cannot be used becomes `Skipped`.
``folder``
    settles size, colour and scale of what was listed, decodes it in threads (``decode``) and packs it (``packed``).
``decode``
    makes 8-bit pixels of one file by Pillow (``containers``, ``convert``, ``depth``), else by a reader of arrays
    (``rasters``: ``stacks``, ``dicom``). ``kinds`` names what is not read.
``source``
    holds the pixels: `ImageSource`. ``units`` says what they mean to a model, ``labels`` and ``vectors`` join tables
    with them, ``augment`` and ``crops`` change batches, ``again`` finds a run's images after they have changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.images.augment import Augmentation, RandomTransform
    from asterism.images.catalogue import NamedSet, named_sets
    from asterism.images.crops import Crops
    from asterism.images.labels import file_labels, folder_labels
    from asterism.images.open import open_images, reopen
    from asterism.images.source import ImageSource, Skipped

__all__ = [
    "Augmentation",
    "Crops",
    "ImageSource",
    "NamedSet",
    "RandomTransform",
    "Skipped",
    "file_labels",
    "folder_labels",
    "named_sets",
    "open_images",
    "reopen",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Augmentation": "asterism.images.augment",
        "Crops": "asterism.images.crops",
        "ImageSource": "asterism.images.source",
        "NamedSet": "asterism.images.catalogue",
        "RandomTransform": "asterism.images.augment",
        "Skipped": "asterism.images.source",
        "file_labels": "asterism.images.labels",
        "folder_labels": "asterism.images.labels",
        "named_sets": "asterism.images.catalogue",
        "open_images": "asterism.images.open",
        "reopen": "asterism.images.open",
    },
)
