"""The evidence of four papers: their tables and protocols, and the baselines that only a table needs."""
