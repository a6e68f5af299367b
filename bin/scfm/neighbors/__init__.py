"""Neighbour search, shared by every step."""
