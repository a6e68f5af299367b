"""Probing: what a simple classifier can read from an embedding, beside what it reads from nothing."""
