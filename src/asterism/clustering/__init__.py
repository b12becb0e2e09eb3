"""From vectors to labels, without networks: k-means, k-nearest-neighbour graphs, linkage and what else clusters."""

from asterism.clustering.kmeans import KMeansResult, assign, kmeans

__all__ = ["KMeansResult", "assign", "kmeans"]
