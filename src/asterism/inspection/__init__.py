"""A look into a network: what its filters look for (``filters``)."""
