"""What comes in: arrays, folders, files, named sets and data sets become an `ImageSource`."""

from asterism.images.augment import Augmentation
from asterism.images.crops import Crops
from asterism.images.labels import file_labels, folder_labels
from asterism.images.named import NamedSet, named_sets
from asterism.images.open import open_images, reopen
from asterism.images.source import ImageSource, Skipped

__all__ = [
    "Augmentation",
    "Crops",
    "ImageSource",
    "NamedSet",
    "Skipped",
    "file_labels",
    "folder_labels",
    "named_sets",
    "open_images",
    "reopen",
]
