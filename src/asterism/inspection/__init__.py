"""A look into a network: what its filters look for (``filters``), and what its features are worth to a linear
classifier (``probe``).
"""
