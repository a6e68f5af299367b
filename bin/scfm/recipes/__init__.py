"""Recipes: how a data set is made from files, written down as data."""
