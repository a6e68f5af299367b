"""Metrics of an embedding: one family per file, each a pure function of arrays and a thin adaptor.

A metric is a row of ``assets/metrics.tsv`` plus the function that its column ``code`` names. ``docs/metrics.md`` says
the definition and limitations of each.
"""
