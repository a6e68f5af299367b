"""Samplesheet, parameters, keys and genes of the user's files, and the input contract."""
