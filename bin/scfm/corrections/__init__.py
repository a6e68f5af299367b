"""Corrections of a finished embedding: one file per correction, found by its name in the corrections table.

A correction is a module with ``correct(values, batches, labels, **settings)``: an embedding, shape (n_cells, n_dims),
the batch of every cell and its label (None where it has none), and, as keyword arguments with defaults, the parameters
of the run that it reads, under their own names. It returns the corrected embedding, shape (n_cells, n_dims), float64.

Nothing else has to be registered: a row in ``assets/corrections.tsv`` and a file of that name here are a correction.
"""
