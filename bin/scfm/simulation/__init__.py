"""Simulated data sets with a known truth: gamma-Poisson counts of types, batches, conditions and donors."""
