"""UMAP coordinates and their plots."""
