"""What learned features are good for: probes on frozen networks."""
