"""Images to vectors: the feature pass and what is done to features before they are clustered."""

from asterism.features.extract import extract

__all__ = ["extract"]
