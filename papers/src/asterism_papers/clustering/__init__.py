"""Clusterings of vectors that only the papers' tables compare with."""
