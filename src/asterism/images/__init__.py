"""What comes in: arrays, folders, files, named sets and data sets become an `ImageSource`."""

from asterism.images.augment import Augmentation
from asterism.images.open import open_images
from asterism.images.source import ImageSource, Skipped

__all__ = ["Augmentation", "ImageSource", "Skipped", "open_images"]
