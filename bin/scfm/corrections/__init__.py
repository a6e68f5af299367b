"""Corrections of embeddings: centring, unit length, removal of components."""
