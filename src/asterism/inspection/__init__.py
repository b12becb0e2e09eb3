"""A look into a network: what its filters look for, what its features are worth to a linear classifier."""
