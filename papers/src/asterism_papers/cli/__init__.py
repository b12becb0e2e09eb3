"""``asterism bench`` and ``asterism transfer …``."""
