"""What the report shows of the tables."""
