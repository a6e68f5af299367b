"""Embeddings after they were made: the door, import, corrections and the final h5ad."""
