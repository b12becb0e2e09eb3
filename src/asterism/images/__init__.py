"""What comes in: arrays, folders, files, named sets and data sets become an `ImageSource`."""

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
