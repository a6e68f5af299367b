"""Weights of the foundation models: what files there are, how to get them, whether they are all there, and made-up ones
for demos and tests.
"""
