"""Weights of the foundation models: what files there are, how to get them, whether they are complete, and randomly
initialised ones for demos and tests.
"""
