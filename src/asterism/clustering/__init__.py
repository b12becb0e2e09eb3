"""From vectors to labels, without networks: k-means, k-nearest-neighbour graphs, linkage and what else clusters."""
