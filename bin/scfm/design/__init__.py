"""The design of a data set, before any correction: confounding, balance and strength of the batch."""
