"""What a clustering is worth: metrics, protocols, the papers' tables, benchmarks."""
