"""Differential expression between conditions inside labels, and what outside of the embedding agrees with it."""
