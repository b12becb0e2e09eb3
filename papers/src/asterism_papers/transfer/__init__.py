"""What learned features are good for: retrieval, PASCAL VOC, faces, a codebook of patches."""
