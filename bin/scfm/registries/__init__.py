"""The tables of ``assets/`` and their schemas."""
