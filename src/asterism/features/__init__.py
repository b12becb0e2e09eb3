"""Images to vectors: the feature pass and what is done to features before they are clustered."""

from asterism.features.cache import cached_extract
from asterism.features.extract import extract

__all__ = ["cached_extract", "extract"]
