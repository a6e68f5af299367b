"""Collect what the steps left, hold it against the plan, and build the report."""
