"""Embeddings after they were made: the validation gate, import, corrections and the final h5ad."""
