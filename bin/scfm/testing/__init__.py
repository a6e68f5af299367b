"""Data, servers and weights made for tests, demos and stub runs; no production code imports it."""
