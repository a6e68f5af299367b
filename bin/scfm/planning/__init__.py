"""Checks the inputs of a run and plans its embeddings."""
