"""What learned features are good for: linear probe, retrieval, PASCAL VOC, faces, a codebook of patches."""
