"""Collects what the steps left into tidy tables."""
