"""Mapping new cells (a query) to a data set that serves as reference, without training anything again."""
