"""Images to vectors: the feature pass (``extract``; ``cache``: none is computed twice, ``store``: many, block by block)
and what is done to features before they are clustered (``reduce``).
"""

from asterism.features.cache import cached_extract
from asterism.features.extract import extract

__all__ = ["cached_extract", "extract"]
